"""Pictures of how sure a network is: reliability diagrams, and score against retained area. No JAX."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from l2s_jax.figures.drawing import LINE, compact, new_figure
from l2s_jax.figures.texts import label_text

ACROSS = 4
"""Panels a row."""


def draw_reliability(panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """A panel for the most probable class and for each class: how often it is so against how sure.

    Args:
      panels: titles to `pixels`, `confidence` and `share` of equally wide bins of 0..1, NaN where a bin is
        empty; see `prediction.calibration`.
      title: of the whole.
    """
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    figure = new_figure(2.6 * across + 0.4, 2.9 * down + 0.4)
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for number, (axes, (name, bins)) in enumerate(zip(grid.flat, panels.items(), strict=False), 1):
        pixels = np.asarray(bins["pixels"], np.float64)
        edges = np.linspace(0, 1, len(pixels) + 1)
        total = max(pixels.sum(), 1)
        axes.stairs(pixels / total, edges, fill=True, color="lightgrey", label="pixels, share")
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        there = pixels > 0
        confidence, share = (np.asarray(bins[key], np.float64)[there] for key in ("confidence", "share"))
        axes.plot(confidence, share, label="is so", **LINE)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        so = compact((pixels[there] * share).sum())
        axes.set_title(f"{label_text(name)}\n{so} of {compact(pixels.sum())} pixels", fontsize=8)
        axes.tick_params(labelsize=7)
        if number + across > len(panels):
            axes.set_xlabel("probability", fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("share that is so", fontsize=8)
    grid[0, 0].legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def draw_retained(records: Sequence[Mapping[str, Any]], names: Sequence[str], title: str) -> Figure:
    """Scores, and how much of each class is left, against the share of pixels that is kept.

    Args:
      records: of `prediction.calibration.retained_figures`.
      names: of the classes.
      title: of the whole.
    """
    figure = new_figure(8.4, 3.4)
    figure.suptitle(title, fontsize=10)
    scores, kept = figure.subplots(1, 2)
    area = [100 * (1 - record["left_out"]) for record in records]
    for name, label in (("accuracy", "pixel accuracy"), ("macro_f1", "macro F1"), ("mean_iou", "mean IoU")):
        scores.plot(area, [record[name] for record in records], label=label, **LINE)
    scores.set(ylabel="score of what is kept", ylim=(None, 1))
    for name in names:
        shares = [100 * record["kept"][name] for record in records]
        if np.isfinite(shares).any():
            kept.plot(area, shares, label=label_text(name), **LINE)
    kept.plot(area, area, color="grey", linewidth=0.8, linestyle=":")
    kept.set(ylabel="kept of the class, %", ylim=(0, 103))
    for axes in (scores, kept):
        axes.set_xlabel("surest pixels kept, %", fontsize=9)
        axes.set_xlim(103, min(area) - 3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    return figure
