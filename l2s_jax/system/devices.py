"""Arrays on the device."""

from typing import Any


def put_on_device(tree: Any) -> Any:
    """Arrays on the device; on a CPU they are ready, so that programs run where memory is kept.

    `jax_setup.keep_freed_memory` says why. On other devices nothing waits: while
    one batch is computed, the next is on its way.
    """
    import jax

    there = jax.device_put(tree)
    return jax.block_until_ready(there) if jax.default_backend() == "cpu" else there
