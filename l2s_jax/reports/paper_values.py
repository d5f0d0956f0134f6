"""The paper's printed values (Tables D.4, D.5 and 1), with what is doubtful about them.

The CSV files in `paper/` hold the tables as printed. On reading, the BACH rows of Table D.5 get their labels
exchanged back (micro and macro F1 were swapped in print), and BACH's matrix of Table 1 is turned so that rows
are the truth; `doubts.csv` gives the reasons that are shown with the values.
"""

import re
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

SEGMENTATION, CLASSIFICATION, CONFUSION = "D.5", "D.4", "Table 1"
BACH, GLEASON, DIGESTPATH = "ICIAR BACH 2018", "Gleason2019", "DigestPath2019"
EXCHANGED = {BACH: {"F1_micro": "macro_f1", "F1_macro": "micro_f1"}}
METRICS = {"F1_micro": "micro_f1", "F1_macro": "macro_f1"}


def paper_dataset(name: str) -> str | None:
    """The paper's name of a data set, or None where the paper does not have it."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in ("bach", "bach2018", "iciarbach", "iciarbach2018"):
        return BACH
    if plain in ("gleason", "gleason2019"):
        return GLEASON
    return DIGESTPATH if plain in ("digestpath", "digestpath2019") else None


def paper_values(dataset: str, study: str) -> pd.DataFrame:
    """The printed values of a data set: setting, percent, metric, mean, sd (0..1) and doubts.

    `doubts` is a tuple of reasons. No rows for a data set that the paper does not have.
    """
    name = paper_dataset(dataset)
    columns = ["setting", "percent", "metric", "printed_as", "mean", "sd", "doubts"]
    if name is None:
        return pd.DataFrame(columns=columns)
    table = SEGMENTATION if study == "segmentation" else CLASSIFICATION
    printed = _read("table_d5.csv" if table == SEGMENTATION else "table_d4.csv")
    printed = printed[printed["dataset"] == name]
    if table == CLASSIFICATION:
        printed = printed.assign(metric="accuracy").rename(
            columns={"c_percent": "percent", "accuracy_mean": "mean", "accuracy_std": "sd"}
        )
        meant = pd.Series("classifier_accuracy", index=printed.index)
    else:
        printed = printed.rename(columns={"s_percent": "percent", "std": "sd"})
        meant = printed["metric"].map(EXCHANGED.get(name, METRICS))
    doubts = [doubts_about(table, name, row.mode, row.metric, row.percent) for row in printed.itertuples()]
    values = printed.assign(
        setting=printed["mode"],
        printed_as=printed["metric"],
        metric=meant,
        mean=printed["mean"] / 100,
        sd=printed["sd"] / 100,
        doubts=doubts,
    )
    return values[columns].reset_index(drop=True)


def doubts_about(table: str, dataset: str, mode: str, metric: str, percent: float) -> tuple[str, ...]:
    """Why a printed value should be read with care; empty fields of `doubts.csv` mean all."""
    return tuple(
        row.reason
        for row in _read("doubts.csv").itertuples()
        if row.table == table
        and row.dataset in ("", dataset)
        and row.mode in ("", mode)
        and row.metric in ("", metric)
        and (not row.percent or f"{percent:g}" in row.percent.split())
    )


def paper_confusion(dataset: str) -> tuple[np.ndarray, float, tuple[str, ...]] | None:
    """Table 1 of a data set: its matrix f64[C,C] (NaN: not to be read), its accuracy 0..1, and doubts."""
    name = paper_dataset(dataset)
    if name is None:
        return None
    stem = {BACH: "bach", GLEASON: "gleason", DIGESTPATH: "digestpath"}[name]
    text = (files("l2s_jax.reports") / "paper" / f"table_1_confusion_{stem}.csv").read_text(encoding="utf-8")
    matrix = np.array([[float(field or "nan") for field in line.split(",")] for line in text.splitlines()])
    accuracies = _read("table_1.csv").set_index("dataset")["accuracy"]
    if name == BACH:
        matrix = matrix.T
    return matrix, float(accuracies[name]) / 100, doubts_about(CONFUSION, name, "", "", 0.0)


@cache
def _read(name: str) -> pd.DataFrame:
    with (files("l2s_jax.reports") / "paper" / name).open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype={"percent": str} if name == "doubts.csv" else None)
    return table.fillna("") if name == "doubts.csv" else table
