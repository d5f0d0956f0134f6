"""A stand-in for a network."""

import numpy as np

from l2s_jax.models.network import Outputs


def fake_forward(images):
    """Low-resolution logits that are the means of 8x8 cells, so that they depend on content and place."""
    k, height, width, _ = images.shape
    cells = images.reshape(k, height // 8, 8, width // 8, 8, 3).astype(np.float64)
    coarse = cells.mean((2, 4)).astype(np.float32)
    return Outputs(coarse, coarse.mean((1, 2)))
