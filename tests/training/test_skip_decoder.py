"""A run with the decoder `skip`: what is kept of it, and that all who read it build the same network."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from helpers.runs import TINY, quiet, take_out_sum
from l2s_jax.cli import app as cli
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.exports.export import export_run
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.ensemble import load_runs
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.predictor import load_predictor
from l2s_jax.prediction.review.members import Member, mean_opinion
from l2s_jax.prediction.tiles import default_tiling, enlarge, predict_picture, predict_pictures
from l2s_jax.prediction.views import mean_over_shifts
from l2s_jax.runs.folder import NETWORK, read_network_facts, read_run_config
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.training.lineage import read_teacher, read_weights
from l2s_jax.training.plan import plan_run
from l2s_jax.training.pseudo_masks import make_pseudo_masks, with_pseudo_masks
from l2s_jax.training.train import train

CONFIG = replace(TINY, decoder="skip", setting="S+C", percent=40, set_weight=0.5, presence_weight=0.5)


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    return train(phantom, tmp_path_factory.mktemp("skip") / "run", CONFIG, say=quiet)


@pytest.fixture(scope="module")
def network(run):
    return load_network(run)[0]


@pytest.fixture(scope="module")
def plan(phantom):
    manifest = read_manifest(phantom)
    patches = load_patches(manifest.of_split("train"), manifest.classes, 1)
    return plan_run(replace(CONFIG, decoder="paper"), patches, manifest.classes), manifest


def test_a_run_keeps_its_decoder(run, network, trained):
    assert read_run_config(run).decoder == read_network_facts(run).decoder == "skip"
    assert network.model.cell == 4 and "lateral1" in network.variables["params"]["decoder"]
    assert load_network(trained)[0].model.decoder == "paper"


def test_runs_of_before_there_was_another_decoder_are_the_papers(trained, run, tmp_path):
    """And a run that says the wrong one is refused, by its weights."""
    for folder, decoder in ((trained, "paper"), (run, None)):
        copy = tmp_path / folder.parent.name
        shutil.copytree(folder, copy)
        facts = json.loads((copy / NETWORK).read_text())
        del facts["decoder"]
        (copy / NETWORK).write_text(json.dumps(facts))
        take_out_sum(copy, NETWORK)
        assert read_network_facts(copy).decoder == "paper"
        if decoder:
            load_network(copy)
        else:
            with pytest.raises(UserError, match="does not fit this run's config"):
                load_network(copy)
    (copy / NETWORK).write_text(json.dumps(facts | {"decoder": "unet"}))
    with pytest.raises(UserError, match="decoder = 'unet': no one of paper, skip"):
        load_network(copy)


def test_it_is_not_resumed_as_another(run, phantom, capsys):
    config = replace(CONFIG, decoder="paper")
    with pytest.raises(UserError, match="decoder: 'skip' then, 'paper' now"):
        train(phantom, run, config, resume=True, say=quiet)
    with pytest.raises(SystemExit):
        cli.main(["train", str(phantom), "--out", str(run.parent / "no"), "--decoder", "unet"])
    assert "unet" in capsys.readouterr().err


def test_a_picture_is_predicted_as_by_hand(network, run, phantom, tmp_path, rng):
    """Tiles one by one, each cell four pixels a side; patches whole."""
    image = rng.integers(0, 256, (45, 70, 3)).astype(np.uint8)
    forward, tiling = make_forward(network, 4), default_tiling(32, stride=16, weighting="uniform")
    logits, _ = predict_picture(forward, image, tiling)
    total, seen = np.zeros((45, 70, 4)), np.zeros((45, 70, 1))
    for row in (0, 13):
        for column in (0, 16, 32, 38):
            coarse = forward(image[None, row : row + 32, column : column + 32]).coarse_logits[0]
            assert coarse.shape == (8, 8, 4)
            total[row : row + 32, column : column + 32] += coarse.repeat(4, 0).repeat(4, 1)
            seen[row : row + 32, column : column + 32] += 1
    np.testing.assert_allclose(logits, total / seen, atol=1e-4)
    (answer,) = predict_pictures(forward, [image[:32, :32]], tiling)
    assert answer.cell == 4 and answer.codes().shape == (32, 32)
    np.testing.assert_array_equal(answer.codes(), enlarge(answer.logits.argmax(-1), 4))
    picture = next((phantom / "images").rglob("*.png"))
    predict(run, [picture], tmp_path, say=quiet)
    ours = predict_pictures(make_forward(network, 20), [read_image(picture)], tiling)
    written = read_mask(tmp_path / picture.name, read_manifest(phantom).classes)
    np.testing.assert_array_equal(written, next(ours).codes())


def test_bilinear_cells_of_four_pixels(rng):
    coarse = rng.normal(size=(3, 5, 2)).astype(np.float32)
    expected = jax.image.resize(coarse, (12, 20, 2), "linear", antialias=False)
    np.testing.assert_allclose(enlarge(coarse, 4, "bilinear"), expected, atol=1e-5)


def test_shifted_views_lie_on_its_cells(rng):
    """A network that says what colour a cell has says it in every view, wherever the cell lies in it."""

    def of_cells(images):
        k, side = len(images), images.shape[1] // 4
        shades = images.reshape(k, side, 4, side, 4, 3).mean((2, 4), dtype=np.float32)
        return type("Said", (), {"coarse_logits": shades / 32})

    images = rng.integers(0, 256, (2, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    odds = np.exp(of_cells(images).coarse_logits)
    expected = odds / odds.sum(-1, keepdims=True)
    np.testing.assert_allclose(mean_over_shifts(of_cells, images, 16), expected, atol=1e-5)


@pytest.mark.parametrize("teacher_is", ["skip", "paper"])
def test_a_teachers_cells_need_not_be_the_students(teacher_is, run, trained, plan, phantom):
    """Its pseudo-masks become pixels, and weights count pixels, whatever network learns from them."""
    of_run, manifest = plan
    teacher = read_teacher(str(run if teacher_is == "skip" else trained), manifest)
    masks = make_pseudo_masks(teacher.network, "t", of_run, manifest.classes, CONFIG, quiet)
    cell = {"skip": 4, "paper": 8}[teacher_is]
    assert masks.codes.shape[1:] == (32 // cell, 32 // cell)
    taught = with_pseudo_masks(of_run, masks, CONFIG)
    _, pixels = taught.patches.fetch(masks.rows)
    np.testing.assert_array_equal(pixels, masks.codes.repeat(cell, 1).repeat(cell, 2))
    _, drawn = taught.patches.fetch(np.flatnonzero(taught.subset.has_mask))
    counts = np.bincount(drawn[drawn != 255], minlength=4)
    np.testing.assert_allclose(taught.task.seg_weights, counts.min() / counts, rtol=1e-6)


@pytest.mark.slow
def test_each_may_teach_the_other(run, trained, phantom, tmp_path):
    for teacher, decoder in ((run, "paper"), (trained, "skip")):
        config = replace(CONFIG, decoder=decoder, teacher=str(teacher), cls_weight=0.0)
        student = train(phantom, tmp_path / decoder, config, say=quiet)
        assert load_network(student)[0].model.decoder == decoder


@pytest.mark.slow
def test_the_preset_for_few_masks_has_it_in_every_phase(phantom, tmp_path):
    options = ["--preset", "few-masks", "--weights", "random", "--setting", "S+C", "--percent", "40"]
    options += ["--steps", "4", "--batch-size", "8", "--draw", "1"]
    assert cli.run(["train", str(phantom), "--out", str(tmp_path / "few"), *options]) == 0
    for folder in ("few", "few/phases/teacher", "few/phases/masks_only"):
        assert load_network(tmp_path / folder)[0].model.decoder == "skip"
    with np.load(tmp_path / "few" / "pseudo_masks.npz") as kept:
        assert kept["codes"].shape[1:] == (8, 8)


def test_the_encoder_alone_is_taken_by_a_run_with_another_decoder(run, phantom):
    manifest, said = read_manifest(phantom), []
    weights, earlier = read_weights(str(run), "a3", "paper", manifest, said.append)
    assert [*weights.variables["params"]] == ["encoder"] and earlier.part == "the encoder"
    assert "classes, head or decoder are others" in said[0]
    whole, _ = read_weights(str(run), "a3", "skip", manifest, quiet)
    assert "decoder" in whole.variables["params"]


def test_runs_of_two_decoders_are_not_taken_together(run, trained):
    with pytest.raises(UserError, match="has the decoder paper, .* the decoder skip"):
        load_runs([run, trained], None, "gaussian", 8, say=quiet)


def test_opinions_of_two_decoders_meet_on_the_finer_cells(run, trained, rng):
    """`l2s review` asks runs one by one, which may differ in this."""
    image, expected = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8), np.zeros((32, 32, 4))
    members, said = [], []
    for folder in (run, trained):
        predictor = load_predictor(folder, None, "gaussian", 4)
        members.append(Member(folder, predictor, frozenset(), lambda one: one, False))
        (answer,) = predict_pictures(predictor.forward, [image], predictor.tiling)
        said.append(answer)
        pixels = answer.logits.repeat(answer.cell, 0).repeat(answer.cell, 1)
        expected += jax.nn.softmax(pixels, axis=-1) / 2
    opinion = mean_opinion(members, said)
    assert opinion.cell == 4 and [answer.cell for answer in said] == [4, 8]
    np.testing.assert_allclose(opinion.of_pixels(), expected, atol=1e-6)


def test_it_is_evaluated_on_its_cells(run, network, phantom, tmp_path):
    figures = evaluate(run, phantom, out=tmp_path / "figures", say=quiet)
    manifest = read_manifest(phantom)
    rows = [row for row in manifest.of_split("test") if row.mask is not None]
    coarse = make_forward(network, 8)(np.stack([read_image(row.image) for row in rows])).coarse_logits
    right = [
        (coarse[k].argmax(-1).repeat(4, 0).repeat(4, 1) == read_mask(row.mask, manifest.classes)).mean()
        for k, row in enumerate(rows)
    ]
    assert figures["pooled"]["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    found = figures["boundaries"]
    assert found["tolerance_px"] == 2 and 0 <= found["boundary_f1"] <= 1 and found["hd95"] > 0
    written = json.loads((tmp_path / "figures" / "metrics.json").read_text())
    assert written["boundaries"]["any_class"]["hd95"]["n"] == found["any_class"]["hd95"]["n"]
    with pytest.raises(UserError, match="--boundary-tolerance -1 must be a number of pixels, 0 or more"):
        evaluate(run, phantom, out=tmp_path / "no", boundary_tolerance=-1, say=quiet)


@pytest.mark.slow
def test_exports_are_the_network(run, phantom, tmp_path):
    pytest.importorskip("onnx"), pytest.importorskip("onnxruntime"), pytest.importorskip("torch")
    formats = ("safetensors", "stablehlo", "onnx", "onnx-float16", "torchscript", "wsinfer", "bioimageio")
    picture = next((phantom / "images").rglob("*.png"))
    export_run(run, tmp_path / "out", formats, licence="MIT", authors=("A",), sample=picture, say=quiet)
    for of in (None, run):
        found = verify_export(tmp_path / "out", [picture], of, say=quiet)
        assert len(found) >= len(formats) - (of is None)
        for name, one in found.items():
            assert one.probability is None or one.probability < (0.05 if "float16" in name else 1e-4)
