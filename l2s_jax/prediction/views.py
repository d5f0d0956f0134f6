"""Test-time augmentation: the mean over turned, flipped and shifted views of a patch. Not in the paper."""

import itertools

import numpy as np

from l2s_jax.models.decoder import SCALE
from l2s_jax.models.forward import Forward

VIEWS = tuple(itertools.product(range(4), (1, -1)))
"""The eight turns and flips: quarter turns, then 1, or -1 where flipped."""


def mean_over_turns(forward: Forward, images: np.ndarray) -> np.ndarray:
    """Probabilities f32[K,s/8,s/8,C] of patches u8[K,s,s,3], the mean over their eight turns and flips."""
    return np.mean([_probabilities(forward, images, view) for view in VIEWS], 0)


def mean_over_shifts(forward: Forward, images: np.ndarray, shift: int) -> np.ndarray:
    """How likely each class is at a pixel, by the mean over 25 views that are shifted and turned.

    A network that pads with zeros can tell where in a patch a pixel is, and one that knows few masks makes
    use of it: background is where it was in those. In shifted views a pixel lies elsewhere each time.

    Args:
      forward: from `forward.make_forward`.
      images: u8[K,s,s,3], mirrored at the edge.
      shift: pixels, a multiple of 16 below s, by which views are shifted at most each way.

    Returns:
      Probabilities f32[K,s/8,s/8,C].
    """
    side = images.shape[1]
    wide = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    starts = range(0, 2 * shift + 1, shift // 2)
    total = seen = np.zeros(0, np.float32)
    for k, (row, column) in enumerate(itertools.product(starts, starts)):
        chances = _probabilities(forward, wide[:, row : row + side, column : column + side], VIEWS[k % 8])
        if not total.size:
            across = wide.shape[1] // SCALE
            total = np.zeros((len(images), across, across, chances.shape[-1]), np.float32)
            seen = np.zeros((across, across, 1), np.float32)
        here = np.s_[row // SCALE : (row + side) // SCALE, column // SCALE : (column + side) // SCALE]
        total[:, *here] += chances
        seen[here] += 1
    middle = slice(shift // SCALE, (shift + side) // SCALE)
    return total[:, middle, middle] / seen[middle, middle]


def _probabilities(forward: Forward, images: np.ndarray, view: tuple[int, int]) -> np.ndarray:
    """Of images turned by quarters and then flipped, turned back: f32[K,H/8,W/8,C]."""
    turns, flip = view
    logits = forward(np.ascontiguousarray(np.rot90(images, turns, (1, 2))[:, :, ::flip])).coarse_logits
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return np.rot90((odds / odds.sum(-1, keepdims=True))[:, :, ::flip], -turns, (1, 2))
