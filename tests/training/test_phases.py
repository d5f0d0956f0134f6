"""Runs in phases: what they learn, to which bits, what is kept, what a stop leaves, what falls back."""

import math
import re
import shutil
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from helpers.runs import TINY, quiet
from l2s_jax.cli.app import run
from l2s_jax.config import OF_OWN_TEACHER, PRESETS, to_dict, validate
from l2s_jax.data.classes import write_classes
from l2s_jax.data.manifest import read_manifest, write_patches
from l2s_jax.data.patch_set import load_patches
from l2s_jax.runs.folder import (
    BEST,
    FINISHED,
    LAST,
    learned_from,
    read_earlier_runs,
    read_finished,
    read_metrics,
    read_run_config,
)
from l2s_jax.runs.network import load_network
from l2s_jax.sweeps.plan import run_name
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json
from l2s_jax.system.stopping import Stopped
from l2s_jax.training import run as training_run
from l2s_jax.training.loop import SomeFailed
from l2s_jax.training.phases import (
    earlier_phases,
    phases_of,
    stretches_of,
    warning_of_one_label,
    why_one_phase,
)
from l2s_jax.training.plan import plan_run, warnings_of_plan
from l2s_jax.training.pseudo_mask_page import PAGE
from l2s_jax.training.pseudo_masks import (
    PSEUDO_MASKS,
    background_shares,
    read_pseudo_masks,
    whole_masks,
    why_no_shares,
)
from l2s_jax.training.train import train, train_many

CONFIG = replace(
    PRESETS["few-masks"],
    weights="random",
    batch_size=8,
    learning_rate=1e-3,
    draw=1,
    setting="S+C",
    percent=40,
    epochs=2,
    least_steps=0,
    validate_steps=0,
)


