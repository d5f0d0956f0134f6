import math

import numpy as np
import pandas as pd
import pytest

from helpers.commands import l2s
from helpers.results_generator import CURVES, percent_at, score_at, write_results
from l2s_jax import UserError, plan_masks
from l2s_jax.reports.mask_curves import fit_curves, largest_fall, misfit, moderated_variances
from l2s_jax.reports.plan_output import plan_table
from l2s_jax.reports.planning import plan

TWO = [("paper", "S"), ("paper", "S+C")]
PERCENTS = (1.0, 5.0, 10.0, 25.0, 100.0)


def table(rng, noise=0.01, draws=5, methods=TWO, percents=PERCENTS, score=score_at):
    return pd.DataFrame(
        [
            {"run": f"{v}{s}{p}d{d}", "variant": v, "setting": s, "percent": p, "draw": d, "n_mask": 2 * p,
             "macro_f1": score((v, s), p) + rng.normal(0, noise)}
            for v, s in methods for p in percents for d in range(draws)
        ]
    )  # fmt: skip


def one(answers, setting, target):
    (answer,) = (a for a in answers if a.setting == setting and a.target == target)
    return answer


@pytest.mark.parametrize("power", [-1.0, -0.3, 0.0, 0.5])
def test_a_curve_of_the_family_is_found_again(power):
    share = np.array([0.01, 0.05, 0.2, 0.5, 1.0])
    rise = np.log(share) if power == 0 else (share**power - 1) / power
    curve = fit_curves(share, np.ones(5), (0.7 + 0.02 * rise)[None])
    assert curve.power[0] == pytest.approx(power) and curve.top[0] == pytest.approx(0.7)
    np.testing.assert_allclose(curve.reaching(curve.at(share)[0, [2]]), 0.2, rtol=1e-6)
    assert misfit(curve, share, np.ones(5), curve.at(share))[0] == pytest.approx(0, abs=1e-12)


def test_falling_means_give_a_level_curve_that_reaches_nothing_above_it():
    curve = fit_curves(np.array([0.1, 0.5, 1.0]), np.ones(3), np.array([[0.9, 0.8, 0.7]]))
    assert curve.rise[0] == 0 and curve.top[0] == pytest.approx(0.8)
    assert curve.reaching(np.array([0.85]))[0] == math.inf and curve.reaching(np.array([0.75]))[0] == 0
    np.testing.assert_allclose(largest_fall(np.array([[0.1, 0.5, 0.3, 0.4], [1, 2, 3, 4]])), [0.2, 0])


def test_what_saturates_below_a_score_never_reaches_it():
    share = np.array([0.01, 0.1, 1.0])
    curve = fit_curves(share, np.ones(3), (0.7 - 0.01 * (1 / share - 1))[None])
    assert curve.reaching(np.array([0.72]))[0] == math.inf


def test_variances_that_agree_are_pooled_and_others_are_left(rng):
    alike = rng.chisquare(2, 400) / 2
    pooled, df = moderated_variances(alike, np.full(400, 2.0))
    assert pooled.std() < 0.2 * alike.std() and df.min() > 8 and 0.9 < pooled.mean() < 1.1
    spread = alike * np.exp(rng.normal(0, 3, 400))
    kept, df = moderated_variances(spread, np.full(400, 2.0))
    assert np.corrcoef(np.log(kept), np.log(spread))[0, 1] > 0.95 and df.max() < 3
    np.testing.assert_array_equal(moderated_variances(np.zeros(4), np.ones(4))[0], np.zeros(4))


def test_exact_curves_give_exact_answers(rng):
    answers, _ = plan(table(rng, noise=1e-6), "macro_f1")
    for method in TWO:
        for target in (90, 95, 99):
            answer = one(answers, method[1], target)
            full = score_at(("paper", "S"), 100)
            assert answer.percent == pytest.approx(percent_at(method, full * target / 100), rel=0.02)
            assert answer.low <= answer.percent <= answer.high
            assert answer.masks == math.ceil(2 * answer.percent)


