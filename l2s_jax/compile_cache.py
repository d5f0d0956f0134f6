"""Compiled programs, kept for the next start."""

import os
from pathlib import Path

MIN_SECONDS = 0.5
"""Programs that compile faster are not kept."""


def use_compile_cache(wanted: bool, folder: Path | None = None) -> None:
    """Keeps compiled programs between processes, in L2S_CACHE or the user's cache folder.

    Processes that are started from this one keep them too.
    """
    import jax

    from l2s_jax.weights import cache_folder

    if wanted:
        values = {
            "jax_compilation_cache_dir": str(folder or cache_folder() / "compiled"),
            "jax_persistent_cache_min_compile_time_secs": MIN_SECONDS,
        }
        for name, value in values.items():
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)
