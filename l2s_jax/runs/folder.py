"""What a run leaves on disk, and how it is read back. Knows no model."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from l2s_jax.config import OUTSIDE, PRESETS, TrainConfig, selection_split, to_dict
from l2s_jax.data.fingerprint import (
    COLUMNS,
    PICTURES,
    Fingerprint,
    fingerprint,
    fingerprint_text,
    relative_name,
    require_same_pictures,
)
from l2s_jax.data.manifest import CLASSES, STAIN, Classes, Manifest, parse_classes, write_classes
from l2s_jax.data.origins import group_of_slide, slide_of
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.data.subsets import Subset
from l2s_jax.runs.checksums import SUMS, note_sum
from l2s_jax.runs.config_file import config_text, read_config
from l2s_jax.runs.records import (
    RESTORE,
    checked_record,
    has_kept,
    keep_json,
    keep_text,
    read_json_record,
    read_kept,
    read_record,
    read_rows,
)
from l2s_jax.runs.sittings import read_sittings
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import LOCK, is_locked, remove_leftovers, write_text
from l2s_jax.system.values import clipped, shown
from l2s_jax.types import CLASSIFICATION_SETTINGS, DecoderName

CONFIG, NETWORK, FINISHED = "config.toml", "network.json", "finished.json"
METRICS, SUBSET, MANIFEST = "metrics.csv", "subset.csv", "manifest.json"
EARLIER_RUNS = "earlier_runs.json"
LAST, BEST = "checkpoints/last", "checkpoints/best"
PHASES = "phases"
"""Folder of the runs that are earlier phases of a run."""
EARLIER_PHASES = ("masks_only", "teacher")
"""Their folders in it, in the order in which they are trained."""
SUBSET_COLUMNS = ("index", "image", "group", "mask_used", "label_used")
SLIDE = "slide"
"""Its last column, which older runs have not."""
METRIC_COLUMNS = (
    "epoch", "step", "seconds", "loss", "loss_seg", "loss_cls",
    "val_score", "val_macro_f1", "val_accuracy", "val_label_accuracy",
)  # fmt: skip
HEADS = ("a3", "max")
PATCH_MULTIPLE, LARGEST_PATCH = 16, 2**16


@dataclass(frozen=True)
class NetworkFacts:
    """What must be known besides the weights to use a trained network."""

    patch_size: int  # pixels a side
    head: str
    mean: tuple[float, ...]  # of RGB in 0..1, at prediction
    std: tuple[float, ...]
    mpp: float | None  # micrometres a pixel of the training patches, where the manifest says
    background_seen: bool | None = None  # in what it learned from; None where that was not written down
    decoder: DecoderName = "paper"  # runs of before there was another do not say


class RunManifest(NamedTuple):
    """The manifest that a run was begun on."""

    path: str
    sha256: str


class EarlierRun(NamedTuple):
    """A run that another takes weights or pseudo-masks from."""

    role: str  # `weights` or `teacher`: the option that names it
    folder: str
    part: str  # of its network, in words
    groups: tuple[str, ...]  # patients and slides that it, or a run before it, learned from
    slides: tuple[str, ...] = ()  # names of those slides, where patches or windows tell (see `slide_name`)


class LearnedFrom(NamedTuple):
    """Patients and slides that a run, or one that it takes from, learned from."""

    groups: frozenset[str]
    slides: frozenset[str]
    """Their names (see `slide_name`), as far as these tell slides apart and are known: not of patches that
    `prepare` did not cut, nor of runs of before this was written down."""


def open_run(folder: Path, config: TrainConfig, manifest: Manifest, *, resume: bool) -> None:
    """Makes a run folder, or checks that an existing one may be continued. The folder's lock is held.

    The config is written last: with it, a folder is a run. What a killed process left half-written is
    removed.

    Raises:
      UserError: the folder exists and `resume` was not asked for, or it belongs to another config or data,
        or to pictures that were exchanged since.
    """
    remove_leftovers(folder)
    rows = (*manifest.of_split("train"), *manifest.of_split(selection_split(config)))
    if not (folder / CONFIG).exists():
        own = (LOCK, SUMS, CLASSES, MANIFEST, STAIN, PICTURES)
        if any(path.name not in own for path in folder.iterdir()):
            raise UserError(f"{folder} exists and is not a run: choose an empty or new folder for --out")
        (folder / SUMS).unlink(missing_ok=True)
        write_classes(folder, manifest.classes)
        note_sum(folder, CLASSES, (folder / CLASSES).read_bytes())
        keep_json(folder, MANIFEST, {"path": str(manifest.folder.resolve()), "sha256": manifest.sha256})
        if (manifest.folder / STAIN).is_file():  # slides are predicted in the stains of the patches
            keep_text(folder, STAIN, (manifest.folder / STAIN).read_text(encoding="utf-8"))
        keep_text(folder, PICTURES, fingerprint_text(fingerprint(rows, manifest.folder)))
        text = config_text(config)
        note_sum(folder, CONFIG, text.encode("utf-8"))
        write_text(folder / CONFIG, text)
        return
    if not resume:
        raise UserError(
            f"{folder} already holds a run. Continue it with --resume, or choose another folder for --out"
        )
    require_same_run(folder, config, manifest)
    if (folder / PICTURES).exists():  # runs of before it was written have none
        now_there = fingerprint(rows, manifest.folder)
        advice = "Put those back, or start a new run in another --out"
        require_same_pictures(read_fingerprint(folder), now_there, str(folder), advice)


def require_same_run(folder: Path, config: TrainConfig, manifest: Manifest) -> None:
    """Raises `UserError` where the run in a folder has other options, or another manifest, than it had."""
    before, now = to_dict(read_run_config(folder)), to_dict(config)
    changed = [
        f"{key}: {before.get(key)!r} then, {now.get(key)!r} now"
        for key in sorted((before.keys() | now.keys()) - {*OUTSIDE})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise UserError(
            "\n".join([f"{folder} was begun with other options, so it cannot be resumed:", *changed])
        )
    if read_run_manifest(folder).sha256 != manifest.sha256:
        raise UserError(
            f"{folder} was begun on another manifest than {manifest.folder} is now: start a new run"
        )


def read_fingerprint(folder: Path) -> Fingerprint:
    """`pictures.csv` of a run or a sweep. Raises `UserError` where it is damaged."""
    rows = read_rows(read_kept(folder, PICTURES), COLUMNS, folder / PICTURES)
    return {(row["image"], row["mask"]): row["content"] for row in rows}


def read_run_manifest(folder: Path) -> RunManifest:
    """Reads `manifest.json`. Raises `UserError` where it is missing or damaged."""
    return RunManifest(**read_record(folder, MANIFEST, get_type_hints(RunManifest)))


def write_finished(folder: Path, steps: int, seconds: float, best: Mapping[str, Any]) -> None:
    """Writes `finished.json`, with the environment of the sitting that finished the run.

    Args:
      folder: of the run.
      steps: that it took, all phases together.
      seconds: of training, all sittings and phases together.
      best: epoch and score, None where there is no such figure; `phase` where that is an earlier one's.
    """
    sittings = read_sittings(folder)
    environment = sittings[-1] if sittings else None
    facts = {"steps": steps, "seconds": seconds, "best": dict(best), "environment": environment}
    keep_json(folder, FINISHED, facts)


def read_finished(folder: Path) -> dict[str, Any]:
    """`finished.json`: steps, seconds, best (epoch, score, phase) and environment, see `write_finished`.

    Raises:
      UserError: it is missing or damaged.
    """
    hints = {"steps": int, "seconds": float, "best": dict[str, Any], "environment": dict[str, Any] | None}
    facts = read_record(folder, FINISHED, hints)
    best = checked_record(
        facts["best"], {"epoch": int | None, "score": float | None, "phase": str | None}, folder / FINISHED
    )
    if best["phase"] not in (None, *EARLIER_PHASES):
        raise UserError(f"{folder / FINISHED} is damaged: phase = {shown(best['phase'])}. {RESTORE}")
    if not all(map(math.isfinite, (facts["seconds"], best["score"] or 0.0))):
        raise UserError(f"{folder / FINISHED} is damaged: seconds and score must be finite. {RESTORE}")
    return facts | {"best": best}


def read_run_config(folder: Path) -> TrainConfig:
    """The effective config of a run. Raises `UserError` where the folder is no run, or it is damaged."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is no run folder: {CONFIG} not found in it")
    read_kept(folder, CONFIG)
    return read_config(folder / CONFIG, PRESETS["paper"])


