import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from PIL import Image

from helpers.runs import quiet
from helpers.sweep_work import PASSING
from l2s_jax.cli.app import run
from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
from l2s_jax.data.patch_set import load_patches
from l2s_jax.reports.reading import read_results
from l2s_jax.sweeps import estimate as sweep_estimate
from l2s_jax.sweeps.plan import plan_sweep
from l2s_jax.sweeps.report import report
from l2s_jax.sweeps.sweep import sweep
from l2s_jax.sweeps.sweep_file import read_sweep
from l2s_jax.system.csv_rows import BLOCK, append_rows, complete_rows
from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.files import locked, read_json
from l2s_jax.system.stopping import Stopped

SWEEP = """
name = "small"
draws = 1
percents = [60, 100]
[options]
weights = "random"
batch_size = 8
steps = 6
learning_rate = 1e-3
[[variant]]
name = "paper"
[[variant]]
name = "labelset"
preset = "labelset"
settings = ["S+C"]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small.toml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def done(file, phantom, tmp_path_factory):
    """A finished sweep and what it said."""
    lines = []
    out = tmp_path_factory.mktemp("done") / "results"
    sweep(file, out, manifest=phantom, say=lines.append)
    return out, lines


def table(folder):
    return pd.read_csv(folder / "results.csv").drop(columns=PASSING)


@pytest.mark.slow
def test_one_row_a_run_and_one_run_for_cells_that_are_the_same(done, phantom):
    out, lines = done
    rows, plan = pd.read_csv(out / "results.csv"), pd.read_csv(out / "plan.csv")
    assert len(rows) == 6 and rows["run"].is_unique and set(plan["run"]) == set(rows["run"])
    assert len(plan) == 8  # S, S+C, S+C* and labelset's S+C, at two percents
    same = "run once: paper S at 100%, draw 0 = paper S+C at 100%, draw 0 = labelset S+C at 100%, draw 0"
    assert any(same in line for line in lines)
    assert "no group is in two splits" in lines
    for record in rows.to_dict("records"):
        folder = out / "runs" / record["run"]
        subset = pd.read_csv(folder / "subset.csv")
        assert (
            subset["mask_used"].sum() == record["n_mask"] and subset["label_used"].sum() == record["n_label"]
        )
        figures = read_json(folder / "evaluation" / "test" / "metrics.json")
        assert record["macro_f1"] == pytest.approx(figures["pooled"]["macro_f1"], rel=1e-8)
        assert record["manifest_sha256"] == read_manifest(phantom).sha256
        assert {"f1_background", "iou_carcinoma", "versions", "device", "config_hash"} <= record.keys()
    assert set(pd.read_csv(out / "per_group.csv")["run"]) == set(rows["run"])
    assert len(read_results(out).cells) == 8


@pytest.mark.slow
def test_started_again_it_repeats_nothing(done, file, phantom):
    before, lines = (done[0] / "results.csv").read_bytes(), []
    sweep(file, done[0], manifest=phantom, say=lines.append)
    assert (done[0] / "results.csv").read_bytes() == before
    assert any("6 runs (6 finished), 0 steps to go" in line for line in lines)


def start(file, phantom, out):
    command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "sweep", str(file)]
    command += ["--manifest", str(phantom), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_rows(process, out, count):
    for _ in range(6000):
        assert process.poll() is None, process.stdout.read()
        if len(complete_rows(out / "results.csv")[0]) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("no row in time")


@pytest.mark.slow
def test_killed_it_goes_on_and_gives_the_same_table(done, file, phantom, tmp_path, rng):
    out = tmp_path / "results"
    process = start(file, phantom, out)
    wait_for_rows(process, out, 1)
    time.sleep(rng.random() * 3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = list(complete_rows(out / "results.csv")[0]["run"])
    assert 1 <= len(finished) < 6
    with (out / "results.csv").open("a") as rows:
        rows.write("0123456789ab,small,segm")  # as if it had been killed while it wrote
    lines = []
    sweep(file, out, manifest=phantom, say=lines.append)
    assert any("ends in half a line, which is dropped" in line for line in lines)
    assert list(table(out)["run"])[: len(finished)] == finished
    pd.testing.assert_frame_equal(table(out), table(done[0]), check_exact=True)


@pytest.mark.slow
def test_a_second_sweep_in_the_folder_is_told(done, file, phantom):
    with locked(done[0]), pytest.raises(UserError, match="another process is working on"):
        sweep(file, done[0], manifest=phantom)


@pytest.mark.slow
def test_the_dry_run_trains_nothing_and_estimates_from_measured_steps(file, phantom, tmp_path, capsys):
    out = tmp_path / "results"
    assert run(["sweep", str(file), "--manifest", str(phantom), "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "8 cells of the tables, 6 runs (0 finished), 36 steps to go" in said
    assert "5 measured steps with batches of 8;" in said and "paper S+C* at 60%, draw 0: 9 masks" in said
    assert not out.exists()


def test_the_estimate_knows_that_small_batches_are_quick(phantom, tmp_path, monkeypatch):
    path = tmp_path / "sizes.toml"
    options = 'weights = "random"\nbatch_size = 8\nsteps = 100\n'
    path.write_text(f'percents = [10, 100]\n[options]\n{options}[[variant]]\nname = "a"\nsettings = ["S"]\n')
    contents, asked = read_manifest(phantom), read_sweep(path)
    patches = load_patches(contents.of_split("train"), contents.classes, 1)
    planned = plan_sweep(dataclasses.replace(asked, draws=(0,)), patches, contents.classes, contents.sha256)
    few, all_ = (run.n_mask for run in planned)
    assert few < 8 < all_
    measured = []

    def measure(run, patches, contents):
        measured.append(min(run.n_mask, 8))
        return measured[-1] / 100

    monkeypatch.setattr(sweep_estimate, "measure_step", measure)
    said = sweep_estimate.estimate(tmp_path / "results.csv", planned, set(), patches, contents)
    assert sorted(measured) == [few, 8]
    assert f"200 steps to go: about {few + 8} s" in said
    assert f"5 measured steps with batches of {few} and 8;" in said

    finished = planned[0].run  # 0.5 s a step: all that is known of the other, which is measured no more
    append_rows(tmp_path / "results.csv", [{"run": finished, "steps": 100, "seconds": 50.0}])
    said = sweep_estimate.estimate(tmp_path / "results.csv", planned, {finished}, patches, contents)
    assert "100 steps to go: about 50 s" in said and "from 1 finished run," in said and len(measured) == 2


@pytest.mark.slow
def test_other_data_do_not_go_into_the_same_table(done, file, phantom, tmp_path, capsys):
    out = tmp_path / "results"
    shutil.copytree(done[0], out, ignore=shutil.ignore_patterns("runs"))
    contents = read_manifest(phantom)
    write_classes(tmp_path, contents.classes)
    write_patches(tmp_path, contents.classes, contents.patches[1:])
    command = ["sweep", str(file), "--manifest", str(tmp_path), "--out", str(out), "--allow-outside"]
    assert run(command) == 2
    assert "is not the manifest that the results in" in capsys.readouterr().err


@pytest.fixture
def last_row_missing(done, phantom, tmp_path):
    """A sweep that was killed between its last run's groups and that run's row, and a copy of its data."""
    shutil.copytree(phantom, tmp_path / "data")
    shutil.copytree(done[0], tmp_path / "results")
    rows = (tmp_path / "results" / "results.csv").read_text().splitlines(keepends=True)
    (tmp_path / "results" / "results.csv").write_text("".join(rows[:-1]))
    return tmp_path / "results", tmp_path / "data"


@pytest.mark.slow
def test_groups_of_a_run_stand_in_the_table_once(last_row_missing, done, file):
    out, data = last_row_missing
    sweep(file, out, manifest=data, say=lambda line: None)
    pd.testing.assert_frame_equal(table(out), table(done[0]))
    groups, before = (pd.read_csv(folder / "per_group.csv") for folder in (out, done[0]))
    pd.testing.assert_frame_equal(groups, before)


@pytest.mark.slow
def test_a_manifest_that_is_changed_meanwhile_gives_no_row(last_row_missing, done, file, monkeypatch):
    import l2s_jax.sweeps.sweep as module

    (out, data), train = last_row_missing, module.train
    last = pd.read_csv(done[0] / "results.csv")["run"].iloc[-1]
    shutil.rmtree(out / "runs" / last)
    rows = (data / "patches.csv").read_text()

    def changes_the_data(*arguments, **more):
        (data / "patches.csv").write_text("".join(rows.splitlines(keepends=True)[:-1]))
        return train(*arguments, **more)

    monkeypatch.setattr(module, "train", changes_the_data)
    with pytest.raises(UserError, match="was changed while the sweep was at work"):
        sweep(file, out, manifest=data, say=lambda line: None)
    assert len(table(out)) == 5
    # What was trained on the changed data is there, and is not taken for the run when they are changed back.
    assert read_json(out / "runs" / last / "finished.json")
    monkeypatch.setattr(module, "train", train)
    (data / "patches.csv").write_text(rows)
    sweep(file, out, manifest=data, say=lambda line: None)
    pd.testing.assert_frame_equal(table(out), table(done[0]))


def test_a_full_disk_ends_the_sweep_and_fails_no_run(file, phantom, tmp_path, monkeypatch, capsys):
    import l2s_jax.sweeps.sweep as module

    def full(*arguments, **more):
        raise Unwritable("cannot write: No space left")

    monkeypatch.setattr(module, "train", full)
    assert run(["sweep", str(file), "--manifest", str(phantom), "--out", str(tmp_path / "results")]) == 1
    assert "No space left; start the same sweep again to go on" in capsys.readouterr().err
    assert not (tmp_path / "results" / "failures.csv").exists()


@pytest.mark.slow
def test_failed_runs_are_listed_passed_over_and_tried_again_when_asked(
    file, phantom, tmp_path, monkeypatch, capsys
):
    import l2s_jax.sweeps.sweep as module

    train, out = module.train, tmp_path / "results"

    def fails(manifest, folder, config, **more):
        if config.setting == "S+C*":
            raise UserError("the loss is nan at step 3") if config.percent < 100 else ValueError()
        return train(manifest, folder, config, **more)

    monkeypatch.setattr(module, "train", fails)
    command = ["sweep", str(file), "--manifest", str(phantom), "--out", str(out)]
    assert run(command) == 1
    said = capsys.readouterr()
    assert "2 run(s) failed" in said.err and "--retry-failed" in said.err
    assert "failed: paper S+C* at 60%, draw 0: the loss is nan at step 3" in said.out
    assert "failed: paper S+C* at 100%, draw 0: ValueError" in said.out
    assert len(table(out)) == 4
    monkeypatch.setattr(module, "train", train)
    assert run(command) == 1 and len(table(out)) == 4
    assert run([*command, "--retry-failed"]) == 0 and len(table(out)) == 6
    assert not len(read_results(out).failures)


def test_fractions_that_leave_nothing_are_named(phantom, tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text('draws = 1\npercents = [1, 100]\n[[variant]]\nname = "paper"\nsettings = ["S"]')
    assert run(["sweep", str(path), "--manifest", str(phantom), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "1 cell(s) of the sweep cannot be run" in err and "paper S at 1%, draw 0" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_classification_study_runs_equal_experiments_once(phantom, tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text(
        'study = "classification"\ndraws = 1\npercents = [0, 50]\n[options]\nweights = "random"\n'
        "batch_size = 8\nsteps = 6\n"
    )
    out = tmp_path / "out"
    assert run(["sweep", str(path), "--manifest", str(phantom), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    # No mask and all labels of the training split; all masks and all labels (method.md, D.4).
    assert "paper S2+C2 at 50%, draw 0 = paper S2+C2* at 50%, draw 0" in said
    assert "paper S2+C2* at 0%, draw 0 = paper S2*+C2 at 50%, draw 0" in said
    results = read_results(out)
    assert len(results.cells) == 6 > len(results.runs) and set(results.runs["study"]) == {"classification"}
    assert results.runs["classifier_accuracy"].between(0, 1).all()
    report(out, say=lambda line: None)
    lines = (out / "report" / "table_classification.md").read_text().splitlines()
    assert sum(line.startswith("| S2") for line in lines) == 6  # three settings, two metrics


@pytest.mark.slow
def test_a_variant_in_phases_is_one_row(phantom, tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        "draws = 1\npercents = [60, 100]\n[options]\nweights = 'random'\nbatch_size = 8\nsteps = 4\n"
        "[[variant]]\nname = 'few'\npreset = 'few-masks'\nsettings = ['S', 'S+C']\n"
    )
    lines = []
    sweep(path, tmp_path / "out", manifest=phantom, dry_run=True, say=lines.append)
    # S at both percents and S+C at 100%, which is S there, have one phase, S+C at 60% has three.
    assert any("4 cells of the tables, 3 runs (0 finished), 20 steps to go" in line for line in lines)
    sweep(path, tmp_path / "out", manifest=phantom, say=quiet)
    rows = pd.read_csv(tmp_path / "out" / "results.csv")
    assert len(rows) == 3
    phases = rows[(rows["setting"] == "S+C") & (rows["percent"] == 60)].iloc[0]
    assert phases["steps"] == 12 and phases["preset"] == "few-masks"
    folder = tmp_path / "out" / "runs" / phases["run"]
    of_phases = [read_json(folder / "phases" / name / "finished.json") for name in ("masks_only", "teacher")]
    assert phases["seconds"] > sum(one["seconds"] for one in of_phases)
    best = read_json(folder / "finished.json")["best"]
    assert (phases["best_phase"] == "masks_only") == (best.get("phase") == "masks_only")
    assert not list(folder.rglob("checkpoints/last"))


def test_rows_are_appended_whole_and_only_to_their_own_columns(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [{"run": "a", "score": 0.5}])
    append_rows(path, [{"run": "b", "score": 0.25}])
    with path.open("a") as file:
        file.write("c,0.1")
    rows, cut = complete_rows(path)
    assert cut and list(rows["run"]) == ["a", "b"]
    append_rows(path, [{"run": "d", "score": 1.0}])
    assert path.read_text() == "run,score\na,0.5\nb,0.25\nd,1\n"
    with pytest.raises(UserError, match="has other columns"):
        append_rows(path, [{"run": "e", "points": 1.0}])
    whole = path.read_text()
    for cut_off in (
        "x" * (2 * BLOCK + 7),
        "x" * BLOCK,
        "",
    ):  # the last line break is blocks away, or the last byte
        path.write_text(whole + cut_off)
        append_rows(path, [{"run": "f", "score": 2.0}])
        assert path.read_text() == whole + "f,2\n"
    path.write_text("run,sco")  # not even the header was whole
    append_rows(path, [{"run": "g", "score": 3.0}])
    assert path.read_text() == "run,score\ng,3\n"


@pytest.mark.slow
def test_asked_to_stop_while_a_runs_report_is_written_it_begins_no_other(
    file, phantom, tmp_path, monkeypatch
):
    """Or while its figures are made; what is finished is kept."""
    import l2s_jax.sweeps.sweep as module
    from l2s_jax.training import report as run_report

    out, train, evaluate = tmp_path / "results", module.train, module.evaluate
    write, begun = run_report.write_run_report, []

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        write(*arguments)

    def counted(manifest, folder, *rest, **more):
        begun.append(folder)
        return train(manifest, folder, *rest, **more)

    monkeypatch.setattr(module, "train", counted)
    with monkeypatch.context() as patch:
        patch.setattr(run_report, "write_run_report", interrupted)
        with pytest.raises(Stopped):
            sweep(file, out, manifest=phantom, say=lambda line: None)
    assert len(begun) == 1 and (begun[0] / "finished.json").exists() and not (out / "results.csv").exists()

    def interrupted_figures(*arguments, **more):
        signal.raise_signal(signal.SIGHUP)
        return evaluate(*arguments, **more)

    monkeypatch.setattr(module, "evaluate", interrupted_figures)
    with pytest.raises(Stopped):
        sweep(file, out, manifest=phantom, say=lambda line: None)
    assert len(begun) == 1 and len(table(out)) == 1


@pytest.mark.slow
def test_pictures_that_are_exchanged_between_runs_are_noticed(last_row_missing, file):
    out, data = last_row_missing
    sweep(file, out, manifest=data, say=lambda line: None)
    mask = next(row.mask for row in read_manifest(data).of_split("test") if row.mask)
    Image.open(mask).transpose(Image.Transpose.ROTATE_180).save(mask)
    with pytest.raises(UserError, match="begun with other pictures or masks") as refused:
        sweep(file, out, manifest=data, say=lambda line: None)
    assert mask.name in str(refused.value)
