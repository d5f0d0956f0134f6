"""Reading a rectangle of a slide at exactly the scale asked for.

A pixel of a read at `mpp` covers `mpp / slide.mpp` level-0 pixels along each axis, so a slide with non-square
pixels comes out square. The upper left corner of pixel (0, 0) is exactly the origin asked for.

The coarsest level that is at least as fine as asked is filtered with Pillow's Hamming window, stretched by
the scale (antialiasing). It has no negative lobes, so it does not overshoot at edges, and at the scale of a
level it changes nothing. Blocks are read with a margin of the filter's support, so that neighbouring tiles
agree with one large read: to two grey levels where level factors are whole numbers for OpenSlide, otherwise
to the half level-0 pixel to which it places a read.
"""

import math

import numpy as np
import openslide
from PIL import Image

from l2s_jax.slides.slide import Slide, close_handle, downsample_at, open_handle, windows
from l2s_jax.slides.tile_bytes import tile_fault
from l2s_jax.system.errors import UserError

MAX_SOURCE_PIXELS = 2**22
"""Pixels of a level read at once (4 bytes each, a few copies): bounds the memory of any read."""

MAX_SCALE = 1024
"""Largest reduction from a level; a single pixel would need too much memory beyond it."""

AS_FINE = 1.01
"""A level this much coarser than asked still counts as fine enough: 16.0003 is meant to be 16."""


class UnreadableRegion(UserError):
    """Part of a slide cannot be decoded; other parts of the same `Slide` can still be read."""


def read_window(slide: Slide, origin: tuple[int, int], size: tuple[int, int], mpp: float) -> np.ndarray:
    """`read_region` with its origin in pixels at `mpp`, on the grid that starts at level-0 (0, 0).

    Returns:
      u8[h,w,3].
    """
    factor = downsample_at(slide, mpp)
    return read_region(slide, (origin[0] * factor[0], origin[1] * factor[1]), size, mpp)


def read_region(
    slide: Slide, origin_level0: tuple[float, float], size: tuple[int, int], mpp: float
) -> np.ndarray:
    """Reads a rectangle at exactly `mpp`: white outside the slide and under transparent pixels.

    Finer than level 0, level 0 is interpolated. Memory beyond the result is bounded whatever the scale: large
    reductions without a pyramid are read block by block.

    Args:
      slide: from `open_slide`; any thread or process.
      origin_level0: (row, col) of the upper left corner in level-0 pixels; may be fractional or negative.
      size: (height, width) of the result.
      mpp: micrometres a pixel of the result.

    Returns:
      u8[h,w,3], RGB.

    Raises:
      UnreadableRegion: a part of the file is damaged; names the slide and the region.
      UserError: the slide has gone, or `mpp` is not positive or is `MAX_SCALE` times that of any level.
    """
    factor = downsample_at(slide, mpp)
    level = _level_for(slide, factor)
    have = slide.level_downsamples[level]
    scale = factor[0] / have[0], factor[1] / have[1]
    if max(scale) > MAX_SCALE:
        raise UserError(
            f"{slide.path} cannot be read at {mpp} um/px: its coarsest level has {slide.mpp[0] * have[0]:.4g}"
        )
    side = max(1, int(math.sqrt(MAX_SOURCE_PIXELS / (scale[0] * scale[1]))))
    out = np.empty((*size, 3), np.uint8)
    for row, col, height, width in windows(size, (side, side)) if min(size) > 0 else ():
        corner = (origin_level0[0] + row * factor[0], origin_level0[1] + col * factor[1])
        block = _read_block(slide, corner, (height, width), level, scale)
        out[row : row + height, col : col + width] = block
    return out


def _read_block(
    slide: Slide,
    origin_level0: tuple[float, float],
    size: tuple[int, int],
    level: int,
    scale: tuple[float, float],
) -> np.ndarray:
    """One block of `read_region` from one level; `scale` is level pixels to a pixel of the result."""
    low, high, box = [], [], []
    for axis in (0, 1):
        start = origin_level0[axis] / slide.level_downsamples[level][axis]
        # Aligned to whole pixels where it means to be: 4000.0000000001 must not become an interpolation.
        start = round(start) if abs(start - round(start)) < 1e-6 else start
        stop, margin = start + size[axis] * scale[axis], max(1.0, scale[axis]) + 1
        low.append(math.floor(start - margin))
        high.append(math.ceil(stop + margin))
        box.append((start - low[axis], stop - low[axis]))
    source = Image.fromarray(_read_level(slide, level, (low[0], low[1]), (high[0], high[1])))
    (top, bottom), (left, right) = box
    resized = source.resize((size[1], size[0]), Image.Resampling.HAMMING, (left, top, right, bottom))
    return np.asarray(resized)


