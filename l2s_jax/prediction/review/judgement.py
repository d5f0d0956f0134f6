"""What was found of one label or mask, and the table of all, windows of slides included."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.manifest import Classes, PatchRow
from l2s_jax.data.marks import ITEM, Kind
from l2s_jax.data.origins import slide_of
from l2s_jax.prediction.review.suspicion import LabelDoubt, MaskDoubt
from l2s_jax.prediction.review.windows import WindowDoubt
from l2s_jax.system.csv_text import table_text


class Judgement(NamedTuple):
    """What networks say of one label or mask."""

    row: PatchRow
    kind: Kind
    item: tuple[str, ...]  # the fields `marks.ITEM`
    doubt: LabelDoubt | MaskDoubt
    members: int  # networks that were asked
    classifier: np.ndarray | None = None  # f64[C], of a label, where a network's classifier knows labels


def review_table(found: Sequence[Judgement], windows: Sequence[WindowDoubt], classes: Classes) -> str:
    """review.csv: a row a label or mask, then a row a window, each in the order given."""
    import pandas as pd  # here, since nothing else of a review needs a table

    records = [_record(one, classes) for one in found]
    return table_text(pd.DataFrame(records + [_window_record(one, classes) for one in windows]))


def _record(one: Judgement, classes: Classes) -> dict[str, Any]:
    names, doubt = classes.names, one.doubt
    mask = doubt if isinstance(doubt, MaskDoubt) else None
    record: dict[str, Any] = {
        **dict(zip(ITEM, one.item, strict=True)),
        "group": one.row.group,
        "slide": slide_of(one.row),
        "split": one.row.split,
        "suspicion": doubt.suspicion,
        "probability": doubt.probability,
        "likeliest": None if doubt.likeliest is None else names[doubt.likeliest],
        "likeliest_probability": doubt.likeliest_probability,
        "members": one.members,
        "classifier": None if one.classifier is None else names[int(one.classifier.argmax())],
        "classifier_probability": None if one.classifier is None else one.classifier[one.row.label],
        "known_pixels": None if mask is None else str(mask.known.sum()),
    }
    for code, name in enumerate(names):
        record[f"contradicted {name}"] = None if mask is None else mask.contradicted[code]
    return record


def _window_record(one: WindowDoubt, classes: Classes) -> dict[str, Any]:
    """Columns that say what a mark is of stay empty: of a window nothing is right or wrong."""
    places = zip(("x", "y", "width", "height"), one.rectangle, strict=True)
    return {
        **dict.fromkeys(ITEM, ""),
        "kind": one.kind,
        "group": one.group,
        "slide": one.slide,
        "split": one.split,
        "likeliest": classes.names[one.likeliest],
        "likeliest_probability": one.likeliest_probability,
        "members": one.members,
        "disagreement": one.disagreement,
        **{name: str(round(value, 3)) for name, value in places},
    }
