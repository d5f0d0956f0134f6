"""ONNX files, in onnxruntime: they are the network, whatever the size, the stain and the precision."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from helpers.commands import l2s
from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes
from l2s_jax.exports import stain_map
from l2s_jax.exports.description import FILES
from l2s_jax.exports.export import export_model, network_sha256
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.reference_file import save_reference
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json

MEAN, STD, SIZE = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25), 32
CLASSES = Classes(("background", "stroma", "épithélium"), ((255, 255, 255), (1, 2, 3), (4, 5, 6)), (0, 1, 2))
EXACT, HALF = 1e-4, 2e-2
"""Of a probability, and of a class logit by the largest: float32 and float16."""

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnx extra")


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    """Phantom slides of different stains, u8[160,160,3]."""
    from l2s_jax.data.pictures import read_image

    folder = tmp_path_factory.mktemp("tissue")
    prepare_phantom(folder / "data", patches=3, patches_per_slide=1, patch_size=160)
    return [read_image(path) for path in sorted((folder / "data" / "images").glob("*.png"))]


def fit_of(image):
    return StainFit(*(np.asarray(leaf)[0] for leaf in fit_stain(image[None])))


@pytest.fixture(scope="module")
def reference(tissue, tmp_path_factory):
    """A stain.json and what it holds."""
    path = tmp_path_factory.mktemp("reference") / "stain.json"
    save_reference(path, fit_of(tissue[0]), "one.png", "0" * 64)
    return path, read_json(path)


def network_with(head):
    return Network(L2S(3, head), random_variables(3, head, seed=4), np.float32(MEAN), np.float32(STD))


@pytest.fixture(scope="module")
def network():
    return network_with("a3")


def exported(network, out, **more):
    head = network.model.head
    return export_model(out, network.variables, CLASSES, SIZE, MEAN, STD, head, mpp=2.0, **more)


@pytest.fixture(scope="module")
def folder(network, reference, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "export"
    formats = ("safetensors", "onnx", "onnx-float16")
    files = exported(network, out, formats=formats, stain=reference[1], run={"config_hash": "abc"})
    assert sorted(files) == sorted(out.iterdir()) and out / "stain_map.py" in files
    return out


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answers(path, images, **given):
    rgb = np.asarray(images).transpose(0, 3, 1, 2).astype(np.float32)
    probabilities, class_logits = session_of(path).run(None, {"rgb": rgb, **given})
    return probabilities.transpose(0, 2, 3, 1), class_logits


def expected(network, images):
    """Probabilities of each pixel and class logits, as `l2s predict` computes them for one tile."""
    coarse, class_logits = make_forward(network, len(images))(np.asarray(images))
    probabilities = np.asarray(jax.nn.softmax(coarse, axis=-1))
    return probabilities.repeat(8, axis=1).repeat(8, axis=2), class_logits


def assert_equal(got, truth, tolerance):
    np.testing.assert_allclose(got[0], truth[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(got[1], truth[1], rtol=0, atol=tolerance * np.abs(truth[1]).max())


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (2, 64, 48)])
@pytest.mark.parametrize("name, tolerance", [("onnx", EXACT), ("onnx-float16", HALF)])
def test_it_is_the_network_for_any_batch_height_and_width(folder, network, shape, name, tolerance, rng):
    images = rng.integers(0, 256, (*shape, 3), np.uint8)
    got = answers(folder / FILES[name], images)
    assert got[0].shape == (*shape, 3) and got[1].shape == (shape[0], 3)
    assert_equal(got, expected(network, images), tolerance)
    np.testing.assert_allclose(got[0].sum(-1), 1, atol=1e-5)


def test_the_releases_classifier(tmp_path, rng):
    network, images = network_with("max"), rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    path, *_ = exported(network, tmp_path / "out", formats=("onnx",))
    assert_equal(answers(path, images), expected(network, images), EXACT)


def test_no_patch_gives_an_empty_answer(folder):
    for name in ("onnx", "onnx-float16"):
        got = answers(folder / FILES[name], np.zeros((0, 32, 32, 3)))
        assert got[0].shape == (0, 32, 32, 3) and got[1].shape == (0, 3)


@pytest.mark.slow
def test_the_change_of_stains_is_that_of_predict(folder, network, tissue, reference):
    fit, to = fit_of(tissue[1]), fit_of(tissue[0])
    assert fit.usable
    seen = np.asarray(normalise_stain(tissue[1][None], fit, to))
    change = stain_map.change(*fit[:2], *to[:2])
    got = answers(folder / FILES["onnx"], tissue[1][None], stain_map=change)
    # Of 76,800 grey levels a few lie so near to a whole one that they are cut to its neighbour.
    assert_equal(got, expected(network, seen), 5e-3)
    plain = answers(folder / FILES["onnx"], tissue[1][None])
    assert np.abs(plain[0] - got[0]).max() > 0.05  # and it does something
    assert_equal(plain, expected(network, tissue[1][None]), EXACT)  # the identity leaves pictures as they are


def test_the_script_finds_the_map_with_numpy_alone(folder, tissue, reference, tmp_path):
    np.save(tmp_path / "pixels.npy", tissue[1])
    barred = "import sys; sys.modules['l2s_jax'] = sys.modules['jax'] = sys.modules['scipy'] = None\n"
    run = (
        barred + f"import runpy; sys.argv = {['', str(tmp_path / 'pixels.npy'), str(tmp_path / 'map.npy')]}\n"
    )
    run += f"runpy.run_path({str(folder / 'stain_map.py')!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-I", "-c", run], check=True, cwd=tmp_path, timeout=60)
    fit, to = fit_of(tissue[1]), fit_of(tissue[0])
    np.testing.assert_allclose(np.load(tmp_path / "map.npy"), stain_map.change(*fit[:2], *to[:2]), atol=2e-3)


def test_the_scripts_answers_to_what_it_cannot_use(tissue, reference, tmp_path, capsys):
    white = np.full((200, 200, 3), 255, np.uint8)
    for image in (white, tissue[0][:4, :4], np.zeros_like(white)):
        np.testing.assert_array_equal(stain_map.stain_map(image, reference[1]), np.eye(3))
        assert not fit_of(image).usable
    np.save(tmp_path / "grey.npy", np.zeros((5, 5)))
    assert stain_map.main([str(tmp_path / "grey.npy"), str(tmp_path / "map.npy")]) == 2
    assert stain_map.main(["one"]) == 2
    assert "cannot read" in capsys.readouterr().err  # beside the module in the package is no stain.json


def test_what_must_be_known_stands_in_the_file(folder, network):
    model = onnx.load(folder / FILES["onnx"])
    onnx.checker.check_model(model, full_check=True)
    values = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert values["classes"] == list(CLASSES.names) and values["mpp"] == 2.0
    assert values["colours"] == [list(colour) for colour in CLASSES.colours]
    assert values["patch_size"] == SIZE and values["stain"]["method"] == "macenko" and values["l2s_jax"]
    assert values["run"] == {
        "config_hash": "abc", "network_sha256": network_sha256(network.variables)
    }  # fmt: skip
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert "opset 13" in text and "stain_map.py" in text and onnx.__version__ in text


def test_the_same_network_is_the_same_bytes(folder, network, reference, tmp_path):
    formats = ("onnx-float16", "onnx", "safetensors")
    exported(network, tmp_path / "o", formats=formats, stain=reference[1], run={"config_hash": "abc"})
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "o" / file.name).read_bytes(), file.name


def test_a_network_of_plain_stains_has_no_such_input(network, tmp_path):
    files = exported(network, tmp_path / "plain", formats=("onnx",))
    assert [file.name for file in files] == ["model.onnx", "classes.toml", "README.txt"]
    session = session_of(files[0])
    assert [one.name for one in session.get_inputs()] == [
        "rgb"
    ] and not session.get_overridable_initializers()
    assert "stain" not in (tmp_path / "plain" / "README.txt").read_text(encoding="utf-8").replace(
        "stains", ""
    )


def test_weights_beyond_float16_are_refused_and_nothing_is_written(network, tmp_path):
    variables = jax.tree.map(np.array, network.variables)
    variables["params"]["encoder"]["layer1_0"]["conv1"]["kernel"][0, 0, 0, 0] = 1e6
    faulty = network._replace(variables=variables)
    with pytest.raises(UserError, match="float16 ends at 65504, and layer1_0_conv1.weight"):
        exported(faulty, tmp_path / "out", formats=("safetensors", "onnx-float16"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_activations_beyond_float16_are_found_by_verifying(network, tissue, tmp_path):
    from l2s_jax.data.pictures import write_png

    variables = jax.tree.map(np.array, network.variables)
    variables["params"]["encoder"]["bn1"]["scale"] *= 6000
    variables["params"]["encoder"]["layer1_0"]["bn1"]["scale"] *= 6000
    exported(
        network._replace(variables=variables),
        tmp_path / "out",
        formats=("safetensors", "onnx", "onnx-float16"),
    )
    write_png(tmp_path / "one.png", tissue[0])
    with pytest.raises(UserError, match=r"model_float16.onnx: float16 ends at 65504") as caught:
        verify_export(tmp_path / "out", [tmp_path / "one.png"], say=lambda line: None)
    assert caught.value.exit_code == 1 and "is not the network" not in str(caught.value)


@pytest.fixture(scope="module")
def picture(tissue, tmp_path_factory):
    from l2s_jax.data.pictures import write_png

    path = tmp_path_factory.mktemp("picture") / "one.png"
    write_png(path, tissue[1][:100, :120])
    return path


def test_a_run_is_exported_and_verified(trained, picture, tmp_path, capsys):
    formats = ("safetensors", "stablehlo", "onnx", "onnx-float16")
    assert l2s("export", trained, tmp_path / "out", "--formats", *formats) == 0
    assert l2s("verify-export", tmp_path / "out", picture, "--network", trained) == 0
    said = capsys.readouterr().out
    assert said.count(": equal within") == 4 and "pixels of another class" in said
    assert l2s("verify-export", tmp_path / "out", picture) == 0  # against its own weights
    assert capsys.readouterr().out.count(": equal within") == 3


@pytest.mark.slow
def test_stains_are_verified_too(folder, picture):
    found = verify_export(folder, [picture], say=lambda line: None)
    assert found["model.onnx"].probability < 5e-3 and found["model.onnx"].pixels == 16 * SIZE * SIZE


def test_what_cannot_be_verified_says_why(folder, network, trained, picture, tmp_path, capsys):
    silent = {"say": lambda line: None}
    with pytest.raises(UserError, match="of another network"):
        verify_export(folder, [picture], trained, **silent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds none of"):
        verify_export(tmp_path / "empty", [picture], **silent)
    exported(network, tmp_path / "onnx", formats=("onnx",))
    with pytest.raises(UserError, match="--network RUN"):
        verify_export(tmp_path / "onnx", [picture], **silent)
    exported(network, tmp_path / "weights", formats=("safetensors",))
    with pytest.raises(UserError, match="--network"):
        verify_export(tmp_path / "weights", [picture], **silent)
    with pytest.raises(UserError, match="absent.png"):
        verify_export(folder, [tmp_path / "absent.png"], **silent)


def test_a_file_that_the_runtime_does_not_know_is_named(network, picture, tmp_path):
    exported(network, tmp_path / "out", formats=("safetensors", "onnx"))
    path = tmp_path / "out" / "model.onnx"
    model = onnx.load(path)
    model.opset_import[0].version = 999
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"model.onnx: onnxruntime .* does not read it.*newer"):
        verify_export(tmp_path / "out", [picture], say=lambda line: None)
    path.write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"model.onnx: onnxruntime .* does not read it"):
        verify_export(tmp_path / "out", [picture], say=lambda line: None)
