import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from safetensors import safe_open
from safetensors.numpy import load_file

from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes, parse_classes
from l2s_jax.exports.export import GUIDE, PROGRAM, WEIGHTS, export_model
from l2s_jax.exports.stablehlo import lower, make_predict
from l2s_jax.models.decoder import enlarge
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.models.state_dict import load_network
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.system.errors import UserError

MEAN, STD = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25)
CLASSES = Classes(
    ("background", "stroma", "gland", "épithélium"),
    ((255, 255, 255), (1, 2, 3), (4, 5, 6), (7, 8, 9)),
    (0, 1, 2, 3),
)
SIZE = 32


@pytest.fixture(scope="module")
def variables():
    return random_variables()


@pytest.fixture(scope="module")
def folder(variables, tmp_path_factory):
    """An export of the paper's network."""
    out = tmp_path_factory.mktemp("export") / "new" / "folder"
    files = export_model(out, variables, CLASSES, SIZE, MEAN, STD, "a3", mpp=7.5)
    assert sorted(files) == sorted(out.iterdir())
    return out


@pytest.fixture(scope="module")
def patches():
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(variables, patches):
    """Mask and class logits as `l2s predict` computes them."""
    forward = make_forward(Network(L2S(4), variables, np.float32(MEAN), np.float32(STD)), 3)
    coarse, class_logits = forward(patches)
    return {"mask_logits": np.asarray(enlarge(jnp.asarray(coarse), 8)), "class_logits": class_logits}


def assert_close(got, expected):
    """Within 1e-4 of the largest logit: a convolution may err by 1e-5 of its largest value, and programs
    are fused in other orders (seen: 2e-5). A kernel laid out wrongly is off by the whole of it."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


LOAD_AND_RUN = """
import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("l2s_jax", "flax"):
            raise ImportError(f"barred: {name}")