def same_network(ours, theirs):
    pairs = zip(*(jax.tree.leaves(load_network(one)[0].variables) for one in (ours, theirs)), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def patches(phantom):
    manifest = read_manifest(phantom)
    return load_patches(manifest.of_split("train"), manifest.classes, 1), manifest.classes


@pytest.fixture(scope="module")
def taught(phantom, tmp_path_factory):
    """A finished run in phases, and what it said."""
    lines = []
    return train(phantom, tmp_path_factory.mktemp("phases") / "run", CONFIG, say=lines.append), lines


def test_the_own_teacher_follows_the_preset_labelset_and_nothing_else():
    paper, labelset = to_dict(PRESETS["paper"]), to_dict(PRESETS["labelset"])
    assert {name for name in paper if paper[name] != labelset[name]} == set(OF_OWN_TEACHER)


def test_phases_are_s_and_a_teacher_of_the_same_draw(patches):
    found = phases_of(replace(CONFIG, tracker="mlflow"), plan_run(CONFIG, *patches))
    assert [*found] == ["masks_only", "teacher"]
    assert found["masks_only"] == replace(
        CONFIG, setting="S", teacher="", teacher_background="likeliest", masks_only_phase=False
    )
    losses = {name: getattr(PRESETS["labelset"], name) for name in OF_OWN_TEACHER}
    assert found["teacher"] == replace(
        CONFIG, teacher="", teacher_background="likeliest", masks_only_phase=False, **losses
    )


def test_runs_without_patches_to_teach_have_no_phases(patches):
    for config in (replace(CONFIG, setting="S"), replace(CONFIG, percent=100)):
        assert phases_of(config, plan_run(config, *patches)) == {}
    assert earlier_phases([("run", TINY)], *patches) == []


def test_stretches_add_up(patches, tmp_path):
    runs = [(tmp_path, CONFIG)]
    earlier = earlier_phases(runs, *patches)
    stretches = stretches_of(earlier, runs, *patches)
    assert [stretch.done for stretch in stretches] == [0, *np.cumsum(stretches[0].steps)[:2]]
    assert stretches[0].batches[0] <= CONFIG.batch_size and stretches[0].phases == 3


@pytest.mark.slow
def test_it_is_the_bits_of_a_teacher_that_was_trained_by_hand(taught, phantom, tmp_path):
    folder, lines = taught
    losses = {name: getattr(PRESETS["labelset"], name) for name in OF_OWN_TEACHER}
    single = replace(CONFIG, teacher="", masks_only_phase=False, teacher_background="likeliest")
    teacher = train(phantom, tmp_path / "teacher", replace(single, **losses), say=quiet)
    by_hand = replace(CONFIG, teacher=str(teacher), teacher_background="share", masks_only_phase=False)
    student = train(phantom, tmp_path / "student", by_hand, say=quiet)
    assert same_network(folder / "phases" / "teacher", teacher)
    assert (folder / PSEUDO_MASKS).read_bytes() == (student / PSEUDO_MASKS).read_bytes()
    if read_finished(folder)["best"]["phase"] is None:
        assert same_network(folder, student)
    ours, theirs = read_metrics(folder), read_metrics(student)
    for row in (*ours, *theirs):
        row.pop("seconds")
    np.testing.assert_equal(ours, theirs)


@pytest.mark.slow
def test_one_folder_tells_what_was_done(taught):
    folder, lines = taught
    assert any("3 phases: S on the masks alone, a teacher" in line for line in lines)
    assert sum("validation comes on top" in line for line in lines) == 3
    said = "\n".join(lines)
    assert re.search(r"phase 1 of 3: about \d+ s for \d+ steps to the end of the last phase, as 3 of", said)
    assert lines[-1].startswith(f"done: {folder} ")
    finished = read_finished(folder)
    parts = [read_finished(folder / "phases" / name) for name in ("masks_only", "teacher")]
    assert finished["steps"] > sum(part["steps"] for part in parts)
    assert finished["seconds"] > sum(part["seconds"] for part in parts)
    assert not any((folder / "phases" / name / LAST).exists() for name in ("masks_only", "teacher"))
    report = (folder / "report.html").read_text()
    for link in ("phases/masks_only/report.html", "phases/teacher/report.html", PAGE):
        assert f'href="{link}"' in report and (folder / link).is_file()
    assert read_earlier_runs(folder)[0].role == "teacher"
    assert learned_from(folder).groups == learned_from(folder / "phases" / "teacher").groups
    assert read_run_config(folder).teacher == "labelset"


@pytest.mark.slow
def test_the_page_shows_pseudo_masks_by_doubt(taught):
    page = (taught[0] / PAGE).read_text()
    doubts = [int(text) for text in re.findall(r"doubt (\d+)%", page)]
    assert doubts == sorted(doubts, reverse=True) and len(doubts) == page.count("<figure>")
    with np.load(taught[0] / PSEUDO_MASKS) as arrays:
        assert len(doubts) == len(arrays["rows"])
        assert doubts[0] == round(100 * float(arrays["doubt"].max()))
    assert page.count("data:image/jpeg") == 2 * len(doubts) and "http" not in page.split("<body>")[1]


@pytest.mark.slow
@pytest.mark.parametrize("better", ["masks_only", None])
def test_s_is_kept_where_it_is_better_on_validation(better, taught, phantom, tmp_path, monkeypatch):
    """As a run that was cut off before its end, whose S had another score."""
    folder = shutil.copytree(taught[0], tmp_path / "run")
    (folder / FINISHED).unlink()
    (folder / "report.html").unlink()
    shutil.rmtree(folder / BEST)
    original = training_run.read_finished

    def scored(path):
        facts = original(path)
        score = 1.5 if better else -1.0
        return facts | {"best": facts["best"] | {"score": score}} if path.name == "masks_only" else facts

    shutil.rmtree(folder / LAST)
    (folder / "metrics.csv").unlink()
    monkeypatch.setattr(training_run, "read_finished", scored)
    train(phantom, folder, CONFIG, resume=True, say=quiet)
    best = read_finished(folder)["best"]
    assert best["phase"] == better
    assert same_network(folder, folder / "phases" / "masks_only") == (better is not None)
    text = (folder / "report.html").read_text()
    assert ("The labels did not help here" in text) == (better is not None)
    # Once more from the last checkpoint: nothing is taken twice.
    (folder / FINISHED).unlink()
    train(phantom, folder, CONFIG, resume=True, say=quiet)
    assert read_finished(folder)["best"] == best


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_stop_in_any_phase_is_gone_on_from_to_the_same_bits(after, taught, phantom, tmp_path, monkeypatch):
    """Each phase has two epochs, and writes its rows after each."""
    write_rows, written = training_run.TrainingRun.write_rows, []

    def stop(self):
        write_rows(self)
        written.append(self.setup.folder)
        if len(written) == after:
            signal.raise_signal(signal.SIGTERM)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training_run.TrainingRun, "write_rows", stop)
        with pytest.raises(Stopped) as stopped:
            train(phantom, folder, CONFIG, say=quiet)
    # What is gone on with is the run, not its phase.
    assert stopped.value.folder == folder
    assert 0 < stopped.value.step < stopped.value.steps == read_finished(taught[0])["steps"]
    assert not (folder / FINISHED).exists()
    with pytest.raises(UserError, match="already holds a run"):
        train(phantom, folder, CONFIG, say=quiet)
    train(phantom, folder, CONFIG, resume=True, say=quiet)
    assert same_network(folder, taught[0])
    assert (folder / PSEUDO_MASKS).read_bytes() == (taught[0] / PSEUDO_MASKS).read_bytes()
    assert read_finished(folder)["best"] == read_finished(taught[0])["best"]


