"""How good a network is on the rows of a manifest: per picture, per group, pooled."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.manifest import Classes, PatchRow
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.models.forward import Forward
from l2s_jax.prediction.boundaries import Boundaries, boundary_figures, compare_boundaries
from l2s_jax.prediction.metrics import confusion_matrix, per_class, spread, summary
from l2s_jax.prediction.tiles import Answer, Tiling, predict_pictures
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_json, write_text
from l2s_jax.types import IGNORE_LABEL


class Picture(NamedTuple):
    """One picture to be judged, decoded."""

    row: PatchRow
    image: np.ndarray  # u8[H,W,3]
    mask: np.ndarray | None  # u8[H,W]


class Judged(NamedTuple):
    """What came out for one picture."""

    row: PatchRow
    matrix: np.ndarray | None  # i64[C,C], truth in rows; None without a mask
    label: int  # the classifier's class; IGNORE_LABEL where it has learned nothing
    pixels: int = 0  # of its mask, known or not
    boundaries: Boundaries | None = None  # where they were asked for


def read_pictures(rows: Sequence[PatchRow], classes: Classes) -> Iterator[Picture]:
    """Decodes the rows one by one. Raises `UserError` where a picture and its mask differ in size."""
    for row in rows:
        image = read_image(row.image)
        mask = None if row.mask is None else read_mask(row.mask, classes)
        if mask is not None and mask.shape != image.shape[:2]:
            raise UserError(f"{row.mask} has another size than its image {row.image}")
        yield Picture(row, image, mask)


def answers(
    forward: Forward, pictures: Iterable[Picture], tiling: Tiling
) -> Iterator[tuple[Picture, Answer]]:
    """Every picture with what the network says of it. Patches of its size go through in batches.

    Args:
      forward: from `forward.make_forward`.
      pictures: of any size and in any order, which is kept.
      tiling: for pictures of another size than a patch.
    """
    decoded, kept = itertools.tee(pictures)
    predictions = predict_pictures(forward, (picture.image for picture in decoded), tiling)
    return zip(kept, predictions, strict=True)


def judge_one(
    picture: Picture,
    answer: Answer,
    classes: int,
    tolerance: float | None = None,
    *,
    classifier: bool = True,
) -> Judged:
    """Compares what a network says of a picture with its mask.

    Args:
      picture: with or without a mask.
      answer: what the network says of it.
      classes: how many.
      tolerance: of boundary F1, in pixels; None leaves boundaries out, which take their time.
      classifier: whether the network's classifier has learned anything.
    """
    row, mask = picture.row, picture.mask
    label = int(answer.class_logits.argmax()) if classifier else IGNORE_LABEL
    if mask is None:
        return Judged(row, None, label)
    codes = answer.codes()
    at = None if tolerance is None else compare_boundaries(mask, codes, classes, tolerance, row.mpp)
    return Judged(row, confusion_matrix(mask, codes, classes), label, mask.size, at)


def judge(forward: Forward, pictures: Iterable[Picture], classes: int, tiling: Tiling) -> Iterator[Judged]:
    """`answers`, each compared with its picture's mask; C is the number of `classes`."""
    for picture, answer in answers(forward, pictures, tiling):
        yield judge_one(picture, answer, classes)


def pooled_matrix(judged: Sequence[Judged], classes: int) -> np.ndarray:
    """Sum i64[C,C] of the pictures' confusion matrices; zeros where none has a mask."""
    matrices = [one.matrix for one in judged if one.matrix is not None]
    return np.sum(matrices, axis=0) if matrices else np.zeros((classes, classes), np.int64)


def label_matrix(judged: Sequence[Judged], classes: int) -> np.ndarray:
    """Confusion matrix i64[C,C] of the classifier over the pictures that have a label."""
    matrix = np.zeros((classes, classes), np.int64)
    for one in judged:
        if IGNORE_LABEL not in (one.row.label, one.label):
            matrix[one.row.label, one.label] += 1
    return matrix


def figures(judged: Sequence[Judged], classes: Classes, ddof: int = 1) -> dict[str, Any]:
    """All figures of a judged set, ready for JSON.

    `pooled` counts every pixel once; `per_image` and `per_group` are the mean over images or groups of each
    one's own figure, of a class (f1_NAME and so on) over those in whose truth it occurs, with standard
    deviation, ddof and n. Values in 0..1. `scored_share` is the share of the masks' pixels that are known;
    None without masks. `boundaries`, where pictures were judged with a tolerance, is `boundary_figures`.
    """
    pooled = pooled_matrix(judged, len(classes))
    labels = label_matrix(judged, len(classes))
    boundaries = [one.boundaries for one in judged if one.boundaries is not None]
    of_boundaries = {"boundaries": boundary_figures(boundaries, classes.names, ddof)} if boundaries else {}
    return {
        "classes": list(classes.names),
        "n_images": len(judged),
        "n_masks": sum(one.matrix is not None for one in judged),
        "n_groups": len({one.row.group for one in judged}),
        "scored_share": scored_share(judged, pooled),
        "pooled": summary(pooled),
        "per_class": {key: value.tolist() for key, value in per_class(pooled).items()},
        "confusion_matrix": pooled.tolist(),
        "per_image": _spreads([one.matrix for one in judged if one.matrix is not None], classes, ddof),
        "per_group": _spreads(list(group_matrices(judged).values()), classes, ddof),
        "classifier": {
            "n": int(labels.sum()),
            "accuracy": summary(labels)["accuracy"],
            "macro_f1": summary(labels)["macro_f1"],
            "confusion_matrix": labels.tolist(),
        },
        **of_boundaries,
    }


