import functools
import hashlib
import json
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from helpers.web import Web, nothing_listens
from l2s_jax.runs import published, weights_file
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.runs.published import (
    PUBLISHED,
    Published,
    Unavailable,
    download,
    find_cached,
    weights_folder,
)
from l2s_jax.runs.weights_file import KINDS, read_weights, write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import cache_folder

STATE_DICT = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn1.num_batches_tracked": np.array(5, np.int64),
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs the torch extra")


def torch_is_there(monkeypatch, answer):
    for module in (published, weights_file):
        monkeypatch.setattr(module, "has_torch", lambda: answer)


@pytest.fixture
def without_torch(monkeypatch):
    torch_is_there(monkeypatch, False)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import would fail


@pytest.fixture
def with_torch(torch, monkeypatch):
    torch_is_there(monkeypatch, True)
    return torch


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


def pth_bytes(torch, tmp_path, state_dict=STATE_DICT):
    path = tmp_path / "made.pth"
    torch.save({name: torch.from_numpy(value) for name, value in state_dict.items()}, path)
    return path.read_bytes()


def assert_same(got, expected=STATE_DICT):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        np.testing.assert_array_equal(got[name], value)


fetch = functools.partial(encoder_weights, "auto", say=lambda line: None)


# Where things are looked for.


