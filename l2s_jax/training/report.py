"""The pictures and the page of a finished run: curves, samples of the validation split, figures."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2s_jax.config import asks_for_phases, selection_split
from l2s_jax.data.pictures import write_png
from l2s_jax.figures import html
from l2s_jax.figures.drawing import (
    draw_confusion,
    draw_curves,
    draw_samples,
    inline_png,
    save_figure,
    spread_evenly,
)
from l2s_jax.figures.overlays import overlay
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.judging import Picture, figures, judge
from l2s_jax.prediction.tiles import default_tiling, predict_pictures
from l2s_jax.runs.folder import (
    CONFIG,
    FINISHED,
    PHASES,
    read_finished,
    read_metrics,
    read_run_classes,
    read_run_config,
    read_run_manifest,
    read_subset,
)
from l2s_jax.runs.network import load_network
from l2s_jax.runs.sittings import read_sittings
from l2s_jax.system.files import write_text
from l2s_jax.training.phases import EARLIER, LAST_PHASE, WORDS, phase_folder
from l2s_jax.training.pseudo_mask_page import PAGE
from l2s_jax.training.pseudo_masks import likeliest_text, read_why_likeliest
from l2s_jax.types import CLASSIFICATION_SETTINGS

SAMPLES = 6
FIGURES = {
    "val_macro_f1": "macro F1, pixels",
    "val_accuracy": "accuracy, pixels (micro F1)",
    "val_label_accuracy": "accuracy, classifier",
}
"""What the columns of metrics.csv are called on the page."""


def write_run_report(folder: Path, pictures: Sequence[Picture], batch_size: int = 20) -> None:
    """Writes curves.png, samples/, confusion.png and report.html into a finished run's folder.

    Args:
      folder: the run.
      pictures: the split on which epochs were judged, decoded; may be empty.
      batch_size: pictures a batch.
    """
    rows = read_metrics(folder)
    on_test = selection_split(read_run_config(folder)) == "test"
    judged_on = "test split, on which epochs were chosen" if on_test else "validation"
    finished, kept_rows = read_finished(folder), rows
    if finished["best"]["phase"]:
        kept_rows = read_metrics(folder / PHASES / finished["best"]["phase"])
    curves = draw_curves(rows, judged_on)
    save_figure(curves, folder / "curves.png")
    sections = [
        ("Result", _result(finished, kept_rows, on_test)),
        *_phases(folder),
        ("Data", _data(folder, pictures, judged_on)),
        ("Training", _shown(folder / "curves.png", f"losses and figures by epoch, {judged_on}")),
    ]
    if pictures:
        sections += _judged(folder, pictures, batch_size, judged_on)
    sections.append((f"Options ({CONFIG})", html.preformatted((folder / CONFIG).read_text(encoding="utf-8"))))
    sections.append(("Environment", "".join(map(_environment, read_sittings(folder)))))
    write_text(folder / "report.html", html.page(f"Run {folder.resolve().name}", sections))


def _shown(picture: Path, alt: str) -> str:
    """A picture that was written already, in the page: drawing it again takes longer than reading it."""
    return inline_png(picture.read_bytes(), alt)


def _result(finished: dict, rows: Sequence[dict[str, float]], on_test: bool) -> str:
    best = finished["best"]
    text = f"{finished['steps']} steps in {finished['seconds']:.0f} s. "
    if best["score"] is None:
        return html.paragraph(text + "No validation figure: the network of the last epoch is kept.")
    # Without its row, of a metrics.csv that was deleted meanwhile, the score is all that is known.
    nothing = dict.fromkeys(FIGURES, math.nan)
    best_row = next((row for row in rows if row["epoch"] == best["epoch"]), nothing)
    # A classifier that no label has trained says nothing.
    untrained = {"val_label_accuracy"} if all(math.isnan(row["loss_cls"]) for row in rows) else set()
    columns = [name for name in FIGURES if not math.isnan(best_row[name]) and name not in untrained]
    values = [(FIGURES[name], best_row[name]) for name in columns]
    note = (
        "Chosen on the test split itself, as in the release: these figures are optimistic, and so are those "
        "of the test."
        if on_test
        else "Chosen on the validation split, so these figures are optimistic: run `l2s evaluate` on "
        "the test split for an honest one."
    )
    split = "test" if on_test else "validation"
    text += f"Best epoch {best['epoch']}, {split} score {best['score']:.4f}."
    return html.paragraph(text) + html.table(("figure", "value"), values) + html.paragraph(note, "note")


def _phases(folder: Path) -> list[tuple[str, str]]:
    """The earlier phases of a run, where it has any, and its pseudo-masks, where it learned from such."""
    parts: list[str] = []
    own = read_finished(folder)["best"]
    earlier = [name for name in EARLIER if (phase_folder(folder, name) / FINISHED).is_file()]
    if earlier:
        scored = [row for row in read_metrics(folder) if not math.isnan(row["val_score"])]
        last = max((row["val_score"] for row in scored), default=math.nan)
        lines: list[tuple[object, ...]] = []
        for name in earlier:
            facts = read_finished(phase_folder(folder, name))
            score = facts["best"]["score"]
            named = html.Html(f'<a href="{PHASES}/{name}/report.html">{html.escape(WORDS[name])}</a>')
            lines.append((named, facts["steps"], facts["seconds"], math.nan if score is None else score))
        whole = read_finished(folder)
        steps = whole["steps"] - sum(int(str(line[1])) for line in lines)
        seconds = whole["seconds"] - sum(float(str(line[2])) for line in lines)
        lines.append((LAST_PHASE, steps, seconds, last))
        header = ("phase", "steps", "seconds", "best score, validation")
        parts.append(html.table(header, lines))
        if own["phase"] is None:
            text = "The network that is kept is the last phase's."
        else:
            text = (
                "S, which saw the masks alone, scored higher on the validation split than what learned from "
                "pseudo-masks too, so its network is kept. The labels did not help here."
            )
        parts.append(html.paragraph(text))
    elif asks_for_phases(read_run_config(folder)):
        text = "It was trained in one phase: no patch had a label alone, so there was nothing to teach."
        if not any(row["mask_used"] == "1" for row in read_subset(folder)):
            text = "It was trained in one phase: no mask was learned from, so there was no phase of S."
        parts.append(html.paragraph(text))
    if (folder / PAGE).is_file():
        link = f'<a href="{PAGE}">The pseudo-masks that it learned from</a>'
        parts.append(f"<p>{link}, the most doubtful first.</p>")
    why = read_why_likeliest(folder)
    if why:
        parts.append(html.paragraph(f"The {likeliest_text(why)}."))
    phased = earlier or asks_for_phases(read_run_config(folder))
    return [("Phases" if phased else "Pseudo-masks", "".join(parts))] if parts else []


def _data(folder: Path, pictures: Sequence[Picture], judged_on: str) -> str:
    manifest = read_run_manifest(folder)
    used = read_subset(folder)
    masks, labels = (sum(row[name] == "1" for row in used) for name in ("mask_used", "label_used"))
    groups = len({row["group"] for row in used})
    with_mask = sum(picture.mask is not None for picture in pictures)
    judged = (
        f"{len(pictures)} patches of {len({p.row.group for p in pictures})} groups, {with_mask} with a mask"
    )
    rows = (
        ("manifest", manifest.path),
        ("SHA-256 of its patches.csv and classes.toml", manifest.sha256),
        ("learned from", f"{masks} masks and {labels} labels, {len(used)} patches of {groups} groups"),
        (judged_on, judged if pictures else "none"),
    )
    warning = ""
    if not masks and read_run_config(folder).setting not in CLASSIFICATION_SETTINGS:
        warning = html.paragraph(
            "No mask was learned from: a segmentation learned from labels alone has no defined classes."
        )
    return warning + html.facts(rows)


def _environment(facts: dict) -> str:
    """One sitting of the run."""
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    told = {**facts, "command": shlex.join(facts["command"]), "packages": packages}
    return html.facts(
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in told.items()
    )


def _judged(
    folder: Path, pictures: Sequence[Picture], batch_size: int, judged_on: str
) -> list[tuple[str, str]]:
    network, facts = load_network(folder)
    classes = read_run_classes(folder)
    forward = make_forward(network, batch_size)
    tiling = default_tiling(facts.patch_size, batch_size=batch_size)
    judged = list(judge(forward, pictures, len(classes), tiling))
    result = figures(judged, classes)
    confusion = draw_confusion(np.array(result["confusion_matrix"]), classes.names, f"{judged_on}, pixels")
    save_figure(confusion, folder / "confusion.png")
    shown = [pictures[i] for i in spread_evenly(len(pictures), SAMPLES)]
    images = [picture.image for picture in shown]
    predictions = [answer.codes() for answer in predict_pictures(forward, images, tiling)]
    for picture, codes in zip(shown, predictions, strict=True):
        path = folder / "samples" / f"{picture.row.line:05d}-{picture.row.image.stem}.png"
        write_png(path, overlay(picture.image, codes, classes))
    captions = [picture.row.image.stem[:16] for picture in shown]
    samples = draw_samples(
        images,
        [picture.mask for picture in shown],
        predictions,
        classes,
        captions,
    )
    save_figure(samples, folder / "samples.png")
    of_class = result["per_class"]
    per_class = [
        (
            name,
            int(of_class["truth"][code]),
            *(of_class[key][code] for key in ("precision", "recall", "f1", "iou")),
        )
        for code, name in enumerate(classes.names)
    ]
    header = ("class", "pixels", "precision", "recall", "F1", "IoU")
    return [
        (f"Samples ({judged_on})", _shown(folder / "samples.png", "pictures, truth and prediction")),
        (f"By class ({judged_on})", html.table(header, per_class)),
        (f"Confusion matrix ({judged_on})", _shown(folder / "confusion.png", "confusion matrix")),
    ]
