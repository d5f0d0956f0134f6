"""Test-time augmentation: the mean over turned, flipped and shifted views of a patch. Not in the paper."""

import itertools

import numpy as np

from l2s_jax.config import shift_pixels
from l2s_jax.models.forward import Forward
from l2s_jax.models.network import Outputs
from l2s_jax.system.errors import UserError
from l2s_jax.types import PATCH_MULTIPLE, Views

VIEWS = tuple(itertools.product(range(4), (1, -1)))
"""The eight turns and flips: quarter turns, then 1, or -1 where flipped."""

SHIFT = 0.5
"""Of a patch's side, by which the views of `shifts` are shifted at most each way."""


def with_views(forward: Forward, views: Views, temperature: float, side: int) -> Forward:
    """A network that looks at each patch several times, as a function like any other.

    Its mask logits are such that, divided by the temperature, they give the mean over the views of the
    probabilities that the network's logits give, divided by the temperature. Its class logits are the mean
    over the views.

    Args:
      forward: from `forward.make_forward`.
      views: which; with `one` the network stays as it is.
      temperature: by which mask logits are divided before they become probabilities.
      side: of the patches, in pixels.

    Raises:
      UserError: the patches are too small to be shifted.
    """
    if views == "one":
        return forward
    shift = shift_pixels(SHIFT, side, PATCH_MULTIPLE) if views == "shifts" else 0
    if shift >= side:
        raise UserError(f"--views shifts needs patches of {2 * PATCH_MULTIPLE} pixels or more, not of {side}")

    def looking(images: np.ndarray) -> Outputs:
        labels = []

        def listening(one: np.ndarray) -> Outputs:
            outputs = forward(one)
            labels.append(outputs.class_logits)
            return outputs

        if shift:
            mean = mean_over_shifts(listening, images, shift, temperature)
        else:
            mean = mean_over_turns(listening, images, temperature)
        known = np.maximum(mean, np.finfo(np.float32).tiny)
        return Outputs(np.float32(temperature) * np.log(known), np.mean(labels, 0))

    return looking


def mean_over_turns(forward: Forward, images: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities f32[K,h,w,C] of cells of patches u8[K,s,s,3], the mean over eight turns and flips."""
    return np.mean([_probabilities(forward, images, view, temperature) for view in VIEWS], 0)


def mean_over_shifts(
    forward: Forward, images: np.ndarray, shift: int, temperature: float = 1.0
) -> np.ndarray:
    """How likely each class is at a pixel, by the mean over 25 views that are shifted and turned.

    A network that pads with zeros can tell where in a patch a pixel is, and one that knows few masks makes
    use of it: background is where it was in those. In shifted views a pixel lies elsewhere each time.

    Args:
      forward: from `forward.make_forward`.
      images: u8[K,s,s,3], mirrored at the edge.
      shift: pixels, a multiple of 16 below s, by which views are shifted at most each way.
      temperature: by which logits are divided before they become probabilities.

    Returns:
      Probabilities f32[K,h,w,C] of their cells.
    """
    side = images.shape[1]
    wide = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    starts = range(0, 2 * shift + 1, shift // 2)
    total, seen, cell = np.zeros(0, np.float32), np.zeros(0, np.float32), 1
    for k, (row, column) in enumerate(itertools.product(starts, starts)):
        view = wide[:, row : row + side, column : column + side]
        chances = _probabilities(forward, view, VIEWS[k % 8], temperature)
        if not total.size:
            cell = side // chances.shape[1]
            across = wide.shape[1] // cell
            total = np.zeros((len(images), across, across, chances.shape[-1]), np.float32)
            seen = np.zeros((across, across, 1), np.float32)
        here = np.s_[row // cell : (row + side) // cell, column // cell : (column + side) // cell]
        total[:, *here] += chances
        seen[here] += 1
    middle = slice(shift // cell, (shift + side) // cell)
    return total[:, middle, middle] / seen[middle, middle]


def _probabilities(
    forward: Forward, images: np.ndarray, view: tuple[int, int], temperature: float
) -> np.ndarray:
    """Of images turned by quarters and then flipped, turned back: f32[K,h,w,C] of their cells."""
    turns, flip = view
    logits = forward(np.ascontiguousarray(np.rot90(images, turns, (1, 2))[:, :, ::flip])).coarse_logits
    logits = logits / np.float32(temperature)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return np.rot90((odds / odds.sum(-1, keepdims=True))[:, :, ::flip], -turns, (1, 2))
