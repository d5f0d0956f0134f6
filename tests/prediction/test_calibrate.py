"""A temperature is fitted on validation masks, kept with the run, and used where probabilities are."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from helpers.commands import l2s
from helpers.manifests import with_rows
from helpers.runs import quiet
from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.calibrate import calibrate
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.predictor import load_predictor
from l2s_jax.runs.calibration import CALIBRATION, Calibration, read_calibration, write_calibration
from l2s_jax.runs.checksums import read_sums
from l2s_jax.runs.folder import FINISHED, learned_from
from l2s_jax.runs.leaks import Leak
from l2s_jax.runs.network import load_network, network_digest
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import locked


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, which is not calibrated."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(scope="module")
def calibrated(trained, phantom, tmp_path_factory):
    """A calibrated copy of it."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "run")
    calibrate(run, phantom, batch_size=8, say=quiet)
    return run


def test_it_is_the_most_likely_temperature_of_the_validation_pixels(calibrated, phantom):
    manifest = read_manifest(phantom)
    rows = [row for row in manifest.of_split("val") if row.mask is not None]
    coarse, _ = make_forward(load_network(calibrated)[0], 8)(
        np.stack([read_image(row.image) for row in rows])
    )
    logits = coarse.repeat(8, 1).repeat(8, 2).reshape(-1, coarse.shape[-1]).astype(np.float64)
    truth = np.concatenate([read_mask(row.mask, manifest.classes).ravel() for row in rows])

    def surprise(inverse):
        return -log_softmax(logits * inverse[0], -1)[np.arange(len(truth)), truth].mean()

    best = 1 / minimize(surprise, [1.0], method="BFGS", options={"gtol": 1e-9}).x[0]
    found = json.loads((calibrated / CALIBRATION).read_text())
    assert found["temperature"] == pytest.approx(best, rel=1e-3)
    assert abs(found["temperature"] - 1) > 0.02  # else nothing below could fail
    assert found["nll_before"] == pytest.approx(surprise([1.0]), rel=1e-6)
    assert found["nll_after"] == pytest.approx(surprise([1 / best]), rel=1e-6)
    assert found["nll_after"] < found["nll_before"]
    assert (found["n_pixels"], found["masks"], found["split"]) == (len(truth), len(rows), "val")
    assert found["groups"] == sorted({row.group for row in rows})
    assert found["manifest_sha256"] == manifest.sha256 and CALIBRATION in read_sums(calibrated)


@pytest.mark.slow
def test_evaluate_says_whether_and_measures_with_it(run, calibrated, phantom, tmp_path):
    told, told_of = [], []
    plain = evaluate(run, phantom, split="val", out=tmp_path / "plain", batch_size=8, say=told.append)
    found = evaluate(
        calibrated, phantom, split="val", out=tmp_path / "calibrated", batch_size=8, say=told_of.append
    )
    before, after = plain["calibration"], found["calibration"]
    kept = json.loads((calibrated / CALIBRATION).read_text())
    assert (before["temperature"], before["calibrated"], before["groups_fitted_on"]) == (1, False, 0)
    assert (after["temperature"], after["calibrated"]) == (kept["temperature"], True)
    assert after["groups_fitted_on"] == len(kept["groups"])
    for name in ("ece", "brier", "nll"):
        assert before[name] == pytest.approx(kept[f"{name}_before"], rel=1e-9)
        assert after[name] == pytest.approx(kept[f"{name}_after"], rel=1e-9)
        assert after["without_temperature"][name] == pytest.approx(before[name], rel=1e-12)
    assert found["confusion_matrix"] == plain["confusion_matrix"]
    assert any("not calibrated; l2s calibrate" in line for line in told)
    assert any(f"calibrated with temperature {kept['temperature']:.3f}" in line for line in told_of)
    assert any("was fitted on" in line and "optimistic" in line for line in told_of)
    written = json.loads((tmp_path / "calibrated" / "metrics.json").read_text())
    assert written["calibration"]["ece"] == after["ece"] and len(written["retained"]) == 6
    assert written["retained"][0]["macro_f1"] == pytest.approx(found["pooled"]["macro_f1"])
    for name in ("reliability.png", "retained.png"):
        assert (tmp_path / "calibrated" / name).stat().st_size
    test = evaluate(calibrated, phantom, out=tmp_path / "test", batch_size=8, say=quiet)
    assert test["calibration"]["groups_fitted_on"] == 0