def read_run_classes(folder: Path) -> Classes:
    """The classes that a run was trained on."""
    if not (folder / CLASSES).is_file():
        raise UserError(f"{folder} is no run folder: {CLASSES} not found in it")
    return parse_classes(read_kept(folder, CLASSES), folder / CLASSES)


def write_network_facts(folder: Path, facts: NetworkFacts) -> None:
    """Writes `network.json`."""
    keep_json(folder, NETWORK, asdict(facts))


def read_network_facts(folder: Path) -> NetworkFacts:
    """Reads `network.json`. Raises `UserError` where the run never got that far, or it is damaged."""
    path = folder / NETWORK
    if not path.is_file():
        raise UserError(f"{folder} holds no trained network: {NETWORK} not found in it")
    table = read_json_record(folder, NETWORK)
    if isinstance(table, dict):
        table = {"decoder": NetworkFacts.decoder} | table
    facts = NetworkFacts(**checked_record(table, get_type_hints(NetworkFacts), path))
    mpp = 1.0 if facts.mpp is None else facts.mpp
    numbers = (*facts.mean, *facts.std, mpp)
    good = len(facts.mean) == len(facts.std) == 3 and all(map(math.isfinite, numbers))
    if not good or min(*facts.std, mpp) <= 0:
        raise UserError(
            f"{path} is damaged: mean and std must be three finite numbers, std and mpp above 0. {RESTORE}"
        )
    size = facts.patch_size
    if not 0 < size <= LARGEST_PATCH or size % PATCH_MULTIPLE or facts.head not in HEADS:
        raise UserError(f"{path} is damaged: patch_size {size}, head {shown(facts.head)}. {RESTORE}")
    return facts


