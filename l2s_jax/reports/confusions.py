"""Confusion matrices after Table 1: summed over draws, each row in percent of its truth."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from l2s_jax.figures.drawing import compact, new_figure
from l2s_jax.figures.texts import label_text
from l2s_jax.reports.names import CELL, SETTINGS, in_order, method_text, percent_text

COLUMN = {"segmentation": "confusion", "classification": "classifier_confusion"}
UNIT = {"segmentation": "pixels", "classification": "patches"}
MOST_COLUMNS = 3


class Summed(NamedTuple):
    """A confusion matrix and where it comes from."""

    matrix: np.ndarray  # f64[C,C], truth in rows
    runs: list[str]
    selection: str  # what the runs' epochs were chosen on


Matrices = dict[tuple[str, str, str, float], Summed]
"""By dataset, variant, setting and percent."""


def summed(cells: pd.DataFrame, study: str) -> Matrices:
    """Sum f64[C,C] over the runs of each (dataset, variant, setting, percent), and those runs.

    Matrices of another size than the first of the data set's are left out.
    """
    column = COLUMN[study]
    found: Matrices = {}
    if column not in cells:
        return found
    sizes: dict[str, int] = {}
    for key, group in cells.groupby(list(CELL), sort=False):
        with_matrix = [one for one in group.to_dict("records") if one[column] is not None]
        same = [one for one in with_matrix if len(one[column]) == sizes.setdefault(key[0], len(one[column]))]
        if same:
            selection = "+".join(sorted({one["selection"] for one in same} - {""}))
            runs = [one["run"] for one in same]
            found[key] = Summed(np.sum([one[column] for one in same], axis=0), runs, selection)
    return found


def confusion_rows(matrices: Matrices, names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row a cell, true class and predicted class: count and share of the truth."""
    rows = []
    for (dataset, variant, setting, percent), (matrix, runs, selection) in matrices.items():
        share = by_truth(matrix)
        classes = names[dataset]
        for truth in range(len(matrix)):
            for predicted in range(len(matrix)):
                rows.append(
                    (dataset, variant, setting, percent, classes[truth], classes[predicted],
                     matrix[truth, predicted], share[truth, predicted], len(runs), selection,
                     " ".join(runs))
                )  # fmt: skip
    columns = (*CELL, "truth", "predicted", "count", "share_of_truth", "n_runs", "selection", "runs")
    return pd.DataFrame(rows, columns=list(columns))


def by_truth(matrix: np.ndarray) -> np.ndarray:
    """Each row divided by its sum, f64[C,C]; a class without a pixel gives a row of zeros."""
    truth = matrix.sum(1, keepdims=True)
    return np.divide(matrix, truth, out=np.zeros_like(matrix, float), where=truth > 0)


def draw_confusions(matrices: Matrices, classes: Sequence[str], study: str) -> Figure:
    """Matrices of one data set: a row of panels a method, at most three percentages across."""
    methods = _methods(matrices)
    percents = spread_percents(sorted({key[3] for key in matrices}))
    of = {key[1:]: value for key, value in matrices.items()}
    side = 0.62 * len(classes) + 1.25
    figure = new_figure(side * len(percents) + 0.6, side * len(methods) + 0.4)
    panels = figure.subplots(len(methods), len(percents), squeeze=False)
    for line, (variant, setting) in zip(panels, methods, strict=True):
        for axes, percent in zip(line, percents, strict=True):
            title = f"{method_text(variant, setting)} at {percent_text(percent)}%"
            if (variant, setting, percent) in of:
                matrix, runs, _ = of[variant, setting, percent]
                _draw(
                    axes,
                    matrix,
                    classes,
                    f"{title}\n{len(runs)} run(s), {compact(matrix.sum())} {UNIT[study]}",
                )
            else:
                axes.axis("off")
                axes.text(0.5, 0.5, f"{title}:\nno run", ha="center", va="center", fontsize=7, color="grey")
        line[0].set_ylabel("truth", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("predicted", fontsize=8)
    return figure


def _methods(matrices: Matrices) -> list[tuple[str, str]]:
    variants = in_order(key[1] for key in matrices)
    return [
        (variant, setting)
        for variant in variants
        for setting in in_order((key[2] for key in matrices if key[1] == variant), SETTINGS)
    ]


def spread_percents(percents: Sequence[float], most: int = MOST_COLUMNS) -> list[float]:
    """At most so many of the percentages, the first above 0 and the last among them."""
    positive = [percent for percent in percents if percent > 0] or list(percents)
    chosen = np.linspace(0, len(positive) - 1, min(most, len(positive))).round().astype(int)
    return [positive[number] for number in chosen]


def _draw(axes, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    share = by_truth(matrix)
    axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1)  # unlike imshow's, its cells stay sharp in SVG
    axes.set(aspect="equal", ylim=(len(matrix), 0))
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            colour = "white" if share[row, column] > 0.55 else "black"
            text = f"{100 * share[row, column]:.0f}%\n{compact(matrix[row, column])}"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6, color=colour)
    ticks, classes = np.arange(len(classes)) + 0.5, [label_text(name) for name in classes]
    axes.set_xticks(ticks, classes, rotation=35, ha="right", fontsize=6.5)
    axes.set_yticks(ticks, classes, fontsize=6.5)
    axes.set_title(title, fontsize=7.5)