def test_random_reads_nothing():
    assert encoder_weights("random") is None


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("L2S_CACHE", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "l2s_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache" / "l2s_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "l2s_jax"
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert weights_folder() == tmp_path / "own" / "weights"


def test_the_published_hashes_agree_with_torchvisions_names():
    for file in PUBLISHED:
        assert len(file.sha256) == 64
        if file.needs_torch:  # torchvision writes the start of the hash into the name
            assert file.name.removesuffix(".pth").rsplit("-", 1)[1] == file.sha256[:8]
            assert file.url.endswith(f"/{file.name}")


def test_no_jax_is_needed():
    use = "from l2s_jax.runs.pretrained import encoder_weights; encoder_weights('random')"
    code = f"import sys; sys.modules['jax'] = None; {use}"
    subprocess.run([sys.executable, "-c", code], check=True)


# Files that the user names.


def test_safetensors_without_torch(tmp_path, without_torch):
    save_file(STATE_DICT, tmp_path / "mine.safetensors")
    assert_same(encoder_weights(str(tmp_path / "mine.safetensors")))


def test_pth(tmp_path, with_torch):
    path = tmp_path / "mine.pth"
    path.write_bytes(pth_bytes(with_torch, tmp_path))
    assert_same(encoder_weights(str(path)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["made.pth", "mine.pth"]


def test_pth_of_the_old_format_and_of_half_precision(tmp_path, with_torch):
    tensors = {"a": with_torch.ones(3, dtype=with_torch.bfloat16), "b": with_torch.ones(2).half()}
    with_torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    got = read_weights(tmp_path / "old.pth")
    assert_same(got, {"a": np.ones(3, np.float32), "b": np.ones(2, np.float32)})


def test_tensors_are_written_by_place_and_not_by_memory(tmp_path, with_torch):
    """safetensors writes the memory as it lies; weights that torch saved as channels_last lie otherwise."""
    weight = with_torch.arange(216.0).reshape(8, 3, 3, 3).to(memory_format=with_torch.channels_last)
    with_torch.save(
        {"conv1.weight": weight, "bn1.num_batches_tracked": with_torch.tensor(5)}, tmp_path / "a.pth"
    )
    read = read_weights(tmp_path / "a.pth")
    assert not read["conv1.weight"].flags["C_CONTIGUOUS"]
    write_safetensors(tmp_path / "a.safetensors", read)
    assert_same(read_weights(tmp_path / "a.safetensors"), read)


@given(arrays(np.float32, array_shapes(max_dims=4)), st.randoms(use_true_random=False))
def test_views_of_any_order_are_written_as_they_read(tmp_path_factory, array, random):
    view = array.transpose(random.sample(range(array.ndim), array.ndim))[:: random.choice((1, -1))]
    path = tmp_path_factory.getbasetemp() / "views.safetensors"
    write_safetensors(path, {"view": view})
    np.testing.assert_array_equal(load_file(path)["view"], view)


def test_pth_without_torch(tmp_path, without_torch):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"anything")
    with pytest.raises(UserError, match=r"needs the torch extra \(pip install 'l2s-jax\[torch\]'\)"):
        encoder_weights(str(path))


class Runs:
    """What a hostile file would do: touching a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pth_file_runs_no_code(tmp_path, with_torch):
    with_torch.save({"conv1.weight": Runs(tmp_path / "ran")}, tmp_path / "hostile.pth")
    with pytest.raises(UserError, match="holds Python objects"):
        read_weights(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()
    with_torch.load(tmp_path / "hostile.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the file was hostile indeed"


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 a zip cut short"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files(tmp_path, with_torch, content, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"damaged{suffix}"):
        read_weights(path)


def test_truncated_safetensors(tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(save(STATE_DICT)[:-1])
    with pytest.raises(UserError, match=r"no readable \.safetensors"):
        read_weights(path)


@pytest.mark.parametrize("under", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_has_a_state_dict(under, tmp_path, with_torch):
    with_torch.save({under: {"a": with_torch.ones(1)}, "epoch": 3}, tmp_path / "checkpoint.ckpt")
    assert_same(read_weights(tmp_path / "checkpoint.ckpt"), {"a": np.ones(1, np.float32)})


@pytest.mark.parametrize("content", [{"weights": {"a": 1}, "epoch": 3}, [1, 2], {"state_dict": {"a": 1}}])
def test_other_content_is_no_state_dict(content, tmp_path, with_torch):
    with_torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "other.pth")


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64"])
def test_torch_tensors_of_types_that_are_no_weights(dtype, tmp_path, with_torch):
    with_torch.save({"a": with_torch.ones(3).to(getattr(with_torch, dtype))}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=f"holds tensors of the type {dtype}; known are F64") as caught:
        read_weights(tmp_path / "other.pth")
    assert ("of 8 bits" in str(caught.value)) == dtype.startswith("float8")


def test_pages_that_were_kept_for_a_file_are_named(tmp_path, with_torch):
    (tmp_path / "page.pth").write_text("<!doctype html><title>Not found</title>")
    with pytest.raises(UserError, match=r"page.pth is no file that torch wrote: it begins with b'<!doctype"):
        read_weights(tmp_path / "page.pth")


def test_torch_warns_of_nothing_where_a_pickle_is_refused(tmp_path, with_torch, recwarn):
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": np.ones(3)}, protocol=4))
    with pytest.raises(UserError, match="plain.pth"):
        read_weights(tmp_path / "plain.pth")
    assert not recwarn.list


def test_sparse_tensors_are_named(tmp_path, with_torch):
    with_torch.save({"a": with_torch.eye(3).to_sparse()}, tmp_path / "sparse.pth")
    with pytest.raises(UserError, match="holds tensors of the type torch.sparse_coo"):
        read_weights(tmp_path / "sparse.pth")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    faulty = {**STATE_DICT, "bn1.weight": np.array([1, value], np.float32)}
    save_file(faulty, tmp_path / "faulty.safetensors")
    with pytest.raises(UserError, match=r"faulty.safetensors holds NaN or infinite values in: bn1.weight$"):
        read_weights(tmp_path / "faulty.safetensors")


def test_missing_and_other_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        encoder_weights(str(tmp_path / "absent.pth"))
    with pytest.raises(UserError, match="no such file"):
        encoder_weights(str(tmp_path))
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"neither \.safetensors nor \.pth"):
        encoder_weights(str(tmp_path / "weights.npz"))


# The cache folder and the download.


def test_download_once_without_torch(web, tmp_path, without_torch):
    pth = web.publish("resnet18.pth", b"unreadable here")
    file = web.publish("resnet18.safetensors", save(STATE_DICT))
    said = []
    assert_same(encoder_weights("auto", folder=tmp_path / "cache", published=[pth, file], say=said.append))
    assert_same(fetch(folder=tmp_path / "cache", published=[pth, file]))
    assert web.asked == ["/resnet18.safetensors"]
    assert said == [f"downloading {file.url} to {tmp_path / 'cache'}"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["resnet18.safetensors"]


def test_a_downloaded_pth_is_converted_so_that_torch_is_needed_once(web, tmp_path, with_torch, monkeypatch):
    file = web.publish("resnet18.pth", pth_bytes(with_torch, tmp_path))
    folder = tmp_path / "cache"
    assert_same(fetch(folder=folder, published=[file]))
    assert_same(load_file(folder / "resnet18.safetensors"))
    torch_is_there(monkeypatch, False)
    assert find_cached(folder, [file]) == folder / "resnet18.safetensors"
    assert_same(fetch(folder=folder, published=[file]))
    assert web.asked == ["/resnet18.pth"]


def test_a_file_put_into_the_cache_by_hand(tmp_path, with_torch):
    content = pth_bytes(with_torch, tmp_path)
    file = Published("resnet18.pth", f"{nothing_listens()}/x", hashlib.sha256(content).hexdigest())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / file.name).write_bytes(content)
    assert_same(fetch(folder=tmp_path / "cache", published=[file]))


def test_a_damaged_file_in_the_cache(tmp_path):
    file = Published("resnet18.safetensors", "http://unused", "0" * 64)
    save_file(STATE_DICT, tmp_path / file.name)
    with pytest.raises(UserError, match=r"(?s)resnet18.safetensors is damaged or another file.*Delete it"):
        fetch(folder=tmp_path, published=[file])


def test_another_content_is_refused_and_leaves_nothing(web, tmp_path):
    file = web.publish("resnet18.safetensors", save(STATE_DICT), sha256="f" * 64)
    with pytest.raises(Unavailable, match="another file than was published"):
        download(file, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_cut_off_download_leaves_nothing(web, tmp_path):
    file = web.publish("resnet18.safetensors", save(STATE_DICT))
    web.cut = True
    size = len(save(STATE_DICT))
    with pytest.raises(Unavailable, match=f"cut off after {size // 2} of {size} bytes"):
        download(file, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_silent_server_is_given_up(web, tmp_path):
    file = web.publish("resnet18.safetensors", save(STATE_DICT))
    web.delay = 3
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="timed out"):
        download(file, tmp_path, timeout_s=0.2)
    assert time.monotonic() - begun < 2


def test_the_next_source_is_tried(web, tmp_path, with_torch):
    gone = Published("resnet18-gone.pth", f"{nothing_listens()}/gone.pth", "0" * 64)
    wrong = web.publish("wrong.pth", b"a captive portal's page", sha256="1" * 64)
    good = web.publish("resnet18.safetensors", save(STATE_DICT))
    assert_same(fetch(folder=tmp_path, published=[gone, wrong, good]))


def test_offline_the_message_says_all_that_is_needed(tmp_path, without_torch):
    address = nothing_listens()
    files = [file._replace(url=f"{address}/{file.name}") for file in PUBLISHED]
    with pytest.raises(UserError) as caught:
        fetch(folder=tmp_path / "cache", published=files)
    message = str(caught.value)
    for file in files:
        assert file.name in message and file.url in message and file.sha256 in message
    assert str(tmp_path / "cache") in message
    assert "--weights random" in message and "--weights PATH" in message and "L2S_CACHE" in message
    assert "Connection refused" in message
    assert "reading it needs the torch extra, once" in message


def test_a_pth_in_the_cache_without_torch(tmp_path, without_torch):
    file = Published("resnet18.pth", "http://unused", "0" * 64)
    (tmp_path / file.name).write_bytes(b"x")
    with pytest.raises(UserError, match="is there, but reading it needs the torch extra"):
        fetch(folder=tmp_path, published=[file])


def test_not_found(web, tmp_path):
    file = web.publish("resnet18.safetensors", b"x")
    web.files.clear()
    with pytest.raises(Unavailable, match="404"):
        download(file, tmp_path)


def test_unwritable_cache_is_named(web, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    file = web.publish("resnet18.safetensors", save(STATE_DICT))
    with pytest.raises(UserError, match="cannot write") as caught:
        fetch(folder=tmp_path / "cache", published=[file])
    assert not isinstance(caught.value, Unavailable)
    assert web.asked == []


SIZES = {
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F4": 0.5, "F6_E2M3": 0.75, "BF16": 2,
    "F16": 2, "F32": 4, "F64": 8, "C64": 8, "I8": 1, "U16": 2, "U64": 8, "BOOL": 1, "F1_NEW": 1,
}  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_tensors_of_any_type_are_read_or_named(kind, tmp_path):
    """Files as quantised networks come in; NumPy lacks most of their types."""
    data = b"\x40" * int(8 * SIZES[kind])
    entry = {"dtype": kind, "shape": [8], "data_offsets": [0, len(data)]}
    header = json.dumps({"conv1.weight": entry}).encode()
    header += b" " * (-len(header) % 8)
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    if kind in KINDS:
        value = read_weights(path)["conv1.weight"]
        assert value.shape == (8,) and value.dtype.kind in "fib"
        if kind == "BF16":
            assert value.dtype == np.float32 and value[0] == 3.0  # 0x4040 is its upper half
        return
    with pytest.raises(UserError, match=re.escape(str(path))) as refused:
        read_weights(path)
    assert kind in str(refused.value)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    weights = {name: np.arange(n, dtype=np.float32) for name, n in (("b", 3), ("a", 5), ("c", 1))}
    metadata = {name: name * 3 for name in "zyxwvutsé"}
    for number in range(8):
        write_safetensors(tmp_path / str(number), weights, metadata)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    with safe_open(tmp_path / "0", framework="np") as file:
        assert file.metadata() == {"format": "pt", **metadata}
        for name, value in weights.items():
            np.testing.assert_array_equal(file.get_tensor(name), value)
