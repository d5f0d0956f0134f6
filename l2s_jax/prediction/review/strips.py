"""A patch's picture, mask and prediction side by side, small, as one file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.figures.overlays import overlay
from l2s_jax.system.files import unwritable

SIDE = 192
"""Pixels of a panel's longer side, at most."""
GAP = 4
"""Pixels between panels."""

CONTESTED = (255, 0, 200)
"""Colour of what networks do not agree on: none that a stain has."""

_EMPTY, _BETWEEN = 214, 128
_QUALITY = 85


def write_strip(
    path: Path,
    image: np.ndarray,
    mask: np.ndarray | None,
    contradicted: np.ndarray | None,
    predicted: np.ndarray,
    classes: Classes,
) -> None:
    """Writes the strip as JPEG.

    Args:
      path: ends in .jpg, in a folder that is there.
      image: u8[H,W,3].
      mask: class codes u8[H,W]; without one its panel is grey.
      contradicted: bool[H,W], pixels of the mask that are hatched.
      predicted: class codes [H,W] of any integer type.
      classes: whose colours are used.

    Raises:
      Unwritable: it cannot be written.
    """
    picture = small(image)
    panels = [picture, np.full_like(picture, _EMPTY), small(overlay(image, predicted, classes))]
    if mask is not None:
        panels[1] = small(overlay(image, mask, classes))
        if contradicted is not None:
            _hatch(panels[1], contradicted)
    write_panels(path, panels)


def write_panels(path: Path, panels: Sequence[np.ndarray]) -> None:
    """Writes pictures u8[h,w,3] of one size side by side as JPEG. Raises `Unwritable`."""
    between = np.full((len(panels[0]), GAP, 3), _BETWEEN, np.uint8)
    parts = [part for panel in panels for part in (between, panel)][1:]
    try:
        Image.fromarray(np.concatenate(parts, 1)).save(path, "JPEG", quality=_QUALITY, subsampling=0)
    except OSError as error:
        raise unwritable(path, error) from error


def small(picture: np.ndarray) -> np.ndarray:
    """A picture u8[H,W,3] whose longer side is `SIDE` at most."""
    shown = Image.fromarray(picture)
    shown.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.array(shown)


def tinted(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A picture u8[H,W,3] in which `CONTESTED` is the stronger, the greater a share f[H,W] of 0..1 is."""
    opacity = 0.75 * share[..., None]
    mixed: np.ndarray = (image * (1 - opacity) + np.array(CONTESTED) * opacity).round().astype(np.uint8)
    return mixed


def _hatch(panel: np.ndarray, where: np.ndarray) -> None:
    """Draws lines over some pixels of a small picture: seen in any colours, and by any eyes."""
    height, width = panel.shape[:2]
    rows = np.arange(height) * where.shape[0] // height
    columns = np.arange(width) * where.shape[1] // width
    here = where[np.ix_(rows, columns)]
    phase = np.add.outer(np.arange(height), np.arange(width)) % 8
    panel[here & (phase == 0)] = 0
    panel[here & (phase == 1)] = 255
