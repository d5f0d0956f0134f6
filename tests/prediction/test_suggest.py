"""What to draw next: patches with a label only, and windows of slides."""

import csv
import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from helpers.commands import l2s
from helpers.ensembles import sibling
from helpers.manifests import with_rows
from helpers.own_slides import BACH_MPP, BLOCK, SIDE, write_own_slide
from helpers.runs import quiet
from l2s_jax import read_manifest, suggest
from l2s_jax.data.pictures import read_image
from l2s_jax.models.encoder import Encoder
from l2s_jax.models.forward import make_forward, make_looks
from l2s_jax.models.network import normalise
from l2s_jax.prediction.suggest import suggest as verb
from l2s_jax.prediction.suggest.scores import allowed_classes, patch_scores
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

MPP = BACH_MPP * BLOCK

WAYS = ("stratified", "random", "disagreement", "change", "coverage")


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    """Two networks that differ."""
    return [trained, sibling(trained, tmp_path_factory.mktemp("runs") / "other", 1, 0.1)]


@pytest.fixture(scope="module")
def suggested(phantom, runs, tmp_path_factory):
    """What was found, the folder, and what was said."""
    out, said = tmp_path_factory.mktemp("suggested") / "out", []
    found = suggest(phantom, runs, out, by="disagreement", number=6, batch_size=8, say=said.append)
    return found, out, said


def without_mask(phantom):
    return [row for row in read_manifest(phantom).of_split("train") if row.mask is None]


def test_the_features_are_those_of_the_encoder(trained, rng):
    network = load_network(trained)[0]
    images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    found, plain = make_looks(network, 8)(images), make_forward(network, 8)(images)
    np.testing.assert_allclose(found.coarse_logits, plain.coarse_logits, atol=1e-5)
    mean, std = jnp.asarray(network.mean), jnp.asarray(network.std)
    scaled = normalise(jnp.asarray(images, jnp.float32) / 255, mean, std)
    encoder = {kind: network.variables[kind]["encoder"] for kind in ("params", "batch_stats")}
    features = Encoder().apply(encoder, scaled, jnp.ones(3, bool), False).layer3
    np.testing.assert_allclose(found.class_logits, np.mean(features, (1, 2)), atol=1e-5)


def test_scores_are_of_the_networks_on_that_patch(suggested, phantom, runs):
    classes, one = read_manifest(phantom).classes, suggested[0][0]
    row = one.candidate.place
    forwards = [make_forward(load_network(run)[0], 8) for run in runs]
    logits = [
        np.moveaxis(forward(read_image(row.image)[None]).coarse_logits[0], -1, 0) for forward in forwards
    ]
    allowed = allowed_classes(row.label, row.allowed, classes.background, len(classes))
    plain = patch_scores(np.stack(logits).reshape(2, len(classes), -1), (1.0, 1.0), allowed)
    assert one.disagreement == pytest.approx(plain.disagreement, rel=1e-3) and one.worth == one.disagreement
    assert one.change == pytest.approx(plain.change, abs=0.05)


@pytest.mark.parametrize("by", WAYS)
def test_only_training_patches_with_a_label_alone_are_listed(by, phantom, runs):
    there = {row.image for row in without_mask(phantom)}
    found = suggest(phantom, runs, by=by, number=len(there), say=quiet)
    assert {one.candidate.place.image for one in found} == there
    assert [one.rank for one in found] == list(range(1, len(there) + 1))


def test_no_picture_of_val_and_test_is_opened(phantom, runs, tmp_path, monkeypatch):
    """What cannot be opened after the check is never looked at."""
    data = shutil.copytree(phantom, tmp_path / "data")
    check, held = verb.check_manifest, []

    def then_gone(*arguments, **options):
        report = check(*arguments, **options)
        for row in report.manifest.patches:
            if row.split != "train":
                row.image.unlink()
                held.append(row.image)
        return report

    monkeypatch.setattr(verb, "check_manifest", then_gone)
    assert len(suggest(data, runs, tmp_path / "out", by="coverage", number=4, say=quiet)) == 4 and held