@pytest.mark.slow
def test_class_maps_stay_as_they_are(run, calibrated, phantom, tmp_path, rng):
    large = tmp_path / "large.png"
    write_png(large, rng.integers(0, 256, (70, 50, 3), np.uint8))
    pictures = [large, *(row.image for row in read_manifest(phantom).of_split("test"))]
    for name, one in (("plain", run), ("calibrated", calibrated)):
        predict(one, pictures, tmp_path / name, batch_size=8, say=quiet)
    for picture in pictures:
        plain, other = ((tmp_path / name / picture.name).read_bytes() for name in ("plain", "calibrated"))
        assert plain == other
    predictors = [load_predictor(one, None, "gaussian", 8) for one in (run, calibrated)]
    assert predictors[0].temperatures == (1,) != predictors[1].temperatures
    assert predictors[0].identity != predictors[1].identity  # slides' probabilities are not those of before


@pytest.mark.slow
def test_pictures_of_any_size_are_covered_as_predict_does(run, phantom, tmp_path):
    """Two patches side by side: whole, they are one picture of tiles, whose logits are averaged."""
    manifest = read_manifest(phantom)
    rows = [row for row in manifest.of_split("val") if row.mask is not None]
    wide = tmp_path / "wide"
    pair = [np.concatenate([read(row) for row in rows[:2]], 1) for read in (
        lambda row: read_image(row.image), lambda row: read_mask(row.mask, manifest.classes)
    )]  # fmt: skip
    write_png(wide / "image.png", pair[0])
    write_png(wide / "mask.png", np.array(manifest.classes.pixel_values, np.uint8)[pair[1]])
    write_classes(wide, manifest.classes)
    row = replace(rows[0], image=wide / "image.png", mask=wide / "mask.png")
    write_patches(wide, manifest.classes, [row])
    found = calibrate(run, wide, batch_size=8, stride=8, weighting="uniform", say=quiet)
    assert (found.n_pixels, found.masks, found.stride, found.weighting) == (2 * 32 * 32, 1, 8, "uniform")
    options = {"split": "val", "stride": 8, "weighting": "uniform", "batch_size": 8, "say": quiet}
    result = evaluate(run, wide, out=tmp_path / "out", **options)
    assert result["calibration"]["nll"] == pytest.approx(found.nll_after, rel=1e-6)


def test_it_is_fitted_anew_and_kept_whole(run, phantom, monkeypatch):
    first = calibrate(run, phantom, batch_size=8, say=quiet)
    digest = network_digest(load_network(run)[0]).hexdigest()
    assert read_calibration(run, digest) == first

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("l2s_jax.runs.calibration.keep_json", killed)
        with pytest.raises(KeyboardInterrupt):
            write_calibration(run, replace(first, temperature=9.0))
    assert read_calibration(run, digest) == first
    text = (run / CALIBRATION).read_text()
    (run / CALIBRATION).write_text(text.replace('"temperature": ', '"temperature": 1'))
    calibrate(run, phantom, batch_size=8, say=quiet)
    assert (run / CALIBRATION).read_text() == text  # the same run and data, the same file


@pytest.mark.parametrize("damage", ["edited", "cut", "gone", "other network", "no number"])
def test_a_damaged_one_is_named_with_what_to_do(calibrated, tmp_path, damage):
    kept = Calibration(**json.loads((calibrated / CALIBRATION).read_text()))
    write_calibration(tmp_path, kept)
    path, digest = tmp_path / CALIBRATION, kept.network_sha256
    assert read_calibration(tmp_path, digest).temperature == kept.temperature
    if damage == "edited":
        path.write_text(path.read_text().replace("temperature", "temprature"))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif damage == "gone":
        path.unlink()
    elif damage == "other network":
        digest = "0" * 64
    else:
        write_calibration(tmp_path, replace(kept, temperature=-1.0))
    with pytest.raises(UserError, match=r"calibration\.json.*l2s calibrate RUN MANIFEST"):
        read_calibration(tmp_path, digest)


