"""A fitted temperature in exports: probabilities are calibrated, logits are left as they are."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from helpers.commands import l2s
from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import write_png
from l2s_jax.exports.description import FILES, Described, metadata_of
from l2s_jax.exports.export import GUIDE, export_model
from l2s_jax.exports.guide import guide
from l2s_jax.exports.network_graph import OUTPUTS, network_graph
from l2s_jax.exports.runners import onnx_runner, pixel_probabilities, softmax, torchscript_runner
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.system.errors import UserError

MEAN, STD, SIZE = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25), 32
CLASSES = Classes(("background", "stroma", "gland"), ((255, 255, 255), (1, 2, 3), (4, 5, 6)), (0, 1, 2))
TEMPERATURE = 27.5  # the logits of a random network are large
RUNNERS = {"onnx": onnx_runner, "onnx-float16": onnx_runner, "torchscript": torchscript_runner}
NEEDED = {"onnx": "onnxruntime", "onnx-float16": "onnxruntime", "torchscript": "torch"}


@pytest.fixture(scope="module")
def variables():
    return random_variables(3, seed=4)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def logits(variables, images):
    network = Network(L2S(3), variables, np.float32(MEAN), np.float32(STD))
    return make_forward(network, 2)(images)


def exported(variables, out, *formats, temperature=TEMPERATURE):
    export_model(out, variables, CLASSES, SIZE, MEAN, STD, "a3", formats=formats, temperature=temperature)
    return out


@pytest.mark.parametrize("name, tolerance", [("onnx", 1e-4), ("onnx-float16", 2e-2), ("torchscript", 1e-4)])
def test_programs_give_calibrated_probabilities_and_plain_class_logits(
    variables, images, logits, tmp_path, name, tolerance
):
    pytest.importorskip(NEEDED[name], reason="needs an extra")
    exported(variables, tmp_path / "out", name)
    run, said = RUNNERS[name]((tmp_path / "out" / FILES[name]).read_bytes())
    probabilities, class_logits = run(images, images, np.eye(3, dtype=np.float32))
    plain = softmax(logits.coarse_logits).repeat(8, 1).repeat(8, 2)
    expected = softmax(logits.coarse_logits / TEMPERATURE).repeat(8, 1).repeat(8, 2)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=tolerance)
    assert np.abs(expected - plain).max() > 5 * tolerance
    most = np.abs(logits.class_logits).max()
    np.testing.assert_allclose(class_logits, logits.class_logits, rtol=0, atol=tolerance * most)
    assert said["temperature"] == TEMPERATURE


def test_the_guide_and_the_metadata_say_it(variables, images, logits, tmp_path):
    """StableHLO gives logits, which are left as they are."""
    from jax import export

    out = exported(variables, tmp_path / "out", "safetensors", "stablehlo")
    said = (out / GUIDE).read_text()
    assert f"temperature of {TEMPERATURE!r}" in said and "softmax(mask_logits / 27.5)" in said
    assert "are calibrated" not in said.replace("The network is calibrated", "")
    with safe_open(out / FILES["safetensors"], "numpy") as file:
        assert json.loads(file.metadata()["temperature"]) == TEMPERATURE
    program = export.deserialize(bytearray((out / FILES["stablehlo"]).read_bytes()))
    found = np.asarray(program.call(images)["mask_logits"])
    plain = logits.coarse_logits.repeat(8, 1).repeat(8, 2)
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-4 * np.abs(plain).max())


def test_the_guide_names_what_is_calibrated():
    about = Described(CLASSES, SIZE, MEAN, STD, "a3", temperature=TEMPERATURE)
    text = guide(about, ("safetensors", "onnx"))
    assert f"The probabilities of {FILES['onnx']} are calibrated so." in text
    assert "temperature" not in guide(about._replace(temperature=None), ("safetensors", "onnx"))


def test_without_one_nothing_is_added(variables):
    about = Described(CLASSES, SIZE, MEAN, STD, "a3")
    assert "temperature" not in metadata_of(about)
    plain = network_graph(variables, MEAN, STD, "a3")
    assert "temperature" not in plain.constants
    graph = network_graph(variables, MEAN, STD, "a3", temperature=TEMPERATURE)
    assert len(graph.nodes) == len(plain.nodes) + 1
    classifier = network_graph(variables, MEAN, STD, "a3", temperature=TEMPERATURE, outputs=OUTPUTS[1:])
    assert "temperature" not in classifier.constants  # WSInfer's is of whole patches


@pytest.mark.slow
def test_verify_export_compares_at_the_temperature(variables, images, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    write_png(tmp_path / "picture.png", images[0])
    out = exported(variables, tmp_path / "out", "safetensors", "stablehlo", "onnx")
    again = exported(variables, tmp_path / "again", "safetensors", "stablehlo", "onnx")
    for path in out.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    found = verify_export(out, [tmp_path / "picture.png"], say=str)
    assert {*found} == {FILES["stablehlo"], FILES["onnx"]}
    assert all(one.probability < 1e-5 and one.other == 0 for one in found.values())
    other = exported(variables, tmp_path / "other", "onnx", temperature=None)
    (out / FILES["onnx"]).write_bytes((other / FILES["onnx"]).read_bytes())
    with pytest.raises(UserError, match=r"no temperature, and the network has temperature 27.5. Export"):
        verify_export(out, [tmp_path / "picture.png"], say=str)


def test_probabilities_of_pixels():
    coarse = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(pixel_probabilities(coarse, 8, 1.0), pixel_probabilities(coarse, 8))
    assert pixel_probabilities(coarse, 8, 5.0).max() < pixel_probabilities(coarse, 8).max()


def test_a_run_takes_its_temperature_along(trained, phantom, tmp_path):
    import shutil

    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.prediction.calibrate import calibrate

    run = shutil.copytree(trained, tmp_path / "run")
    assert l2s("export", run, tmp_path / "plain", "--formats", "safetensors") == 0
    found = calibrate(run, phantom, batch_size=8, say=str)
    assert l2s("export", run, tmp_path / "out", "--formats", "safetensors") == 0
    picture = read_manifest(phantom).patches[0].image
    with safe_open(tmp_path / "out" / FILES["safetensors"], "numpy") as file:
        assert json.loads(file.metadata()["temperature"]) == found.temperature
    assert l2s("verify-export", tmp_path / "out", picture, "--network", run) == 0
    assert l2s("verify-export", tmp_path / "plain", picture, "--network", run) == 1
