"""A run whose initial weights are another one's, and what that must not do to its figures."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from helpers.runs import TINY, blank_task, quiet
from l2s_jax.cli import app as cli
from l2s_jax.cli.advice import advice
from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.network import L2S
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.runs.folder import learned_from, read_earlier_runs, read_subset
from l2s_jax.runs.leaks import Leak
from l2s_jax.runs.network import load_network
from l2s_jax.sweeps import sweep as sweeping
from l2s_jax.sweeps.sweep import sweep
from l2s_jax.system.errors import UserError
from l2s_jax.training import lineage
from l2s_jax.training.initial_weights import first_state
from l2s_jax.training.lineage import read_weights
from l2s_jax.training.plan import plan_run
from l2s_jax.training.train import train, train_together

NOTHING = blank_task()


def same(a, b):
    return [np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]


@pytest.mark.slow
def test_the_whole_network_where_it_fits_else_its_encoder(trained, phantom):
    manifest, said = read_manifest(phantom), []
    theirs = load_network(trained)[0].variables
    for head, part in (("a3", "the whole network"), ("max", "the encoder")):
        config = replace(TINY, weights=str(trained), head=head, seed=9)
        weights, run = read_weights(str(trained), head, "paper", manifest, said.append)
        state = first_state(config, L2S(4, head), NOTHING, weights)
        fresh = first_state(config, L2S(4, head), NOTHING)
        for kind, ours in (("params", state.params), ("batch_stats", state.batch_stats)):
            assert all(same(ours["encoder"], theirs[kind]["encoder"]))
            decoder = same(ours["decoder"], theirs[kind]["decoder"])
            assert all(decoder) if head == "a3" else not all(decoder)
        assert jax.tree.structure(state) == jax.tree.structure(fresh)
        if head == "max":
            assert all(same(state.params["decoder"], fresh.params["decoder"]))
        assert run.part == part and part in said[-1]
    assert "classes, head or decoder are others" in said[-1]


@pytest.mark.slow
def test_a_network_is_read_once_however_many_runs_take_from_it(trained, phantom, tmp_path, monkeypatch):
    read = []

    def counting(folder):
        read.append(folder)
        return load_network(folder)

    monkeypatch.setattr(lineage, "load_network", counting)
    manifest = read_manifest(phantom)
    patches = load_patches(manifest.of_split("train"), manifest.classes, 1)
    config = replace(TINY, setting="S+C", percent=40, weights=str(trained), teacher=str(trained))
    lineage_of = lineage.lineage_reader(manifest, quiet)
    for seed in range(3):
        taken = lineage_of(tmp_path, replace(config, seed=seed), plan_run(config, patches, manifest.classes))
        assert [run.role for run in taken.runs] == ["weights", "teacher"]
        assert taken.weights.variables is not None and len(taken.pseudo_masks.rows)
    assert read == [trained, trained]  # once for its weights, once as a teacher


@pytest.mark.slow
def test_a_slide_is_known_again_under_another_patients_name(phantom, tmp_path):
    """By the run that learned from it, by one that starts from that, and in another data set."""
    contents = read_manifest(phantom)
    slides = {row.group: f"{number}.svs" for number, row in enumerate(contents.patches)}

    def cut(folder, change=lambda row: row):
        folder.mkdir()
        write_classes(folder, contents.classes)
        rows = [replace(row, source=f"{slides[row.group]} at row 0, col 0") for row in contents.patches]
        write_patches(folder, contents.classes, [row for row in map(change, rows) if row is not None])
        return folder

    shared = {"allow_outside": True, "say": quiet}
    run = train(cut(tmp_path / "data"), tmp_path / "run", replace(TINY, steps=2), **shared)
    known = {row.group for row in contents.of_split("train")}
    assert learned_from(run).slides == {slides[group].removesuffix(".svs") for group in known}
    test, taught = contents.of_split("test")[0].group, sorted(known)[0]
    # A patient of test whose patches come of a slide that was learned from, in a set with other names.
    slides[test] = slides[taught]
    other = cut(
        tmp_path / "other",
        lambda row: None if row.group == taught else replace(row, group=f"{row.group}, again"),
    )
    name = slides[taught].removesuffix(".svs")
    pair, lines = (name, f"{test}, again (slide {name})"), []
    said = {"allow_outside": True, "say": lines.append}
    evaluate(run, other, out=tmp_path / "figures", **said)
    assert json.loads((tmp_path / "figures" / "metrics.json").read_text())["groups_near_trained_ones"] == [
        [*pair]
    ]
    train(other, tmp_path / "new", replace(TINY, steps=2, weights=str(run)), **said)
    config = replace(TINY, steps=2, setting="S+C", percent=40, teacher=str(run))
    train(other, tmp_path / "taught", config, **said)
    warned = [line for line in lines if f"{name!r} (learned from) and {pair[1]!r}" in line]
    assert len(warned) == 3
    # Slides of one name that are of several patients, in folders of their own, tell nothing.
    lines.clear()
    slides.update(dict.fromkeys(slides, "1.dcm"))
    run = train(cut(tmp_path / "dicom"), tmp_path / "of_dicom", replace(TINY, steps=2), **said)
    evaluate(run, tmp_path / "dicom", **said)
    assert not any("learned from patients" in line for line in lines)
    run = tmp_path / "run"
    config = replace(TINY, steps=2, weights=str(run), percent=40, setting="S")
    later = train(tmp_path / "data", tmp_path / "later", config, **shared)
    assert learned_from(later).slides == learned_from(run).slides


@pytest.mark.slow
def test_a_run_remembers_what_its_network_had_learned_from(trained, phantom, tmp_path):
    """Two runs from one start, resumed without it, then asked about what only that had learned from."""
    first = shutil.copytree(trained, tmp_path / "first")
    config = replace(TINY, weights=str(first), setting="S", percent=40, steps=3)
    runs = [(tmp_path / name, replace(config, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    train_together(phantom, runs, strategy="unroll", say=quiet)
    shutil.rmtree(first)
    lines = []
    train_together(phantom, runs, strategy="unroll", resume=True, say=lines.append)
    assert sum("resuming after step 3" in line for line in lines) == 2
    run = tmp_path / "b"
    own = {record["group"] for record in read_subset(run)}
    assert own < learned_from(trained).groups == learned_from(run).groups

    contents = read_manifest(phantom)
    known = next(row for row in contents.patches if row.split == "train" and row.group not in own)
    leaky = tmp_path / "leaky"
    leaky.mkdir()
    write_classes(leaky, contents.classes)
    rows = [row for row in contents.patches if row.group != known.group]
    write_patches(leaky, contents.classes, [*rows, replace(known, split="test")])
    with pytest.raises(UserError, match=f"has learned from 1 .*{known.group}"):
        evaluate(run, leaky, allow_outside=True, say=quiet)
    with pytest.raises(Leak, match=f"weights = .* has learned from 1 .*{known.group}") as caught:
        train(leaky, tmp_path / "new", replace(config, weights=str(run)), allow_outside=True, say=quiet)
    leak = caught.value
    assert (leak.run, leak.groups, leak.splits) == (run, (known.group,), ("val", "test"))
    assert leak.role == "weights" and "--weights" in advice(leak, "train")
    words = ["train", str(phantom), "--out", str(tmp_path / "new"), "--weights"]
    assert cli.run([*words, str(first)]) == 2 and cli.run([*words, str(tmp_path)]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_sweep_starts_runs_from_those_of_the_same_draw(phantom, tmp_path):
    file, out = tmp_path / "warm.toml", tmp_path / "out"
    file.write_text(
        """
        draws = [3]
        percents = [60]
        [options]
        weights = "random"
        batch_size = 8
        learning_rate = 1e-3
        steps = 2
        [[variant]]
        name = "cold"
        settings = ["S"]
        [[variant]]
        name = "warm"
        settings = ["S+C"]
        start_from = "cold S"
        teacher = "cold S"
        """
    )
    sweep(file, out, manifest=phantom, say=quiet)
    cold, warm = sweeping.complete_rows(out / "results.csv")[0].to_dict("records")
    assert (cold["variant"], warm["variant"]) == ("cold", "warm") and cold["run"] != warm["run"]
    start, teacher = read_earlier_runs(out / "runs" / warm["run"])
    assert (start.role, teacher.role) == ("weights", "teacher")
    assert start.folder == teacher.folder == str(out / "runs" / cold["run"])

    results = (out / "results.csv").read_text().splitlines(keepends=True)
    (out / "results.csv").write_text("".join(line for line in results if warm["run"] not in line))
    shutil.rmtree(out / "runs")
    lines = []
    with pytest.raises(UserError, match=r"1 run\(s\) failed"):
        sweep(file, out, manifest=phantom, say=lines.append)
    assert any("the run that it takes from has failed, or its folder is gone" in line for line in lines)
