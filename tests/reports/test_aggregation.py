import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax import UserError, aggregate
from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.choosing import named_methods
from l2s_jax.reports.differences import differences_table, paired_differences, t_interval
from l2s_jax.reports.names import metric_columns
from l2s_jax.reports.text_table import to_csv

SCORE = st.one_of(st.just(math.nan), st.floats(0, 1, width=32))


@st.composite
def tables(draw):
    """Runs in few cells, each with rows of a few groups, in any order; metrics are sometimes undefined."""
    rows = []
    for number in range(draw(st.integers(1, 12))):
        cell = {
            "dataset": draw(st.sampled_from(["x", "y"])),
            "setting": draw(st.sampled_from(["S", "S+C"])),
            "percent": draw(st.sampled_from([0.0, 2.5, 100.0])),
            "draw": draw(st.integers(0, 3)),
        }
        for group in range(draw(st.integers(1, 3))):
            rows.append(
                {"run": f"r{number}", **cell, "group": f"g{group}", "a": draw(SCORE), "b": draw(SCORE)}
            )
    return pd.DataFrame(draw(st.permutations(rows)))


def brute_force(table, cell, metric, ddof):
    """Mean over runs of the mean over groups, written out."""
    values = []
    for run in dict.fromkeys(table["run"]):
        rows = [row for row in table.to_dict("records") if row["run"] == run]
        if tuple(rows[0][name] for name in ("dataset", "setting", "percent")) == cell:
            defined = [row[metric] for row in rows if not math.isnan(row[metric])]
            if defined:
                values.append(sum(defined) / len(defined))
    n = len(values)
    mean = sum(values) / n if n else math.nan
    squares = sum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (n - ddof)) if n > ddof else math.nan, n


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 2))
def test_means_and_spreads_are_those_of_the_definition(table, ddof):
    found = aggregate(table, ddof=ddof)
    cells = table[["dataset", "setting", "percent"]].drop_duplicates()
    assert len(found) == 2 * len(cells)
    for row in found.itertuples():
        expected = brute_force(table, (row.dataset, row.setting, row.percent), row.metric, ddof)
        np.testing.assert_allclose((row.mean, row.sd, row.n), expected, atol=1e-9)
        assert row.ddof == ddof and len(row.runs.split()) == row.n


@settings(max_examples=30, deadline=None)
@given(tables(), st.randoms())
def test_the_order_of_rows_does_not_matter(table, random):
    shuffled = table.iloc[random.sample(range(len(table)), len(table))]
    key = ["dataset", "setting", "percent", "metric"]
    one, other = (aggregate(t).set_index(key)[["mean", "sd", "n"]].sort_index() for t in (table, shuffled))
    pd.testing.assert_frame_equal(one, other)


def runs(**columns):
    table = {"run": ["a", "b"], "setting": ["S", "S"], "percent": [5, 5], "draw": [0, 1], "f1": [0.5, 0.7]}
    return pd.DataFrame({**table, **columns})


def test_one_run_has_a_mean_and_no_spread():
    (row,) = aggregate(runs().iloc[:1]).itertuples()
    assert row.mean == 0.5 and math.isnan(row.sd) and row.n == 1


def test_ddof_is_named_and_used():
    sample, population = aggregate(runs()), aggregate(runs(), ddof=0)
    assert sample["sd"][0] == pytest.approx(0.2 / math.sqrt(2)) and sample["ddof"][0] == 1
    assert population["sd"][0] == pytest.approx(0.1) and population["ddof"][0] == 0


def test_a_run_shown_in_two_cells_counts_in_both():
    table = pd.concat([runs(), runs(setting="S+C", percent=100)])
    found = aggregate(table)
    assert list(found["runs"]) == ["a b", "a b"] and list(found["setting"]) == ["S", "S+C"]


def test_selection_is_carried():
    assert aggregate(runs(selection=["test", "validation"]))["selection"][0] == "test+validation"


def test_facts_are_no_metrics():
    table = within_runs(runs(seconds=[1.0, 2.0], seed=[1, 2], note=["x", "y"]))
    assert metric_columns(table) == ["f1"]


@pytest.mark.parametrize(
    "table, message",
    {
        "missing column": (runs().drop(columns="draw"), r"no column\(s\) draw \(found: run, setting"),
        "no rows": (runs().iloc[:0], "no finished run"),
        "percent is text": (runs(percent=["5", "half"]), "run b: percent = 'half' is no number"),
        "two rows of a run": (runs(run="a", draw=0), "run a has more than one row .* need a column `group`"),
        "two rows of a group": (runs(run="a", draw=0, group="g"), "group 'g' of run a has more than one row"),
        "no metric": (runs().drop(columns="f1"), "hold no metric"),
    }.values(),
)
def test_tables_that_cannot_be_used_are_refused(table, message):
    with pytest.raises(UserError, match=message):
        aggregate(table)


def test_unknown_metrics_and_ddof_are_refused():
    with pytest.raises(UserError, match=r"no metric 'f2' in the results \(known: f1\)"):
        aggregate(runs(), ["f2"])
    with pytest.raises(UserError, match="ddof = -1"):
        aggregate(runs(), ddof=-1)