def test_a_damaged_one_is_not_passed_over(run, phantom, tmp_path):
    calibrate(run, phantom, batch_size=8, say=quiet)
    (run / CALIBRATION).write_text("{}")
    with pytest.raises(UserError, match=r"calibration\.json.*l2s calibrate RUN MANIFEST"):
        predict(run, [read_manifest(phantom).patches[0].image], tmp_path / "out", say=quiet)


@pytest.mark.slow
def test_what_it_is_not_fitted_on(run, phantom, tmp_path, capsys):
    manifest, seen = read_manifest(phantom), learned_from(run).groups

    def refused(name, change, message, error=UserError):
        folder = with_rows(phantom, tmp_path / name, change)
        with pytest.raises(error, match=message):
            calibrate(run, folder, allow_outside=True, batch_size=8, say=quiet)

    refused("test", lambda row: row if row.split != "val" else None, "no patches in the split val")
    refused(
        "labels",
        lambda row: replace(row, mask=None) if row.split == "val" else row,
        "no mask in the split val",
    )

    def known(row):
        return replace(row, split="val") if row.group in seen else None

    refused("seen", known, "has learned from", Leak)
    empty = tmp_path / "one" / "masks" / "one.png"
    write_png(empty, np.full((32, 32), manifest.classes.pixel_values[1], np.uint8))
    refused(
        "one",
        lambda row: replace(row, mask=empty) if row.split == "val" else row,
        f"hold {manifest.classes.names[1]} alone",
    )
    assert l2s("calibrate", run, phantom, "--split", "test") == 2
    assert "split" in capsys.readouterr().err
    with locked(run), pytest.raises(UserError, match="another process is working"):
        calibrate(run, phantom, batch_size=8, say=quiet)
    (run / FINISHED).unlink()
    with pytest.raises(UserError, match="is not finished.*Finish it first"):
        calibrate(run, phantom, batch_size=8, say=quiet)
    assert not (run / CALIBRATION).exists()


def test_masks_that_a_network_knows_by_heart(run, phantom, tmp_path):
    """Where it is right at all pixels, nothing says how sure is too sure."""
    manifest, rows = read_manifest(phantom), []
    forward = make_forward(load_network(run)[0], 8)
    for row in manifest.of_split("val"):
        codes = forward(read_image(row.image)[None]).coarse_logits[0].argmax(-1).repeat(8, 0).repeat(8, 1)
        codes[:8, :8] = codes[0, 0]
        path = tmp_path / "known" / "masks" / f"{row.image.stem}.png"
        write_png(path, np.array(manifest.classes.pixel_values, np.uint8)[codes])
        rows.append(replace(row, mask=path))
    write_classes(tmp_path / "known", manifest.classes)
    write_patches(tmp_path / "known", manifest.classes, rows)
    with pytest.raises(UserError, match="no temperature fits.*right at all|alone"):
        calibrate(run, tmp_path / "known", allow_outside=True, batch_size=8, say=quiet)


def test_the_command(run, phantom, tmp_path, capsys):
    assert l2s("calibrate", run, phantom, "--batch-size", 8) == 0
    said = capsys.readouterr().out
    assert "temperature " in said and "calibration error: " in said and str(run) in said
    error = re.search(r"calibration error: ([\d.]+) before, ([\d.]+) after", said)
    assert ("warning: the calibration error rose" in said) is (float(error[2]) > float(error[1]))
    assert l2s("evaluate", run, phantom, "--batch-size", 8, "--out", tmp_path / "out") == 0
    assert "calibrated with temperature" in capsys.readouterr().out
    assert (
        l2s("calibrate", tmp_path / "none", phantom) == 2 or "no trained network" in capsys.readouterr().err
    )
