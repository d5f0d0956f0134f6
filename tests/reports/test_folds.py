import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.results_generator import CLASSES, write_results
from l2s_jax import UserError, aggregate, plan_masks, report
from l2s_jax.prediction.metrics import per_class, summary
from l2s_jax.reports.differences import paired_differences, t_interval
from l2s_jax.reports.out_of_fold import folds_of, out_of_fold
from l2s_jax.reports.reading import read_results
from l2s_jax.sweeps.predictions import _choose

FOLDS = 4


def quiet(line):
    """Nobody listens."""


@pytest.fixture
def folder(tmp_path):
    """A finished sweep over four folds and two draws, as the sweep leaves it."""
    made = []
    for fold in range(1, FOLDS + 1):
        part = tmp_path / f"part{fold}"
        write_results(
            part, methods=[("paper", "S"), ("paper", "S+C*")], percents=(25.0, 100.0), draws=2, seed=fold
        )
        rows = pd.read_csv(part / "results.csv", dtype={"run": str})
        rows["run"] = [f"{fold}{run}" for run in rows["run"]]
        rows.insert(rows.columns.get_loc("draw") + 1, "fold", fold)
        rows["manifest_sha256"] = f"{fold}" * 64
        rows["n_test"] = 70 + fold
        made.append(rows)
    rows = pd.concat(made, ignore_index=True)
    folder = tmp_path / "results"
    folder.mkdir()
    rows.to_csv(folder / "results.csv", index=False)
    keys = ["dataset", "study", "variant", "setting", "percent", "draw", "fold", "run"]
    rows[keys].to_csv(folder / "plan.csv", index=False)
    facts = [{"fold": fold, "n_test": 70 + fold} for fold in range(1, FOLDS + 1)]
    (folder / "sweep.json").write_text(json.dumps({"ddof": 1, "classes": list(CLASSES), "folds": facts}))
    return folder


def edited(folder, change):
    table = pd.read_csv(folder / "results.csv", dtype={"run": str})
    change(table).to_csv(folder / "results.csv", index=False)


def test_means_are_over_folds_and_the_draws_of_a_fold_are_no_further_evidence(folder):
    table = pd.read_csv(folder / "results.csv", dtype={"run": str})
    means = aggregate(table, ["macro_f1"])
    for row in means.itertuples():
        own = table[(table["setting"] == row.setting) & (table["percent"] == row.percent)]
        by_fold = own.groupby("fold")["macro_f1"].mean()
        assert row.mean == pytest.approx(by_fold.mean()) and row.sd == pytest.approx(by_fold.std(ddof=1))
        assert (row.n, row.ddof, row.folds) == (FOLDS, 1, "1 2 3 4") and len(row.runs.split()) == 2 * FOLDS
    same = pd.concat([table] + [table.assign(draw=table["draw"] + 2, run=table["run"] + "x")])
    np.testing.assert_allclose(aggregate(same, ["macro_f1"])["sd"], means["sd"])
    assert "folds" not in aggregate(table.drop(columns="fold"), ["macro_f1"])


def test_pooled_figures_are_of_the_summed_matrix_in_which_every_patch_stands_once(folder):
    results = read_results(folder)
    folds = folds_of(results.cells, results.sweep)
    assert folds == {fold: 70 + fold for fold in range(1, FOLDS + 1)}
    pooled = out_of_fold(results.cells, folds, CLASSES, "segmentation")
    assert len(pooled) == 2 * 2 * 2 and set(pooled["n_test"]) == {sum(folds.values())}  # a row a draw
    for row in pooled.to_dict("records"):
        own = results.cells
        for key in ("setting", "percent", "draw"):
            own = own[own[key] == row[key]]
        matrix = np.sum(list(own["confusion"]), axis=0)
        assert len(own) == FOLDS and json.loads(row["confusion"]) == matrix.astype(int).tolist()
        assert row["macro_f1"] == pytest.approx(summary(matrix)["macro_f1"])
        assert row[f"f1_{CLASSES[2]}"] == pytest.approx(per_class(matrix)["f1"][2])
        labels = np.sum(list(own["classifier_confusion"]), axis=0)
        assert row["classifier_accuracy"] == pytest.approx(np.trace(labels) / labels.sum())


def test_without_all_folds_nothing_is_pooled_and_the_page_says_which_is_missing(folder):
    edited(folder, lambda table: table[~((table["fold"] == 3) & (table["setting"] == "S"))])
    results = read_results(folder)
    assert set(results.waiting["fold"]) == {3} and len(results.waiting) == 4
    pooled = out_of_fold(results.cells, folds_of(results.cells, results.sweep), CLASSES, "segmentation")
    of_s = pooled["setting"] == "S"
    assert set(pooled.loc[of_s, "missing"]) == {"3"} and pooled.loc[of_s, "macro_f1"].isna().all()
    assert not pooled.loc[~of_s, "missing"].any() and pooled.loc[~of_s, "macro_f1"].notna().all()
    report(folder, pictures=False, say=quiet)
    assert "fold 3 is missing" in (folder / "report" / "folds.md").read_text()
    assert "0, fold 3" in (folder / "report" / "report.html").read_text()


