"""Pictures for people: samples, learning curves, confusion matrices. No JAX, no global plotting state."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from l2s_jax.data.manifest import Classes
from l2s_jax.figures.overlays import overlay
from l2s_jax.figures.texts import label_text, plain_texts
from l2s_jax.system.files import atomic_path

LINE: dict[str, Any] = {"linewidth": 1.4, "marker": ".", "markersize": 3}  # a run of one epoch is a point


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Writes a figure as PNG or SVG by the path's suffix, whole or not at all."""
    with atomic_path(path) as temporary, plain_texts(figure):
        figure.savefig(temporary, dpi=dpi, format=path.suffix[1:])


def legend(classes: Classes) -> list[Patch]:
    """One coloured patch a class."""
    return [
        Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor="black", linewidth=0.5, label=label_text(name))
        for name, (r, g, b) in zip(classes.names, classes.colours, strict=True)
    ]


def draw_samples(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray | None],
    predictions: Sequence[np.ndarray],
    classes: Classes,
    captions: Sequence[str],
) -> Figure:
    """Columns of picture, truth and prediction, one column a sample."""
    n = len(images)
    figure = new_figure(max(1.7 * n, 4), 5.6)
    axes = figure.subplots(3, n, squeeze=False)
    for column in range(n):
        truth = truths[column]
        shown = (
            images[column],
            images[column] if truth is None else overlay(images[column], truth, classes),
            overlay(images[column], predictions[column], classes),
        )
        for row, picture in enumerate(shown):
            axes[row, column].imshow(picture)
            axes[row, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(label_text(captions[column]), fontsize=8)
        if truth is None:
            axes[1, column].text(0.5, 0.5, "no mask", transform=axes[1, column].transAxes, ha="center")
    for row, name in enumerate(("picture", "truth", "prediction")):
        axes[row, 0].set_ylabel(name, fontsize=9)
    figure.legend(handles=legend(classes), loc="outside lower center", ncols=min(len(classes), 4), fontsize=8)
    return figure


def draw_curves(rows: Sequence[dict[str, float]], judged_on: str = "validation") -> Figure:
    """Losses and validation figures by epoch, from the rows of metrics.csv; the best epoch is marked.

    Args:
      rows: of metrics.csv.
      judged_on: name of the split behind the figures.
    """
    figure = new_figure(9, 3.4)
    losses, scores = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    parts = {"loss_seg": "segmentation", "loss_cls": "classification"}
    used = [name for name in parts if not all(math.isnan(row[name]) for row in rows)]
    for name in used:
        losses.plot(epochs, [row[name] for row in rows], label=parts[name], **LINE)
    if len(used) == 2:
        losses.plot(epochs, [row["loss"] for row in rows], label="sum", color="grey", **LINE)
    losses.set(xlabel="epoch", ylabel="loss (training)", ylim=(0, None))
    if used:
        losses.legend(frameon=False, fontsize=8)
    drawn = False
    for name, label in (
        ("val_macro_f1", "macro F1"),
        ("val_accuracy", "pixel accuracy"),
        ("val_label_accuracy", "classifier accuracy"),
    ):
        points = [(row["epoch"], row[name]) for row in rows if not math.isnan(row[name])]
        # A classifier that no label has trained says nothing.
        if points and (name != "val_label_accuracy" or "loss_cls" in used):
            scores.plot(*zip(*points, strict=True), label=label, **LINE)
            drawn = True
    best = [row for row in rows if not math.isnan(row["val_score"])]
    if best:
        top = max(best, key=lambda row: row["val_score"])
        scores.axvline(top["epoch"], color="grey", linewidth=0.8, linestyle=":")
        at_the_end = top["epoch"] > sum(scores.get_xlim()) / 2
        side = {"s": "best ", "ha": "right"} if at_the_end else {"s": " best", "ha": "left"}
        scores.text(top["epoch"], 0.02, color="grey", fontsize=8, **side)
    scores.set(xlabel="epoch", ylabel=judged_on, ylim=(0, 1))
    if drawn:
        scores.legend(frameon=False, fontsize=8)
    else:
        scores.text(0.5, 0.5, "no validation split", transform=scores.transAxes, ha="center")
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def draw_confusion(matrix: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """A confusion matrix, truth in rows, each row in percent of its truth; counts below the share."""
    matrix = np.asarray(matrix, np.float64)
    truth = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, truth, out=np.zeros_like(matrix), where=truth > 0)
    side = 1.6 + 0.9 * len(names)
    figure = new_figure(side + 0.8, side)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "white" if share[row, column] > 0.55 else "black"
            text = f"{100 * share[row, column]:.1f}%\n{compact(matrix[row, column])}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    ticks, names = range(len(names)), [label_text(name) for name in names]
    axes.set_xticks(ticks, names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set(xlabel="predicted", ylabel="truth")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the truth")
    return figure


def compact(count: float) -> str:
    """A count in few characters: 950, 12.3k, 4.56M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            return f"{count / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{count:.0f}"


def inline_png(png: bytes, alt: str) -> str:
    """An HTML image element that holds its picture, so that a page opens without a network."""
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def inline_jpeg(picture: np.ndarray, side: int, alt: str) -> str:
    """The same of a picture u8[H,W,3], made smaller than `side` pixels a side and small in bytes."""
    shown = Image.fromarray(picture)
    shown.thumbnail((side, side))
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=85)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f'<img loading="lazy" alt="{escape(alt)}" src="data:image/jpeg;base64,{encoded}">'


def spread_evenly(n: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..n-1, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, most)).round()})
