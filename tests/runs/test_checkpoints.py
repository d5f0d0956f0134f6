import gc
import resource
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.runs import checkpoints
from l2s_jax.system.errors import UserError

# Orbax leaves the other reads of a load that failed unfinished, and they complain when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected():
    """What a test leaves behind is collected with it, and not in a later one."""
    yield
    gc.collect()


@pytest.fixture
def state(rng):
    """Half a megabyte that does not compress."""
    return {"a": jnp.asarray(rng.random((256, 512), np.float32)), "n": jnp.asarray(3, jnp.int32)}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_the_newest_is_read_and_the_one_before_it_removed(tmp_path, state):
    changed = {**state, "n": jnp.asarray(4, jnp.int32)}
    checkpoints.save(tmp_path, 3, {"state": state}, {"best": None})
    checkpoints.save(tmp_path, 4, {"state": changed}, {"best": 0.5})
    items, note, step = checkpoints.load(tmp_path, {"state": state})
    assert (note, step) == ({"best": 0.5}, 4) and same(items["state"], changed)
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_a_full_disk_is_one_message_and_the_checkpoint_before_it_is_good(tmp_path, state, capfd):
    checkpoints.save(tmp_path, 3, {"state": state}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as if the disk were full after 100 kB
    try:
        with pytest.raises(UserError, match="cannot write a checkpoint to .*File too large.*untouched"):
            checkpoints.save(tmp_path, 4, {"state": {**state, "n": jnp.asarray(4, jnp.int32)}}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err and "absl" not in out + err
    items, _, step = checkpoints.load(tmp_path, {"state": state})
    assert step == 3 and same(items["state"], state)
    checkpoints.save(tmp_path, 4, {"state": state}, {})  # space was freed: what was half-written goes
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_what_cannot_be_used_is_refused(tmp_path, state):
    with pytest.raises(UserError, match="no checkpoint in"):
        checkpoints.load(tmp_path / "absent", {"state": state})
    checkpoints.save(tmp_path / "run", 3, {"state": state}, {})
    for shape in ((256, 511), (257, 512)):
        other = {**state, "a": jnp.zeros(shape)}
        with pytest.raises(UserError, match="another network|does not fit"):
            checkpoints.load(tmp_path / "run", {"state": other})
        with pytest.raises(UserError, match=r"another network: state has a as float32\[256, 512\], expected"):
            checkpoints.load(tmp_path / "run", {"state": jax.tree.map(np.asarray, other)})
    for dtype in (jnp.int8, jnp.bfloat16):
        with pytest.raises(UserError, match=rf"float32\[256, 512\], expected {jnp.dtype(dtype)}"):
            checkpoints.load(tmp_path / "run", {"state": {**state, "a": jnp.zeros((256, 512), dtype)}})
    with pytest.raises(UserError, match="does not fit"):
        checkpoints.load(tmp_path / "run", {"state": {"b": state["a"]}})
    faulty = {**state, "a": state["a"].at[5, 5].set(jnp.nan)}
    checkpoints.save(tmp_path / "nan", 3, {"state": faulty}, {})
    with pytest.raises(UserError, match=r"holds NaN or infinity in state\['a'\]"):
        checkpoints.load(tmp_path / "nan", {"state": state})


def test_a_damaged_checkpoint_is_refused(tmp_path, state):
    checkpoints.save(tmp_path / "run", 3, {"state": state}, {})
    damaged = next(path for path in (tmp_path / "run").rglob("d/*") if path.stat().st_size > 100_000)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged") as refused:
        checkpoints.load(tmp_path / "run", {"state": state})
    assert len(str(refused.value)) < 600, "Orbax quotes whole arrays"


def test_late_answers_after_a_failure_are_not_printed(tmp_path, state, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for name in ("a", "b"):
        (tmp_path / name / "3").mkdir(parents=True)
        monkeypatch.setattr(checkpoints, "latest_step", lambda folder: 3)
        monkeypatch.setattr(checkpoints, "_damaged", lambda checkpoint: [])
        with pytest.raises(UserError, match="is damaged"):
            checkpoints.load(tmp_path / name, {"state": state})
    for text in ("Event loop is closed", "something else"):
        sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(text)))
    assert [str(one.exc_value) for one in told] == ["something else"]
