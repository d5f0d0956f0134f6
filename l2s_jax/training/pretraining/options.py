"""How an encoder is pretrained. No JAX."""

from dataclasses import dataclass
from typing import Annotated

from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import MOST, Range, Seed, out_of_range
from l2s_jax.types import PATCH_MULTIPLE, fits_network

LARGEST_VIEW = 64
"""Pixels a side of the views of larger windows, unless asked otherwise: time goes with the area."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """How it is learned, and how much memory it may take."""

    steps: Annotated[int, Range(1, MOST)] = 6000
    """600 steps did not pay on 148 pictures, 6,000 did (docs/experiments/pretraining.md)."""
    batch_size: Annotated[int, Range(2, 100_000)] = 64
    """Windows a step, in two views each, none twice; all there are, where those are fewer."""
    view: Annotated[int | None, Range(PATCH_MULTIPLE, 10_000)] = None
    """Pixels a side of a view, a multiple of 16; by default three quarters of a window's, at most 64. It
    shows 0.75 to 1.5 times the window's magnification."""
    learning_rate: Annotated[float, Range(0, 10, open_low=True)] = 1e-3
    """Adam's, which falls to zero along a half cosine."""
    temperature: Annotated[float, Range(0, 100, open_low=True)] = 0.5
    """Of the loss, NT-Xent."""
    seed: Seed = 0
    """Initialisation, order of the windows, views, and which windows of a slide."""
    loader_threads: Annotated[int, Range(1, 256)] = 2
    """Threads that read and gather batches; the batches do not depend on it."""
    memory_gib: Annotated[float, Range(0, 1_000_000)] = 2.0
    """Windows are kept in memory when they fit this many GiB, else read at each use."""


def require_sensible(options: PretrainOptions) -> None:
    """Raises `UserError` naming every option that makes no sense."""
    faults = out_of_range(options)
    if options.view is not None and not fits_network(options.view):
        faults.append(f"view = {options.view} must be a multiple of {PATCH_MULTIPLE}")
    if faults:
        raise UserError("\n".join(["options that make no sense:", *faults]))


def view_side(options: PretrainOptions, window: int) -> int:
    """Pixels a side of a view of a window. Raises `UserError` where it does not fit into it."""
    if options.view is not None and options.view > window:
        raise UserError(f"--view {options.view} is more than the {window} pixels of a window's side")
    of_window = max(round(0.75 * window / PATCH_MULTIPLE), 1) * PATCH_MULTIPLE
    return min(of_window, LARGEST_VIEW) if options.view is None else options.view