sys.meta_path.insert(0, Barred())
import numpy as np
patches = np.load(sys.argv[2])
PROGRAM = sys.argv[1]
from jax import export
predict = export.deserialize(bytearray(open(PROGRAM, "rb").read()))
logits = predict.call(patches)
assert "l2s_jax" not in sys.modules
np.savez(sys.argv[3], **logits)
"""


def test_the_program_runs_without_this_package(folder, patches, expected, tmp_path):
    np.save(tmp_path / "patches.npy", patches)
    arguments = [folder / PROGRAM, tmp_path / "patches.npy", tmp_path / "logits.npz"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, "-c", LOAD_AND_RUN, *map(str, arguments)],
        check=True, cwd=tmp_path, env=environment, timeout=120,
    )  # fmt: skip
    got = np.load(arguments[2])
    assert got["mask_logits"].shape == (3, SIZE, SIZE, 4) and got["class_logits"].shape == (3, 4)
    for name in expected:
        assert_close(got[name], expected[name])


def test_the_guide_shows_the_lines_that_were_run(folder):
    text = (folder / GUIDE).read_text()
    assert f'deserialize(bytearray(open("{PROGRAM}"' in text
    assert 'predict = export.deserialize(bytearray(open(PROGRAM, "rb").read()))' in LOAD_AND_RUN
    assert all(name in text for name in CLASSES.names)
    assert "7.5 micrometres" in text
    assert f"written by jax {jax.__version__}" in text and "six months" in text


def test_the_same_network_is_the_same_bytes(folder, variables, tmp_path):
    files = export_model(tmp_path / "again", variables, CLASSES, SIZE, MEAN, STD, "a3", mpp=7.5)
    for file in files:
        assert file.read_bytes() == (folder / file.name).read_bytes(), file.name
        assert b".py" not in file.read_bytes(), "places in files of the machine that wrote it"


def test_it_is_lowered_for_cuda_too_on_a_machine_without_a_gpu(folder):
    exported = export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    assert exported.platforms == ("cpu", "cuda")
    assert [str(aval.shape) for aval in exported.in_avals] == [f"(batch, {SIZE}, {SIZE}, 3)"]
    assert exported.in_avals[0].dtype == np.uint8


def test_cuda_alone_and_the_releases_head():
    model = L2S(2, "max")
    program = lower(make_predict(model, random_variables(2, "max"), MEAN, STD), SIZE, ("cuda",))
    exported = export.deserialize(bytearray(program))
    assert exported.platforms == ("cuda",)
    called = set(re.findall(r"custom_call @(\w+)", exported.mlir_module()))
    assert called <= {"shape_assertion"}, "code that only this package's processes have"
    with pytest.raises(ValueError, match="platforms"):
        exported.call(np.zeros((1, SIZE, SIZE, 3), np.uint8))  # and really not for the CPU


def test_metadata(folder):
    with safe_open(folder / WEIGHTS, "numpy") as file:
        metadata = file.metadata()
    assert metadata.pop("format") == "pt"
    values = {name: json.loads(text) for name, text in metadata.items()}
    assert values["classes"] == list(CLASSES.names)
    assert values["mean"] == list(MEAN) and values["std"] == list(STD)
    assert (values["patch_size"], values["head"], values["mpp"]) == (SIZE, "a3", 7.5)
    assert parse_classes((folder / "classes.toml").read_bytes(), folder / "classes.toml") == CLASSES


def test_the_weights_come_back(folder, variables):
    back, unused = load_network(random_variables(seed=9), load_file(folder / WEIGHTS))
    assert unused == []
    assert jax.tree.all(jax.tree.map(np.array_equal, back, variables))


def test_an_export_can_start_another_training(folder):
    from l2s_jax.models.state_dict import load_encoder

    state_dict = encoder_weights(str(folder / WEIGHTS))
    _, unused = load_encoder(random_variables(seed=9), state_dict)
    assert {name.split(".")[0] for name in unused} == {"decoder", "classifier"}


def test_it_loads_into_torch_with_equal_outputs(folder, patches, expected):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    from safetensors.torch import load_file as load_torch_file

    from helpers.torch_resnet import TorchL2S

    model = TorchL2S(4)
    model.load_state_dict(load_torch_file(folder / WEIGHTS), strict=True)
    model.eval()
    image = ((patches / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        mask_logits, class_logits = model(torch.from_numpy(image))
    assert_close(mask_logits.permute(0, 2, 3, 1), expected["mask_logits"])
    assert_close(class_logits, expected["class_logits"])


def test_the_encoder_loads_into_torchvisions_resnet18(folder):
    pytest.importorskip("torch", reason="needs the torch extra")
    from safetensors.torch import load_file as load_torch_file

    from helpers.torch_resnet import ResNet18

    model = ResNet18()
    outcome = model.load_state_dict(load_torch_file(folder / WEIGHTS), strict=False)
    missing = [name for name in outcome.missing_keys if not name.endswith("num_batches_tracked")]
    assert missing and all(name.startswith(("layer4.", "fc.")) for name in missing)
    assert all(name.startswith(("decoder.", "classifier.")) for name in outcome.unexpected_keys)


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    variables = random_variables()
    variables["batch_stats"]["decoder"]["bn"]["var"][3] = np.nan
    with pytest.raises(UserError, match=r"NaN or infinite values.*batch_stats.*decoder.*bn.*var"):
        export_model(tmp_path / "out", variables, CLASSES, SIZE, MEAN, STD, "a3")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(folder, variables):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=f"already holds {WEIGHTS}, {PROGRAM}"):
        export_model(folder, variables, CLASSES, SIZE, MEAN, STD, "a3")
    with pytest.raises(UserError, match="already holds a file"):
        export_model(folder / GUIDE, variables, CLASSES, SIZE, MEAN, STD, "a3")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_format_whose_library_is_missing_names_the_extra(variables, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    formats = ("safetensors", "onnx")
    with pytest.raises(UserError, match=r"l2s-jax\[onnx\]"):
        export_model(tmp_path / "out", variables, CLASSES, SIZE, MEAN, STD, "a3", formats=formats)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no format"):
        export_model(tmp_path / "out", variables, CLASSES, SIZE, MEAN, STD, "a3", formats=())
