"""Pooled figures of a cross-validation: from confusion matrices in which every test patch stands once.

The test splits of all folds are the whole data set. Their matrices of one draw are summed, and figures made
from the sum: those of a data set of which every patch was predicted by a network that never saw its patient.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from l2s_jax.prediction.metrics import bach_score, per_class, summary
from l2s_jax.reports.confusions import COLUMN
from l2s_jax.reports.names import CELL, FOLD

POOLED = ("macro_f1", "micro_f1", "weighted_f1", "macro_f1_all", "accuracy", "mean_iou")
OF_CLASSES = ("f1", "precision", "recall", "iou")
COLUMNS = (*CELL, "draw", "folds", "missing", "n_test", "n_test_groups")


def folds_of(cells: pd.DataFrame, sweep: dict[str, Any]) -> dict[int, int | None]:
    """Each fold that there should be, and how many test patches it has where the sweep says so.

    Args:
      cells: rows of runs and cells with `fold`.
      sweep: sweep.json, or nothing.
    """
    found: dict[int, int | None] = {int(fold): None for fold in sorted(set(cells[FOLD]))}
    for one in sweep.get("folds", ()):
        found[int(one["fold"])] = int(one["n_test"])
    return dict(sorted(found.items()))


def out_of_fold(
    cells: pd.DataFrame, folds: dict[int, int | None], classes: Sequence[str], study: str
) -> pd.DataFrame:
    """Figures from the matrix summed over all folds, a row a cell and draw.

    Args:
      cells: rows of runs and cells with `fold`, and `confusion` or `classifier_confusion`.
      folds: from `folds_of`.
      classes: names.
      study: whose confusion matrix is written down beside the figures.

    Returns:
      `COLUMNS`, the study's summed matrix as JSON, `runs`, and the figures, 0..1. `missing` names
      folds that have not finished, or whose number of test patches is not the sweep's; all figures are empty
      then, since not every patch would be counted once.
    """
    rows = []
    for key, group in cells.groupby([*CELL, "draw"], sort=False):
        group = group.sort_values(FOLD)
        counts = dict(zip(group[FOLD].astype(int), _numbers(group, "n_test"), strict=True))
        missing = [
            fold
            for fold, patches in folds.items()
            if fold not in counts or not (patches is None or counts[fold] == patches)
        ]
        row = dict(zip((*CELL, "draw"), key, strict=True)) | {
            "folds": " ".join(map(str, counts)),
            "missing": " ".join(map(str, missing)),
            "n_test": sum(counts.values()),
            "n_test_groups": sum(_numbers(group, "n_test_groups")),
        }
        matrices = {name: None if missing else _sum(group, column) for name, column in COLUMN.items()}
        pooled = matrices[study]
        row["confusion"] = None if pooled is None else json.dumps(pooled.astype(int).tolist())
        row["runs"] = " ".join(group["run"])
        rows.append(row | _figures(matrices["segmentation"], matrices["classification"], classes))
    return pd.DataFrame(rows)


def _numbers(group: pd.DataFrame, name: str) -> list[float]:
    return group[name].tolist() if name in group else [float("nan")] * len(group)


def _sum(group: pd.DataFrame, column: str) -> np.ndarray | None:
    """Sum f64[C,C] over folds; None where a fold has none, or one of another size."""
    matrices = list(group[column]) if column in group else []
    if not matrices or any(matrix is None for matrix in matrices) or len({m.shape for m in matrices}) > 1:
        return None
    return np.asarray(np.sum(matrices, axis=0))


def _figures(
    pixels: np.ndarray | None, labels: np.ndarray | None, classes: Sequence[str]
) -> dict[str, float]:
    """A run's figures, by the names that they have in results.csv."""
    figures: dict[str, float] = {}
    if pixels is not None:
        whole, of_class, there = summary(pixels), per_class(pixels), pixels.sum(1) > 0
        figures |= {name: whole[name] for name in POOLED} | {"bach_score": bach_score(pixels)}
        figures |= {
            f"{kind}_{name}": float(of_class[kind][code]) if there[code] else float("nan")
            for kind in OF_CLASSES
            for code, name in enumerate(classes)
        }
    if labels is not None:
        figures |= {f"classifier_{name}": summary(labels)[name] for name in ("accuracy", "macro_f1")}
    return figures
