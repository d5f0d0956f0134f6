"""TorchScript files, in torch without this package: they are the network, whatever the size and the stain."""

import io
import json
import os
import subprocess
import sys
import warnings
import zipfile

import jax
import numpy as np
import pytest

from helpers.commands import l2s
from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import read_image
from l2s_jax.exports import stain_map
from l2s_jax.exports.export import export_model
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.reference_file import save_reference
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json

torch = pytest.importorskip("torch", reason="needs the torch extra")

MEAN, STD, SIZE = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25), 32
CLASSES = Classes(("background", "stroma", "gland"), ((255, 255, 255), (1, 2, 3), (4, 5, 6)), (0, 1, 2))


def network_with(head):
    return Network(L2S(3, head), random_variables(3, head, seed=4), np.float32(MEAN), np.float32(STD))


def exported(network, out, **more):
    head = network.model.head
    formats = ("torchscript",)
    return export_model(out, network.variables, CLASSES, SIZE, MEAN, STD, head, formats=formats, **more)[0]


def fit_of(image):
    return StainFit(*(np.asarray(leaf)[0] for leaf in fit_stain(image[None])))


def loaded(path, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have programs of another kind
        return torch.jit.load(path, **more)


def answers(path, images, *given):
    rgb = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        probabilities, class_logits = loaded(path)(rgb, *map(torch.from_numpy, given))
    return probabilities.permute(0, 2, 3, 1).numpy(), class_logits.numpy()


def assert_is_network(got, network, images, tolerance=1e-4):
    coarse, class_logits = make_forward(network, len(images))(np.asarray(images))
    probabilities = np.asarray(jax.nn.softmax(coarse, axis=-1)).repeat(8, axis=1).repeat(8, axis=2)
    np.testing.assert_allclose(got[0], probabilities, rtol=0, atol=tolerance)
    np.testing.assert_allclose(got[1], class_logits, rtol=0, atol=tolerance * np.abs(class_logits).max())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return exported(network_with("a3"), tmp_path_factory.mktemp("plain") / "out", mpp=2.0)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (2, 64, 48)])
def test_it_is_the_network_for_any_batch_height_and_width(plain, shape, rng):
    images = rng.integers(0, 256, (*shape, 3), np.uint8)
    assert_is_network(answers(plain, images), network_with("a3"), images)


def test_no_patch_gives_an_empty_answer_and_the_releases_classifier_its_own(plain, tmp_path, rng):
    got = answers(plain, np.zeros((0, 32, 32, 3), np.uint8))
    assert got[0].shape == (0, 32, 32, 3) and got[1].shape == (0, 3)
    network, images = network_with("max"), rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert_is_network(answers(exported(network, tmp_path / "max"), images), network, images)


@pytest.mark.slow
def test_the_change_of_stains_is_an_input(tmp_path):
    prepare_phantom(tmp_path / "data", patches=3, patches_per_slide=1, patch_size=96)
    one, other, *_ = (read_image(path) for path in sorted((tmp_path / "data" / "images").glob("*.png")))
    save_reference(tmp_path / "stain.json", fit_of(one), "one.png", "0" * 64)
    network = network_with("a3")
    path = exported(network, tmp_path / "out", stain=read_json(tmp_path / "stain.json"))
    assert (tmp_path / "out" / "stain_map.py").is_file()
    seen = np.asarray(normalise_stain(other[None], fit_of(other), fit_of(one)))
    change = stain_map.change(*fit_of(other)[:2], *fit_of(one)[:2])
    assert_is_network(answers(path, other[None], change), network, seen, 5e-3)
    assert_is_network(answers(path, other[None]), network, other[None])


def test_it_runs_without_this_package_and_names_no_place(plain, tmp_path):
    run = "import sys; sys.modules['l2s_jax'] = sys.modules['jax'] = None; import torch\n"
    run += f"print(torch.jit.load({str(plain)!r})(torch.zeros(1, 3, 32, 32))[0].shape)"
    command = [sys.executable, "-W", "ignore", "-c", run]
    done = subprocess.run(command, check=True, cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert "[1, 3, 32, 32]" in done.stdout
    with zipfile.ZipFile(plain) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert os.path.dirname(stain_map.__file__).encode() not in content and b"/torchscript.py" not in content


def test_the_same_network_is_the_same_bytes_and_says_what_it_is(plain, tmp_path):
    exported(network_with("max"), tmp_path / "between")
    again = exported(network_with("a3"), tmp_path / "again", mpp=2.0)
    assert again.read_bytes() == plain.read_bytes()
    extra = {"metadata.json": ""}
    loaded(io.BytesIO(plain.read_bytes()), _extra_files=extra)
    values = {name: json.loads(text) for name, text in json.loads(extra["metadata.json"]).items()}
    assert values["classes"] == list(CLASSES.names) and values["mpp"] == 2.0 and values["stain"] is None


def test_a_run_is_exported_and_verified(trained, phantom, tmp_path, capsys):
    formats = ("safetensors", "torchscript")
    assert l2s("export", trained, tmp_path / "out", "--formats", *formats) == 0
    picture = next((phantom / "images").glob("*.png"))
    assert l2s("verify-export", tmp_path / "out", picture) == 0
    assert "model.torchscript.pt: largest difference" in capsys.readouterr().out
    (tmp_path / "out" / "model.torchscript.pt").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"model.torchscript.pt: torch .* does not read it"):
        verify_export(tmp_path / "out", [picture], say=lambda line: None)


def test_without_torch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"l2s-jax\[torch\]"):
        exported(network_with("a3"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
