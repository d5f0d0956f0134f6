"""The paper's printed values beside results: as columns of the long table, and its Table 1."""

from typing import Any

import pandas as pd

from l2s_jax.figures.html import Html, paragraph, table
from l2s_jax.reports.page import list_html
from l2s_jax.reports.paper_values import paper_confusion, paper_values

ADDED = ("paper_mean", "paper_sd", "paper_printed_as", "paper_doubts")


def with_printed(means: pd.DataFrame, study: str) -> pd.DataFrame:
    """Adds the paper's mean and sd (0..1), the label under which they were printed, and doubts.

    Empty where the paper has no such value, which is everywhere for a data set that it does not have.
    """
    parts = []
    for dataset, own in means.groupby("dataset", sort=False):
        printed = paper_values(str(dataset), study)
        of = {(row.setting, row.percent, row.metric): row for row in printed.itertuples()}
        found = [of.get((row.setting, row.percent, row.metric)) for row in own.itertuples()]
        values: tuple[list[Any], ...] = (
            [row.mean if row else float("nan") for row in found],
            [row.sd if row else float("nan") for row in found],
            [row.printed_as if row else "" for row in found],
            ["; ".join(row.doubts) if row else "" for row in found],
        )
        parts.append(own.assign(**dict(zip(ADDED, values, strict=True))))
    return pd.concat(parts, ignore_index=True).assign(study=study)


def paper_confusion_html(dataset: str) -> str:
    """Table 1 of a data set as HTML, with what is doubtful about it; nothing where the paper has none."""
    found = paper_confusion(dataset)
    if found is None:
        return ""
    matrix, accuracy, doubts = found
    classes = [f"class {code}" for code in range(len(matrix))]
    rows = [
        (Html(f"<strong>{name}</strong>"), *(float(value) for value in row))
        for name, row in zip(classes, matrix, strict=True)
    ]
    text = f"The paper's Table 1 for this data set, accuracy {100 * accuracy:.0f}%:"
    return paragraph(text) + table(("truth \\ predicted", *classes), rows) + list_html(doubts, "notes")
