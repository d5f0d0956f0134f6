"""What a command sets for its process before it uses JAX. The library leaves all of it to its users."""

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

MIN_SECONDS = 0.5
"""Programs that compile faster are not kept."""

KEEP_BYTES = 2**31 - 1
"""Blocks up to this size stay with the process; mallopt takes a C int."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h

SELDOM = (100_000, 20, 100)
"""Thresholds of garbage collection, which finds nothing in the millions of objects that tracing makes."""


def set_up_jax(compile_cache: bool | None) -> None:
    """Freed memory is kept, compiled programs too where that is wanted, and garbage is collected seldom.

    Args:
      compile_cache: whether to keep compiled programs; None: as the process that started this one.
    """
    gc.set_threshold(*SELDOM)
    keep_freed_memory()
    if compile_cache is not None:
        use_compile_cache(compile_cache)


def use_compile_cache(wanted: bool, folder: Path | None = None) -> None:
    """Keeps compiled programs between processes, or does not; those started from this one do as it does.

    Args:
      wanted: whether to.
      folder: where; else JAX_COMPILATION_CACHE_DIR, L2S_CACHE or the user's cache folder.
    """
    import jax

    from l2s_jax.system.files import cache_folder

    values: dict[str, Any] = {"jax_enable_compilation_cache": wanted}
    if wanted:
        users = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        values["jax_compilation_cache_dir"] = str(folder or users or cache_folder() / "compiled")
        values["jax_persistent_cache_min_compile_time_secs"] = MIN_SECONDS
    for name, value in values.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def keep_freed_memory() -> bool:
    """Lets freed memory be used again instead of going back to the kernel; says whether it could.

    XLA asks for a step's working memory, some 250 MB at the paper's batch, anew at each step. By default
    glibc gets such blocks from the kernel and gives them back, so that each step touches 63,000 pages that
    are not there yet: a fifth of its time on a CPU (benchmarks/README.md). The main thread alone has a heap
    that holds such blocks, so programs on the CPU are told to run in the thread that calls them, without
    JAX's asynchronous dispatch. (Where an input is not ready they still do not: `devices.put_on_device`.) To
    be called before JAX has looked for devices. Without glibc, or with one that refuses, nothing happens. The
    greatest resident set grows by a step's working memory at most.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Versions that refuse so large a threshold are told to take no block at all from the kernel.
    if mallopt(_MMAP_THRESHOLD, KEEP_BYTES) != 1 and mallopt(_MMAP_MAX, 0) != 1:
        return False
    if mallopt(_TRIM_THRESHOLD, KEEP_BYTES) != 1:
        return False
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True
