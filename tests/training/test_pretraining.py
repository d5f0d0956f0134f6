"""`pretrain`: what it reads, what it refuses, what it writes, and how `train` takes that."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from helpers.commands import l2s
from helpers.manifests import with_rows
from helpers.own_slides import write_own_slide
from helpers.runs import TINY, quiet
from helpers.slide_generator import corrupt_tile
from l2s_jax import PretrainOptions, SlideOptions, UserError, pretrain, train
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import ENCODER_TENSORS, variables_to_state_dict
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.runs import checkpoints
from l2s_jax.runs.folder import learned_from, read_earlier_runs
from l2s_jax.runs.leaks import Leak
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.runs.pretraining_note import NOTE, read_pretraining
from l2s_jax.runs.weight_names import ENCODER_NAMES
from l2s_jax.runs.weights_file import read_weights
from l2s_jax.slides.reading import read_window
from l2s_jax.slides.slide import open_slide
from l2s_jax.training.initial_weights import InitialWeights, first_state
from l2s_jax.training.plan import plan_run
from l2s_jax.training.pretraining import run
from l2s_jax.training.pretraining.options import require_sensible, view_side
from l2s_jax.training.pretraining.seen import seen_groups
from l2s_jax.training.pretraining.sources import gather
from l2s_jax.training.pretraining.windows import batches, read_windows, rows_of_step

FOUR = PretrainOptions(steps=4, batch_size=6)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain") / "data"
    prepare_phantom(folder, patches=40, patches_per_slide=2, patch_size=32, masks=1.0)
    return folder


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """An encoder of four steps."""
    return pretrain([data], tmp_path_factory.mktemp("made") / "encoder.safetensors", FOUR, say=quiet)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_own_slide(tmp_path_factory.mktemp("slide"), "s1", 1)


def pictures_of(data, folder, split):
    """The pictures of a split, copied under other names."""
    folder.mkdir()
    for number, row in enumerate(read_manifest(data).of_split(split)):
        shutil.copy(row.image, folder / f"own{number}.png")
    return folder


def same(one, other):
    one, other = read_weights(one), read_weights(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_the_file_is_what_weights_takes_tensor_by_tensor(made, data):
    written = read_weights(made)
    assert sorted(written) == sorted(ENCODER_NAMES) and len(written) == ENCODER_TENSORS
    random = variables_to_state_dict(init_variables(L2S(4), jax.random.key(0)))
    assert not any(np.array_equal(written[name], random[name]) for name in written)
    contents, said = read_manifest(data), []
    plan = plan_run(TINY, load_patches(contents.of_split("train"), contents.classes, 1), contents.classes)
    weights = InitialWeights(encoder=encoder_weights(str(made), say=said.append))
    state = first_state(TINY, L2S(len(contents.classes)), plan.task, weights)
    taken = variables_to_state_dict({"params": state.params, "batch_stats": state.batch_stats})
    assert all(np.array_equal(taken[name], written[name]) for name in written)
    assert "the encoder takes 75 tensors" in said[0] and "left out" not in said[0]
    note, patients = read_pretraining(made), {row.group for row in contents.of_split("train")}
    assert note.groups == tuple(sorted(patients)) and note.slides == note.pictures == () and note.side == 32
    assert note.how["steps"] == 4 and note.how["windows"] == len(contents.of_split("train"))
    assert note.how["seconds"] > 0


def test_a_killed_one_goes_on_to_the_same_bits(made, data, tmp_path, monkeypatch):
    out = tmp_path / "again.safetensors"
    monkeypatch.setattr(run, "SAVE_EVERY", 2)
    monkeypatch.setattr(run, "SAY_EVERY", 2)
    save, said = checkpoints.save, []

    def save_and_die(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        pretrain([data], out, FOUR, say=said.append)
    # How long it takes is said before the first step, and the steps that tell it leave no trace.
    assert "for 4 steps, as 3 took" in said[1] and "windows of 32 pixels" in said[0]
    assert not out.exists() and checkpoints.latest_step(tmp_path / "again.checkpoint") == 2
    with pytest.raises(UserError, match="seed = 0, not 1"):
        pretrain([data], out, replace(FOUR, seed=1), say=quiet)
    pretrain([data], out, replace(FOUR, loader_threads=1, memory_gib=0), say=said.append)
    assert "resuming after step 2 of 4" in said and same(made, out)
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]
    # What is finished is not done again, and not taken for what was asked of it in another way.
    assert pretrain([data], out, FOUR, say=said.append) == out and "is finished" in said[-1]
    with pytest.raises(UserError, match="steps = 4, not 5"):
        pretrain([data], out, replace(FOUR, steps=5), say=quiet)


def test_asked_to_stop_it_saves_and_says_how_to_go_on(made, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "stopped.safetensors"
    words = ["pretrain", data, "--out", out, "--steps", 4, "--batch-size", 6]
    with monkeypatch.context() as patch:
        asked = iter([False, True, True])
        patch.setattr(run, "stop_requests", lambda: nullcontext(SimpleNamespace(is_set=lambda: next(asked))))
        assert l2s(*words) == 130
    assert "stopped after step 2 of 4; start the same command again to go on" in capsys.readouterr().err
    assert not out.exists()
    assert l2s(*words) == 0 and "resuming after step 2 of 4" in capsys.readouterr().out and same(made, out)


def test_nothing_but_the_pictures_of_the_training_split_is_read(made, data, tmp_path):
    shutil.copytree(data, tmp_path / "bare")
    for row in read_manifest(tmp_path / "bare").patches:
        row.mask.unlink()
        if row.split != "train":
            row.image.unlink()
    assert same(made, pretrain([tmp_path / "bare"], tmp_path / "bare.safetensors", FOUR, say=quiet))


def test_pictures_without_a_manifest_are_learned_from_as_they_are(made, data, tmp_path):
    folder = pictures_of(data, tmp_path / "own", "train")
    (folder / "notes.txt").write_text("no picture")
    (folder / "more").mkdir()
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (70, 40, 3)).astype(np.uint8)).save(
        folder / "more" / "larger.png"
    )
    shutil.copy(folder / "own0.png", folder / "twice.png")
    said = []
    windows = read_windows(gather([folder], window=32, say=said.append), 1, said.append)
    number = len(read_manifest(data).of_split("train"))
    assert len(windows) == number + 2 and windows.mpp is None  # the larger one has two whole windows
    assert said == ["1 windows are there more than once: each is taken once"]
    assert windows.groups.count("larger") == 2 and "own0" in windows.groups
    again = read_windows(gather([folder], window=32, say=quiet), 0, quiet)
    assert not again.in_memory and again.content == windows.content
    assert np.array_equal(again.fetch(np.arange(3)), windows.fetch(np.arange(3)))


def random_picture(path, height=32, width=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_windows_of_slides_lie_on_tissue_and_are_read_at_the_scale_asked_for(slide):
    said = []
    found = gather([slide], window=32, per_slide=6, slides=SlideOptions(mpp=8.0), say=said.append)
    (source,) = found.sources
    assert found.mpp == 8.0 and source.group == "s1" and len(source.places) == 6
    assert "6 of " in said[-1] and "read at 8 um/px; the slide has" in said[-1]
    other = gather([slide], window=32, per_slide=6, seed=1, slides=SlideOptions(mpp=8.0), say=quiet)
    assert set(other.sources[0].places) != set(source.places)
    first = read_window(open_slide(slide), source.places[0], (32, 32), 8.0)
    assert np.array_equal(read_windows(found, 1, quiet).fetch(np.array([0]))[0], first) and first.std() > 1
    with pytest.raises(UserError, match="--mpp says at how many micrometres"):
        gather([slide], window=32)
    with pytest.raises(UserError, match="windows are looked for on tissue"):
        gather([slide], window=32, slides=SlideOptions(mpp=8.0, within="slide"))
    with pytest.raises(UserError, match="1 of 1 have no window of 4096 pixels"):
        gather([slide], window=4096, slides=SlideOptions(mpp=8.0), say=quiet)


def test_what_is_damaged_in_a_slide_is_left_out_and_said(slide, tmp_path):
    with_level0 = SlideOptions(mpp=open_slide(slide).mpp[0])
    damaged = corrupt_tile(slide, tmp_path / "s2.svs", 400, 400)
    said = []

    def of(path, say):
        found = gather([path], window=64, per_slide=10**6, slides=with_level0, say=quiet)
        return len(read_windows(found, 1, say))

    left, whole = of(damaged, said.append), of(slide, quiet)
    assert 0 < left < whole
    assert said == [
        f"warning: {whole - left} windows cannot be read, the slides are damaged there: they are left out"
    ]


def test_a_folder_of_slides_and_pictures_is_searched(slide, tmp_path):
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    shutil.copy(slide, tmp_path / "deep" / "s1.svs")
    random_picture(tmp_path / "a.png")
    random_picture(tmp_path / "deep" / ".hidden" / "b.png", seed=1)
    found = gather([tmp_path], window=32, per_slide=3, slides=SlideOptions(mpp=8.0), say=quiet)
    assert [len(source.places) for source in found.sources] == [1, 3]


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_held_out_is_refused_by_name_by_slide_and_by_pixels(data, slide, tmp_path, split):
    contents = read_manifest(data)
    held = next(row for row in contents.of_split(split))
    named = random_picture(tmp_path / f"{held.group}.png")
    with pytest.raises(UserError, match=rf"are of a validation or test split.*\({split} of"):
        gather([named], [data], window=32)
    renamed = tmp_path / "renamed.tif"
    Image.open(held.image).save(renamed)
    random_picture(tmp_path / "other.png")
    for pictures, others in ([[renamed, tmp_path / "other.png"], [data]], [[data, renamed], []]):
        with pytest.raises(UserError, match=f"renamed.tif is .*{held.image.name}"):
            read_windows(gather(pictures, others, say=quiet), 1, quiet)
    cut_from_it = {"source": "s1.svs at row 0, col 0", "group": "patient"}
    other = with_rows(data, tmp_path, lambda row: replace(row, **cut_from_it) if row == held else row)
    with pytest.raises(UserError, match=f"s1.svs \\({split} of"):
        gather([slide], [other], window=32, slides=SlideOptions(mpp=8.0), allow_outside=True)


def test_patients_that_another_manifest_holds_out_are_refused(data, tmp_path):
    exchange = {"train": "test", "test": "train"}

    def exchanged(row):
        return replace(row, split=exchange.get(row.split, row.split))

    fold = with_rows(data, tmp_path / "fold", exchanged)
    for pictures, others in (([data, fold], []), ([data], [fold])):
        with pytest.raises(UserError, match="patient.s. or slide.s. that .* keeps for validation or test"):
            gather(pictures, others, allow_outside=True)
    # Under other names of the patients it is the pixels that tell.
    renamed = with_rows(data, tmp_path / "re", lambda row: replace(exchanged(row), group=f"new {row.group}"))
    with pytest.raises(UserError, match="pixel by pixel"):
        read_windows(gather([data, renamed], allow_outside=True, say=quiet), 1, quiet)


def test_names_near_those_that_are_held_out_are_said(data, tmp_path):
    held = read_manifest(data).of_split("test")[0]
    near, said = random_picture(tmp_path / f"{held.group}_b.png"), []
    gather([near], [data], window=32, say=said.append)
    assert "have nearly the names" in said[-1] and repr(held.group) in said[-1]


@pytest.mark.parametrize("split", ["val", "test"])
def test_train_refuses_an_encoder_that_has_seen_its_held_out_patients(made, data, tmp_path, split):
    exchange = {"train": split, split: "train"}
    with_rows(data, tmp_path, lambda row: replace(row, split=exchange.get(row.split, row.split)))
    config = replace(TINY, weights=str(made), epochs=1)
    with pytest.raises(Leak, match="weights = .*this encoder has learned from .* of the split val and test"):
        train(tmp_path, tmp_path / "run", config, allow_outside=True, say=quiet)
    assert not (tmp_path / "run").exists()


def test_it_is_refused_by_slide_and_by_pixels_too(data, slide, tmp_path):
    contents = read_manifest(data)
    held = contents.of_split("test")[0]
    pictures = pictures_of(data, tmp_path / "own", "test")
    options = SlideOptions(mpp=contents.patches[0].mpp)
    out = tmp_path / "e.safetensors"
    pretrain([slide, pictures], out, FOUR, window=32, per_slide=4, slides=options, say=quiet)
    note = read_pretraining(out)
    assert note.slides == ("s1.svs",) and len(note.pictures) == len(contents.of_split("test"))
    assert seen_groups(note, contents) == {row.group for row in contents.of_split("test")}
    blind = note._replace(pictures=())
    assert seen_groups(blind, contents) == set()
    cut = replace(held, source="s1.svs at row 0, col 0")
    cut = replace(contents, patches=tuple(cut if row == held else row for row in contents.patches))
    assert seen_groups(blind, cut) == {held.group}
    with pytest.raises(Leak, match="this encoder has learned from"):
        train(data, tmp_path / "run", replace(TINY, weights=str(out), epochs=1), say=quiet)
    pretrain([slide], tmp_path / "s.safetensors", FOUR, window=32, per_slide=4, slides=options, say=quiet)
    config = replace(TINY, weights=str(tmp_path / "s.safetensors"), epochs=1)
    assert learned_from(train(data, tmp_path / "run", config, say=quiet)).slides == {"s1"}


def test_a_run_remembers_whom_its_encoder_has_seen_and_how_pictures_were_scaled(made, data, tmp_path):
    contents = read_manifest(data)
    some = (*contents.of_split("train")[:6], *contents.of_split("val"))
    with_rows(data, tmp_path, lambda row: row if row in some else None)
    config = replace(TINY, weights=str(made), epochs=1, norm="weights", setting="S")
    out = train(tmp_path, tmp_path / "run", config, allow_outside=True, say=quiet)
    (earlier,) = read_earlier_runs(out)
    assert earlier.role == "weights" and earlier.folder == str(made)
    assert learned_from(out).groups == {row.group for row in contents.of_split("train")}
    assert 'norm = "imagenet"' in (out / "config.toml").read_text()


def test_a_damaged_note_is_no_empty_one(made, tmp_path):
    tensors = load_file(made)
    lists = {"groups": [], "slides": [], "pictures": [], "side": 32, "mpp": None}
    faults = {"all": lists | {"groups": "all"}, "number": lists | {"pictures": [1]}, "none": {}, "bare": []}
    for name, text in {"broken": "{", **{name: json.dumps(fault) for name, fault in faults.items()}}.items():
        save_file(tensors, tmp_path / f"{name}.safetensors", {NOTE: text})
        with pytest.raises(UserError, match="its pretraining is damaged"):
            read_pretraining(tmp_path / f"{name}.safetensors")
    save_file(tensors, tmp_path / "other.safetensors")
    assert read_pretraining(tmp_path / "other.safetensors") is None
    with pytest.raises(UserError, match="exists, and `l2s pretrain` did not make it"):
        pretrain([tmp_path], tmp_path / "other.safetensors", FOUR)


def bad(folder, data, slide):
    """Names of faults to what is named and what the message must hold."""
    grey = folder / "mask.png"
    Image.fromarray(np.tile(np.arange(32, dtype=np.uint8), (32, 1))).save(grey)
    small, odd = random_picture(folder / "small.png", 16, 40), random_picture(folder / "odd.png", 40, 40)
    (folder / "empty").mkdir()
    (folder / "text.png").write_text("no picture")
    return {
        "nothing there": ([folder / "none"], "not found"),
        "nothing in it": ([folder / "empty"], "holds no manifest"),
        "a manifest inside": ([data.parent], "holds manifests or runs"),
        "a mask": ([grey, odd], "has no colour. Is it a mask"),
        "too small": ([small, odd], "1 of 2 have no window of 32 pixels"),
        "no picture": ([folder / "text.png"], "text.png"),
        "only one": ([odd], "at least 2 are needed"),
    }


@pytest.mark.parametrize("fault", [
    "nothing there", "nothing in it", "a manifest inside", "a mask", "too small", "no picture", "only one",
])  # fmt: skip
def test_what_cannot_be_learned_from_is_said(data, slide, tmp_path, capsys, fault):
    pictures, words = bad(tmp_path, data, slide)[fault]
    out = tmp_path / "e.safetensors"
    assert l2s("pretrain", *pictures, "--window", 32, "--steps", 1, "--out", out) == 2
    assert words in capsys.readouterr().err
    assert not out.exists() and not out.with_suffix(".checkpoint").exists()


def test_patients_in_two_splits_are_refused(data, tmp_path):
    contents = read_manifest(data)
    test, first = contents.of_split("test")[0], contents.of_split("train")[0]
    with_rows(data, tmp_path, lambda row: replace(row, group=first.group) if row == test else row)
    with pytest.raises(UserError, match=f"more than one split: {first.group}"):
        gather([tmp_path], allow_outside=True)


def test_pictures_of_another_scale_are_refused_unless_asked_for(data, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "fine.png", dpi=(25400 / 0.25, 25400 / 0.25))
    with pytest.raises(UserError, match="of another scale than 0.5 um/px: .*fine.png has 0.25"):
        gather([tmp_path / "fine.png"], window=32, slides=SlideOptions(mpp=0.5))
    said = []
    fine, silent = tmp_path / "fine.png", random_picture(tmp_path / "silent.png", seed=1)
    gather([fine, silent], window=32, slides=SlideOptions(mpp=0.5), any_scale=True, say=said.append)
    assert "of another scale" in said[0] and "taken as they are" in said[0]
    assert said[1] == "scale: 1 picture(s) state none and are taken to be at 0.5 um/px"
    mpp = read_manifest(data).patches[0].mpp
    assert gather([data]).mpp == mpp
    with pytest.raises(UserError, match="of another scale"):
        gather([data], slides=SlideOptions(mpp=3 * mpp))


@pytest.mark.parametrize(("options", "words"), [
    ({"steps": 0}, "steps = 0"), ({"batch_size": 1}, "batch_size = 1"), ({"view": 40}, "view = 40"),
    ({"learning_rate": float("nan")}, "learning_rate"), ({"temperature": 0.0}, "temperature"),
])  # fmt: skip
def test_options_that_make_no_sense_are_named(options, words):
    with pytest.raises(UserError, match=words):
        require_sensible(PretrainOptions(**options))


def test_a_view_is_three_quarters_of_a_window_and_not_too_dear(tmp_path):
    sides = {16: 16, 32: 32, 48: 32, 64: 48, 96: 64, 128: 64, 512: 64}
    assert {side: view_side(FOUR, side) for side in sides} == sides
    assert view_side(replace(FOUR, view=96), 128) == 96
    with pytest.raises(UserError, match="--view 96 is more than"):
        view_side(replace(FOUR, view=96), 64)
    with pytest.raises(UserError, match="--window 60 must be a multiple of 16, as the network takes it$"):
        gather([random_picture(tmp_path / "one.png", 70, 70)], window=60)
    for name in ("encoder.pth", "encoder"):
        with pytest.raises(UserError, match="must end in .safetensors"):
            pretrain(["none"], name, FOUR)


@given(n=st.integers(2, 40), batch=st.integers(2, 50), step=st.integers(0, 10**6), seed=st.integers(0, 99))
def test_a_batch_has_no_window_twice(n, batch, step, seed):
    rows = rows_of_step(n, batch, seed, step)
    assert len(rows) == len(set(rows)) == min(n, batch) and set(rows) <= set(range(n))
    assert np.array_equal(rows, rows_of_step(n, batch, seed, step))


def test_batches_are_those_of_their_steps_however_many_threads(data):
    windows = read_windows(gather([data]), 1, quiet)
    one, many = (list(batches(windows, 6, 3, 2, 7, threads)) for threads in (1, 4))
    assert len(one) == len(many) == 5
    for step, (a, b) in enumerate(zip(one, many, strict=True), 2):
        assert np.array_equal(a, b) and np.array_equal(
            a, windows.fetch(rows_of_step(len(windows), 6, 3, step))
        )
