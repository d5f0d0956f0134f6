"""Compiled programs, kept for the next start."""

from pathlib import Path


def use_compile_cache(wanted: bool, folder: Path | None = None) -> None:
    """Keeps compiled programs between processes, in L2S_CACHE or the user's cache folder."""
    import jax

    from l2s_jax.weights import cache_folder

    if wanted:
        jax.config.update("jax_compilation_cache_dir", str(folder or cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
