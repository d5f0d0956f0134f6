"""What more masks would bring, and what labels are worth in masks: drawn curves, and data that was hidden."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.commands import l2s
from helpers.results_generator import CURVES, write_results
from l2s_jax.reports.forecast import WIDEST, forecast_text, forecasts
from l2s_jax.reports.mask_worth import worth_text, worths
from l2s_jax.reports.names import percent_text
from l2s_jax.reports.reading import read_results

ROOT = Path(__file__).parents[2]
SHARES = (1.0, 2.5, 5.0, 10.0, 25.0, 100.0)


def table(rng, score, percents=(5.0, 10.0, 25.0), noise=0.003, draws=5, methods=("S", "S+C")):
    """Runs whose scores are `score(setting, percent)` and noise, of 200 masks, and 150 labels beside S."""
    return pd.DataFrame(
        [
            {"run": f"{s}{p}d{d}", "variant": "mine", "setting": s, "percent": p, "draw": d,
             "dataset": "mine", "n_mask": 2 * p, "n_label": 0 if s == "S" else 150,
             "macro_f1": score(s, p) + rng.normal(0, noise)}
            for s in methods for p in percents for d in range(draws)
        ]
    )  # fmt: skip


def rising(setting, percent):
    """5 points a doubling; S+C is as far as S with four times the masks."""
    return 0.3 + 0.05 * math.log2(percent * (4 if setting == "S+C" else 1))


@pytest.mark.parametrize("flat", [0.0, 0.5, 1.0])
def test_a_forecast_holds_what_comes_while_the_curve_does_not_get_steeper(flat):
    """On curves that keep so much of their gain, over 40 draws of the noise."""
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        for one in forecasts(table(rng, rising, methods=("S",)), "macro_f1", seed=seed):
            truth = rising("S", 25) + flat * 0.05 * math.log2(one.times)
            held.append(one.low <= truth <= one.high)
            assert not one.reason and one.low < one.score < one.high < one.low + WIDEST
    assert np.mean(held) > 0.85


def test_the_masks_are_counted_and_a_level_curve_brings_nothing(rng):
    found = forecasts(table(rng, lambda *_: 0.5, noise=1e-6), "macro_f1")
    assert [one.masks for one in found] == [100, 200, 100, 200]
    assert all(abs(one.score - 0.5) < 1e-4 for one in found)
    assert "2 times the masks of 25% (100): macro F1 of about 50.0" in forecast_text(found[0], "macro_f1")


def test_where_it_cannot_be_told_there_is_a_reason(rng):
    (few,) = forecasts(table(rng, rising, percents=(25.0,), methods=("S",)), "macro_f1", (2,))
    assert "needs 2 shares" in few.reason and math.isnan(few.score)
    (single,) = forecasts(table(rng, rising, draws=1, methods=("S",)), "macro_f1", (2,))
    assert "needs 2 shares" in single.reason
    (noisy,) = forecasts(table(rng, rising, noise=0.2, draws=3, methods=("S",)), "macro_f1", (4,))
    assert "too uncertain" in noisy.reason and "no forecast" in forecast_text(noisy, "macro_f1")
    (far,) = forecasts(table(rng, rising, methods=("S",)), "macro_f1", (8,))
    assert "beyond 4 times" in far.reason


def test_labels_are_told_in_masks(rng):
    shares = (1.0, 2.5, 5.0, 10.0, 25.0)
    found = {one.percent: one for one in worths(table(rng, rising, shares, noise=1e-4), "macro_f1")}
    for percent in (1.0, 2.5, 5.0):
        one = found[percent]
        assert one.equal == pytest.approx(4 * one.masks, rel=0.05) and one.low < one.equal < one.high
        assert one.labels_a_mask == pytest.approx(150 / (3 * one.masks), rel=0.08)
        assert one.labels_a_mask_low < one.labels_a_mask < one.labels_a_mask_high
    assert "above what S has at 25%" in found[10.0].reason
    assert "10 labels are worth one more mask" in worth_text(found[2.5])


def test_labels_that_do_harm_are_worth_no_mask(rng):
    shares = (1.0, 2.5, 5.0, 10.0, 25.0)
    worse = lambda setting, percent: rising("S", percent) - (0.08 if setting == "S+C" else 0)  # noqa: E731
    found = {one.percent: one for one in worths(table(rng, worse, shares, noise=1e-3), "macro_f1")}
    assert found[10.0].labels_a_mask == math.inf and "worth no mask" in worth_text(found[10.0])
    assert "below what S has at 1%" in found[1.0].reason
    assert worths(table(rng, rising, (5.0, 10.0)), "macro_f1") == []
    assert worths(table(rng, rising, shares).drop(columns="n_label"), "macro_f1") == []


def test_the_command_says_both(tmp_path, capsys):
    write_results(tmp_path, methods=list(CURVES)[:3], noise=0.005)
    assert l2s("plan", tmp_path) == 0
    said = capsys.readouterr().out
    assert "2 times the masks of 100%" in said and "masks and" in said
    ahead, worth = (pd.read_csv(tmp_path / "report" / f"plan_{name}.csv") for name in ("ahead", "worth"))
    assert set(ahead["times"]) == {2, 4} and {"equal", "labels_a_mask", "reason"} <= set(worth)


def hidden():
    """Rows of the page on forecasts, from the committed results: two shares for the one that follows."""
    cells = read_results(ROOT / "experiments" / "results" / "ebhi").cells
    for first, second, target in zip(SHARES, SHARES[1:], SHARES[2:], strict=False):
        known = cells[cells["percent"].isin((first, second))]
        for one in forecasts(known, "macro_f1", (target / second,)):
            of_method = (cells["variant"] == one.variant) & (cells["setting"] == one.setting)
            came = cells.loc[of_method & (cells["percent"] == target), "macro_f1"]
            if len(came) and set(known.loc[of_method, "percent"]) == {first, second}:
                yield (
                    one,
                    f"{percent_text(first)}%, {percent_text(second)}%",
                    f"{percent_text(target)}%",
                    came,
                )


def rows_of_page():
    inside, told = 0, 0
    for one, shares, target, came in hidden():
        name = f"{one.setting} ({one.variant})"
        real = f"{100 * came.mean():.1f} ± {100 * came.std(ddof=1):.1f}"
        if one.reason:
            yield f"| {name} | {shares} | {target} | refused | | {real} | |"
            continue
        ok = one.low <= came.mean() <= one.high
        inside, told = inside + ok, told + 1
        spread = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
        told_of = f"{100 * one.score:.1f} | {spread} | {real} | {'yes' if ok else 'no'}"
        yield f"| {name} | {shares} | {target} | {told_of} |"
    yield f"{inside} of {told}"


def test_the_page_has_what_comes_of_hiding_the_committed_results():
    text = (ROOT / "docs" / "experiments" / "forecasts.md").read_text()
    rows = list(rows_of_page())
    for row in rows:
        assert row in text, row
    assert len(re.findall(r"^\| S", text, re.M)) == len(rows) - 1