def write_subset(folder: Path, patches: PatchSet, subset: Subset, base: Path) -> None:
    """Writes the list of the patches that the run learns from, and as what."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*SUBSET_COLUMNS, SLIDE))
    for index, row in enumerate(patches.rows):
        used = bool(subset.has_mask[index]), bool(subset.has_label[index])
        if any(used):
            image, slide = relative_name(row.image, base), slide_of(row)
            writer.writerow((index, image, row.group, *map(int, used), slide))
    keep_text(folder, SUBSET, out.getvalue())


def read_subset(folder: Path) -> list[dict[str, str]]:
    """Rows of subset.csv. Raises `UserError` where the run never got that far, or it is damaged."""
    path = folder / SUBSET
    if not path.is_file():
        raise UserError(f"{folder} is no complete run folder: {SUBSET} not found in it. {RESTORE}")
    rows = read_rows(read_kept(folder, SUBSET), SUBSET_COLUMNS, path)
    for number, row in enumerate(rows, 1):
        if not {row["mask_used"], row["label_used"]} <= {"0", "1"} or not row["group"]:
            raise UserError(f"{path} is damaged at its row {number}: {shown(list(row.values()))}. {RESTORE}")
    if not rows:
        raise UserError(f"{path} is damaged: a run learns from something, and it lists nothing. {RESTORE}")
    return rows


def write_earlier_runs(folder: Path, runs: Sequence[EarlierRun]) -> None:
    """Writes `earlier_runs.json`."""
    keep_json(folder, EARLIER_RUNS, [run._asdict() for run in runs])


def read_earlier_runs(folder: Path) -> list[EarlierRun]:
    """The runs that this one takes from; most take from none.

    Raises:
      UserError: the list is damaged, or the run had one and it is gone.
    """
    path = folder / EARLIER_RUNS
    if not has_kept(folder, EARLIER_RUNS):
        return []
    records = read_json_record(folder, EARLIER_RUNS)
    if not isinstance(records, list):
        raise UserError(f"{path} is damaged: expected a list of runs. {RESTORE}")
    hints = get_type_hints(EarlierRun)
    whole = ({"slides": []} | record if isinstance(record, dict) else record for record in records)
    return [EarlierRun(**checked_record(record, hints, path)) for record in whole]


def unfinished(folder: Path) -> str:
    """Says that a run is not finished, and whether a process trains it right now; "" for a finished one.

    For whoever uses its network: what it gives is that of the best epoch so far. `finished.json` tells, the
    lock who is at work.
    """
    if (folder / FINISHED).is_file():
        return ""
    at_work = ", and is being trained right now" if is_locked(folder) else ""
    try:
        rows = read_metrics(folder)
    except UserError:
        rows = []
    judged = [row for row in rows if not math.isnan(row["val_score"])]
    best = max(judged, key=lambda row: row["val_score"]) if judged else rows[-1] if rows else None
    epochs = f" (epoch {best['epoch']:g} of {rows[-1]['epoch']:g} so far)" if best else ""
    return f"the run {folder} is not finished{at_work}: its network is that of its best epoch so far{epochs}"


def without_classifier(folder: Path) -> str:
    """Why what a run's classifier says is worth nothing, in words; "" where it has learned from labels.

    Raises:
      UserError: its options or lists are missing or damaged.
    """
    config = read_run_config(folder)
    if config.head == "max":  # without weights of its own: it says what the segmentation does
        return ""
    if config.setting in CLASSIFICATION_SETTINGS:  # with none of the labels too: the study asks what they add
        return ""
    if (folder / FINISHED).is_file() and read_finished(folder)["best"]["phase"] == "masks_only":
        return "the network that was kept is S's, which learned from masks alone"
    if not config.cls_weight:
        return "it was trained with no loss of its classifier (cls_weight 0)"
    if config.routing == "split" and not any(row["label_used"] == "1" for row in read_subset(folder)):
        return "it was trained on no patch with a label"
    return ""


def learned_from(folder: Path) -> LearnedFrom:
    """What the run learned from, or a run that it takes from did.

    Raises:
      UserError: its lists are missing or damaged.
    """
    before, rows = read_earlier_runs(folder), read_subset(folder)
    slides = group_of_slide((record.get(SLIDE, ""), record["group"]) for record in rows)
    return LearnedFrom(
        frozenset(record["group"] for record in rows).union(*(run.groups for run in before)),
        frozenset(slides).union(*(run.slides for run in before)),
    )


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of metrics.csv; empty fields become NaN, a half-written last line is dropped.

    Raises:
      UserError: it is damaged; names the line.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    advice = "Restore it from a copy, or delete it: the curves of the run then begin where it goes on"
    rows: list[dict[str, float]] = []
    complete = content[: content.rfind(b"\n") + 1]
    for number, record in enumerate(read_rows(complete, METRIC_COLUMNS, path) if complete else (), 2):
        try:
            row = {key: float(value) if value else math.nan for key, value in record.items()}
        except ValueError as error:
            raise UserError(f"{path} line {number} is damaged: {clipped(error)}. {advice}") from error
        place = (row["epoch"], row["step"])
        before = (rows[-1]["epoch"], rows[-1]["step"]) if rows else (0, 0)
        if any(map(math.isinf, row.values())) or not (place[0] > before[0] and place[1] > before[1]):
            raise UserError(
                f"{path} line {number} is damaged: epochs and steps must grow, values be finite. {advice}"
            )
        rows.append(row)
    return rows


def write_metrics(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes metrics.csv anew: small, and so never half-written."""
    out = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value != value else f"{value:.10g}" for key, value in row.items()})
    write_text(folder / METRICS, out.getvalue())
