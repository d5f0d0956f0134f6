"""`--weights histology`, on files made to the form of the published one, which was never had here."""

import hashlib
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from helpers.commands import l2s
from helpers.web import Web
from l2s_jax.runs import published, weights_file
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.runs.published import HISTOLOGY, Published, find_cached, what_is_cached
from l2s_jax.runs.weight_names import ENCODER_NAMES
from l2s_jax.system.errors import UserError

torch = pytest.importorskip("torch", reason="needs the torch extra")

NAME = "pytorchnative_tenpercent_resnet18.ckpt"
FILE = HISTOLOGY[0]


@pytest.fixture(scope="module")
def resnet():
    """All tensors of a ResNet-18 by torchvision's names, without its head."""
    from helpers.torch_resnet import ResNet18, randomise_statistics

    tensors = randomise_statistics(ResNet18()).state_dict()
    return {name: value for name, value in tensors.items() if not name.startswith("fc.")}


@pytest.fixture(params=["model.resnet.fc", "fc"])
def form(request, resnet):
    """The tensors as the published file names them; whether its head begins so too is not known here."""
    head = {f"{request.param}.{n}.{part}": torch.ones(3) for n in (1, 3) for part in ("weight", "bias")}
    return {f"model.resnet.{name}": value for name, value in resnet.items()} | head


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "weights"
    folder.mkdir(parents=True)
    return folder


def in_numpy(tensors):
    return {name: value.numpy() for name, value in tensors.items()}


def assert_is(got, resnet):
    for name in ENCODER_NAMES:
        np.testing.assert_array_equal(got[name], resnet[name].numpy(), err_msg=name)


def test_the_noted_facts():
    assert FILE.name == NAME and FILE.url.endswith(f"/nativetenpercent/{NAME}") and FILE.noted_only
    assert FILE.sha256.startswith("ae652d1a") and len(FILE.sha256) == 64


def test_a_download_of_its_form(form, resnet, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    torch.save({"state_dict": form}, tmp_path / "made.ckpt")
    content = (tmp_path / "made.ckpt").read_bytes()
    web = Web()
    try:
        file = web.publish(NAME, content)._replace(sha256=FILE.sha256, noted_only=True)
        said = []
        assert_is(encoder_weights("histology", folder=cache, published=[file], say=said.append), resnet)
        for part in (
            f"{len(content):,} bytes", hashlib.sha256(content).hexdigest(), "another than others noted",
            "beginning model.resnet. is taken off", "the encoder takes 75 tensors", "layer4.*",
            "fc.1.*, fc.3.*",
        ):  # fmt: skip
            assert part in said[-1], said
        assert set(load_file(cache / NAME.replace(".ckpt", ".safetensors"))) >= {*ENCODER_NAMES}
        for module in (published, weights_file):
            monkeypatch.setattr(module, "has_torch", lambda: False)
        monkeypatch.setitem(sys.modules, "torch", None)
        assert_is(encoder_weights("histology", folder=cache, published=[file], say=said.append), resnet)
        assert web.asked == [f"/{NAME}"]
    finally:
        web.server.shutdown()
        web.server.server_close()


def test_the_noted_file_is_called_so(form, cache):
    torch.save({"state_dict": form}, cache / NAME)
    noted = Published(NAME, "http://unused", hashlib.sha256((cache / NAME).read_bytes()).hexdigest(), True)
    said = []
    encoder_weights("histology", published=[noted], say=said.append)
    assert said[0].endswith(", as others noted it")


def test_lightnings_form(form, resnet, cache):
    lightning = {
        "state_dict": form, "epoch": 3, "global_step": 77, "pytorch-lightning_version": "1.0",
        "hyper_parameters": {"batch_size": 512, "lr": 1e-3}, "optimizer_states": [{"state": {}}],
    }  # fmt: skip
    torch.save(lightning, cache / NAME)
    assert_is(encoder_weights("histology", say=lambda line: None), resnet)


def test_lightnings_form_with_objects_in_it_is_not_unpickled(form, cache):
    torch.save({"state_dict": form, "hparams": Namespace(lr=1)}, cache / NAME)
    with pytest.raises(UserError, match=rf"{NAME} holds Python objects \(argparse.Namespace\)"):
        encoder_weights("histology", say=lambda line: None)
    assert [path.name for path in cache.iterdir()] == [NAME]


@pytest.mark.parametrize("before", ["", "state_dict."])
def test_safetensors_of_either_form(before, form, resnet, cache):
    tensors = {before + name: value for name, value in in_numpy(form).items()}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()},
              cache / NAME.replace(".ckpt", ".safetensors"))  # fmt: skip
    assert_is(encoder_weights("histology", say=lambda line: None), resnet)


