"""What the columns of a results table mean, and what settings and metrics are called for people."""

from collections.abc import Iterable, Sequence

import pandas as pd

from l2s_jax.system.errors import UserError

CELL = ("dataset", "variant", "setting", "percent")
"""What is averaged over runs is the same in these."""

REQUIRED = ("run", "setting", "percent", "draw")

BEST_PHASE = "best_phase"
"""Text: `masks_only` where a run kept the network of S on its masks alone, empty where it kept its own."""

TEXT = (
    "run", "dataset", "study", "variant", "preset", "setting", "selection", "confusion",
    "classifier_confusion", "device", "versions", "config_hash", "manifest_sha256", "finished", "group",
    "shared", BEST_PHASE,
)  # fmt: skip
"""Columns that are text whatever they hold."""

VALIDATION = "validation_score"

FOLD = "fold"
"""Number of the fold of a cross-validation: runs of one fold are averaged first, means are over folds."""

FACTS = (
    "draw", FOLD, "seed", "n_mask", "n_label", "steps", "best_epoch", VALIDATION, "n_test", "n_test_groups",
    "group_ddof", "group_macro_f1_sd", "group_macro_f1_n", "seconds",
)  # fmt: skip
"""Numbers about a run that do not say how good it is on the test split."""

SETTINGS = ("S", "S+C", "S+C*", "S2+C2", "S2+C2*", "S2*+C2")
REFERENCE = {"segmentation": ("S", 100.0), "classification": ("S2+C2", 50.0)}
"""The setting and percent to which curves are related (Figs. 5 and 6)."""

DEFAULT_METRICS = {
    "segmentation": ("macro_f1", "micro_f1"),
    "classification": ("classifier_accuracy", "classifier_macro_f1"),
}
"""Metrics of the tables and figures where none is asked for."""

DISTANCES = ("hd95", "hd95_any")
"""Metrics that are distances, in pixels: the smaller, the better. All others are shares of 1."""

TITLES = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "weighted_f1": "weighted F1",
    "macro_f1_all": "macro F1, absent classes too",
    "accuracy": "pixel accuracy",
    "mean_iou": "mean IoU",
    "bach_score": "BACH score",
    "classifier_accuracy": "classifier accuracy",
    "classifier_macro_f1": "classifier macro F1",
    "group_macro_f1_mean": "macro F1, mean over groups",
    "boundary_f1": "boundary F1",
    "boundary_f1_any": "boundary F1, all boundaries",
    "hd95": "HD95",
    "hd95_any": "HD95, all boundaries",
    VALIDATION: "score on validation",
}


def metric_title(metric: str) -> str:
    """What a metric is called for people."""
    if metric in TITLES:
        return TITLES[metric]
    for prefix, title in (("f1_", "F1"), ("precision_", "precision"), ("recall_", "recall"), ("iou_", "IoU")):
        if metric.startswith(prefix):
            return f"{title} of {metric.removeprefix(prefix)}"
    return metric


def is_own_metric(name: str) -> bool:
    """Whether a column has the name of a metric that sweeps write."""
    return name in TITLES or name.startswith(("f1_", "precision_", "recall_", "iou_"))


def unit_of(metric: str) -> tuple[float, str, str]:
    """How values of a metric are shown: times what, the unit, and the unit of differences."""
    return (1.0, "pixels", "pixels") if metric in DISTANCES else (100.0, "%", "points")


def units_text(percent: str, metrics: Iterable[str]) -> str:
    """`percent`, the unit of a table, with that of the distances where it has some."""
    return f"{percent} (HD95: pixels, the smaller the better)" if {*DISTANCES} & {*metrics} else percent


def metric_columns(table: pd.DataFrame) -> list[str]:
    """Columns that say how good a run is: the numeric ones that are neither key nor fact."""
    others = {*TEXT, *CELL, *FACTS}
    return [
        str(name)
        for name in table.columns
        if name not in others and pd.api.types.is_numeric_dtype(table[name])
    ]


def askable_columns(table: pd.DataFrame) -> list[str]:
    """The metrics, and the score on validation: no figure of a report, unless it is asked for."""
    asked = [VALIDATION] if VALIDATION in table and table[VALIDATION].notna().any() else []
    return metric_columns(table) + asked


def require_metrics(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    """The wanted metrics. Raises `UserError` that lists the known ones where one is none of them."""
    wanted = list(wanted)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UserError(
            f"no metric {', '.join(map(repr, unknown))} in the results (known: {', '.join(known)})"
        )
    return wanted


def study_of(settings: Iterable[str]) -> str:
    """The study that settings belong to: the classification study's begin with S2."""
    return "classification" if all(str(name).startswith("S2") for name in settings) else "segmentation"


def on_test(selection: str) -> bool:
    """Whether an epoch was chosen on the test split itself: "test-maximum", or "test" from elsewhere."""
    return "test" in selection


def units(table: pd.DataFrame) -> str:
    """What a table's means are over, in words: its folds where it has some, else its runs."""
    return "folds" if FOLD in table or "folds" in table else "runs"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign, a minus being a minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def in_order(names: Iterable[str], known: Sequence[str] = SETTINGS) -> list[str]:
    """Different names, the known ones in their order first, the others as they came."""
    found = list(dict.fromkeys(names))
    return [name for name in known if name in found] + [name for name in found if name not in known]


def percent_text(percent: float) -> str:
    """A percentage as short as it is exact."""
    return f"{percent:g}"


Method = tuple[str, str]
"""A variant and a setting."""


def method_text(variant: str, setting: str) -> str:
    """A variant's setting in words."""
    return f"{setting} ({variant})" if variant else setting


def method_name(variant: str, setting: str) -> str:
    """What a person writes to name a variant's setting, in a sweep file or on the command line."""
    return f"{variant} {setting}".lstrip()
