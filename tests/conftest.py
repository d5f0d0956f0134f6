import ctypes
import gc
import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from helpers.runs import TINY
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.training.train import train

# Compiling is the longest part of the tests and takes a quarter less time so. What users compile is tried by
# the demo, and by `make test-versions`, which sets the variable to nothing.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
jax.config.update("jax_numpy_rank_promotion", "raise")
# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C;
# nohup does the same with SIGHUP.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """Compiled programs are shared between tests and the processes that they start."""
    base = tmp_path_factory.getbasetemp()
    # Workers of pytest-xdist have a folder each, side by side.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = os.environ.setdefault("L2S_CACHE", str(shared / "cache"))
    jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Compiled programs pile up in a process; what a later module needs is read from the cache folder."""
    yield
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A small phantom data set: 60 patches of 32x32, 15 of them without a mask."""
    folder = tmp_path_factory.mktemp("phantom") / "data"
    prepare_phantom(folder, patches=60, patches_per_slide=3, patch_size=32, masks=0.5)
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def trained(phantom, tmp_path_factory):
    """A finished run on the phantom."""
    return train(phantom, tmp_path_factory.mktemp("trained") / "run", TINY, say=lambda line: None)
