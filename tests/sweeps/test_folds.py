import os
import shutil

import pandas as pd
import pytest

from helpers.commands import l2s
from helpers.sweep_work import PASSING
from l2s_jax import read_manifest
from l2s_jax.prepare.folds import prepare_folds
from l2s_jax.reports.reading import read_results
from l2s_jax.sweeps.sweep import sweep
from l2s_jax.system.errors import UserError

SWEEP = """
name = "folds"
draws = 1
percents = [100]
[options]
weights = "random"
batch_size = 8
steps = 2
[[variant]]
name = "paper"
settings = ["S"]
[[variant]]
name = "taught"
settings = ["S+C*"]
start_from = "paper S"
"""


@pytest.fixture(scope="module")
def folds(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "folds"
    prepare_folds(phantom, folder, 3)
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "folds.toml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def done(file, folds, tmp_path_factory):
    """A finished sweep over three folds and what it said."""
    lines = []
    out = tmp_path_factory.mktemp("done") / "results"
    sweep(file, out, manifest=folds, say=lines.append)
    return out, lines


def table(folder):
    return pd.read_csv(folder / "results.csv").drop(columns=PASSING)


@pytest.mark.slow
def test_every_fold_has_its_runs_and_every_patch_is_tested_on_once(done, folds, phantom):
    out, lines = done
    rows = table(out)
    assert sorted(rows["fold"]) == [1, 1, 2, 2, 3, 3] and rows["run"].is_unique
    assert list(rows["fold"]) == sorted(rows["fold"])  # a part of a sweep is whole folds
    assert any("each is in the test split of one fold" in line for line in lines)
    for _, own in rows.groupby("variant"):
        assert own["n_test"].sum() == len(read_manifest(phantom).patches)
    for record in rows.to_dict("records"):
        contents = read_manifest(folds / f"fold{record['fold']}")
        assert record["manifest_sha256"] == contents.sha256
        learned = set(pd.read_csv(out / "runs" / record["run"] / "subset.csv")["group"])
        assert not learned & {row.group for row in contents.of_split("test")}
    groups = pd.read_csv(out / "per_group.csv").merge(rows[["run", "variant", "fold"]], on="run")
    assert not groups.duplicated(["variant", "group"]).any()
    results = read_results(out)
    assert len(results.cells) == 6 and not len(results.waiting)
    assert [one["n_test"] for one in results.sweep["folds"]] == [
        len(read_manifest(folds / f"fold{fold}").of_split("test")) for fold in (1, 2, 3)
    ]


@pytest.mark.slow
def test_runs_take_from_the_run_of_their_own_fold(done):
    rows = table(done[0]).set_index("run")
    for run in rows.index[rows["variant"] == "taught"]:
        config = (done[0] / "runs" / run / "config.toml").read_text()
        (source,) = [other for other in rows.index if f"runs/{other}" in config]
        assert rows.loc[source, "fold"] == rows.loc[run, "fold"]


@pytest.mark.slow
def test_killed_it_goes_on_and_gives_the_same_table(done, file, folds, tmp_path):
    out = tmp_path / "results"
    shutil.copytree(done[0], out)
    rows = (out / "results.csv").read_text().splitlines(keepends=True)
    (out / "results.csv").write_text("".join(rows[:6]) + rows[6][:20])
    shutil.rmtree(out / "runs" / rows[6].split(",")[0])
    lines = []
    sweep(file, out, manifest=folds, say=lines.append)
    assert any("over 3 folds, 6 runs (5 finished)" in line for line in lines)
    pd.testing.assert_frame_equal(table(out), table(done[0]))
    pd.testing.assert_frame_equal(*(pd.read_csv(one / "plan.csv") for one in (out, done[0])))


@pytest.mark.slow
def test_other_folds_do_not_go_into_the_same_table(done, file, phantom, tmp_path, capsys):
    prepare_folds(phantom, tmp_path / "folds", 3, seed=1)
    command = ("sweep", file, "--out", done[0], "--manifest")
    for data in (tmp_path / "folds", phantom):
        assert l2s(*command, data) == 2
    said = capsys.readouterr().err
    assert "is not the manifest that the results in" in said and "has other columns" in said


@pytest.mark.slow
def test_the_report_knows_folds(done):
    assert l2s("report", done[0], "--no-pictures") == 0
    text = (done[0] / "report" / "folds.md").read_text()
    assert "fold 3" in text and "| S (paper) | 100% | macro F1 |" in text


def test_folds_that_were_edited_are_refused(file, folds, tmp_path):
    shutil.copytree(folds, tmp_path / "folds", copy_function=os.link)
    path = tmp_path / "folds" / "fold2" / "patches.csv"
    text = path.read_text()
    path.unlink()
    contents = read_manifest(folds / "fold2")
    tested, trained = contents.of_split("test")[0].group, contents.of_split("train")[0].group
    swapped = "".join(
        line.replace(",test,", ",train,") if f",{tested}," in line
        else line.replace(",train,", ",test,") if f",{trained}," in line
        else line
        for line in text.splitlines(keepends=True)
    )  # fmt: skip
    path.write_text(swapped)
    with pytest.raises(UserError, match=r"fold 2 tests on other patients"):
        sweep(file, tmp_path / "out", manifest=tmp_path / "folds", say=lambda line: None)
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"fold 2 has other patches"):
        sweep(file, tmp_path / "out", manifest=tmp_path / "folds", say=lambda line: None)
    shutil.rmtree(path.parent)
    with pytest.raises(UserError, match="fold2.patches.csv not found"):
        sweep(file, tmp_path / "out", manifest=tmp_path / "folds", say=lambda line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_dry_run_trains_nothing(file, folds, tmp_path, capsys):
    assert l2s("sweep", file, "--manifest", folds, "--out", tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "6 cells of the tables over 3 folds, 6 runs (0 finished), 12 steps to go" in said
    assert "paper S at 100%, draw 0, fold 2: " in said and not (tmp_path / "out").exists()
