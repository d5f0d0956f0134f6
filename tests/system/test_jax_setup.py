"""What a command sets for its process."""

import os
import subprocess
import sys

import jax
import pytest

from l2s_jax.system import jax_setup

STEPS = """
import resource, sys
from l2s_jax.system.jax_setup import keep_freed_memory
rows = int(sys.argv[2])
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import jax, jax.numpy as jnp
def work(x):  # needs rows x rows numbers in between
    made = jax.lax.fori_loop(0, 2, lambda i, made: made.at[i].add(x[i]), jnp.zeros((rows, rows)))
    return made.max(0)
step, x = jax.jit(work), jax.block_until_ready(jnp.ones(rows))
for _ in range(3):
    jax.block_until_ready(step(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    jax.block_until_ready(step(x))
touched = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()
print(touched / (4 * rows**2) / 12)
"""


def steps_that_touched_new_memory(how: str, rows: int) -> float:
    """How much of their working memory twelve steps had to get from the kernel.

    All threads share one heap: which of them asks for a block is chance, and only the first one's holds large
    ones else.
    """
    command = [sys.executable, "-c", STEPS, how, str(rows)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
@pytest.mark.parametrize("rows", [4096, 24_000])
def test_steps_use_their_memory_again(rows):
    # 64 MiB, and 2.1 GiB, which is beyond a C int and asked for twice: the heap may grow once more, in one
    # step of twelve. Without keeping, each step touches new memory once, or twice.
    assert steps_that_touched_new_memory("keep", rows) < 1 / 8
    assert steps_that_touched_new_memory("leave", rows) > 0.9


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(jax_setup.sys, "platform", "darwin")
    assert jax_setup.keep_freed_memory() is False


def test_an_allocator_that_refuses_changes_nothing(monkeypatch):
    class Refusing:
        @staticmethod
        def mallopt(name, value):
            return 0

    monkeypatch.setattr(jax_setup.sys, "platform", "linux")
    monkeypatch.setattr(jax_setup, "c_library", Refusing)
    before = jax.config.read("jax_cpu_enable_async_dispatch")
    assert jax_setup.keep_freed_memory() is False
    assert jax.config.read("jax_cpu_enable_async_dispatch") == before


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(jax_setup.sys, "platform", "linux")
    monkeypatch.setattr(jax_setup, "c_library", lambda: None)
    assert jax_setup.keep_freed_memory() is False


COMPILED = """
import sys
from l2s_jax.system import jax_setup
jax_setup.MIN_SECONDS = 0.0  # else the step of a test would not be worth keeping
jax_setup.set_up_jax(sys.argv[1] == "keep")
import jax
assert jax.jit(lambda x: x * 2 + 1)(3.0) == 7.0
"""


@pytest.mark.parametrize("how", ["keep", "forget"])
@pytest.mark.parametrize("place", ["L2S_CACHE", "JAX_COMPILATION_CACHE_DIR"])
def test_compiled_programs_are_kept_where_that_is_wanted(how, place, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"L2S_CACHE": str(tmp_path / "ours"), place: str(tmp_path / "named")}
    subprocess.run([sys.executable, "-c", COMPILED, how], check=True, env=environment)
    folder = tmp_path / "named" / ("compiled" if place == "L2S_CACHE" else "")
    assert any(folder.glob("*")) == (how == "keep")
    assert not (tmp_path / "ours").exists()
