"""The package of the Bioimage Model Zoo, in the zoo's own library, and in `bioimageio.core` where it is."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.commands import l2s
from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import read_image
from l2s_jax.exports.bioimageio import _identifiers
from l2s_jax.exports.description import AS_THEY_ARE
from l2s_jax.exports.export import export_model
from l2s_jax.exports.sample import Shown
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.system.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of the zoo's library

MEAN, STD, SIZE = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25), 32
CLASSES = Classes(
    ("background", "low grade", "épithélium"), ((255, 255, 255), (1, 2, 3), (4, 5, 6)), (0, 1, 2)
)
NAMED = {"authors": ("A. Nonymous",), "licence": "CC-BY-4.0"}


def exported(out, shown, **more):
    options = {"mpp": 2.0, "formats": ("bioimageio",), "shown": shown, **NAMED, **more}
    return export_model(out, random_variables(3, seed=4), CLASSES, SIZE, MEAN, STD, "a3", **options)[0]


@pytest.fixture(scope="module")
def needed():
    for name in ("bioimageio.spec", "onnx", "onnxruntime", "torch"):
        pytest.importorskip(name, reason="needs the bioimageio extra; tests/other_programs.sh has one")


@pytest.fixture(scope="module")
def shown():
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    return Shown("a run/2", image, "2026-01-02T03:04:05+00:00", "Score: 0.5.")


@pytest.fixture(scope="module")
def package(needed, shown, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("bioimageio") / "out", shown)


def read(package, name):
    with zipfile.ZipFile(package) as archive:
        return archive.read(name)


def described(package):
    import ruyaml

    return ruyaml.YAML(typ="safe").load(read(package, "rdf.yaml"))


def test_the_library_finds_it_valid(package):
    from bioimageio.spec import ValidationContext, load_description

    with ValidationContext(perform_io_checks=True):
        found = load_description(package, perform_io_checks=True)
    assert found.validation_summary.status == "valid-format", found.validation_summary.format()
    assert [str(author.name) for author in found.authors] == ["A. Nonymous"]
    assert str(found.license) == "CC-BY-4.0"


def test_it_passes_the_libraries_own_test(package, monkeypatch):
    core = pytest.importorskip("bioimageio.core", reason="tests/other_programs.sh bioimageio runs it")
    summary = core.test_model(package)
    assert summary.status == "passed", summary.format()


def test_its_test_output_is_what_the_network_makes_of_its_test_input(package, shown):
    given, expected = (np.load(io.BytesIO(read(package, f"test_{one}.npy"))) for one in ("input", "output"))
    np.testing.assert_array_equal(given[0].transpose(1, 2, 0), shown.image)
    network = Network(L2S(3, "a3"), random_variables(3, seed=4), np.float32(MEAN), np.float32(STD))
    coarse, _ = make_forward(network, 1)(shown.image[None])
    powers = np.exp(coarse[0] - coarse[0].max(-1, keepdims=True))
    truth = (powers / powers.sum(-1, keepdims=True)).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_allclose(expected[0].transpose(1, 2, 0), truth, rtol=0, atol=1e-5)
    colours = np.asarray(Image.open(io.BytesIO(read(package, "sample_output.png"))))
    np.testing.assert_array_equal(colours, np.uint8(CLASSES.colours)[truth.argmax(-1)])


def test_what_qupath_reads_is_of_the_form_that_it_knows(package):
    """One picture in, one out; documentation and covers as names; axes as QuPath's parser has them."""
    found = described(package)
    assert found["documentation"] == "README.md" and found["covers"] == ["cover.png"]
    (given,), (out,) = found["inputs"], found["outputs"]
    kinds = ["batch", "channel", "space", "space"]
    assert [axis["type"] for axis in given["axes"]] == [axis["type"] for axis in out["axes"]] == kinds
    assert out["axes"][1]["channel_names"] == ["background", "low_grade", "épithélium"]
    assert all(axis["scale"] == 2.0 and axis["unit"] == "micrometer" for axis in given["axes"][2:])
    assert set(found["weights"]) == {"onnx", "torchscript"}


def test_names_become_identifiers_that_differ():
    assert _identifiers(("a b", "a_b", "2", "in situ")) == ["a_b", "a_b_1", "class_2", "in_situ"]


