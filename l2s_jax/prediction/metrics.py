"""Every metric as a function of the confusion matrix (section 3.2). Rows are truth, columns prediction."""

from typing import Any

import numpy as np

from l2s_jax.types import IGNORE_PIXEL


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts i64[C,C] of (truth, predicted) pairs; pairs whose truth is IGNORE_PIXEL are left out.

    Args:
      truth: class codes, any shape, integer.
      predicted: class codes 0..C-1, of the same shape.
      classes: C.

    Raises:
      ValueError: the shapes differ.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {predicted.shape}")
    known = truth != IGNORE_PIXEL
    pairs = truth[known].astype(np.int64) * classes + predicted[known].astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1, IoU by class, f64[C] in 0..1, 0 where undefined; true and predicted counts."""
    matrix = np.asarray(matrix, np.float64)
    hit, truth, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {
        "precision": _ratio(hit, predicted),
        "recall": _ratio(hit, truth),
        "f1": _ratio(2 * hit, truth + predicted),
        "iou": _ratio(hit, truth + predicted - hit),
        "truth": truth,
        "predicted": predicted,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def summary(matrix: np.ndarray) -> dict[str, float]:
    """Averages over classes, each under its own name, in 0..1; NaN where there is no pixel.

    accuracy and micro_f1 are the same number. macro_f1 averages the classes that occur in the truth,
    macro_f1_all all classes (an absent one counts 0), macro_f1_seen those in truth or prediction
    (scikit-learn's default). weighted_f1 weights by truth, which is how section 3.2 describes "micro".
    mean_iou averages the classes that occur in the truth.
    """
    names = ("accuracy", "micro_f1", "macro_f1", "macro_f1_all", "macro_f1_seen", "weighted_f1", "mean_iou")
    total = np.sum(matrix)
    if total == 0:
        return dict.fromkeys(names, float("nan"))
    scores = per_class(matrix)
    present, seen = scores["truth"] > 0, scores["truth"] + scores["predicted"] > 0
    accuracy = float(np.trace(matrix) / total)
    return {
        "accuracy": accuracy,
        "micro_f1": accuracy,
        "macro_f1": float(scores["f1"][present].mean()),
        "macro_f1_all": float(scores["f1"].mean()),
        "macro_f1_seen": float(scores["f1"][seen].mean()),
        "weighted_f1": float((scores["f1"] * scores["truth"]).sum() / total),
        "mean_iou": float(scores["iou"][present].mean()),
    }


def bach_score(matrix: np.ndarray) -> float:
    """The BACH challenge's score for ordered classes 0..C-1 with 0 normal; 1 is perfect.

    1 - sum |p - g| / sum max(|g - 0|, |g - (C-1)|) over the pixels where prediction or truth is not 0.
    NaN where there is no such pixel.
    """
    classes = len(matrix)
    truth, predicted = np.indices((classes, classes))
    counted = np.where((truth > 0) | (predicted > 0), matrix, 0).astype(np.float64)
    worst = (counted * np.maximum(truth, classes - 1 - truth)).sum()
    return float(1 - (counted * np.abs(predicted - truth)).sum() / worst) if worst else float("nan")


def spread_text(one: dict[str, float], what: str) -> str:
    """What `spread` gives, in words; a single value has no deviation."""
    if one["n"] <= one["ddof"]:
        return f"{one['mean']:.4f} over {one['n']} {what}"
    return f"{one['mean']:.4f} +- {one['sd']:.4f} over {one['n']} {what} (sd, ddof {one['ddof']})"


def spread(values: Any, ddof: int = 1) -> dict[str, float]:
    """Mean, standard deviation and n of the values that are not NaN, with the ddof that was used."""
    kept = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    sd = float(kept.std(ddof=ddof)) if len(kept) > ddof else float("nan")
    return {"mean": float(kept.mean()) if len(kept) else float("nan"), "sd": sd, "n": len(kept), "ddof": ddof}
