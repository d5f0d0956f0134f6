"""HD95 and boundary F1 against brute force over pairs of pixels, and by hand."""

import numpy as np
import pytest

from l2s_jax.prediction.boundaries import boundary_figures, compare_boundaries
from l2s_jax.types import IGNORE_PIXEL

C = 3


def patches(rng, shape=(23, 31)):
    """Two maps of blobs, a tenth of the truth unknown."""
    truth, said = (rng.integers(0, C, (6, 8)).repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]] for _ in "12")
    truth = truth.astype(np.uint8)
    truth[rng.random(shape) < 0.1] = IGNORE_PIXEL
    return truth, np.where(rng.random(shape) < 0.4, said, truth % C)


def pixels_at_boundaries(codes, truth, code):
    """Pixel by pixel, as the module's docstring says; `code` C is any class."""
    found = []
    for row, column in np.ndindex(codes.shape):
        for there in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if not all(0 <= place < side for place, side in zip(there, codes.shape, strict=True)):
                continue
            if IGNORE_PIXEL in (truth[row, column], truth[there]):
                continue
            own, other = codes[row, column], codes[there]
            if own != other and code in (own, C):
                found.append((row, column))
                break
    return np.array(found).reshape(-1, 2)


def nearest(some, others):
    return np.sqrt(((some[:, None] - others[None]) ** 2).sum(-1)).min(1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5])
def test_boundaries_are_those_of_brute_force(seed, tolerance):
    truth, said = patches(np.random.default_rng(seed))
    found = compare_boundaries(truth, said, C, tolerance)
    for code in range(C + 1):
        true, predicted = (pixels_at_boundaries(codes, truth, code) for codes in (truth, said))
        missed, wrong = nearest(true, predicted), nearest(predicted, true)
        counts = len(true), (missed <= tolerance).sum(), len(predicted), (wrong <= tolerance).sum()
        np.testing.assert_array_equal(found.counts[code], counts)
        np.testing.assert_allclose(
            found.hd95[code], max(np.percentile(missed, 95), np.percentile(wrong, 95)), rtol=1e-12
        )


def test_boundaries_by_hand():
    """An upright boundary, and the same three pixels to the right."""
    truth, said = (np.zeros((10, 20), np.uint8) for _ in "12")
    truth[:, 8:], said[:, 11:] = 1, 1
    found = compare_boundaries(truth, said, 2, 2.0, mpp=0.5)
    np.testing.assert_array_equal(found.counts, [[10, 0, 10, 0]] * 2 + [[20, 10, 20, 10]])
    # Of any class the boundary is two pixels wide: its near side is 2 away, its far one 3.
    np.testing.assert_array_equal(found.hd95, [3.0, 3.0, 3.0])
    figures = boundary_figures([found], ("a", "b"))
    assert figures["boundary_f1"] == 0 and figures["hd95"] == 3 and figures["hd95_um"] == 1.5
    assert figures["any_class"]["boundary_f1"] == 0.5
    assert boundary_figures([compare_boundaries(truth, said, 2, 3.0)], ("a", "b"))["boundary_f1"] == 1


def test_one_far_island_is_in_the_larger_direction():
    """As in findings/hausdorff95-is-two-measures.sh: both directions together would give 0."""
    truth = np.zeros((100, 100), np.uint8)
    truth[20:60, 20:60] = 1
    said = truth.copy()
    said[80:85, 80:85] = 1
    rim = [(r, c) for r in range(80, 85) for c in range(80, 85) if r in (80, 84) or c in (80, 84)]
    away = [np.hypot(r - 59, c - 59) for r, c in rim]
    apart = np.r_[np.zeros(156), away]
    assert np.percentile(np.r_[apart, np.zeros(156)], 95) == 0
    found = compare_boundaries(truth, said, 2, 2.0)
    assert found.hd95[1] == pytest.approx(np.percentile(apart, 95)) and found.hd95[1] > 29


def test_what_is_not_known_and_the_edge_of_the_picture_are_no_boundary():
    truth = np.zeros((12, 12), np.uint8)
    truth[:, 6:] = 1
    said = truth.copy()
    assert (compare_boundaries(truth, said, 2, 0.0).counts[:2] == 12).all()
    truth[:, 5:7] = IGNORE_PIXEL  # the boundary itself: what is beside it may go on
    found = compare_boundaries(truth, said, 2, 0.0)
    assert not found.counts.any() and np.isnan(found.hd95).all()
    said[:, :3] = 1  # a boundary that is made up where truth is known
    np.testing.assert_array_equal(compare_boundaries(truth, said, 2, 0.0).counts[0], [0, 0, 12, 0])


def test_a_class_that_is_absent_in_a_picture():
    """Missed and made up count in boundary F1, are left out of HD95 and counted; neither says nothing."""
    plain, half = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    half[:, 4:] = 1
    judged = [
        compare_boundaries(*pair, 3, 0.0)
        for pair in ((half, half), (half, plain), (plain, half), (plain, plain))
    ]
    figures = boundary_figures(judged, ("a", "b", "never"))
    of_b = figures["per_class"]["b"]
    assert (of_b["missed"], of_b["made_up"], of_b["hd95"]["n"], of_b["hd95"]["mean"]) == (1, 1, 1, 0.0)
    assert of_b["boundary_precision"] == of_b["boundary_recall"] == of_b["boundary_f1"] == 0.5
    never = figures["per_class"]["never"]
    assert np.isnan(never["boundary_f1"]) and never["hd95"]["n"] == never["missed"] == never["made_up"] == 0
    assert figures["boundary_f1"] == 0.5 and figures["hd95"] == 0.0 and figures["hd95_um"] is None
    missed = boundary_figures([compare_boundaries(half, plain, 3, 0.0)], ("a", "b", "never"))
    assert missed["boundary_f1"] == 0.0 and np.isnan(missed["hd95"])


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\), prediction \(2, 3\)"):
        compare_boundaries(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2, 1.0)
