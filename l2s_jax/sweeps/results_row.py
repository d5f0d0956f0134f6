"""A finished run as one row of a sweep's results.csv."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.config import config_hash
from l2s_jax.prediction.metrics import bach_score
from l2s_jax.reports.names import BEST_PHASE
from l2s_jax.sweeps.plan import PlannedRun, fold_column
from l2s_jax.sweeps.sweep_file import SweepFile
from l2s_jax.system.csv_rows import require_appendable
from l2s_jax.system.errors import UserError

POOLED = ("macro_f1", "micro_f1", "weighted_f1", "macro_f1_all", "accuracy", "mean_iou")
BOUNDARIES = ("boundary_f1", "boundary_f1_any", "hd95", "hd95_any")
"""Figures of boundaries, the last two in pixels; `any`: of all boundaries, whatever the class."""
LATER = (BOUNDARIES, (BEST_PHASE,))
"""Columns that earlier versions did not write, the oldest first."""
OF_CLASSES = ("f1", "precision", "recall", "iou")


def result_columns(classes: Sequence[str], folds: bool = False) -> list[str]:
    """The columns of `result_row`, known before anything has been trained; `fold` where there are folds."""
    return [
        *("run", "dataset", "study", "variant", "preset", "setting", "percent", "draw"),
        *(("fold",) if folds else ()),
        *("seed", "selection"),
        *("n_mask", "n_label", "steps", "best_epoch", BEST_PHASE, "validation_score", *POOLED, "bach_score"),
        *("classifier_accuracy", "classifier_macro_f1"),
        *BOUNDARIES,
        *(f"{kind}_{name}" for kind in OF_CLASSES for name in classes),
        *("group_macro_f1_mean", "group_macro_f1_sd", "group_macro_f1_n", "group_ddof"),
        *("n_test", "n_test_groups", "confusion", "classifier_confusion", "seconds", "device", "versions"),
        *("config_hash", "manifest_sha256", "finished"),
    ]


def appendable_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns of rows that a sweep's file takes.

    All, but for those of `LATER` that the version which began it did not know.

    Raises:
      UserError: the file has others.
    """
    try:
        require_appendable(path, columns)
    except UserError:
        for first in reversed(range(len(LATER))):
            unknown = {name for names in LATER[first:] for name in names}
            older = [name for name in columns if name not in unknown]
            with suppress(UserError):
                require_appendable(path, older)
                return older
        raise
    return list(columns)


def result_row(
    sweep: SweepFile,
    planned: PlannedRun,
    figures: dict[str, Any],
    finished: dict[str, Any],
    environment: dict[str, Any],
    manifest_sha256: str,
) -> dict[str, Any]:
    """The row of a run.

    Args:
      sweep: the sweep.
      planned: the run; the first of its cells gives setting, percent, draw and fold.
      figures: from `judging.figures` on the test split.
      finished: the run's finished.json.
      environment: of the sitting that finished the run.
      manifest_sha256: the manifest's hash.
    """
    cell = planned.cells[0]
    by_group = figures["per_group"].get("macro_f1", {"mean": np.nan, "sd": np.nan, "n": 0, "ddof": 1})
    packages = environment.get("packages", {})
    return {
        "run": planned.run,
        "dataset": sweep.dataset,
        "study": sweep.study,
        "variant": cell.variant,
        "preset": planned.preset,
        "setting": cell.setting,
        "percent": cell.percent,
        "draw": cell.draw,
        **fold_column(cell.fold),
        "seed": planned.config.seed,
        "selection": planned.config.select,
        "n_mask": planned.n_mask,
        "n_label": planned.n_label,
        "steps": finished["steps"],
        "best_epoch": finished["best"]["epoch"],
        BEST_PHASE: finished["best"].get("phase", ""),
        "validation_score": finished["best"]["score"],
        **{name: figures["pooled"][name] for name in POOLED},
        "bach_score": bach_score(np.array(figures["confusion_matrix"])),
        "classifier_accuracy": figures["classifier"]["accuracy"],
        "classifier_macro_f1": figures["classifier"]["macro_f1"],
        **dict(zip(BOUNDARIES, _boundaries(figures), strict=True)),
        **{
            f"{kind}_{name}": figures["per_class"][kind][code]
            for kind in OF_CLASSES
            for code, name in enumerate(figures["classes"])
        },
        "group_macro_f1_mean": by_group["mean"],
        "group_macro_f1_sd": by_group["sd"],
        "group_macro_f1_n": by_group["n"],
        "group_ddof": by_group["ddof"],
        "n_test": figures["n_images"],
        "n_test_groups": figures["n_groups"],
        "confusion": json.dumps(figures["confusion_matrix"]),
        "classifier_confusion": json.dumps(figures["classifier"]["confusion_matrix"]),
        "seconds": round(finished["seconds"], 1),
        "device": "; ".join(environment.get("devices", ())),
        "versions": ";".join(f"{name}={version}" for name, version in packages.items() if version),
        "config_hash": config_hash(planned.config),
        "manifest_sha256": manifest_sha256,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _boundaries(figures: dict[str, Any]) -> tuple[float, ...]:
    """The figures of `BOUNDARIES`; NaN where no picture of the split has a mask."""
    found = figures.get("boundaries")
    if found is None:
        return (np.nan,) * len(BOUNDARIES)
    anywhere = found["any_class"]
    return found["boundary_f1"], anywhere["boundary_f1"], found["hd95"], anywhere["hd95"]["mean"]