def _read_level(slide: Slide, level: int, low: tuple[int, int], high: tuple[int, int]) -> np.ndarray:
    """Pixels [low, high) of a level, white where there is none: u8[h,w,3]."""
    out = np.full((high[0] - low[0], high[1] - low[1], 3), 255, np.uint8)
    limits = slide.level_sizes[level]
    top, left = max(0, low[0]), max(0, low[1])
    bottom, right = min(limits[0], high[0]), min(limits[1], high[1])
    if top >= bottom or left >= right:
        return out
    if slide._picture is not None:
        pixels = slide._picture[top:bottom, left:right]
    else:
        pixels = _read_openslide(slide, level, (top, left), (bottom - top, right - left))
    out[top - low[0] : bottom - low[0], left - low[1] : right - low[1]] = pixels
    return out


def _read_openslide(slide: Slide, level: int, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A rectangle inside a level, composited on white: u8[h,w,3]."""
    factor = slide._openslide_downsamples[level]
    (y, extra_rows), (x, extra_cols) = (_anchor(start, factor) for start in origin)
    width, height = size[1] + extra_cols, size[0] + extra_rows
    handle = open_handle(slide)
    _require_sound(slide, level, (origin[0] - extra_rows, origin[1] - extra_cols), (height, width))
    try:
        rgba = handle.read_region((x, y), level, (width, height))
    except openslide.OpenSlideError as error:
        close_handle(slide)  # OpenSlide refuses every further read of a handle that has failed once
        raise _undecodable(slide, level, origin, size, str(error)) from error
    return np.asarray(_on_white(rgba))[extra_rows:, extra_cols:]


def _require_sound(slide: Slide, level: int, origin: tuple[int, int], size: tuple[int, int]) -> None:
    """Raises `UnreadableRegion` where a tile's bytes are damaged, which OpenSlide may not notice."""
    if (index := slide.tiles[level]) is None:
        return
    try:
        found = tile_fault(slide._file, index, origin, size)
    except OSError as error:
        raise _undecodable(slide, level, origin, size, error.strerror or str(error)) from error
    if found is not None:
        raise _undecodable(slide, level, found[0], index.tile, f"the tile's bytes: {found[1]}")


def _undecodable(
    slide: Slide, level: int, origin: tuple[int, int], size: tuple[int, int], why: str
) -> UnreadableRegion:
    """The refusal of a rectangle of a level."""
    factor = slide._openslide_downsamples[level]
    row, col, height, width = (round(side * factor) for side in (*origin, *size))
    return UnreadableRegion(
        f"{slide.path}: cannot decode level {level} at level-0 row {row}, col {col}, {height} x {width} "
        f"level-0 pixels ({why}). The file is damaged there or cut off: compare its size with the "
        "original's, and copy or download it again."
    )


def _anchor(start: int, factor: float) -> tuple[int, int]:
    """Where to begin reading so that level pixel `start` is not interpolated.

    OpenSlide takes level-0 integers and shifts by fractions of a level pixel, bilinearly. With a factor of
    2.5 or 4.007 only some level pixels lie on level-0 integers, so the read starts at one shortly before.
    With 4.0002 there may be none near; the shift is then at most half a level-0 pixel.

    Returns:
      The level-0 coordinate, and how many level pixels before `start` it is.
    """
    exact = (start - np.arange(min(start, 255) + 1)) * factor
    error = np.abs(exact - np.round(exact)) / factor
    best = int(np.argmax(error <= error.min() + 0.01))
    return round(float(exact[best])), best


def _level_for(slide: Slide, factor: tuple[float, float]) -> int:
    """The coarsest level at least as fine as `factor` along both axes, or level 0."""
    return max(
        (
            level
            for level, have in enumerate(slide.level_downsamples)
            if have[0] <= factor[0] * AS_FINE and have[1] <= factor[1] * AS_FINE
        ),
        key=lambda level: slide.level_downsamples[level],
        default=0,
    )


def _on_white(rgba: Image.Image) -> Image.Image:
    """RGB of an RGBA picture over white."""
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=alpha)
    return white