@pytest.mark.slow
def test_a_begun_run_whose_phase_is_gone_says_so(taught, phantom, tmp_path):
    folder = shutil.copytree(taught[0], tmp_path / "run")
    (folder / FINISHED).unlink()
    shutil.rmtree(folder / "phases" / "masks_only")
    with pytest.raises(UserError, match=r"masks_only.finished\.json"):
        train(phantom, folder, CONFIG, resume=True, say=quiet)


@pytest.mark.slow
def test_pseudo_masks_of_another_manifest_are_not_read(taught, phantom, tmp_path):
    manifest = read_manifest(phantom)
    gone = next(row for row in manifest.patches if row.split == "train")
    write_classes(tmp_path, manifest.classes)
    write_patches(tmp_path, manifest.classes, [row for row in manifest.patches if row is not gone])
    with pytest.raises(UserError, match="another manifest"):
        train(tmp_path, taught[0], CONFIG, resume=True, allow_outside=True, say=quiet)


def test_labels_that_would_never_take_part_are_refused(patches):
    config = replace(CONFIG, steps=4, labels_from=4)
    with pytest.raises(UserError, match="labels_from = 4: of 4 steps none"):
        plan_run(config, *patches)
    assert plan_run(replace(config, labels_from=3), *patches).steps == 4
    assert plan_run(replace(config, setting="S"), *patches).steps == 4


