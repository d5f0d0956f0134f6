"""Whether vertices are positions: a region with one that is none is not left out silently."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2s_jax.slides.annotations.repair import MAX_COORDINATE
from l2s_jax.slides.annotations.types import Outline
from l2s_jax.system.errors import UserError


def require_positions(path: Path, outlines: Sequence[Outline]) -> None:
    """Raises `UserError` for the first region with a vertex that is no number, or far off any slide."""
    rings = [ring for outline in outlines for ring in outline.rings]
    if not rings or (np.abs(np.concatenate(rings)) <= MAX_COORDINATE).all():  # NaN is not
        return
    for number, outline in enumerate(outlines, 1):
        for ring in outline.rings:
            broken = np.flatnonzero(~(np.abs(ring) <= MAX_COORDINATE).all(axis=1))
            if len(broken):
                x, y = ring[broken[0]]
                what = f"vertex {broken[0] + 1} of {len(ring)} is ({x:g}, {y:g})"
                if len(ring) == 1:
                    what = "its coordinates cannot be read"
                raise UserError(f"{path}: region {number}{_known_as(outline)}: {what}; {_EXPECTED}")


_EXPECTED = (
    f"expected pixels of level 0, numbers up to {MAX_COORDINATE:,.0f}. Draw the region again, or take it out"
)


def _known_as(outline: Outline) -> str:
    """Its class and id, as far as it has them."""
    known = [name for name in outline.names if name.strip()][:1] + [outline.uid][: bool(outline.uid)]
    return f" ({', '.join(known)})" if known else ""
