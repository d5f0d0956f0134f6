"""How far predicted boundaries lie from true ones: HD95 and boundary F1. Touches no files.

A boundary of a class lies between two pixels, side by side or one above the other, of which one is of the
class and the other is not; the first is a boundary pixel of the class. Where the truth of either is not known
there is no boundary, neither a true nor a predicted one, and a picture's edge is none: what was not drawn, or
lies outside, may be of the same class. Distances are Euclidean, between centres of pixels.

*HD95* of a class in a picture is the larger of two 95th percentiles: of the distances of its true boundary
pixels from the nearest predicted one, and of the predicted ones from the nearest true one (NumPy's linear
percentile). Others put both directions together and get smaller numbers
(`findings/hausdorff95-is-two-measures.sh`).

*Boundary F1* (Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?") is that of
boundary pixels: a predicted one is right where a true one is within the tolerance, a true one is found where
a predicted one is. Here pixels are counted over all pictures, as in the other pooled figures.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.prediction.metrics import spread, spread_text
from l2s_jax.types import IGNORE_PIXEL

PERCENTILE = 95

COUNTS = ("truth", "found", "predicted", "right")


class Boundaries(NamedTuple):
    """What came out for one picture; its last row is of any class, all boundaries together."""

    counts: np.ndarray  # i64[C+1,4], boundary pixels: true, true and found, predicted, predicted and right
    hd95: np.ndarray  # f64[C+1], pixels; NaN where truth or prediction has no boundary
    tolerance: float  # of boundary F1, pixels
    mpp: float | None = None  # micrometres a pixel, where known


def compare_boundaries(
    truth: np.ndarray, predicted: np.ndarray, classes: int, tolerance: float, mpp: float | None = None
) -> Boundaries:
    """The boundaries of one picture.

    Args:
      truth: class codes u8[H,W]; IGNORE_PIXEL where not known.
      predicted: class codes [H,W], 0..C-1.
      classes: C.
      tolerance: of boundary F1, pixels.
      mpp: micrometres a pixel of the picture.

    Raises:
      ValueError: the shapes differ.
    """
    from scipy.spatial import KDTree  # here, since training starts without it

    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {predicted.shape}")
    known = truth != IGNORE_PIXEL
    on_true, on_predicted = (_at_boundaries(codes, known) for codes in (truth, predicted))
    counts, hd95 = np.zeros((classes + 1, len(COUNTS)), np.int64), np.full(classes + 1, np.nan)
    for code in range(classes + 1):
        true, said = (
            np.argwhere(on if code == classes else on & (codes == code))
            for on, codes in ((on_true, truth), (on_predicted, predicted))
        )
        counts[code, 0], counts[code, 2] = len(true), len(said)
        if len(true) and len(said):
            missed, wrong = KDTree(said).query(true)[0], KDTree(true).query(said)[0]
            counts[code, 1], counts[code, 3] = (missed <= tolerance).sum(), (wrong <= tolerance).sum()
            hd95[code] = max(np.percentile(missed, PERCENTILE), np.percentile(wrong, PERCENTILE))
    return Boundaries(counts, hd95, tolerance, mpp)


def _at_boundaries(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool[H,W]: pixels beside one of another class, both of known truth."""
    at = np.zeros(codes.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        apart = (codes[here] != codes[there]) & known[here] & known[there]
        at[here] |= apart
        at[there] |= apart
    return at


def boundary_figures(judged: Sequence[Boundaries], names: Sequence[str], ddof: int = 1) -> dict[str, Any]:
    """Figures of the boundaries of a set of pictures, ready for JSON.

    Of each class, and of any class: `boundary_f1` with its precision and recall (0..1, pooled over pictures;
    NaN where the class has no true boundary), and `hd95`, in pixels, the mean over the pictures in which
    truth and prediction both have a boundary of it, with sd, ddof and n. `missed` and `made_up` count the
    pictures that this leaves out: in which truth alone, or prediction alone, has one. Their pixels count as
    not found and as wrong in boundary F1. A picture where neither has one says nothing of the class.
    `hd95_um` is the same in micrometres where the scale of all pictures is known, else None. `boundary_f1`
    and `hd95` at the top are means over the classes that have a true boundary.

    Args:
      judged: pictures, one at least, all with one tolerance.
      names: of the classes.
      ddof: standard deviations divide by n - ddof.
    """
    counts = np.sum([one.counts for one in judged], 0)
    rows = [_of_class(judged, code, counts[code], ddof) for code in range(len(names) + 1)]
    there = [row for row, (truth, *_) in zip(rows[:-1], counts[:-1], strict=True) if truth]
    scaled = all(one.mpp is not None for one in judged)
    return {
        "tolerance_px": judged[0].tolerance,
        "boundary_f1": _mean([row["boundary_f1"] for row in there]),
        "hd95": _mean([row["hd95"]["mean"] for row in there]),
        "hd95_um": _mean([row["hd95_um"]["mean"] for row in there]) if scaled else None,
        "any_class": rows[-1],
        "per_class": dict(zip(names, rows[:-1], strict=True)),
    }


def _of_class(judged: Sequence[Boundaries], code: int, counts: np.ndarray, ddof: int) -> dict[str, Any]:
    truth, found, predicted, right = map(int, counts)
    scaled = all(one.mpp is not None for one in judged)
    pairs = [(bool(one.counts[code, 0]), bool(one.counts[code, 2])) for one in judged]
    in_um = [one.hd95[code] * (one.mpp or 1) for one in judged]
    return {
        "boundary_f1": _f1(truth, found, predicted, right),
        "boundary_precision": right / predicted if predicted else 0.0,
        "boundary_recall": found / truth if truth else float("nan"),
        "hd95": spread([one.hd95[code] for one in judged], ddof),
        "hd95_um": spread(in_um, ddof) if scaled else None,
        "missed": pairs.count((True, False)),
        "made_up": pairs.count((False, True)),
        "true_pixels": truth,
        "predicted_pixels": predicted,
    }


def _f1(truth: int, found: int, predicted: int, right: int) -> float:
    """Harmonic mean of precision and recall; NaN without a true boundary, 0 without a predicted one."""
    if not truth:
        return float("nan")
    precision, recall = right / predicted if predicted else 0.0, found / truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_lines(found: dict[str, Any]) -> list[str]:
    """The figures in a line or two."""
    anywhere = found["any_class"]
    left_out = f"; {anywhere['missed']} without a predicted one, {anywhere['made_up']} without a true one"
    in_um = "" if found["hd95_um"] is None else f" ({found['hd95_um']:.4g} um)"
    return [
        f"boundary F1 within {found['tolerance_px']:g} pixels: {found['boundary_f1']:.4f}, mean over "
        f"classes; {anywhere['boundary_f1']:.4f} of all boundaries",
        f"HD95 in pixels: {found['hd95']:.4g}{in_um}, mean over classes; of all boundaries "
        f"{spread_text(anywhere['hd95'], 'images')}{left_out}",
    ]


def _mean(values: Sequence[float]) -> float:
    """Of those that are not NaN; NaN without any."""
    kept = [value for value in values if value == value]
    return float(np.mean(kept)) if kept else float("nan")