def half(form):
    return dict(list(form.items())[::2])


FAULTS = {
    "half the keys": (half, "(?s)not, or not as a whole.*Delete it.*missing: bn1"),
    "an unknown key": (lambda form: form | {"decoder.weight": torch.ones(1)}, "unexpected: decoder.weight"),
    "another network": (
        lambda form: {"blocks.0.attn.qkv.weight": torch.ones(3)},
        "(?s)missing: conv1.weight.*missing: layer3.1.bn2.running_var",
    ),
    "not a number": (
        lambda form: form | {"model.resnet.bn1.weight": torch.full((64,), torch.nan)},
        "NaN or infinite values in: model.resnet.bn1.weight",
    ),
    "8 bits": (
        lambda form: form | {"model.resnet.bn1.weight": torch.ones(64).to(torch.float8_e4m3fn)},
        "holds tensors of the type float8_e4m3fn",
    ),
    "objects": (lambda form: form | {"model.resnet.bn1.weight": Path("x")}, "holds Python objects"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_load_whole_is_refused_and_not_kept(fault, form, cache, phantom, tmp_path, capsys):
    change, message = FAULTS[fault]
    torch.save({"state_dict": change(form)}, cache / NAME)
    with pytest.raises(UserError, match=message):
        encoder_weights("histology", say=lambda line: None)
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_a_plain_pickle(cache):
    import pickle

    (cache / NAME).write_bytes(pickle.dumps({"state_dict": {"conv1.weight": [1.0]}}))
    with pytest.raises(UserError, match=f"{NAME} cannot be read as a torch state dict|holds no state dict"):
        encoder_weights("histology", say=lambda line: None)


def test_a_file_of_the_same_form_by_its_path(form, resnet, tmp_path):
    torch.save({"state_dict": form}, tmp_path / "mine.ckpt")
    said = []
    assert_is(encoder_weights(str(tmp_path / "mine.ckpt"), say=said.append), resnet)
    assert "beginning model.resnet. is taken off" in said[0] and "--norm half" in said[1] and len(said) == 2


def test_the_cache_is_listed(form, cache):
    torch.save({"state_dict": form}, cache / NAME)
    encoder_weights("histology", say=lambda line: None)
    (cache / "mine.safetensors").write_bytes(b"x")
    (cache / "resnet18-f37072fd.pth").write_bytes(b"x")
    (cache / ".partial-abc.pth").write_bytes(b"x")
    what = {path.name: text for path, text in what_is_cached(cache)}
    assert "histology weights, for --weights histology, not as others noted them" in what[NAME]
    assert f"converted from {NAME}" in what[NAME.replace(".ckpt", ".safetensors")]
    assert "name it with --weights" in what["mine.safetensors"] and "1 bytes" in what["mine.safetensors"]
    assert "NOT the ImageNet weights" in what["resnet18-f37072fd.pth"]
    assert "may be deleted" in what[".partial-abc.pth"]
    assert what_is_cached(cache / "nothing") == []
    assert find_cached(cache, HISTOLOGY) == cache / NAME.replace(".ckpt", ".safetensors")


def test_doctor_names_it(form, cache, capsys):
    torch.save({"state_dict": form}, cache / NAME)
    l2s("doctor")
    out = capsys.readouterr().out
    assert f"histology weights: {cache / NAME}" in out and f"cached: {NAME}: " in out