def test_the_table_and_the_page(suggested, phantom):
    found, out, said = suggested
    with (out / "suggested.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    contents = read_manifest(phantom)
    assert len(rows) == len(found) == 6
    for one, row in zip(found, rows, strict=True):
        place = one.candidate.place
        assert (phantom / row["image"]).resolve() == place.image.resolve() and row["group"] == place.group
        assert int(row["rank"]) == one.rank and row["why"] == one.why
        assert row["label"] == contents.classes.names[place.label]
        assert float(row["score"]) == pytest.approx(one.worth, rel=1e-5)
        assert float(row["distance"]) == pytest.approx(one.distance, rel=1e-5)
    page = (out / "suggested.html").read_text()
    assert page.count("<img") == 6 and "//" not in page and "<script" not in page
    assert {path.name for path in (out / "pictures").iterdir()} == {f"{rank:04d}.jpg" for rank in range(1, 7)}
    assert read_image(out / "pictures" / "0001.jpg").shape == (32, 3 * 32 + 8, 3)
    assert sum("0" in line for line in said) >= 6 and "no better, beyond chance" in "\n".join(said)


def test_runs_that_do_not_decide_are_said(phantom, trained, capsys):
    assert l2s("suggest", phantom, "--runs", trained, "--number", 2) == 0
    assert "--runs did not decide the order: --by stratified asks no" in capsys.readouterr().out


def test_labels_are_enough(phantom, tmp_path, capsys):
    """Neither runs nor a folder: the list is printed; with a folder the pictures stand alone."""
    assert l2s("suggest", phantom, "--number", 5) == 0
    said = capsys.readouterr().out
    assert "each class alike" in said and "docs/suggest.md" in said and said.count("images/") == 5
    assert l2s("suggest", phantom, "--number", 2, "--seed", 1, "--out", tmp_path / "out") == 0
    assert "No network was asked" in (tmp_path / "out" / "suggested.html").read_text()
    assert read_image(tmp_path / "out" / "pictures" / "0001.jpg").shape == (32, 32, 3)


def test_a_list_is_written_whole_or_not_at_all(phantom, tmp_path, monkeypatch):
    count, write = iter(range(100)), verb.write_picture

    def failing(*arguments):
        if next(count) == 2:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(verb, "write_picture", failing)
    with pytest.raises(KeyboardInterrupt):
        suggest(phantom, (), tmp_path / "out", number=4, say=quiet)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_made_again_it_is_the_same(suggested, phantom, runs, tmp_path):
    out = shutil.copytree(suggested[1], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.rglob("*.*") if path.suffix in (".csv", ".jpg")}
    suggest(phantom, runs, out, by="disagreement", number=6, batch_size=8, say=quiet)
    assert all(next(out.rglob(name)).read_bytes() == content for name, content in before.items())
    (out / "suggested.csv").write_text("mine")
    assert l2s("suggest", phantom, "--out", out) == 2 and (out / "suggested.csv").read_text() == "mine"


def test_bad_input_is_one_message_each(phantom, runs, tmp_path, capsys):
    out = tmp_path / "out"

    def said(data, *words):
        assert l2s("suggest", data, *words, "--out", out, "--allow-outside") == 2
        text = capsys.readouterr().err
        assert not out.exists() and text.count("\n") == 1, text
        return text

    assert "needs two runs or more, and" in said(phantom, "--by", "disagreement", "--runs", runs[0])
    assert "needs two runs or more: name them" in said(phantom, "--by", "disagreement")
    assert "name a run" in said(phantom, "--by", "coverage")
    assert "is named twice" in said(phantom, "--by", "change", "--runs", runs[0], runs[0])
    twin = shutil.copytree(runs[0], tmp_path / "twin")
    assert "hold the same network" in said(phantom, "--by", "change", "--runs", runs[0], twin)
    assert "no trained network" in said(phantom, "--by", "change", "--runs", tmp_path)
    there = len(without_mask(phantom))
    assert f"only {there} are there" in said(phantom, "--number", there + 1)
    assert "number = 0 must be 1 to" in said(phantom, "--number", 0)
    with pytest.raises(UserError, match="--number 0 must be at least 1"):
        suggest(phantom, number=0)
    assert "--slides asks a network" in said(phantom, "--slides", "a.svs")
    text = said(phantom, "--window", 64, "--within", phantom)
    assert "--window and --within: no slide is named" in text
    whole = ("--within", "slide", "--runs", runs[0])
    assert "looked for on tissue" in said(phantom, "--slides", phantom / "patches.csv", *whole)
    full = with_rows(phantom, tmp_path / "full", lambda row: row if row.mask is not None else None)
    assert "nothing left to draw" in said(full)
    scaled = with_rows(phantom, tmp_path / "scaled", lambda row: dataclasses.replace(row, mpp=3.0))
    assert "--any-scale" in said(scaled, "--by", "change", "--runs", *runs)
    named = with_rows(phantom, tmp_path / "named", lambda row: row)
    for name in ("classes.toml", "patches.csv"):
        text = (named / name).read_text()
        (named / name).write_text(text.replace('"carcinoma"', '"cancer"').replace(",carcinoma,", ",cancer,"))
    text = said(named, "--by", "change", "--runs", *runs)
    assert "cancer" in text and str(runs[0]) in text


def test_runs_of_other_scales_are_not_taken_together(phantom, runs, tmp_path, monkeypatch):
    from l2s_jax.prediction.suggest import looks

    load = looks.load_predictor

    def scaled(run, *arguments):
        found = load(run, *arguments)
        return found._replace(mpp=2.0) if run == runs[1] else found._replace(mpp=1.0)

    monkeypatch.setattr(looks, "load_predictor", scaled)
    with pytest.raises(verb.UserError, match="was trained at 2 um/px"):
        suggest(phantom, runs, by="change", say=quiet)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    return [write_own_slide(folder, name, seed) for seed, name in enumerate(("new1", "new2"))]


@pytest.mark.parametrize("by", ["stratified", "disagreement"])
def test_windows_of_slides_are_frames(by, phantom, runs, slides, tmp_path):
    out, said = tmp_path / "out", []
    found = suggest(
        phantom,
        runs,
        out,
        by=by,
        number=5,
        slides=slides,
        options=verb.SlideOptions(mpp=MPP),
        say=said.append,
    )
    with (out / "suggested.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(found) == len(rows) == 5 and {row["slide"] for row in rows} == {"new1.svs", "new2.svs"}
    frames = {}
    for path in slides:
        content = json.loads((out / f"{path.stem}_suggested.geojson").read_text())
        for one in content["features"]:
            assert "classification" not in one["properties"]
            frames[one["properties"]["name"]] = path.name, one["geometry"]["coordinates"][0]
    for row in rows:
        slide, corners = frames.pop(f"Suggested {row['rank']}")
        assert slide == row["slide"]
        (left, top), (right, bottom) = np.min(corners, 0), np.max(corners, 0)
        assert (left, top) == pytest.approx((float(row["x"]), float(row["y"])))
        assert (right - left, bottom - top) == pytest.approx((32 * BLOCK, 32 * BLOCK))
        assert 0 <= left and right <= SIDE * BLOCK + 1e-6
    assert not frames and all(one.stratum != IGNORE_LABEL for one in found)
    # One slide after the other: none has two before each has one.
    assert {row["slide"] for row in rows[:2]} == {"new1.svs", "new2.svs"} or by == "stratified"
    assert "windows of 32 pixels" in "\n".join(said)


def test_slides_of_val_and_test_are_refused_and_what_is_drawn_is_left_out(
    phantom, runs, slides, tmp_path, capsys
):
    contents = read_manifest(phantom)
    group = contents.of_split("test")[0].group
    shutil.copy(slides[0], tmp_path / f"{group}.svs")
    words = ("--runs", *runs, "--mpp", MPP, "--out", tmp_path / "out", "--allow-outside")
    assert l2s("suggest", phantom, "--slides", tmp_path / f"{group}.svs", *words) == 2
    said = capsys.readouterr().err
    assert f"{group}.svs (test)" in said and not (tmp_path / "out").exists()
    train = contents.of_split("train")
    masked = next(row for row in train if row.mask is not None)
    cut = with_rows(
        phantom,
        tmp_path / "cut",
        lambda row: (
            dataclasses.replace(row, source="new1.svs at row 40, col 40", mpp=MPP)
            if row.line == masked.line
            else dataclasses.replace(row, mpp=MPP)
        ),
    )
    everything = suggest(
        phantom,
        runs,
        by="random",
        number=1,
        slides=slides[:1],
        options=verb.SlideOptions(mpp=MPP),
        say=quiet,
    )
    assert everything
    said = []
    options = verb.SlideOptions(mpp=MPP)
    suggest(cut, runs, by="random", number=1, slides=slides[:1], options=options, any_scale=True,
            allow_outside=True, say=said.append)  # fmt: skip
    before = []
    suggest(phantom, runs, by="random", number=1, slides=slides[:1], options=options, say=before.append)

    def windows(lines):
        return next(int(line.split()[1]) for line in lines if "windows of" in line)

    # The patch at (40, 40) of 32 pixels meets four squares of the grid; those over tissue are gone.
    assert windows(before) - 4 <= windows(said) < windows(before)