def paired(differences, other_draws=None):
    """S and S+C at 5% whose scores differ by the given amounts, draw by draw."""
    rows = []
    for draw, difference in enumerate(differences):
        base = 0.5 + 0.1 * draw  # draws differ far more than settings do
        rows.append((f"s{draw}", "S", 5, draw, base))
        rows.append((f"c{draw}", "S+C", 5, draw, base + difference))
    rows += [(f"x{draw}", "S", 5, draw, 0.9) for draw in other_draws or ()]
    return pd.DataFrame(rows, columns=["run", "setting", "percent", "draw", "f1"])


def test_differences_are_paired_by_draw():
    (row,) = paired_differences(paired([0.01, 0.02, 0.03], [7, 8]), "segmentation", ["f1"]).itertuples()
    assert (row.setting, row.minus_setting, row.n, row.better, row.worse) == ("S+C", "S", 3, 3, 0)
    assert row.mean == pytest.approx(0.02)
    # t(0.975, 2) = 4.30265, standard error 0.01 / sqrt(3)
    half = 4.30265 * 0.01 / math.sqrt(3)
    assert (row.low, row.high) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-6)


def test_each_draw_is_shown_and_leads_to_its_cells():
    differences = paired_differences(paired([0.01, -0.02]), "segmentation", ["f1"])
    assert list(differences["draws"]) == ["0 1"] and list(differences["by_draw"]) == ["0.01 -0.02"]
    table = differences_table(differences)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["draw by draw"].text == "0: +1.0, 1: −2.0" and row["difference"].text == "−0.5"
    assert (row["method"].link, row["minus"].link) == ("cell-S_C-5-f1", "cell-S-5-f1")
    assert ",-0.5," in to_csv(table)


def test_one_draw_gives_no_interval_and_says_so():
    differences = paired_differences(paired([0.01]), "segmentation", ["f1"])
    assert math.isnan(differences["low"][0]) and "n = 1" in differences["reason"][0]
    texts = [entry.text for entry in differences_table(differences).rows[0]]
    assert "no interval: n = 1, and a spread needs 2 draws at least" in texts and "1 of 1" in texts


def test_the_interval_holds_the_truth_as_often_as_it_says(rng):
    intervals = [t_interval(rng.normal(0.1, 1, 4))[:2] for _ in range(2000)]
    assert 0.935 < np.mean([low <= 0.1 <= high for low, high in intervals]) < 0.965


def test_variants_are_compared_with_s_and_with_the_first_variant():
    table = paired([0.0, 0.02]).assign(variant="paper")
    other = table[table["setting"] == "S+C"].assign(variant="labelset", f1=lambda t: t["f1"] + 0.1)
    other = other.assign(run="l" + other["run"])
    found = paired_differences(pd.concat([table, other]), "segmentation", ["f1"])
    named = [
        (r.variant, r.setting, r.minus_variant, r.minus_setting, round(r.mean, 6)) for r in found.itertuples()
    ]
    assert named == [
        ("paper", "S+C", "paper", "S", 0.01),
        ("labelset", "S+C", "paper", "S", 0.11),
        ("labelset", "S+C", "paper", "S+C", 0.1),
    ]


def test_any_method_can_be_what_others_are_compared_with():
    table = paired([0.0, 0.02]).assign(variant="paper")
    rounds = [
        table[table["setting"] == "S+C"].assign(variant=name, f1=lambda t, more=more: t["f1"] + more)
        for name, more in (("one", 0.1), ("two", 0.3))
    ]
    rounds = [rows.assign(run=rows["variant"] + rows["run"]) for rows in rounds]
    cells = pd.concat([table, *rounds], ignore_index=True)
    usual = paired_differences(cells, "segmentation", ["f1"])
    found = paired_differences(cells, "segmentation", ["f1"], against=named_methods(cells, ["one S+C"]))
    pd.testing.assert_frame_equal(found.iloc[: len(usual)], usual)  # what was asked for comes after
    named = [
        (r.variant, r.setting, r.minus_variant, r.minus_setting, round(r.mean, 6))
        for r in found.iloc[len(usual) :].itertuples()
    ]
    assert named == [("two", "S+C", "one", "S+C", 0.2)]  # the others stand there the other way round


def test_methods_are_named_as_in_a_sweep_file():
    assert named_methods(paired([0.1]).assign(variant=""), ["S+C"]) == [("", "S+C")]
    with pytest.raises(UserError, match=r"no method 'S\+C' in the results \(there are 'a S', 'a S\+C'\)"):
        named_methods(paired([0.1]).assign(variant="a"), ["S+C"])


def test_runs_shown_twice_are_not_compared_with_themselves():
    table = paired([0.0, 0.0]).assign(run=["a", "a", "b", "b"])
    assert paired_differences(table, "segmentation", ["f1"]).empty


def test_differences_chosen_on_test_are_marked():
    found = paired_differences(paired([0.1, 0.2]).assign(selection="test-maximum"), "segmentation", ["f1"])
    table = differences_table(found)
    assert table.rows[0][0].marks == ("a",) and "test split itself" in table.notes[0][1]
