"""A stand-in for a network."""

import numpy as np

from l2s_jax.models.network import Outputs


def forward_of_cells(cell):
    """Low-resolution logits that are the means of square cells, so that they depend on content and place."""

    def forward(images):
        k, height, width, _ = images.shape
        cells = images.reshape(k, height // cell, cell, width // cell, cell, 3).astype(np.float64)
        coarse = cells.mean((2, 4)).astype(np.float32)
        return Outputs(coarse, coarse.mean((1, 2)))

    return forward


fake_forward = forward_of_cells(8)