def test_a_fold_of_another_size_than_the_sweep_says_is_not_pooled(folder):
    edited(folder, lambda table: table.assign(n_test=table["n_test"] + (table["fold"] == 2)))
    results = read_results(folder)
    pooled = out_of_fold(results.cells, folds_of(results.cells, results.sweep), CLASSES, "segmentation")
    assert set(pooled["missing"]) == {"2"} and "macro_f1" not in pooled


def test_the_report_has_each_fold_their_mean_and_the_pooled_figure(folder):
    said = []
    report(folder, pictures=False, say=said.append)
    lines = (folder / "report" / "folds.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith("| S (paper) | 25% | macro F1")]
    fields = [field.strip() for field in row.strip("|").split("|")]
    table = pd.read_csv(folder / "results.csv")
    own = table[(table["setting"] == "S") & (table["percent"] == 25)]
    by_fold = own.groupby("fold")["macro_f1"].mean()
    assert fields[3:7] == [f"{100 * value:.1f}" for value in by_fold]
    assert fields[7] == f"{100 * by_fold.mean():.1f} ± {100 * by_fold.std():.1f}" and fields[8] == "4"
    assert fields[9].endswith("(2 draws)")
    assert any("a cross-validation" in line for line in said)
    assert "over folds" in (folder / "report" / "table_segmentation.md").read_text()
    assert len(pd.read_csv(folder / "report" / "out_of_fold.csv")) == 8
    assert "fold by fold" in (folder / "report" / "differences.md").read_text()
    plan_masks(folder, say=quiet)


def test_differences_are_over_folds_and_their_interval_knows_that_folds_share_patients(folder):
    cells = read_results(folder).cells
    (row,) = paired_differences(cells[cells["percent"] == 25], "segmentation", ["macro_f1"]).itertuples()
    wide = cells[cells["percent"] == 25].pivot(index="fold", columns=["setting", "draw"], values="macro_f1")
    expected = (wide["S+C*"] - wide["S"]).mean(axis=1)
    np.testing.assert_allclose([float(text) for text in row.by_draw.split()], expected, rtol=1e-4)
    assert row.n == FOLDS and row.draws == "1 2 3 4"
    plain = t_interval(expected.to_numpy())
    assert row.high - row.low == pytest.approx((plain[1] - plain[0]) * np.sqrt((1 / 4 + 1 / 2) / (1 / 4)))


def test_pictures_are_of_one_fold(folder):
    """A network of another fold has learned from them."""
    edited(folder, lambda table: table[(table["fold"] != 1) | (table["setting"] == "S")])
    cells = read_results(folder).cells
    choice = _choose(cells)
    assert set(cells.loc[cells["run"].isin(choice.runs.values()), "fold"]) == {2} and len(choice.runs) == 4


def test_faults_of_folds_are_named(folder):
    edited(folder, lambda table: table.assign(fold=table["fold"].astype(object).where(table["fold"] > 1, "")))
    with pytest.raises(UserError, match="or a table of its own for runs without folds"):
        read_results(folder)
    edited(folder, lambda table: table.assign(fold="one"))
    with pytest.raises(UserError, match=r"results.csv line 2: fold = 'one'"):
        read_results(folder)
    edited(folder, lambda table: table.assign(fold=1))
    with pytest.raises(UserError, match="fold 1 were made on 4 versions"):
        read_results(folder)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 2**16))
def test_any_way_to_divide_patches_into_folds_gives_the_same_pooled_figures(classes, folds, seed):
    """The pooled matrix is that of all patches, wherever each was tested."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 50, (20, classes, classes))
    where = np.concatenate([np.arange(folds), rng.integers(0, folds, 20 - folds)])
    cells = pd.DataFrame(
        {
            "dataset": "", "variant": "v", "setting": "S", "percent": 100.0, "draw": 0, "fold": fold + 1,
            "run": f"r{fold}", "n_test": int((where == fold).sum()), "n_test_groups": 1,
            "confusion": [patches[where == fold].sum(0).astype(float)],
        }
        for fold in range(folds)
    )  # fmt: skip
    cells["confusion"] = [matrix[0] if isinstance(matrix, list) else matrix for matrix in cells["confusion"]]
    names = [f"c{code}" for code in range(classes)]
    (row,) = out_of_fold(cells, folds_of(cells, {}), names, "segmentation").to_dict("records")
    assert row["n_test"] == 20 and json.loads(row["confusion"]) == patches.sum(0).tolist()
    for name, value in summary(patches.sum(0)).items():
        if name in row:
            np.testing.assert_allclose(row[name], value)
