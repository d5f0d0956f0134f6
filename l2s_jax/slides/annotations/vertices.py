"""Vertices that are no positions on a slide. A region with one is refused: left out, it would be lost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2s_jax.slides.annotations.class_names import first_name
from l2s_jax.slides.annotations.types import Outline
from l2s_jax.system.errors import UserError

MAX_COORDINATE = 1e7
"""Level-0 pixels; no slide is as large."""


def refuse_broken(path: Path, outlines: Sequence[Outline]) -> None:
    """Refuses a file in which a vertex is no position.

    Args:
      path: the file, for messages.
      outlines: as parsed; NaN stands for what is no number.

    Raises:
      UserError: a coordinate is no number, or beyond `MAX_COORDINATE`; names the first such region (its
        number among the areas of the file, its class and id) and vertex, and how many regions there are.
    """
    rings = [ring for outline in outlines for ring in outline.rings]
    if not rings or not _broken(np.concatenate(rings)).any():
        return
    faulty = [n for n, outline in enumerate(outlines) if any(_broken(ring).any() for ring in outline.rings)]
    outline, more = outlines[faulty[0]], len(faulty) - 1
    number, ring = next(found for found in enumerate(outline.rings) if _broken(found[1]).any())
    vertex = int(np.flatnonzero(_broken(ring))[0])
    x, y = (f"{value:g}" if np.isfinite(value) else "no number" for value in ring[vertex])
    raise UserError(
        f"{path}: region {faulty[0] + 1} of {len(outlines)} ({_called(outline)}), vertex {vertex + 1}"
        f"{f' of its hole {number}' if number else ''} is x {x}, y {y}; expected level-0 pixels, "
        f"{MAX_COORDINATE:,.0f} at most{f'. {more} more region(s) have such vertices' if more else ''}. Draw "
        "or export the region again, or delete it"
    )


def _broken(ring: np.ndarray) -> np.ndarray:
    """bool[V]: which vertices f64[V,2] are no positions; NaN is none."""
    return ~(np.abs(ring) <= MAX_COORDINATE).all(axis=1)


def _called(outline: Outline) -> str:
    """What a person finds a region by."""
    name = repr(first_name(outline.names)[:60]) if first_name(outline.names) else "no class"
    ids = (
        f", id {outline.uid[:60]}" if outline.uid else "",
        f", Id {outline.ident}" if outline.ident else "",
    )
    return name + "".join(ids)
