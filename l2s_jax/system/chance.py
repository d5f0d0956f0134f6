"""Generators of chance from a seed that somebody gave."""

import numpy as np

from l2s_jax.system.ranges import require_seed


def generator(seed: int, *stream: int) -> np.random.Generator:
    """NumPy's generator of a seed.

    Args:
      seed: as `ranges.SEEDS` has it.
      stream: which of several independent ones of the same seed; none where there is only one.

    Raises:
      UserError: the seed is none.
    """
    require_seed(seed)
    return np.random.default_rng((seed, *stream) if stream else seed)
