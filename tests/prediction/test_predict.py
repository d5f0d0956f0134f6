import gc
import json
import shutil
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as sk

from helpers.runs import quiet
from l2s_jax.data.manifest import STAIN, read_manifest, write_classes, write_patches
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.models.forward import make_forward
from l2s_jax.phantom.patches import phantom_slide
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.predictor import load_predictor, without_background
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.tiles import enlarge, predict_picture
from l2s_jax.runs import checkpoints
from l2s_jax.runs.folder import (
    BEST,
    learned_from,
    read_network_facts,
    read_run_classes,
    write_network_facts,
)
from l2s_jax.runs.leaks import Leak
from l2s_jax.runs.network import load_network
from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.tissue import is_saturated
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.patches import normalise_picture
from l2s_jax.stain.reference_file import save_reference
from l2s_jax.system.errors import UserError


def test_evaluate_equals_scikit_learn_on_the_predictions(trained, phantom, tmp_path):
    result = evaluate(trained, phantom, out=tmp_path / "out", batch_size=8, say=quiet)
    manifest = read_manifest(phantom)
    rows = manifest.of_split("test")
    forward = make_forward(load_network(trained)[0], 8)
    coarse, labels = forward(np.stack([read_image(row.image) for row in rows]))
    truth = np.concatenate([read_mask(row.mask, manifest.classes).ravel() for row in rows])
    predicted = np.concatenate([enlarge(one.argmax(-1), 8).ravel() for one in coarse])
    f1 = sk.f1_score(truth, predicted, average="macro", labels=np.unique(truth), zero_division=0)
    assert result["pooled"]["macro_f1"] == pytest.approx(f1, rel=1e-9)
    assert result["pooled"]["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), rel=1e-9)
    accuracy = sk.accuracy_score([row.label for row in rows], labels.argmax(-1))
    assert result["classifier"] | {"n": len(rows), "accuracy": accuracy} == result["classifier"]
    per_image = [
        sk.accuracy_score(read_mask(row.mask, manifest.classes).ravel(), enlarge(one.argmax(-1), 8).ravel())
        for row, one in zip(rows, coarse, strict=True)
    ]
    spread = result["per_image"]["accuracy"]
    assert spread["mean"] == pytest.approx(np.mean(per_image)) and spread["n"] == len(rows)
    assert spread["sd"] == pytest.approx(np.std(per_image, ddof=1)) and spread["ddof"] == 1
    assert result["per_group"]["accuracy"]["n"] == len({row.group for row in rows})
    scores, code = [], 1
    for row, one in zip(rows, coarse, strict=True):
        mask = read_mask(row.mask, manifest.classes)
        if (mask == code).any():
            wanted = {"labels": [code], "average": None, "zero_division": 0}
            scores += list(sk.f1_score(mask.ravel(), enlarge(one.argmax(-1), 8).ravel(), **wanted))
    spread = result["per_image"][f"f1_{manifest.classes.names[code]}"]
    assert 0 < spread["n"] == len(scores) < len(rows)
    assert spread["mean"] == pytest.approx(np.mean(scores))
    assert spread["sd"] == pytest.approx(np.std(scores, ddof=1))


def test_evaluate_writes_what_it_says(trained, phantom, tmp_path):
    lines = []
    result = evaluate(trained, phantom, out=tmp_path, batch_size=8, say=lines.append)
    assert json.loads((tmp_path / "metrics.json").read_text())["pooled"] == result["pooled"]
    table = pd.read_csv(tmp_path / "per_class.csv", index_col="class")
    np.testing.assert_allclose(table["f1"], result["per_class"]["f1"], atol=1e-6)
    assert len(pd.read_csv(tmp_path / "per_image.csv")) == result["n_images"]
    groups = pd.read_csv(tmp_path / "per_group.csv")
    assert len(groups) == result["n_groups"] and groups["pixels"].sum() == table["truth"].sum()
    for name in ("confusion.png", "confusion_classifier.png", "confusion_matrix.csv"):
        assert (tmp_path / name).stat().st_size
    assert any(line.startswith("0 of") for line in lines)
    assert any("micro F1 = pixel accuracy" in line and "ddof 1" in line for line in lines)


def moved(phantom, folder, change):
    """The phantom's rows, changed, as a manifest of its own."""
    manifest = read_manifest(phantom)
    write_classes(folder, manifest.classes)
    write_patches(folder, manifest.classes, map(change, manifest.patches))
    return folder


def test_how_much_is_not_known_is_said(trained, phantom, tmp_path):
    manifest = read_manifest(phantom)
    classes = replace(manifest.classes, ignore_value=255)

    def half_known(row):
        mask = read_mask(row.mask, manifest.classes)
        mask[: len(mask) // 2] = 255
        path = tmp_path / "half" / "masks" / row.mask.name
        write_png(path, mask)
        return replace(row, mask=path)

    rows = [half_known(row) for row in manifest.of_split("test")]
    write_classes(tmp_path / "half", classes)
    write_patches(tmp_path / "half", classes, rows)
    lines = []
    arguments = {"allow_outside": True, "batch_size": 8, "say": lines.append}
    result = evaluate(trained, tmp_path / "half", out=tmp_path / "out", **arguments)
    assert (
        result["scored_share"]
        == 0.5
        == json.loads((tmp_path / "out/metrics.json").read_text())["scored_share"]
    )
    assert "scored: 50.0% of the masks' pixels; the other 50.0% are unknown" in lines
    whole = evaluate(trained, phantom, out=tmp_path / "whole", batch_size=8, say=lines.append)
    assert whole["scored_share"] == 1 and sum(line.startswith("scored:") for line in lines) == 1


def test_a_run_that_has_seen_no_background_says_so(trained, phantom, tmp_path):
    classes = read_run_classes(trained)
    assert read_network_facts(trained).background_seen and not without_background(classes, True)
    assert not without_background(classes, None)  # a run of before this was written down
    text = without_background(classes, False)
    assert (
        repr(classes.names[classes.background]) in text and classes.names[-1] in text and "--within" in text
    )
    assert "none of the run's classes is background" in without_background(
        replace(classes, background=None), None
    )
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    write_network_facts(run, replace(read_network_facts(run), background_seen=False))
    lines = []
    predict(run, [read_manifest(phantom).patches[0].image], tmp_path / "out", say=lines.append)
    assert any(line.startswith("warning: the run has learned from nothing that is") for line in lines)


def test_evaluating_on_training_slides_is_refused(trained, phantom, tmp_path):
    swap = {"train": "test", "test": "train", "val": "val"}
    leaky = moved(phantom, tmp_path / "leaky", lambda row: replace(row, split=swap[row.split]))
    with pytest.raises(Leak) as caught:
        evaluate(trained, leaky, allow_outside=True, say=quiet)
    assert caught.value.splits == ("test",) and len(caught.value.groups) == 10
    lines = []
    evaluate(trained, phantom, split="train", out=tmp_path / "train", batch_size=8, say=lines.append)
    assert any(line.startswith("10 of 10 groups") for line in lines), lines


def test_groups_whose_names_are_nearly_those_of_training_are_said(trained, phantom, tmp_path):
    learned = sorted(learned_from(trained).groups)
    names = {}

    def rename(row):
        if row.split != "test":
            return row
        number = names.setdefault(row.group, len(names))
        forms = (f"{learned[0]}-01Z-00-DX1", learned[1].upper().replace("-", "_"), f"unrelated-{number}")
        return replace(row, group=forms[min(number, 2)])

    folder, lines = moved(phantom, tmp_path / "data", rename), []
    options = {"allow_outside": True, "out": tmp_path / "o", "batch_size": 8}
    evaluate(trained, folder, say=lines.append, **options)
    (said,) = (line for line in lines if line.startswith("warning: ") and "names" in line)
    assert repr(learned[0]) in said and repr(f"{learned[0]}-01Z-00-DX1") in said
    assert repr(learned[1]) in said and "unrelated" not in said
    near = json.loads((tmp_path / "o/metrics.json").read_text())["groups_near_trained_ones"]
    assert [learned[0], f"{learned[0]}-01Z-00-DX1"] in near and len(near) == 2


def test_other_classes_and_empty_splits_are_refused(trained, phantom, tmp_path):
    manifest = read_manifest(phantom)
    folder = moved(phantom, tmp_path / "data", lambda row: replace(row, split="train"))
    with pytest.raises(UserError, match="no patches in the split test"):
        evaluate(trained, folder, allow_outside=True, say=quiet)
    renamed = replace(manifest.classes, names=("background", "a", "b", "c"))
    write_classes(folder, renamed)
    write_patches(folder, renamed, manifest.patches)
    with pytest.raises(UserError, match="trained on background, normal, adenoma, carcinoma"):
        evaluate(trained, folder, allow_outside=True, say=quiet)


def test_predict_writes_class_maps_overlays_and_fractions(trained, tmp_path):
    image, _ = phantom_slide((75, 130), 3)
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "small.png", image[:20, :25])
    out = predict(trained, [tmp_path / "a.png", tmp_path / "small.png"], tmp_path / "out", say=quiet)
    classes = read_run_classes(trained)
    with Image.open(out / "a.png") as picture:
        assert picture.mode == "P" and picture.size == (130, 75)
        shown = np.asarray(picture.convert("RGB"))
    codes = read_mask(out / "a.png", classes)
    np.testing.assert_array_equal(shown, np.array(classes.colours, np.uint8)[codes])
    assert read_image(out / "a_overlay.png").shape == image.shape
    assert read_mask(out / "small.png", classes).shape == (20, 25)
    rows = pd.read_csv(out / "fractions.csv", index_col="image")
    for code, name in enumerate(classes.names):
        assert rows.loc["a.png", f"fraction {name}"] == pytest.approx((codes == code).mean(), abs=1e-5)
    predict(trained, [tmp_path / "a.png"], out, say=quiet)
    assert len(pd.read_csv(out / "fractions.csv")) == 2


def test_a_picture_that_fails_costs_no_other(trained, tmp_path):
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.png").touch()
    write_png(tmp_path / "good.png", phantom_slide((40, 40), 1)[0])
    names = ["text.png", "good.png", "empty.png", "absent.png"]
    with pytest.raises(UserError, match="3 picture") as caught:
        predict(trained, [tmp_path / name for name in names], tmp_path / "out", say=quiet)
    assert caught.value.exit_code == 1
    assert all(name in str(caught.value) for name in ("text.png", "empty.png", "absent.png"))
    assert (tmp_path / "out" / "good.png").exists()
    assert len(pd.read_csv(tmp_path / "out" / "fractions.csv")) == 1


def test_predict_refuses_what_would_overwrite_or_leave_gaps(trained, tmp_path):
    for folder in ("one", "two"):
        write_png(tmp_path / folder / "a.png", np.full((32, 32, 3), 200, np.uint8))
    both = [tmp_path / "one" / "a.png", tmp_path / "two" / "a.png"]
    with pytest.raises(UserError, match=r"one/a\.png and .*two/a\.png"):
        predict(trained, both, tmp_path / "out", say=quiet)
    for options, named in (
        ({"mpp": 0.5, "entropy": True}, "--mpp and --entropy"),
        ({"within": "slide"}, "--within"),
    ):
        with pytest.raises(UserError, match=rf"^{named}: for slides only, and .*one/a\.png is taken for"):
            predict(trained, both[:1], tmp_path / "out", slides=SlideOptions(**options), say=quiet)
    with pytest.raises(UserError, match="--stride 33 must lie between 1 and the patch size, 32"):
        predict(trained, both[:1], tmp_path / "out", stride=33, say=quiet)


def test_a_folder_that_is_no_run_and_weights_that_are_nan(trained, tmp_path):
    with pytest.raises(UserError, match="holds no trained network"):
        load_network(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(trained, broken)
    shutil.rmtree(broken / BEST)
    with pytest.raises(UserError, match="no checkpoint in"):
        load_network(broken)
    network, _ = load_network(trained)
    variables = dict(network.variables)
    kernel = np.array(variables["params"]["encoder"]["conv1"]["kernel"])
    kernel[0, 0, 0, 0] = np.nan
    variables["params"]["encoder"]["conv1"]["kernel"] = jnp.asarray(kernel)
    checkpoints.save(broken / BEST, 1, {"variables": variables}, {})
    with pytest.raises(UserError, match="NaN or infinity"):
        load_network(broken)


# Orbax leaves the other reads of a load that failed unfinished.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_of_another_network_is_refused(trained, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    classes = read_run_classes(trained)
    fewer = replace(
        classes,
        names=classes.names[:3], colours=classes.colours[:3], pixel_values=classes.pixel_values[:3],
    )  # fmt: skip
    write_classes(other, fewer)
    with pytest.raises(UserError, match="checkpoint"):
        load_network(other)
    gc.collect()  # so that they end here, and not in a test after this one


REFERENCE = StainFit(
    np.float32([[0.6, 0.2], [0.7, 0.9], [0.4, 0.4]]),
    np.float32([1.2, 0.9]),
    np.bool_(True),
)


def with_reference(folder, sha256="0" * 64):
    """Gives a manifest's or a run's folder a stain reference."""
    lengths = np.linalg.norm(REFERENCE.stain_matrix, axis=0)
    fit = REFERENCE._replace(stain_matrix=REFERENCE.stain_matrix / lengths)
    save_reference(folder / STAIN, fit, "somewhere", sha256)
    return fit


@pytest.fixture
def stained_run(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "stained")
    with_reference(run)
    return run


@pytest.mark.slow
def test_pictures_are_given_the_stains_of_the_run(stained_run, tmp_path):
    image, _ = phantom_slide((64, 80), seed=3)
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "b.png", np.full((40, 40, 3), 255, np.uint8))
    lines = []
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    predict(stained_run, paths, tmp_path / "o", batch_size=8, say=lines.append)
    predictor = load_predictor(stained_run, None, "gaussian", 8)
    expected = normalise_picture(Sheet(image, None, is_saturated(image)), predictor.reference)[0]
    assert np.abs(expected.astype(int) - image).mean() > 3
    logits, _ = predict_picture(predictor.forward, expected, predictor.tiling)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "o" / "a.png")), logits.argmax(-1))
    treated = pd.read_csv(tmp_path / "o" / "fractions.csv", index_col="image")["stain"]
    assert treated["a.png"].startswith("normalised") and "no two stains" in treated["b.png"]
    assert any("1 pictures normalised" in line and "1 pictures as they are" in line for line in lines)
    predict(stained_run, paths[:1], tmp_path / "off", batch_size=8, stain="off", say=quiet)
    logits, _ = predict_picture(predictor.forward, image, predictor.tiling)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "off" / "a.png")), logits.argmax(-1))


@pytest.mark.slow
def test_pictures_of_a_manifest_are_not_normalised_twice(stained_run, phantom, tmp_path):
    """With the run's own reference they are as `prepare` left them; otherwise they are brought to it."""
    said = {}
    results = {}
    for name, sha256 in (("none", None), ("same", "0" * 64), ("other", "1" * 64)):
        folder = shutil.copytree(phantom, tmp_path / name)
        if sha256 is not None:
            with_reference(folder, sha256)
        lines = []
        out = tmp_path / f"{name}_out"
        results[name] = evaluate(stained_run, folder, out=out, batch_size=8, say=lines.append)["pooled"]
        said[name] = next(line for line in lines if line.startswith("stains: "))
        assert json.loads((out / "metrics.json").read_text())["stain"] in said[name]
    plain = shutil.copytree(stained_run, tmp_path / "plain")
    (plain / STAIN).unlink()
    bare = evaluate(plain, phantom, out=tmp_path / "bare", batch_size=8, say=quiet)["pooled"]
    assert results["same"] == bare
    assert results["none"] == results["other"] != bare
    assert "when the manifest was prepared" in said["same"]
    assert "has no reference" in said["none"] and "another reference" in said["other"]
