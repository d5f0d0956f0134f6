"""Which pixels of an annotated slide are known: what is drawn, and what was left undrawn inside a frame.

A frame is an area that somebody has looked through: what is not drawn in it is background. QuPath's class
`Region*` is one, others are named with --frame, and a mask is a frame of its own size.
"""

from dataclasses import replace

import numpy as np

from l2s_jax.slides.annotations.choices import Undrawn
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.types import IGNORE_PIXEL


def with_frames(annotations: Annotations, background: int) -> Annotations:
    """Frames as regions of the background class below all others."""
    frames = tuple(Region(polygon, background) for polygon in annotations.frames)
    return replace(annotations, regions=frames + annotations.regions, frames=())


def undrawn_as(asked: Undrawn | None, annotations: Annotations, *, otherwise: Undrawn = "unknown") -> Undrawn:
    """What undrawn pixels of a slide are taken for.

    Args:
      asked: what somebody has said.
      annotations: of the slide; with a frame in it, what lies outside is unknown.
      otherwise: where nobody has said and there is no frame.
    """
    return asked or ("unknown" if annotations.frames else otherwise)


def paint_known(
    annotations: Annotations,
    size: tuple[int, int],
    downsample: tuple[float, float],
    *,
    undrawn: Undrawn,
    background: int | None,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Paints regions as `painting.paint` does, over what is known of the rest.

    Args:
      annotations: in level-0 pixels.
      size: (height, width) of the mask.
      downsample: level-0 pixels to a mask pixel, (row, col).
      undrawn: see `Undrawn`.
      background: its code; None where the classes have none, so that nothing undrawn is known.
      origin: (row, col) of the mask's first pixel, in mask pixels from level-0 (0, 0).

    Returns:
      u8[h,w], class codes; `IGNORE_PIXEL` where the class is not known.
    """
    if background is None:
        return paint(annotations, size, downsample, origin=origin, background=IGNORE_PIXEL)
    if undrawn == "background":
        return paint(annotations, size, downsample, origin=origin, background=background)
    framed = with_frames(annotations, background)
    return paint(framed, size, downsample, origin=origin, background=IGNORE_PIXEL)


def undrawn_text(undrawn: Undrawn, annotations: Annotations) -> str:
    """What undrawn pixels of a slide were taken for, in words."""
    number = len(annotations.frames)
    if undrawn == "background":
        return "what is not drawn is background" + (" (its frames are not needed)" if number else "")
    return f"what is not drawn is background inside {number} frame(s), unknown outside" if number else (
        "what is not drawn is unknown"
    )  # fmt: skip