@pytest.mark.slow
@pytest.mark.parametrize("draws, noise", [(3, 0.01), (5, 0.015)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(draws, noise):
    held, half = [], []
    for seed in range(40):
        answers, _ = plan(table(np.random.default_rng(seed), noise, draws), "macro_f1", seed=seed)
        for answer in answers:
            if not answer.reason:
                method = (answer.variant, answer.setting)
                truth = percent_at(method, score_at(("paper", "S"), 100) * answer.target / 100)
                held.append(answer.low <= truth <= answer.high)
                middle, ends = math.log(answer.percent), (max(answer.low, answer.smallest), answer.high)
                low, high = (middle + (math.log(end) - middle) / 2 for end in ends)
                half.append(low <= math.log(truth) <= high)
    # Answers of one data set share its full-mask score, so that 40 data sets count, not all answers.
    assert len(held) > 140 and 0.88 < np.mean(held) <= 1
    # Half an interval of a normal error holds 67%: intervals are not wide for safety's sake either.
    assert 0.5 < np.mean(half) < 0.85


def test_more_noise_widens_the_interval_until_there_is_no_answer():
    widths = []
    for noise in (0.002, 0.01):
        answer = one(plan(table(np.random.default_rng(1), noise), "macro_f1")[0], "S+C", 95)
        widths.append(answer.high / answer.low)
    assert widths[1] > 2 * widths[0]
    noisy = one(plan(table(np.random.default_rng(1), 0.08), "macro_f1")[0], "S+C", 95)
    assert noisy.reason and math.isnan(noisy.percent) and math.isnan(noisy.masks)


def bent(method, percent):
    """S as it is; S+C falls in the middle."""
    return 0.3 if method[1] == "S+C" and percent == 10 else score_at(method, percent)


def wavy(method, percent):
    """S as it is; S+C rises in two steps, as no curve of the family does."""
    steps = {1: 0.5, 5: 0.501, 10: 0.502, 25: 0.7, 40: 0.701, 100: 0.702}
    return steps[percent] if method[1] == "S+C" else score_at(method, percent)


def level(method, percent):
    return 0.69 if method[1] == "S+C" else score_at(method, percent)


def low(method, percent):
    return score_at(method, percent) - (0.2 if method[1] == "S+C" else 0)


REFUSED = {
    "no S at 100": ({"percents": (1.0, 5.0, 25.0)}, "no S at 100%"),
    "no S": ({"methods": [("paper", "S+C")]}, "no S at 100%"),
    "two shares": (
        {"percents": (5.0, 100.0)},
        "a curve needs 3 shares above 0 with 2 or more draws each; there are 2",
    ),
    "one draw": ({"draws": 1}, "S at 100% has fewer than 2 draws"),
    "below what was measured": ({"score": level}, "reached already at 1%, the smallest share measured"),
    "above what was measured": ({"score": low}, "not reached up to 100%, the largest share measured"),
    "falls": ({"score": bent}, "falls with more masks, by more than its noise explains"),
    "another shape": (
        {"score": wavy, "percents": (1.0, 5.0, 10.0, 25.0, 40.0, 100.0), "noise": 0.002},
        "do not lie on the fitted curve",
    ),
    "too noisy": ({"noise": 0.05, "draws": 3}, "too uncertain"),
    "nothing but noise": ({"score": lambda *_: -0.1}, "a share of it means nothing"),
}


@pytest.mark.parametrize("options, reason", REFUSED.values(), ids=REFUSED)
def test_where_the_data_cannot_say_there_is_a_reason(options, reason):
    answers, _ = plan(table(np.random.default_rng(3), **{"noise": 0.005, **options}), "macro_f1")
    answer = one(answers, "S+C", 95)
    assert reason in answer.reason and math.isnan(answer.percent) and math.isnan(answer.high)


def test_shares_with_one_draw_and_no_masks_do_not_count(rng):
    cells = table(rng, noise=0.003)
    more = pd.concat([cells, table(rng, percents=(0.0,)), table(rng, percents=(60.0,), draws=1)])
    before, after = (one(plan(cells, "macro_f1")[0], "S+C", 95) for cells in (cells, more))
    assert before.percent == pytest.approx(after.percent, rel=1e-6)
    few = pd.concat([cells[cells["percent"] != 5], table(rng, percents=(5.0,), draws=1)])
    few = few[few["percent"].isin([5, 10, 100])]
    assert "(1 have a single draw)" in one(plan(few, "macro_f1")[0], "S+C", 95).reason


def test_a_variant_without_s_is_measured_against_the_first(rng):
    methods = [*TWO, ("labelset", "S+C")]
    answers, fitted = plan(table(rng, noise=0.003, methods=methods), "macro_f1")
    labelset = [a for a in answers if a.variant == "labelset"]
    assert {a.score for a in labelset} == {a.score for a in answers if a.variant == "paper"}
    assert len(fitted) == 3


def test_s_reaches_its_own_score_at_100_at_the_latest():
    for seed in range(20):
        answer = one(plan(table(np.random.default_rng(seed), 0.02, 3), "macro_f1")[0], "S", 99)
        assert "not reached" not in answer.reason and not answer.high > 100


def test_the_same_data_give_the_same_answers(rng):
    cells = table(rng)
    assert plan(cells, "macro_f1", seed=4)[0] == plan(cells, "macro_f1", seed=4)[0]


def test_scores_chosen_on_test_are_marked(rng):
    answers, _ = plan(table(rng).assign(selection="test-maximum"), "macro_f1")
    assert all(answer.on_test for answer in answers)
    shown = plan_table(answers, "macro_f1")
    assert shown.rows[0][0].marks == ("a",) and "test split itself" in shown.notes[0][1]


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_results(tmp_path, methods=list(CURVES)[:4], noise=0.005)
    before = (tmp_path / "plan.csv").read_text()
    assert l2s("plan", tmp_path) == 0
    out = capsys.readouterr().out
    assert "S+C (paper), 90%: " in out and "% of the masks (" in out
    written = pd.read_csv(tmp_path / "report" / "plan_masks.csv")
    assert len(written) == 12 and {"percent", "low", "high", "masks", "reason"} <= set(written)
    assert (tmp_path / "report" / "plan_masks.svg").read_text().startswith("<?xml")
    assert (tmp_path / "plan.csv").read_text() == before  # the sweep's own
    assert l2s("plan", tmp_path, "--target", "80", "--metric", "micro_f1", "--out", tmp_path / "o") == 0
    assert set(pd.read_csv(tmp_path / "o" / "plan_masks.csv")["target"]) == {80}


def test_questions_that_make_no_sense(tmp_path, capsys):
    write_results(tmp_path, methods=TWO)
    assert l2s("plan", tmp_path, "--metric", "dice") == 2
    assert "no metric 'dice'" in (err := capsys.readouterr().err) and "known: macro_f1" in err
    assert l2s("plan", tmp_path, "--target", "120") == 2
    assert "target = (120.0,) must be above 0 and at most 100" in capsys.readouterr().err
    assert l2s("plan", tmp_path / "absent") == 2 and "not found" in capsys.readouterr().err
    write_results(tmp_path, study="classification")
    with pytest.raises(UserError, match="classification study"):
        plan_masks(tmp_path, "macro_f1")
