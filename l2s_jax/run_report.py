"""The pictures and the page of a finished run: curves, samples of the validation split, figures."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2s_jax import html, run_folder
from l2s_jax.config import selection_split
from l2s_jax.data.pictures import write_png
from l2s_jax.evaluation import Picture, figures, judge
from l2s_jax.figures import (
    draw_confusion,
    draw_curves,
    draw_samples,
    inline_png,
    overlay,
    png_of,
    save_figure,
)
from l2s_jax.files import write_text
from l2s_jax.inference import Tiling, enlarge, make_forward, predict_picture
from l2s_jax.networks import load_network
from l2s_jax.run_folder import CONFIG, ENVIRONMENT, FINISHED

SAMPLES = 8


def write_run_report(folder: Path, pictures: Sequence[Picture], batch_size: int = 20) -> None:
    """Writes curves.png, samples/, confusion.png and report.html into a finished run's folder.

    Args:
      folder: the run.
      pictures: the split on which epochs were judged, decoded; may be empty.
      batch_size: pictures a batch.
    """
    rows = run_folder.read_metrics(folder)
    on_test = selection_split(run_folder.read_run_config(folder)) == "test"
    judged_on = "test split, on which epochs were chosen" if on_test else "validation"
    curves = draw_curves(rows, judged_on)
    save_figure(curves, folder / "curves.png")
    sections = [("Training", inline_png(png_of(curves), f"losses and figures by epoch, {judged_on}"))]
    finished = run_folder.read_json(folder / FINISHED)
    sections.insert(0, ("Result", _result(finished, rows, on_test)))
    if pictures:
        sections += _judged(folder, pictures, batch_size, judged_on)
    sections.append(("Options", html.preformatted((folder / CONFIG).read_text(encoding="utf-8"))))
    environment = (folder / ENVIRONMENT).read_text(encoding="utf-8")
    sections.append(("Environment", html.preformatted(environment)))
    write_text(folder / "report.html", html.page(f"Run {folder.resolve().name}", sections))


def _result(finished: dict, rows: Sequence[dict[str, float]], on_test: bool) -> str:
    best = finished["best"]
    text = f"{finished['steps']} steps in {finished['seconds']:.0f} s. "
    if best["score"] is None:
        return html.paragraph(text + "No validation figure: the network of the last epoch is kept.")
    at = next(row for row in rows if row["epoch"] == best["epoch"])
    names = ("val_macro_f1", "val_accuracy", "val_label_accuracy")
    values = [(name, at[name]) for name in names if not math.isnan(at[name])]
    note = (
        "Chosen on the test split itself, as in the release: these figures flatter, and so do the test's."
        if on_test
        else "Chosen on the validation split, so these figures flatter: run `l2s evaluate` on the test split "
        "for an honest one."
    )
    split = "test" if on_test else "validation"
    text += f"Best epoch {best['epoch']}, {split} score {best['score']:.4f}."
    return html.paragraph(text) + html.table(("figure", "value"), values) + html.paragraph(note, "note")


def _judged(
    folder: Path, pictures: Sequence[Picture], batch_size: int, judged_on: str
) -> list[tuple[str, str]]:
    network, facts = load_network(folder)
    classes = run_folder.read_run_classes(folder)
    forward = make_forward(network, batch_size)
    tiling = Tiling(facts.patch_size, max(facts.patch_size // 2, 1), batch_size=batch_size)
    judged = list(judge(forward, pictures, len(classes), tiling))
    result = figures(judged, classes)
    confusion = draw_confusion(np.array(result["confusion_matrix"]), classes.names, f"{judged_on}, pixels")
    save_figure(confusion, folder / "confusion.png")
    shown = [pictures[i] for i in spread_evenly(len(pictures), SAMPLES)]
    predictions = []
    for picture in shown:
        if picture.image.shape[:2] == (tiling.tile, tiling.tile):
            predictions.append(enlarge(forward(picture.image[None])[0][0].argmax(-1)))
        else:
            predictions.append(predict_picture(forward, picture.image, tiling)[0].argmax(-1))
    for picture, codes in zip(shown, predictions, strict=True):
        path = folder / "samples" / f"{picture.row.line:05d}-{picture.row.image.stem}.png"
        write_png(path, overlay(picture.image, codes, classes))
    captions = [picture.row.image.stem[:16] for picture in shown]
    samples = draw_samples(
        [picture.image for picture in shown],
        [picture.mask for picture in shown],
        predictions,
        classes,
        captions,
    )
    save_figure(samples, folder / "samples.png")
    per_class = [
        (name, *(result["per_class"][key][code] for key in ("precision", "recall", "f1", "iou")))
        for code, name in enumerate(classes.names)
    ]
    return [
        (f"Samples ({judged_on})", inline_png(png_of(samples), "pictures, truth and prediction")),
        (f"By class ({judged_on})", html.table(("class", "precision", "recall", "F1", "IoU"), per_class)),
        (f"Confusion matrix ({judged_on})", inline_png(png_of(confusion), "confusion matrix")),
    ]


def spread_evenly(n: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..n-1, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, most)).round()})