def scored_share(judged: Sequence[Judged], pooled: np.ndarray) -> float | None:
    """The share of the masks' pixels of which the class is known, 0..1; None without masks."""
    pixels = sum(one.pixels for one in judged)
    return float(pooled.sum()) / pixels if pixels else None


def group_matrices(judged: Sequence[Judged]) -> dict[str, np.ndarray]:
    """Confusion matrix of each group that has a mask, by name."""
    matrices: dict[str, np.ndarray] = {}
    for one in judged:
        if one.matrix is not None:
            matrices[one.row.group] = matrices.get(one.row.group, 0) + one.matrix
    return dict(sorted(matrices.items()))


def own_figures(matrix: np.ndarray, classes: Classes) -> dict[str, float]:
    """`summary` of i64[C,C], and precision, recall, F1 and IoU by class, 0..1, NaN where it has no pixel."""
    of_class, there = per_class(matrix), matrix.sum(1) > 0
    return summary(matrix) | {
        f"{kind}_{name}": float(of_class[kind][code]) if there[code] else float("nan")
        for kind in ("f1", "precision", "recall", "iou")
        for code, name in enumerate(classes.names)
    }


def _spreads(matrices: Sequence[np.ndarray], classes: Classes, ddof: int) -> dict[str, dict[str, float]]:
    summaries = [own_figures(matrix, classes) for matrix in matrices]
    names = summaries[0] if summaries else ()
    return {name: spread([one[name] for one in summaries], ddof) for name in names}


EVALUATION = (
    "metrics.json", "per_class.csv", "confusion_matrix.csv", "per_image.csv", "per_group.csv",
    "confusion.png", "confusion_classifier.png", "reliability.png", "retained.png",
)  # fmt: skip
"""The files of an evaluation; the pictures are `evaluate`'s."""


def write_evaluation(
    folder: Path,
    judged: Sequence[Judged],
    result: dict[str, Any],
    classes: Classes,
    context: dict[str, Any],
) -> None:
    """Writes metrics.json, per_class.csv, per_image.csv, per_group.csv and confusion_matrix.csv.

    Args:
      folder: made where it does not exist.
      judged: what `judge` gave.
      result: its `figures`, and what else is to stand in metrics.json.
      classes: the classes.
      context: run, manifest and split, kept at the top of metrics.json.
    """
    import pandas as pd  # here, since training imports this module and needs no table before its first step

    write_json(folder / "metrics.json", {**context, **result})
    table = pd.DataFrame(result["per_class"], index=pd.Index(classes.names, name="class"))
    if "boundaries" in result:
        of_class = result["boundaries"]["per_class"].values()
        table["boundary_f1"] = [one["boundary_f1"] for one in of_class]
        table["hd95"] = [one["hd95"]["mean"] for one in of_class]
        table["hd95_n"] = [one["hd95"]["n"] for one in of_class]
    write_text(folder / "per_class.csv", table_text(table, index=True))
    matrix = pd.DataFrame(result["confusion_matrix"], classes.names, classes.names)
    write_text(
        folder / "confusion_matrix.csv", table_text(matrix.rename_axis("truth \\ predicted"), index=True)
    )
    images = pd.DataFrame(_per_image(judged, classes))
    write_text(folder / "per_image.csv", table_text(images))
    groups = [
        {"group": name, "pixels": int(matrix.sum()), **own_figures(matrix, classes)}
        for name, matrix in group_matrices(judged).items()
    ]
    columns = ["group", "pixels", *own_figures(np.zeros((len(classes),) * 2), classes)]
    table = pd.DataFrame(groups, columns=columns)
    write_text(folder / "per_group.csv", table_text(table))


def _per_image(judged: Sequence[Judged], classes: Classes) -> list[dict[str, Any]]:
    records = []
    for one in judged:
        record: dict[str, Any] = {"image": one.row.image.name, "line": one.row.line, "group": one.row.group}
        record["label"] = "" if one.row.label == IGNORE_LABEL else classes.names[one.row.label]
        record["classifier"] = "" if one.label == IGNORE_LABEL else classes.names[one.label]
        if one.matrix is not None:
            record |= own_figures(one.matrix, classes)
        if one.boundaries is not None:
            record["hd95_any"] = float(one.boundaries.hd95[-1])
        records.append(record)
    return records
