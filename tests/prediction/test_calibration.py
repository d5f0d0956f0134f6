"""Calibration figures, against NumPy on every pixel at once and scikit-learn's."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, f1_score, log_loss

from l2s_jax.figures.calibration import draw_reliability, draw_retained
from l2s_jax.figures.drawing import save_figure
from l2s_jax.prediction import calibration
from l2s_jax.prediction.calibration import (
    BINS,
    LEFT_OUT,
    added,
    calibration_figures,
    cells_of,
    empty_tally,
    overall,
    retained_figures,
)
from l2s_jax.prediction.temperature import (
    CellFile,
    NoTemperature,
    fit_temperature,
    is_uninformed,
    mean_surprise,
)
from l2s_jax.prediction.tiles import Answer
from l2s_jax.types import IGNORE_PIXEL

NAMES = ("background", "stroma", "gland", "mucus")
C = len(NAMES)


def pictures(rng, sure=3.0):
    """Pictures of cells and of pixels with masks, a fifth of them unknown; logits that say too much."""
    found = []
    for cell, side in ((8, 4), (1, 24), (8, 4), (1, 40)):
        logits = rng.normal(size=(side, side + cell % 3, C)).astype(np.float32)
        mask = (logits.argmax(-1)).astype(np.uint8).repeat(cell, 0).repeat(cell, 1)
        wrong = rng.random(mask.shape) < 0.4
        mask[wrong] = rng.integers(0, C, wrong.sum())
        mask[rng.random(mask.shape) < 0.2] = IGNORE_PIXEL
        found.append((Answer(sure * logits, logits[0, 0], cell), mask))
    return found


def pixels(found):
    """Logits f64[N,C] and class codes of all known pixels, one after the other."""
    logits = [one.logits.repeat(one.cell, 0).repeat(one.cell, 1)[mask != IGNORE_PIXEL] for one, mask in found]
    truth = [mask[mask != IGNORE_PIXEL] for _, mask in found]
    return np.concatenate(logits).astype(np.float64), np.concatenate(truth)


def tally_of(found, temperature=1.0):
    tally = empty_tally(C)
    for answer, mask in found:
        for cells in cells_of(answer, mask):
            tally = added(tally, cells, temperature)
    return tally


def plain_error(probability, hit):
    """Expected calibration error, bin by bin as the paper has it: the m-th holds ((m-1)/M, m/M]."""
    error = 0.0
    for m in range(BINS):
        inside = (probability > m / BINS) & (probability <= (m + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - probability[inside].mean())
    return error


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_figures_are_those_of_all_pixels_at_once(rng, temperature):
    found = pictures(rng)
    logits, truth = pixels(found)
    result = calibration_figures(tally_of(found, temperature), NAMES, temperature)
    chances = softmax(logits / temperature, -1)
    right = chances.argmax(-1) == truth
    assert result["n_pixels"] == len(truth) and result["bins"] == 15 and "15" in result["grouping"]
    assert result["temperature"] == temperature and result["calibrated"] == (temperature != 1)
    assert result["ece"] == pytest.approx(plain_error(chances.max(-1), right), rel=1e-12)
    assert result["ece"] > 0.05  # a figure that is always 0 would pass for another
    assert result["brier"] == pytest.approx(((chances - np.eye(C)[truth]) ** 2).sum(-1).mean(), rel=1e-12)
    for code, name in enumerate(NAMES):
        error = plain_error(chances[:, code], truth == code)
        assert result["per_class"]["ece"][code] == pytest.approx(error, rel=1e-12)
        assert sum(result["reliability"][name]["pixels"]) == len(truth)


def test_figures_are_those_of_scikit_learn(rng):
    found = pictures(rng)
    logits, truth = pixels(found)
    chances = softmax(logits, -1)
    result = calibration_figures(tally_of(found), NAMES, 1.0)
    assert result["nll"] == pytest.approx(log_loss(truth, chances), rel=1e-9)
    briers = []
    for code, name in enumerate(NAMES):
        shares, means = calibration_curve(truth == code, chances[:, code], n_bins=BINS, strategy="uniform")
        ours = result["reliability"][name]
        there = np.array(ours["pixels"]) > 0
        np.testing.assert_allclose(np.array(ours["share"])[there], shares, rtol=1e-12)
        np.testing.assert_allclose(np.array(ours["confidence"])[there], means, rtol=1e-12)
        briers.append(brier_score_loss(truth == code, chances[:, code]))
    np.testing.assert_allclose(result["per_class"]["brier"], briers, rtol=1e-12)
    assert result["brier"] == pytest.approx(sum(briers), rel=1e-12)
    shares, _ = calibration_curve(chances.argmax(-1) == truth, chances.max(-1), n_bins=BINS)
    ours = result["reliability"]["most probable class"]
    np.testing.assert_allclose(np.array(ours["share"])[np.array(ours["pixels"]) > 0], shares, rtol=1e-12)


def test_a_picture_gone_through_in_parts_gives_the_same(rng, monkeypatch):
    found = pictures(rng)
    whole = tally_of(found)
    monkeypatch.setattr(calibration, "PART", 50)
    assert len(list(cells_of(*found[1]))) > 5
    for one, other in zip(overall(whole).values(), overall(tally_of(found)).values(), strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_what_is_not_known_does_not_count(rng):
    answer, mask = pictures(rng)[0]
    nothing = tally_of([(answer, np.full_like(mask, IGNORE_PIXEL))])
    result = calibration_figures(nothing, NAMES, 1.0)
    assert result["n_pixels"] == 0 and np.isnan([result["ece"], result["brier"], result["nll"]]).all()
    assert all(record["pixels"] == 0 for record in retained_figures(nothing, NAMES))


def test_scores_of_what_is_kept_are_those_of_the_surest_pixels(rng):
    found = [pictures(rng)[3] for _ in range(12)]  # pixels that all differ, so that the border is sharp
    logits, truth = pixels(found)
    predicted = logits.argmax(-1)
    surest = np.argsort(-softmax(logits, -1).max(-1), kind="stable")
    records = retained_figures(tally_of(found), NAMES)
    assert [record["left_out"] for record in records] == list(LEFT_OUT) == [0, 0.05, 0.1, 0.2, 0.3, 0.5]
    for record in records:
        keep = surest[: round((1 - record["left_out"]) * len(truth))]
        assert record["pixels"] == pytest.approx((1 - record["left_out"]) * len(truth))
        accuracy = (truth[keep] == predicted[keep]).mean()
        assert record["accuracy"] == pytest.approx(accuracy, abs=2e-3)
        f1 = f1_score(truth[keep], predicted[keep], average=None)
        np.testing.assert_allclose(list(record["f1"].values()), f1, atol=3e-3)
        kept = np.bincount(truth[keep]) / np.bincount(truth)
        np.testing.assert_allclose(list(record["kept"].values()), kept, atol=3e-3)
        least = softmax(logits, -1).max(-1)[keep[-1]]
        assert record["confidence"] == pytest.approx(least, abs=1e-2)
    whole = confusion_matrix(truth, predicted)
    assert records[0]["accuracy"] == pytest.approx(np.trace(whole) / whole.sum(), rel=1e-12)


def test_pixels_that_are_equally_sure_count_in_part():
    """Where all are, what is left out is a part of each, and the score stays."""
    logits = np.zeros((8, 8, C), np.float32)
    logits[..., 1] = 2
    mask = np.where(np.arange(64).reshape(8, 8) % 4 == 0, 2, 1).astype(np.uint8)
    records = retained_figures(tally_of([(Answer(logits, logits[0, 0], 1), mask)]), NAMES)
    assert [record["accuracy"] for record in records] == pytest.approx([0.75] * len(records))
    assert [record["kept"]["gland"] for record in records] == pytest.approx([1 - x for x in LEFT_OUT])
    assert np.isnan(records[0]["kept"]["mucus"])


def test_the_temperature_is_the_most_likely_one(rng):
    """Beside another minimiser, in 1/T, on all pixels at once."""
    found = pictures(rng)
    logits, truth = pixels(found)

    def surprise(inverse):
        return -log_softmax(logits * inverse[0], -1)[np.arange(len(truth)), truth].mean()

    best = 1 / minimize(surprise, [1.0], method="BFGS", options={"gtol": 1e-9}).x[0]
    with CellFile(C) as cells:
        for answer, mask in found:
            for part in cells_of(answer, mask):
                cells.append(part)
        fitted = fit_temperature(cells)
        assert fitted == pytest.approx(best, rel=1e-3) and fitted > 1.5
        assert mean_surprise(cells, 1.0) == pytest.approx(surprise([1.0]), rel=1e-9)
        assert mean_surprise(cells, fitted) < mean_surprise(cells, 1.0)
        assert overall(tally_of(found, fitted))["nll"] == pytest.approx(mean_surprise(cells, fitted))


def test_a_temperature_is_found_again(rng):
    """Classes drawn from the softmax at a temperature of 0.6, 3 and 10 are best explained by it."""
    logits = (4 * rng.normal(size=(200, 200, C))).astype(np.float32)
    for true in (0.6, 3.0, 10.0):
        chances = softmax(logits.astype(np.float64) / true, -1)
        mask = (chances.cumsum(-1) < rng.random((200, 200, 1))).sum(-1).clip(0, C - 1).astype(np.uint8)
        cells = list(cells_of(Answer(logits, logits[0, 0], 1), mask))
        assert fit_temperature(cells) == pytest.approx(true, rel=0.05)


def test_masks_that_no_temperature_fits(rng):
    logits = rng.normal(size=(16, 16, C)).astype(np.float32)
    always = Answer(logits, logits[0, 0], 1)
    with pytest.raises(NoTemperature):
        fit_temperature(list(cells_of(always, logits.argmax(-1).astype(np.uint8))))
    wrong = fit_temperature(list(cells_of(always, logits.argmin(-1).astype(np.uint8))))
    assert is_uninformed(wrong) and not is_uninformed(5.0)


def test_figures_are_drawn(rng, tmp_path):
    tally = tally_of(pictures(rng))
    panels = calibration_figures(tally, NAMES, 1.0)["reliability"]
    figure = draw_reliability(panels, "val")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert len(drawn) == 1 + C and "gland" in drawn[3].get_title()
    _, line = drawn[0].get_lines()
    shares = np.array(panels["most probable class"]["share"])
    np.testing.assert_array_equal(line.get_ydata(), shares[np.isfinite(shares)])
    save_figure(figure, tmp_path / "reliability.png")
    save_figure(draw_retained(retained_figures(tally, NAMES), NAMES, "val"), tmp_path / "retained.png")
    assert (tmp_path / "reliability.png").stat().st_size and (tmp_path / "retained.png").stat().st_size
