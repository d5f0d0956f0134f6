"""Several runs taken together: pictures, slides, splits, against each run alone; and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from helpers.commands import l2s
from helpers.ensembles import plain_joint, sibling, softmax, with_temperature
from helpers.runs import quiet, take_out_sum
from helpers.slide_generator import smooth_picture
from l2s_jax.data.manifest import STAIN, read_manifest
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.models.forward import _forward
from l2s_jax.phantom.patches import phantom_slide
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.ensemble import load_runs, named_runs, together
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.metrics import confusion_matrix, summary
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.predictor import load_predictor
from l2s_jax.prediction.slides import predict as slide_prediction
from l2s_jax.prediction.slides.evaluate import evaluate_slides
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.tiles import enlarge, predict_picture
from l2s_jax.runs.folder import FINISHED, learned_from, read_run_classes
from l2s_jax.runs.leaks import Leak
from l2s_jax.slides.reading import read_window
from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.slide import open_slide
from l2s_jax.slides.tissue import is_saturated
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.patches import normalise_picture
from l2s_jax.stain.reference_file import save_reference
from l2s_jax.system.errors import UserError

MAPS = SlideOptions(probabilities=True, disagreement=True)


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    """Three runs of one data set; the third one has a temperature."""
    folder = tmp_path_factory.mktemp("runs")
    others = [sibling(trained, folder / f"other{seed}", seed) for seed in (1, 2)]
    with_temperature(others[1], 2.5)
    return [trained, *others]


def own_probabilities(run, image, temperature=None):
    """What a run says of a picture by itself, f64[H,W,C]."""
    one = load_predictor(run, None, "gaussian", 8)
    logits, _ = predict_picture(one.forward, image, one.tiling)
    return softmax(logits / (temperature or one.temperatures[0]))


def channels_of(path):
    with tifffile.TiffFile(path) as file:
        names = [part.split('"')[0] for part in file.ome_metadata.split('<Channel ')[1:] for part in
                 [part.split('Name="')[1]]]  # fmt: skip
        return names, file.asarray()


def test_a_picture_has_the_mean_probabilities_and_the_disagreement_of_its_runs(runs, tmp_path):
    image, _ = phantom_slide((75, 130), 3)
    write_png(tmp_path / "a.png", image)
    options = {"more_runs": runs[1:], "slides": MAPS, "batch_size": 8}
    out = predict(runs[0], [tmp_path / "a.png"], tmp_path / "out", say=quiet, **options)
    own = [own_probabilities(run, image) for run in runs]
    mean, entropy, mutual = plain_joint(own)
    classes = read_run_classes(runs[0])
    np.testing.assert_array_equal(read_mask(out / "a.png", classes), mean.argmax(-1))
    names, shares = channels_of(out / "a_probabilities.ome.tif")
    assert names == list(classes.names)
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1) / 255, mean, atol=0.51 / 255)
    names, doubt = channels_of(out / "a_disagreement.ome.tif")
    assert names == ["mutual information", "predictive entropy"]
    for found, values in zip(doubt, (mutual, entropy), strict=True):
        np.testing.assert_allclose(found / 255 * np.log(len(classes)), values, atol=0.51 / 255 * np.log(4))
    assert doubt[0].max() > 20  # else nothing here could fail
    table = pd.read_csv(out / "fractions_of_runs.csv", index_col="class")
    shares = np.array([[(one.argmax(-1) == code).mean() for code in range(4)] for one in own])
    np.testing.assert_allclose(table["mean"], shares.mean(0), atol=1e-5)
    np.testing.assert_allclose(table["sd"], shares.std(0, ddof=1), atol=1e-5)
    np.testing.assert_allclose(table["highest"], shares.max(0), atol=1e-5)
    whole = pd.read_csv(out / "fractions.csv")
    np.testing.assert_allclose(table["fraction"], [whole[f"fraction {name}"][0] for name in classes.names])
    assert set(table["n"]) == {3} and set(table["ddof"]) == {1}
    lines = []
    predict(runs[0], [tmp_path / "a.png"], out, say=lines.append, **options)
    assert any("1 pictures were finished before" in line for line in lines)
    predict(runs[0], [tmp_path / "a.png"], out, say=lines.append, batch_size=8, more_runs=runs[1:2])
    assert any("predicted anew" in line for line in lines) and any("no interval" in line for line in lines)
    two = pd.read_csv(out / "fractions_of_runs.csv")
    assert set(two["n"]) == {2} and two[["next_low", "next_high"]].isna().all(axis=None) and len(two) == 4
    predict(runs[0], [tmp_path / "a.png"], out, say=quiet, batch_size=8)
    assert not len(pd.read_csv(out / "fractions_of_runs.csv"))  # what runs say together is there no more


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "case.svs"
    draw = smooth_picture(120, 170)
    return write_pyramidal_slide(path, draw, mpp=1.0, compression="deflate", downsamples=(1,))


SLIDE = {"within": "slide", "enlargement": "nearest", "simplify": 0.0, "mpp": 1.0}


def counting(monkeypatch):
    """The windows of slides that are read, as they are read."""
    seen = []

    def read(slide, origin, size, mpp):
        seen.append((origin, size))
        return read_window(slide, origin, size, mpp)

    monkeypatch.setattr(slide_prediction, "read_window", read)
    return seen


def test_a_slide_is_read_once_and_equals_its_runs_by_themselves(runs, slide, tmp_path, monkeypatch):
    seen = counting(monkeypatch)
    predict(runs[0], [slide], tmp_path / "one", say=quiet, slides=SlideOptions(**SLIDE), batch_size=8)
    by_one = sorted(seen)
    seen.clear()
    whole = SlideOptions(**SLIDE, probabilities=True, disagreement=True, entropy=True)
    out = predict(
        runs[0], [slide], tmp_path / "all", more_runs=runs[1:], say=quiet, slides=whole, batch_size=8
    )
    assert sorted(seen) == by_one
    opened = open_slide(slide)
    image = read_window(opened, (0, 0), opened.size_level0, 1.0)
    own = [own_probabilities(run, image) for run in runs]
    mean, entropy, mutual = plain_joint(own)
    codes = tifffile.imread(out / "case.ome.tif")
    top = np.sort(mean, -1)
    assert ((codes == mean.argmax(-1)) | (top[..., -1] - top[..., -2] < 1e-5)).all()
    classes = read_run_classes(runs[0])
    names, shares = channels_of(out / "case_probabilities.ome.tif")
    assert names == list(classes.names)
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1) / 255, mean, atol=0.51 / 255)
    doubt = channels_of(out / "case_disagreement.ome.tif")[1]
    np.testing.assert_allclose(doubt[0] / 255 * np.log(4), mutual, atol=0.51 / 255 * np.log(4))
    np.testing.assert_array_equal(doubt[1], tifffile.imread(out / "case_entropy.ome.tif"))
    np.testing.assert_allclose(doubt[1] / 255 * np.log(4), entropy, atol=0.51 / 255 * np.log(4))
    # The areas of each run, from its own prediction.
    record = json.loads((out / "case.json").read_text())
    table = pd.read_csv(out / "areas_of_runs.csv", index_col="class")
    for code, name in enumerate(classes.names):
        areas = [(one.argmax(-1) == code).sum() * 1e-6 for one in own]
        assert record["areas_of_runs_mm2"][name]["runs"] == pytest.approx(areas, abs=2e-6)
        assert table.loc[name, "mean"] == pytest.approx(np.mean(areas), abs=2e-6)
        assert table.loc[name, "n"] == 3 and table.loc[name, "lowest"] <= table.loc[name, "mean"]
        assert table.loc[name, "mm2"] == pytest.approx(record["areas_mm2"][name], rel=1e-5)
    assert record["temperatures"] == [1, 1, 2.5] and len(record["runs"]) == 3
    # Each object has the mean of the mean probabilities within it, and of the mutual information.
    features = json.loads((out / "case.geojson").read_text())["features"]
    assert features
    largest = max(features, key=lambda one: one["properties"]["measurements"][0]["value"])
    values = {one["name"]: one["value"] for one in largest["properties"]["measurements"]}
    code = classes.names.index(largest["properties"]["classification"]["name"])
    ring = np.array(largest["geometry"]["coordinates"][0])
    from shapely import Polygon, contains_xy

    outline = Polygon(ring, largest["geometry"]["coordinates"][1:])
    rows, columns = np.indices(codes.shape) + 0.5
    inside = contains_xy(outline, columns, rows)
    assert (codes[inside] == code).all()
    assert values["Mean probability"] == pytest.approx(mean[inside, code].mean(), abs=0.003)
    assert values["Mutual information of runs"] == pytest.approx(mutual[inside].mean() / np.log(4), abs=0.003)
    lines = []
    predict(runs[0], [slide], out, more_runs=runs[1:], say=lines.append, slides=whole, batch_size=8)
    assert any("finished before" in line for line in lines)


@pytest.mark.slow
def test_one_run_has_a_probability_map_too_and_nothing_else_changes(runs, slide, tmp_path):
    plain, more = tmp_path / "plain", tmp_path / "more"
    predict(runs[2], [slide], plain, say=quiet, slides=SlideOptions(**SLIDE), batch_size=8)
    options = SlideOptions(**SLIDE, probabilities=True)
    predict(runs[2], [slide], more, say=quiet, slides=options, batch_size=8)
    record = json.loads((plain / "case.json").read_text())
    new = {"runs", "views", "temperatures", "areas_of_runs_mm2", "probabilities", "disagreement"}
    assert not new & set(record) and record["temperature"] == 2.5
    assert (plain / "case.ome.tif").read_bytes() == (more / "case.ome.tif").read_bytes()
    assert not (plain / "areas_of_runs.csv").exists()
    image = read_window(open_slide(slide), (0, 0), (120, 170), 1.0)
    shares = channels_of(more / "case_probabilities.ome.tif")[1]
    expected = own_probabilities(runs[2], image)
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1) / 255, expected, atol=0.51 / 255)
    alone = load_runs(runs[:1], None, "gaussian", 8, say=quiet)
    assert alone.identity == load_predictor(runs[0], None, "gaussian", 8).identity and not alone.members


def test_all_networks_run_one_program(runs):
    images = np.zeros((3, 32, 32, 3), np.uint8)
    first = load_predictor(runs[0], None, "gaussian", 8)
    first.forward(images)
    programs = _forward._cache_size()
    whole = load_runs(runs, None, "gaussian", 8, say=quiet)
    said = whole.forward(images)
    assert _forward._cache_size() == programs
    assert said.coarse_logits.shape == (3, 4, 4, 12)
    np.testing.assert_array_equal(said.coarse_logits[..., :4], first.forward(images).coarse_logits)


@pytest.mark.slow
def test_a_split_is_judged_by_the_mean_and_by_each_run(runs, phantom, tmp_path):
    lines = []
    options = {"out": tmp_path / "all", "batch_size": 8, "more_runs": runs[1:]}
    found = evaluate(runs[0], phantom, say=lines.append, **options)
    manifest = read_manifest(phantom)
    rows = [row for row in manifest.of_split("test") if row.mask is not None]
    own = []
    for run in runs:
        one = load_predictor(run, None, "gaussian", 8)
        coarse = one.forward(np.stack([read_image(row.image) for row in rows])).coarse_logits
        own.append(softmax(coarse / one.temperatures[0]))
    mean, entropy, mutual = plain_joint(own)
    masks = np.stack([read_mask(row.mask, manifest.classes) for row in rows])
    codes = np.stack([enlarge(one.argmax(-1), 8) for one in mean])
    assert found["pooled"]["accuracy"] == pytest.approx((codes == masks).mean())
    of_pixels = np.stack([enlarge(one, 8) for one in mean])
    truth = np.take_along_axis(of_pixels, masks[..., None].astype(int), -1)
    assert found["calibration"]["nll"] == pytest.approx(-np.log(truth).mean(), rel=1e-4)
    assert found["calibration"]["temperature"] == [1, 1, 2.5] and found["calibration"]["calibrated"]
    plain = plain_joint([own[0], own[1], softmax(2.5 * np.log(np.maximum(own[2], 1e-300)))])[0]
    truth = np.take_along_axis(np.stack([enlarge(one, 8) for one in plain]), masks[..., None].astype(int), -1)
    assert found["calibration"]["without_temperature"]["nll"] == pytest.approx(
        -np.log(truth).mean(), rel=1e-4
    )
    alone = []
    for one in own:
        matrices = [
            confusion_matrix(mask, enlarge(cells, 8), 4)
            for mask, cells in zip(masks, one.argmax(-1), strict=True)
        ]
        alone.append(summary(np.sum(matrices, 0))["macro_f1"])
    assert [one["macro_f1"] for one in found["runs_alone"]["runs"]] == pytest.approx(alone)
    assert found["runs_alone"]["spread"]["macro_f1"]["mean"] == pytest.approx(np.mean(alone))
    wrong = np.stack([enlarge(one, 8) for one in mutual])[codes != masks].mean()
    assert found["runs_alone"]["doubt"]["mutual_information"]["wrong"] == pytest.approx(wrong, rel=1e-3)
    assert any("macro F1 of each run alone" in line for line in lines)
    assert any("have no temperature" in line for line in lines)
    written = json.loads((tmp_path / "all/metrics.json").read_text())
    assert written["runs"] == list(map(str, runs)) and written["runs_alone"]["doubt"]["unit"] == "nats"


@pytest.mark.slow
def test_views_are_the_mean_over_turns(runs, phantom, tmp_path):
    row = read_manifest(phantom).of_split("test")[0]
    options = {"views": "turns", "slides": SlideOptions(probabilities=True), "batch_size": 8}
    out = predict(runs[2], [row.image], tmp_path / "one", say=quiet, **options)
    image, one = read_image(row.image), load_predictor(runs[2], None, "gaussian", 8)
    each = []
    for turns in range(4):
        for flip in (1, -1):
            seen = np.ascontiguousarray(np.rot90(image, turns)[:, ::flip])
            chances = softmax(one.forward(seen[None]).coarse_logits[0] / 2.5)
            each.append(np.rot90(chances[:, ::flip], -turns))
    shares = channels_of(out / f"{row.image.stem}_probabilities.ome.tif")[1]
    expected = enlarge(np.mean(each, 0), 8)
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1) / 255, expected, atol=0.51 / 255)
    looks = {views: load_predictor(runs[2], None, "gaussian", 8, views=views).identity
             for views in ("one", "turns", "shifts")}  # fmt: skip
    assert len(set(looks.values())) == 3 and looks["one"] == one.identity


@pytest.mark.slow
def test_views_and_runs_are_judged_together(runs, phantom, tmp_path):
    lines = []
    found = evaluate(
        runs[2],
        phantom,
        out=tmp_path / "e",
        views="turns",
        more_runs=runs[:1],
        batch_size=8,
        say=lines.append,
    )
    assert found["calibration"]["without_temperature"] is None and 0 <= found["calibration"]["ece"] <= 1
    assert json.loads((tmp_path / "e/metrics.json").read_text())["views"] == "turns"


def reference(run, matrix, digest):
    lengths = np.linalg.norm(matrix, axis=0)
    fit = StainFit(np.float32(matrix / lengths), np.float32([1.2, 0.9]), np.bool_(True))
    save_reference(run / STAIN, fit, "somewhere", digest * 64)


@pytest.mark.slow
def test_each_run_sees_its_own_stains(runs, phantom, tmp_path):
    stained = [shutil.copytree(run, tmp_path / f"stained{number}") for number, run in enumerate(runs)]
    one, other = (
        np.array([[0.6, 0.2], [0.7, 0.9], [0.4, 0.4]]),
        np.array([[0.7, 0.1], [0.6, 0.8], [0.3, 0.6]]),
    )
    for run, matrix, digest in zip(stained[:2], (one, other), "01", strict=True):
        reference(run, matrix, digest)
    image, _ = phantom_slide((64, 80), seed=3)
    write_png(tmp_path / "a.png", image)
    options = {"more_runs": stained[1:], "slides": MAPS, "batch_size": 8, "say": quiet}
    out = predict(stained[0], [tmp_path / "a.png"], tmp_path / "out", **options)
    own = []
    for run in stained:
        fit = load_predictor(run, None, "gaussian", 8).reference
        seen = image if fit is None else normalise_picture(Sheet(image, None, is_saturated(image)), fit)[0]
        own.append(own_probabilities(run, seen))
    shares = channels_of(out / "a_probabilities.ome.tif")[1]
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1) / 255, plain_joint(own)[0], atol=0.51 / 255)
    assert "3 references" in pd.read_csv(out / "fractions.csv")["stain"][0]
    lines = []
    found = evaluate(
        stained[0], phantom, out=tmp_path / "e", more_runs=stained[1:], batch_size=8, say=lines.append
    )
    assert any("the manifest has no reference" in line and "as they are" in line for line in lines)
    own = [
        evaluate(run, phantom, out=tmp_path / f"own_{run.name}", batch_size=8, say=quiet) for run in stained
    ]
    alone = [one["accuracy"] for one in found["runs_alone"]["runs"]]
    assert alone == pytest.approx([one["pooled"]["accuracy"] for one in own])


@pytest.mark.slow
def test_slides_are_given_each_runs_own_stains(runs, slide, tmp_path):
    stained = [shutil.copytree(run, tmp_path / f"stained{number}") for number, run in enumerate(runs[:2])]
    reference(stained[0], np.array([[0.6, 0.2], [0.7, 0.9], [0.4, 0.4]]), "0")
    options = {"slides": SlideOptions(**SLIDE, probabilities=True), "batch_size": 8, "say": quiet}
    names = ("first", "second", "both")
    for name, run, more in zip(names, (*stained, stained[0]), ((), (), stained[1:]), strict=True):
        predict(run, [slide], tmp_path / name, more_runs=more, **options)
    first, second, both = (
        channels_of(tmp_path / name / "case_probabilities.ome.tif")[1].astype(float) for name in names
    )
    np.testing.assert_allclose(both, (first + second) / 2, atol=1)
    assert np.abs(first - second).max() > 20


def test_folds_are_not_judged_on_what_one_of_them_has_seen(runs, phantom, tmp_path):
    """The second run takes the part of another fold's: it has learned from what the first is tested on."""
    tested = {row.group for row in read_manifest(phantom).of_split("test")}
    other = shutil.copytree(runs[1], tmp_path / "fold2")
    text = (other / "subset.csv").read_text()
    (other / "subset.csv").write_text(text.replace(sorted(learned_from(other).groups)[0], sorted(tested)[0]))
    take_out_sum(other, "subset.csv")
    with pytest.raises(Leak) as caught:
        evaluate(runs[0], phantom, more_runs=[other, runs[2]], out=tmp_path / "out", say=quiet)
    message = str(caught.value)
    assert caught.value.run == other and caught.value.groups == (sorted(tested)[0],)
    assert f"not {runs[0]}, {runs[2]}, which can be taken here" in message and "l2s report" in message
    with pytest.raises(Leak):
        name = sorted(learned_from(other).groups)[-1]
        write_png(tmp_path / f"{name}.png", np.zeros((40, 40, 3), np.uint8))
        evaluate_slides(runs[0], [tmp_path / f"{name}.png"], more_runs=[other], out=tmp_path / "s", say=quiet)