def test_a_teacher_that_is_not_there_is_refused_before_the_first_phase(phantom, tmp_path):
    config = replace(CONFIG, teacher=str(tmp_path / "no_run"))
    with pytest.raises(UserError, match="no_run"):
        train(phantom, tmp_path / "run", config, say=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_labels_it_is_s_and_says_so(phantom, tmp_path):
    """To the same bits as S with its decoder."""
    lines = []
    config = replace(CONFIG, setting="S", epochs=1)
    folder = train(phantom, tmp_path / "run", config, say=lines.append)
    assert any("there is nothing to teach: one phase, on the masks" in line for line in lines)
    assert "trained in one phase: no patch had a label alone" in (folder / "report.html").read_text()
    assert not (folder / "phases").exists() and not (folder / PAGE).exists()
    plain = replace(TINY, setting="S", percent=40, epochs=1, decoder=CONFIG.decoder)
    assert same_network(folder, train(phantom, tmp_path / "plain", plain, say=quiet))
    assert read_json(folder / FINISHED)["best"]["score"] is not None


@pytest.mark.slow
def test_without_masks_there_is_a_teacher_of_labels_alone(phantom, tmp_path):
    lines = []
    config = replace(CONFIG, percent=0, epochs=1)
    folder = train(phantom, tmp_path / "run", config, say=lines.append)
    said = "\n".join(lines)
    assert "2 phases: a teacher on masks and labels" in said
    assert "likeliest class, since no mask is learned from" in said
    assert "warning: no mask is learned from (0% of the" in said
    report, page = ((folder / name).read_text() for name in ("report.html", PAGE))
    assert "No mask was learned from" in report
    assert "likeliest class, since no mask is learned from" in report
    assert "likeliest class, since no mask is learned from" in page
    assert read_pseudo_masks(folder).why_likeliest == "no mask is learned from"
    assert not (folder / "phases" / "masks_only").exists()


def test_shares_are_taken_from_masks_that_are_a_fair_sample(patches):
    plan, classes = plan_run(CONFIG, *patches), patches[1]
    assert why_no_shares(plan, classes) == ""
    whole = background_shares(plan, classes, whole_masks(plan))
    np.testing.assert_array_equal(whole[0], background_shares(plan, classes)[0])
    assert "names no background" in why_no_shares(plan, replace(classes, background=None))
    masked = np.flatnonzero(plan.chosen.has_mask)

    def with_pixels(change):
        pixels = plan.patches.pixels.copy()
        change(pixels)
        return plan._replace(patches=replace(plan.patches, pixels=pixels))

    def scribbles(pixels):
        pixels[masked] //= 10

    def one_scribble(pixels):
        pixels[masked[0]] //= 10

    def regions(pixels):
        pixels[masked] = 0
        pixels[masked, 1 - classes.background] = np.prod(plan.patches.size)

    assert "no fair sample" in why_no_shares(with_pixels(scribbles), classes)
    assert "no mask has background beside another class" in why_no_shares(with_pixels(regions), classes)
    most = with_pixels(one_scribble)
    assert why_no_shares(most, classes) == "" and whole_masks(most).sum() == len(masked) - 1


def test_the_classification_study_has_no_phases():
    with pytest.raises(UserError, match="of the classification study"):
        validate(replace(CONFIG, setting="S2+C2", percent=20))


def test_least_steps_lengthen_short_runs_only(patches):
    per_epoch = plan_run(TINY, *patches).schedule.steps_per_epoch
    for least, expected in ((0, 3 * per_epoch), (1000, 1000), (1, 3 * per_epoch)):
        assert plan_run(replace(TINY, least_steps=least), *patches).steps == expected
    assert plan_run(replace(TINY, least_steps=1000, steps=7), *patches).steps == 7


@pytest.mark.slow
def test_a_seed_that_fails_in_a_phase_does_not_end_the_others(phantom, tmp_path, monkeypatch):
    collect = training_run.TrainingRun.collect

    def poisoned(self, metrics):
        if "seed1/phases/teacher" in self.setup.folder.as_posix():
            metrics = [step | {"loss": math.nan} for step in metrics]
        collect(self, metrics)

    config, lines = replace(CONFIG, steps=4, masks_only_phase=False), []
    with monkeypatch.context() as patch:
        patch.setattr(training_run.TrainingRun, "collect", poisoned)
        with pytest.raises(SomeFailed, match="1 of 2 runs could not be finished") as some:
            train_many(phantom, tmp_path, config, (0, 1), strategy="unroll", say=lines.append)
    assert [one.folder for one in some.value.failures] == [tmp_path / "seed1" / "phases" / "teacher"]
    assert [line for line in lines if line.startswith("done:")] == [
        f"done: {tmp_path / 'seed0'} (open {tmp_path / 'seed0' / 'report.html'})"
    ]
    assert not (tmp_path / "seed1" / FINISHED).exists()
    train_many(phantom, tmp_path, config, (0, 1), strategy="unroll", resume=True, say=quiet)
    assert all((tmp_path / f"seed{seed}" / FINISHED).exists() for seed in (0, 1))


@pytest.mark.slow
def test_from_the_command_line_with_two_seeds(phantom, tmp_path, capsys):
    command = ["train", str(phantom), "--out", str(tmp_path / "runs"), "--preset", "few-masks"]
    command += ["--setting", "S+C", "--percent", "40", "--weights", "random", "--batch-size", "8"]
    command += ["--steps", "4", "--seeds", "0", "1", "--strategy", "unroll", "--learning-rate", "1e-3"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "seed0, teacher: setting S+C at 40%" in said and "seed1, masks_only: setting S at 40%" in said
    config = replace(
        PRESETS["few-masks"], weights="random", batch_size=8, steps=4, setting="S+C", percent=40,
        learning_rate=1e-3, seed=1,
    )  # fmt: skip
    alone = train(phantom, tmp_path / "alone", config, say=quiet)
    assert same_network(tmp_path / "runs" / "seed1", alone)


def test_labels_of_one_class_only_are_said(patches):
    plan, classes = plan_run(CONFIG, *patches), patches[1]
    assert warning_of_one_label(plan, classes) == ""
    label = plan.patches.label.copy()
    label[plan.chosen.has_label & ~plan.chosen.has_mask] = 1 - classes.background
    one = plan._replace(patches=replace(plan.patches, label=label))
    said = warning_of_one_label(one, classes)
    assert f"labelled {classes.names[1 - classes.background]}, so" in said
    others = {*classes.names} - {classes.names[code] for code in (0, 1)}
    assert all(name in said for name in others) and classes.names[classes.background] not in said
    # Where masks show no other class, there is nothing to miss.
    pixels = plan.patches.pixels.copy()
    pixels[:, 2:] = 0
    assert warning_of_one_label(one._replace(patches=replace(one.patches, pixels=pixels)), classes) == ""


def test_one_phase_is_said_with_its_reason(patches):
    def why(**options):
        config = replace(CONFIG, **options)
        return why_one_phase(config, plan_run(config, *patches))

    assert why() == "" and why(percent=0) == ""
    assert "nothing to teach" in why(setting="S")
    assert (
        why(percent=0, teacher="runs/other")
        == "no mask is learned from, so there is no phase of S: one phase"
    )
    assert why(teacher="", masks_only_phase=False) == ""


def test_what_a_run_lacks_is_said(patches):
    plan, classes = plan_run(CONFIG, *patches), patches[1]
    assert warnings_of_plan(CONFIG, plan, classes, 1) == []
    pixels = plan.patches.pixels.copy()
    pixels[:, 2] = 0
    (said,) = warnings_of_plan(
        CONFIG, plan._replace(patches=replace(plan.patches, pixels=pixels)), classes, 1
    )
    assert f"learned from shows {classes.names[2]}: nothing but labels" in said
    # Without masks to judge by, labels judge, if the classifier learns from some.
    (said,) = warnings_of_plan(CONFIG, plan, classes, 0)
    assert said.endswith("the last epoch is kept")
    assert warnings_of_plan(replace(CONFIG, cls_weight=1.0), plan, classes, 0) == []
    none = replace(CONFIG, percent=0)
    (said,) = warnings_of_plan(none, plan_run(none, *patches), classes, 1)
    there = int(plan.patches.can_mask.sum())
    assert said.startswith(f"no mask is learned from (0% of the {there} masks is none: a larger --percent")
    study = replace(none, setting="S2+C2", teacher="", masks_only_phase=False)
    assert warnings_of_plan(study, plan, classes, 0) == []


def test_masks_that_a_teacher_fills_make_another_run_of_a_sweep(patches):
    """Also where no label is used, which otherwise makes a teacher's options of no matter."""
    config = replace(CONFIG, setting="S")
    pixels = patches[0].pixels // 2
    plan = plan_run(config, replace(patches[0], pixels=pixels), patches[1])
    names = [run_name(replace(config, teacher_fill=fill), plan, "sha") for fill in (False, True)]
    assert names[0] != names[1]
    whole = plan_run(config, *patches)
    assert len({run_name(replace(config, teacher_fill=fill), whole, "sha") for fill in (False, True)}) == 1
