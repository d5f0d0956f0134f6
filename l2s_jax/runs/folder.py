"""What a run leaves on disk, and how it is read back. Knows no model."""

import contextlib
import csv
import io
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from l2s_jax.config import PRESETS, TrainConfig, to_dict
from l2s_jax.data.manifest import CLASSES, STAIN, Classes, Manifest, parse_classes, write_classes
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.data.subsets import Subset
from l2s_jax.runs.config_file import read_config, write_config
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import LOCK, read_json, write_json, write_text

CONFIG, NETWORK, ENVIRONMENT, FINISHED = "config.toml", "network.json", "environment.json", "finished.json"
METRICS, SUBSET, MANIFEST = "metrics.csv", "subset.csv", "manifest.json"
EARLIER_RUNS = "earlier_runs.json"
LAST, BEST = "checkpoints/last", "checkpoints/best"
PACKAGES = (
    "l2s-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "openslide-python",
)


@dataclass(frozen=True)
class NetworkFacts:
    """What must be known besides the weights to use a trained network."""

    patch_size: int  # pixels a side
    head: str
    mean: tuple[float, ...]  # of RGB in 0..1, at prediction
    std: tuple[float, ...]
    mpp: float | None  # micrometres a pixel of the training patches, where the manifest says


class EarlierRun(NamedTuple):
    """A run that another takes weights or pseudo-masks from."""

    role: str  # `weights` or `teacher`: the option that names it
    folder: str
    part: str  # of its network, in words
    groups: tuple[str, ...]  # patients and slides that it, or a run before it, learned from


def open_run(folder: Path, config: TrainConfig, manifest: Manifest, *, resume: bool) -> None:
    """Makes a run folder, or checks that an existing one may be continued.

    The config is written last: with it, a folder is a run.

    Raises:
      UserError: the folder exists and `resume` was not asked for, or it belongs to another config or data.
    """
    if not (folder / CONFIG).exists():
        if any(path.name not in (LOCK, CLASSES, MANIFEST, STAIN) for path in folder.iterdir()):
            raise UserError(f"{folder} exists and is not a run: choose an empty or new folder for --out")
        write_classes(folder, manifest.classes)
        write_json(folder / MANIFEST, {"path": str(manifest.folder.resolve()), "sha256": manifest.sha256})
        if (manifest.folder / STAIN).is_file():  # slides are predicted in the stains of the patches
            write_text(folder / STAIN, (manifest.folder / STAIN).read_text(encoding="utf-8"))
        write_config(folder / CONFIG, config)
        return
    if not resume:
        raise UserError(
            f"{folder} already holds a run. Continue it with --resume, or choose another folder for --out"
        )
    before, now = to_dict(read_run_config(folder)), to_dict(config)
    changed = [
        f"{key}: {before.get(key)!r} then, {now.get(key)!r} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise UserError(
            "\n".join([f"{folder} was begun with other options, so it cannot be resumed:", *changed])
        )
    begun = read_json(folder / MANIFEST)["sha256"]
    if begun != manifest.sha256:
        raise UserError(
            f"{folder} was begun on another manifest than {manifest.folder} is now: start a new run"
        )


def read_run_config(folder: Path) -> TrainConfig:
    """The effective config of a run. Raises `UserError` where the folder is no run."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is no run folder: {CONFIG} not found in it")
    return read_config(folder / CONFIG, PRESETS["paper"])


def read_run_classes(folder: Path) -> Classes:
    """The classes that a run was trained on."""
    path = folder / CLASSES
    if not path.is_file():
        raise UserError(f"{folder} is no run folder: {CLASSES} not found in it")
    return parse_classes(path.read_bytes(), path)


def write_network_facts(folder: Path, facts: NetworkFacts) -> None:
    """Writes `network.json`."""
    write_json(folder / NETWORK, asdict(facts))


def read_network_facts(folder: Path) -> NetworkFacts:
    """Reads `network.json`. Raises `UserError` where the run never got that far."""
    if not (folder / NETWORK).is_file():
        raise UserError(f"{folder} holds no trained network: {NETWORK} not found in it")
    table = read_json(folder / NETWORK)
    try:
        facts = NetworkFacts(**table)
    except TypeError as error:
        raise UserError(f"{folder / NETWORK} was written by another version of l2s_jax: {error}") from error
    return facts


def environment() -> dict[str, Any]:
    """Versions, machine and devices of this process."""
    import jax

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def write_subset(folder: Path, patches: PatchSet, subset: Subset, base: Path) -> None:
    """Writes the list of the patches that the run learns from, and as what."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("index", "image", "group", "mask_used", "label_used"))
    for index, row in enumerate(patches.rows):
        used = bool(subset.has_mask[index]), bool(subset.has_label[index])
        if any(used):
            writer.writerow((index, os.path.relpath(row.image, base), row.group, *map(int, used)))
    write_text(folder / SUBSET, out.getvalue())


def read_subset(folder: Path) -> list[dict[str, str]]:
    """Rows of subset.csv. Raises `UserError` where the run never got that far."""
    path = folder / SUBSET
    if not path.is_file():
        raise UserError(f"{folder} is no complete run folder: {SUBSET} not found in it")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_earlier_runs(folder: Path, runs: Sequence[EarlierRun]) -> None:
    """Writes `earlier_runs.json`."""
    write_json(folder / EARLIER_RUNS, [run._asdict() for run in runs])


def read_earlier_runs(folder: Path) -> list[EarlierRun]:
    """The runs that this one takes from; most take from none."""
    if not (folder / EARLIER_RUNS).exists():
        return []
    return [EarlierRun(**record) for record in read_json(folder / EARLIER_RUNS)]


def training_groups(folder: Path) -> set[str]:
    """Groups that the run learned from, or a run that it takes from did."""
    before = (run.groups for run in read_earlier_runs(folder))
    return {record["group"] for record in read_subset(folder)}.union(*before)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of metrics.csv; empty fields become NaN, a half-written last line is dropped."""
    path = folder / METRICS
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    return [
        {key: float(value) if value else float("nan") for key, value in record.items()}
        for record in csv.DictReader(io.StringIO(complete))
    ]


def write_metrics(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes metrics.csv anew: small, and so never half-written."""
    out = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value != value else f"{value:.10g}" for key, value in row.items()})
    write_text(folder / METRICS, out.getvalue())