def test_the_documentation_says_what_must_be_known(package):
    text = read(package, "README.md").decode("utf-8")
    for said in ("# a run/2", "2 micrometres a pixel", "low grade", "## Validation", "Score: 0.5."):
        assert said in text, said


@pytest.mark.slow
def test_both_programs_are_verified(package, shown, tmp_path):
    from l2s_jax.data.pictures import write_png

    write_png(tmp_path / "one.png", shown.image)
    out = tmp_path / "both"
    exported(out, shown, formats=("safetensors", "bioimageio"))
    found = verify_export(out, [tmp_path / "one.png"], say=lambda line: None)
    names = {f"bioimageio.zip, weights.{one}" for one in ("onnx", "torchscript.pt")}
    assert set(found) == names and all(one.class_logit is None for one in found.values())
    (out / "bioimageio.zip").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"bioimageio.zip: it is no package"):
        verify_export(out, [tmp_path / "one.png"], say=lambda line: None)


def test_the_same_network_is_the_same_bytes(package, shown, tmp_path):
    assert exported(tmp_path / "again", shown).read_bytes() == package.read_bytes()


@pytest.mark.parametrize("left_out, option", [("authors", "--author"), ("licence", "--licence")])
def test_authors_and_licence_are_asked_for(needed, shown, tmp_path, left_out, option):
    with pytest.raises(UserError, match=f"give {option}"):
        exported(tmp_path / "out", shown, **{left_out: ()})
    assert not (tmp_path / "out").exists()


def test_a_licence_that_is_none_is_refused(needed, shown, tmp_path):
    with pytest.raises(UserError, match=r"bioimageio.spec .* refuses the package: .*license"):
        exported(tmp_path / "out", shown, licence="my own")
    assert not (tmp_path / "out").exists()


def test_stains_are_built_in_or_asked_for(needed, shown, tmp_path):
    stain = {"stain_matrix": [[0.6, 0.2], [0.7, 0.9], [0.4, 0.3]], "max_concentration": [1.0, 1.0]}
    with pytest.raises(UserError, match=r"bioimageio give it pictures alone.*--stain-of.*--stain off"):
        exported(tmp_path / "out", shown, stain=stain)
    path = exported(tmp_path / "off", shown, stain=stain, built_in=AS_THEY_ARE)
    assert "takes pictures as they are" in read(path, "README.md").decode("utf-8")


def test_without_the_library_the_extra_is_named(shown, monkeypatch, tmp_path):
    for name in ("onnx", "torch"):
        pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, "bioimageio.spec", None)
    with pytest.raises(UserError, match=r"l2s-jax\[bioimageio\]"):
        exported(tmp_path / "out", shown)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_is_packed_with_a_picture_of_its_data(needed, trained, phantom, tmp_path, capsys):
    named = ("--formats", "bioimageio", "--author", "A", "--licence", "CC0-1.0")
    assert l2s("export", trained, tmp_path / "out", *named) == 0
    assert "the package shows" in capsys.readouterr().out
    sample = np.asarray(Image.open(io.BytesIO(read(tmp_path / "out" / "bioimageio.zip", "sample_input.png"))))
    pictures = [read_image(path) for path in (phantom / "images").glob("*.png")]
    assert any(np.array_equal(sample, one) for one in pictures)
    assert l2s("export", trained, tmp_path / "other", "--formats", "safetensors", "--sample", "none.png") == 2
    assert "--sample is of the format bioimageio alone" in capsys.readouterr().err
    chosen = next((phantom / "images").glob("*.png"))
    assert l2s("export", trained, tmp_path / "chosen", *named, "--sample", chosen) == 0
    sample = np.asarray(
        Image.open(io.BytesIO(read(tmp_path / "chosen" / "bioimageio.zip", "sample_input.png")))
    )
    np.testing.assert_array_equal(sample, read_image(chosen))


def test_it_is_written_and_read_without_a_network(package):
    """The library fetches what a description names by address; ours names files alone."""
    assert "http" not in json.dumps(described(package))
    code = f"""
import socket
def refuse(*_, **__): raise OSError("no network")
socket.socket.connect = refuse
from bioimageio.spec import load_description
assert load_description({str(package)!r}).validation_summary.status == "valid-format"
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)