@pytest.mark.slow
def test_slides_are_judged_by_several_runs(runs, slide, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    names = read_run_classes(runs[0]).names
    ring = [[10, 10], [90, 10], [90, 90], [10, 90], [10, 10]]
    feature = {
        "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": names[1]}},
    }  # fmt: skip
    (drawn / "case.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    options = {"annotations": drawn, "options": SlideOptions(**SLIDE), "batch_size": 8, "say": quiet}
    with pytest.raises(UserError, match="several runs.*--out"):
        evaluate_slides(runs[0], [slide], more_runs=runs[1:], **options)
    found = evaluate_slides(runs[0], [slide], more_runs=runs[1:], out=tmp_path / "out", **options)
    codes = tifffile.imread(tmp_path / "out/predictions/case.ome.tif")[10:90, 10:90]
    assert found["slide"]["confusion_matrix"][1] == np.bincount(codes.ravel(), minlength=4).tolist()
    assert found["runs"] == list(map(str, runs)) and found["temperatures"] == [1, 1, 2.5]


@pytest.mark.slow
def test_a_folder_of_seeds_stands_for_its_runs(runs, tmp_path, capsys):
    for number, run in zip((0, 10, 2), runs, strict=True):
        shutil.copytree(run, tmp_path / "five" / f"seed{number}")
    (tmp_path / "five" / "notes").mkdir()
    seeds = [tmp_path / "five" / f"seed{number}" for number in (0, 2, 10)]
    assert named_runs(tmp_path / "five") == seeds
    assert named_runs(runs[1], [tmp_path / "five"]) == [runs[1], *seeds]
    assert named_runs(runs[0]) == runs[:1] and named_runs(tmp_path) == [tmp_path]
    write_png(tmp_path / "a.png", phantom_slide((40, 40), 1)[0])
    assert (
        l2s("predict", tmp_path / "five", tmp_path / "a.png", "--out", tmp_path / "o", "--disagreement") == 0
    )
    said = capsys.readouterr().out
    assert "3 runs are taken together" in said and str(seeds[2]) in said
    assert (tmp_path / "o/a_disagreement.ome.tif").is_file()


@pytest.fixture(scope="module")
def alone(runs):
    """The first two runs as they are used."""
    return [load_predictor(run, None, "gaussian", 8) for run in runs[:2]]


def classes_of(one, **changes):
    return one._replace(classes=replace(one.classes, **changes))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda one: classes_of(one, names=("a", "b", "c", "d")),
            "has the classes a, b, c, d; .* same order",
        ),
        (
            lambda one: classes_of(one, background=None),
            "takes none of its classes for background, .* 'backgr",
        ),
        (lambda one: one._replace(tiling=one.tiling._replace(tile=64)), "patches of 64 pixels, .* of 32"),
        (lambda one: one._replace(mpp=2.0), r"trained at 2 um/px, .* at .*10% apart"),
        (lambda one: one._replace(mpp=None), "trained at an unknown scale"),
    ],
)
def test_runs_that_cannot_be_taken_together(alone, change, message):
    first, other = (one._replace(mpp=1.0) for one in alone)
    assert len(together([first, other]).members) == 2
    with pytest.raises(UserError, match=message) as caught:
        together([first, change(other)])
    assert other.run in str(caught.value) and first.run in str(caught.value)


