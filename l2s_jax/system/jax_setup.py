"""What a command sets for its process before it uses JAX. The library leaves all of it to its users."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

from l2s_jax.system.c_library import c_library
from l2s_jax.system.errors import UserError
from l2s_jax.system.values import clipped

MIN_SECONDS = 0.5
"""Programs that compile faster are not kept."""

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
NEVER = -1
"""As a threshold of trimming: freed memory is not given back."""

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

    users = folder or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if wanted and not users:
        try:
            users = cache_folder() / "compiled"
        except UserError as error:
            print(f"l2s: compiled programs are not kept: {error}", file=sys.stderr)
            wanted = False
    values: dict[str, Any] = {"jax_enable_compilation_cache": wanted}
    if wanted:
        values["jax_compilation_cache_dir"] = str(users)
        values["jax_persistent_cache_min_compile_time_secs"] = MIN_SECONDS
    for name, value in values.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def require_device() -> None:
    """Looks for a device to compute on.

    Raises:
      UserError: JAX finds none, most often since JAX_PLATFORMS asks for one that is not there.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        named = os.environ.get("JAX_PLATFORMS", "")
        if not named:
            raise UserError(f"JAX finds no device: {_first_line(error)}") from error
        raise UserError(
            f"JAX_PLATFORMS={named} asks for what is not here ({_first_line(error)}). There is: "
            f"{', '.join(_platforms_here())}. Unset JAX_PLATFORMS, or set it to one of these; for a GPU "
            "install the extra cuda and look at `l2s doctor`"
        ) from error


def _platforms_here() -> list[str]:
    """Platforms that JAX can compute on, whatever JAX_PLATFORMS says."""
    import jax

    before = jax.config.jax_platforms  # type: ignore[attr-defined]
    jax.config.update("jax_platforms", "")
    try:
        return sorted({device.platform for device in jax.devices()})
    except (RuntimeError, AssertionError):
        return ["none"]
    finally:
        jax.config.update("jax_platforms", before)


def _first_line(error: BaseException) -> str:
    return clipped((str(error).splitlines() or [type(error).__name__])[0], 120)


def keep_freed_memory() -> bool:
    """Lets freed memory be used again instead of going back to the kernel; says whether it could.

    XLA asks for a step's working memory, some 250 MB at the paper's batch, anew at each step. By default
    glibc gets such blocks from the kernel and gives them back, so that each step touches 63,000 pages that
    are not there yet: a fifth of its time on a CPU (benchmarks/README.md). The main thread alone has a heap
    that holds such blocks, so programs on the CPU are told to run in the thread that calls them, without
    JAX's asynchronous dispatch. (Where an input is not ready they still do not: `devices.put_on_device`.) To
    be called before JAX has looked for devices. Without glibc, or with one that refuses, nothing happens. The
    greatest resident set grows by a step's working memory at most.

    A block that one of XLA's own threads asks for is new each time all the same. One heap for all threads
    (MALLOC_ARENA_MAX=1) would keep it too, but they wait for each other (benchmarks/README.md).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(c_library(), "mallopt", None)
    if mallopt is None:
        return False
    # Not by thresholds in bytes: those end at 2 GiB, and a step of 20 patches of 512x512 asks for 3.7.
    if mallopt(_MMAP_MAX, 0) != 1 or mallopt(_TRIM_THRESHOLD, NEVER) != 1:
        return False
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True
