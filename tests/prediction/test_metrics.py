import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from l2s_jax.prediction.metrics import bach_score, confusion_matrix, per_class, spread, summary
from l2s_jax.types import IGNORE_PIXEL


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 200), st.integers(0, 10_000))
def test_equal_to_scikit_learn(classes, n, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, max(classes - 1, 1), n)  # the last class is often absent
    predicted = np.where(rng.random(n) < 0.6, truth, rng.integers(0, classes, n))
    labels = list(range(classes))
    matrix = confusion_matrix(truth, predicted, classes)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(truth, predicted, labels=labels))
    p, r, f, _ = sk.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    ours = per_class(matrix)
    for name, expected in (("precision", p), ("recall", r), ("f1", f)):
        np.testing.assert_allclose(ours[name], expected, rtol=1e-12)
    iou = sk.jaccard_score(truth, predicted, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(ours["iou"], iou, rtol=1e-12)
    means = summary(matrix)
    present = np.unique(truth)

    def f1(average, labels=None):
        return sk.f1_score(truth, predicted, labels=labels, average=average, zero_division=0)

    for name, expected in (
        ("accuracy", sk.accuracy_score(truth, predicted)),
        ("micro_f1", f1("micro")),
        ("macro_f1", f1("macro", present)),
        ("macro_f1_all", f1("macro", labels)),
        ("macro_f1_seen", f1("macro")),
        ("weighted_f1", f1("weighted")),
        ("mean_iou", iou[present].mean()),
    ):
        np.testing.assert_allclose(means[name], expected, rtol=1e-12, err_msg=name)


def test_ignored_pixels_are_left_out():
    truth = np.array([[0, 1], [IGNORE_PIXEL, 1]], np.uint8)
    matrix = confusion_matrix(truth, np.array([[0, 0], [1, 1]]), 2)
    np.testing.assert_array_equal(matrix, [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(truth, np.zeros(3), 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_permuting_classes_permutes_the_matrix(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, (2, 100))
    order = rng.permutation(4)
    matrix = confusion_matrix(truth, predicted, 4)
    permuted = confusion_matrix(order[truth], order[predicted], 4)
    np.testing.assert_array_equal(permuted[np.ix_(order, order)], matrix)


def test_bach_score_equals_the_published_formula(rng):
    truth, predicted = rng.integers(0, 4, (2, 500))
    counted = (truth > 0) | (predicted > 0)
    worst = np.maximum(np.abs(truth - 0), np.abs(truth - 3)) * counted
    expected = 1 - np.abs(predicted - truth).sum() / worst.sum()
    np.testing.assert_allclose(bach_score(confusion_matrix(truth, predicted, 4)), expected, rtol=1e-12)
    assert np.isnan(bach_score(np.diag([5, 0, 0, 0])))
    assert bach_score(np.diag([5, 1, 2, 3])) == 1


def test_empty_matrix_is_nan_not_zero():
    assert all(np.isnan(value) for value in summary(np.zeros((3, 3))).values())


def test_spread_names_its_ddof():
    assert spread([1.0, 3.0, float("nan")]) == {"mean": 2.0, "sd": np.sqrt(2), "n": 2, "ddof": 1}
    assert spread([1.0, 3.0], ddof=0)["sd"] == 1.0
    one = spread([1.0])
    assert one["n"] == 1 and np.isnan(one["sd"])