def test_a_run_that_is_not_finished_is_not_taken_together(runs, tmp_path):
    other = shutil.copytree(runs[1], tmp_path / "other")
    (other / FINISHED).unlink()
    with pytest.raises(UserError, match=f"the run {other} is not finished.*must be finished"):
        load_runs([runs[0], other], None, "gaussian", 8, say=quiet)


def test_runs_are_not_named_twice(trained, tmp_path):
    (tmp_path / "link").symlink_to(trained)
    for again in (trained, tmp_path / "link"):
        with pytest.raises(UserError, match="is named twice.*a run counts once"):
            named_runs(trained, [again])
    copy = shutil.copytree(trained, tmp_path / "copy")
    with pytest.raises(UserError, match="hold the same network"):
        together([load_predictor(run, None, "gaussian", 8) for run in (trained, copy)])


def test_wrong_words_are_one_message_each(runs, phantom, tmp_path, capsys):
    picture = read_manifest(phantom).patches[0].image

    def refused(*words):
        assert l2s(*words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said.startswith("l2s: "), said
        return said

    out = ("--out", tmp_path / "out")
    assert "needs two runs or more" in refused("predict", runs[0], picture, *out, "--disagreement")
    said = refused("predict", runs[0], picture, *out, "--more-runs", runs[1], picture)
    assert f"--more-runs {picture}: a run is a folder" in said
    said = refused("predict", runs[0], *out, "--more-runs", runs[1])
    assert "no picture or slide named" in said and f"was taken for runs: {runs[1]}" in said
    assert "follow --more-runs" in refused("predict", runs[0], runs[1], picture, *out)
    assert "holds no trained network" in refused("predict", runs[0], picture, *out, "--more-runs", tmp_path)
    assert "with --out" in refused("evaluate", runs[0], phantom, "--more-runs", runs[1])
    assert "no slide named" in refused("evaluate-slides", runs[0], *out, "--more-runs", runs[1])
    assert not (tmp_path / "out").exists()
