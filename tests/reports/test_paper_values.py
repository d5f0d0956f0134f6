"""The packaged copies of the paper's tables are the transcribed ones, and hold what the notes say of them."""

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from l2s_jax.reports.paper_values import paper_values

PACKAGED = files("l2s_jax.reports") / "paper"
NAMES = ("table_1.csv", "table_1_confusion_bach.csv", "table_1_confusion_digestpath.csv",
         "table_1_confusion_gleason.csv", "table_d4.csv", "table_d5.csv")  # fmt: skip
SHARED = Path(os.environ.get("L2S_SHARED", Path(__file__).parents[3] / "shared")) / "paper"


@pytest.mark.parametrize("name", NAMES)
def test_packaged_tables_are_the_transcribed_ones(name):
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not here: the packaged copy was not compared")
    assert (PACKAGED / name).read_text().split() == (SHARED / name).read_text().split()


@pytest.fixture(scope="module")
def d5():
    return pd.read_csv(PACKAGED / "table_d5.csv")


@pytest.fixture(scope="module")
def d4():
    return pd.read_csv(PACKAGED / "table_d4.csv")


def test_tables_are_whole(d4, d5):
    assert len(d5) == 3 * 3 * 2 * 14 and not d5.duplicated(["dataset", "mode", "metric", "s_percent"]).any()
    assert len(d4) == 3 * 3 * 12 and not d4.duplicated(["dataset", "mode", "c_percent"]).any()
    assert d5["std"].isna().sum() == 1 and d4.notna().all(axis=None) and d5["mean"].between(0, 100).all()


def test_figures_of_the_text_are_in_the_tables(d5):
    """Section 3.3 quotes S+C at 100%: 41% for Gleason2019 and 42% for DigestPath2019."""
    at = d5[(d5["mode"] == "S+C") & (d5["metric"] == "F1_micro") & (d5["s_percent"] == 100)]
    assert list(at.set_index("dataset")["mean"].loc[["Gleason2019", "DigestPath2019"]].round()) == [41, 42]


def test_bach_is_exchanged_and_the_others_are_not():
    """Pooled accuracy is not below macro F1 by as much as BACH's printed micro F1 is below its macro F1."""
    for dataset in ("BACH", "Gleason2019", "DigestPath2019"):
        values = paper_values(dataset, "segmentation").set_index(["setting", "percent", "metric"])["mean"]
        micro, macro = values.xs("micro_f1", level="metric"), values.xs("macro_f1", level="metric")
        assert (micro > macro).all(), dataset


def test_digestpath_is_below_what_two_classes_can_give():
    values = paper_values("DigestPath2019", "segmentation").set_index(["setting", "percent", "metric"])[
        "mean"
    ]
    micro, macro = values.xs("micro_f1", level="metric"), values.xs("macro_f1", level="metric")
    assert len(micro) == 42 and (macro < micro / (1 + micro)).all() and (micro < 0.5).all()


def test_rows_of_digestpath_are_almost_those_of_gleason(d5):
    micro = d5[d5["metric"] == "F1_micro"].pivot(
        index=["mode", "s_percent"], columns="dataset", values="mean"
    )
    apart = (micro["DigestPath2019"] - micro["Gleason2019"]).abs().groupby("mode").mean()
    assert apart[["S+C", "S+C*"]].between(0.2, 0.3).all() and apart["S"] > 2


def test_the_three_gleason_outliers_are_where_the_doubts_say(d5):
    gleason = d5[(d5["dataset"] == "Gleason2019") & (d5["metric"] == "F1_macro")]
    large = gleason[gleason["std"] > 5]
    found = {mode: list(rows["s_percent"]) for mode, rows in large.groupby("mode")}
    assert found == {"S": [25, 30, 40], "S+C": [25, 30, 40], "S+C*": [20, 25, 30]}
    doubts = paper_values("Gleason2019", "segmentation").query("metric == 'macro_f1'")
    marked = doubts[["one run of five" in " ".join(reasons) for reasons in doubts["doubts"]]]
    assert {mode: list(rows["percent"]) for mode, rows in marked.groupby("setting")} == found


def test_same_experiments_that_were_printed_differently(d4, d5):
    """The pairs that the doubts about Table D.4 quote, and S and S+C at 100% of Table D.5."""
    at = d4.set_index(["dataset", "mode", "c_percent"])["accuracy_mean"]
    doubts = [
        paper_values(dataset, "classification")["doubts"] for dataset in ("bach", "gleason", "digestpath")
    ]
    reasons = " ".join(reason for of_set in doubts for reasons in of_set for reason in reasons)
    for dataset, short in (
        ("ICIAR BACH 2018", "BACH"),
        ("Gleason2019", "Gleason"),
        ("DigestPath2019", "DigestPath"),
    ):
        for one, other in ((("S2+C2", 50), ("S2+C2*", 50)), (("S2*+C2", 50), ("S2+C2*", 0))):
            assert f"{at[dataset, *one]:.1f} and {at[dataset, *other]:.1f} ({short})" in reasons
    whole = d5[(d5["s_percent"] == 100) & (d5["metric"] == "F1_micro")].set_index(["dataset", "mode"])
    for dataset in ("Gleason2019", "DigestPath2019"):
        apart = whole["mean"][dataset, "S+C"] - whole["mean"][dataset, "S"]
        assert apart > whole["std"][dataset, "S"]


def test_what_the_doubts_say_of_table_d4_holds(d4):
    bach = d4[(d4["dataset"] == "ICIAR BACH 2018") & d4["mode"].isin(["S2+C2", "S2+C2*"])]["accuracy_mean"]
    np.testing.assert_allclose(bach / 0.8, (bach / 0.8).round(), atol=1e-9)
    by_set = d4.pivot_table(index=["mode", "c_percent"], columns="dataset", values="accuracy_std")
    for mode in ("S2+C2", "S2+C2*"):
        correlation = by_set.loc[mode].corr().to_numpy()
        assert correlation[np.triu_indices(3, 1)].min() > 0.93
    few = d4[(d4["mode"] == "S2*+C2") & (d4["dataset"] != "DigestPath2019")]
    assert set(few["accuracy_std"]) == {0.0, 0.1}
    means = few.pivot_table(index="c_percent", columns="dataset", values="accuracy_mean")
    assert means.corr().iloc[0, 1] == pytest.approx(0.998, abs=5e-4)
    largest = d4[d4["mode"] == "S2+C2*"].sort_values("accuracy_mean").groupby("dataset").tail(1)
    whole = d4[(d4["mode"] == "S2+C2") & (d4["c_percent"] == 50)]
    assert set(largest["c_percent"]) == {2.5}
    assert set(largest["accuracy_mean"]) == set(whole["accuracy_mean"]) == {80.0, 65.0, 82.0}


def test_table_1_adds_up():
    sums = {"bach": (200, 161), "gleason": (887, 583)}
    for name, (total, right) in sums.items():
        matrix = np.loadtxt(str(PACKAGED / f"table_1_confusion_{name}.csv"), delimiter=",")
        assert matrix.sum() == total and np.trace(matrix) == right
    printed = pd.read_csv(PACKAGED / "table_1.csv").set_index("dataset")["accuracy"]
    assert [printed[name] for name in ("ICIAR BACH 2018", "Gleason2019", "DigestPath2019")] == [80, 65, 82]
