"""Whole slides and plain pictures: opening them, their scale and their geometry.

Level 0 is OpenSlide's: its pixel (0, 0) is the upper left corner of the whole canvas, also where a scanner
(MIRAX, some Hamamatsu) states a smaller non-empty area. That area is `Slide.bounds_level0`; nothing is
shifted by it. QuPath does shift: its coordinates start at the bounds (see `annotations.of_slide`).
OpenSlide's (x, y) order stays in here and in `reading`.
"""

import contextlib
import math
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from PIL import Image

from l2s_jax.data.pictures import read_image
from l2s_jax.slides.dicom import SERIES, dicom_files, has_no_levels, holds_dicom, no_levels, slide_file
from l2s_jax.slides.dicom_tags import refuse_unfaithful_dicom
from l2s_jax.slides.mpp import POSSIBLE_MPP, MppSource, find_mpp
from l2s_jax.slides.tiff_tags import refuse_unfaithful
from l2s_jax.slides.tile_bytes import TileIndex, read_tile_index
from l2s_jax.system.errors import UserError

SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
"""Of formats that hold nothing but slides; TIFF may be either."""
IF_WHOLE = "If it is whole, OpenSlide does not read its kind: convert it to a tiled TIFF or to DICOM"
"""What to do about a slide that was compared with its original."""


MAX_WORKING_MPP = 1e6
"""um/px beyond which a whole glass is far less than a pixel."""


class _Handles(threading.local):
    """One open OpenSlide for each thread of each process; a forked child does not share its parent's."""

    handle: openslide.OpenSlide | None = None
    process: int = 0


@dataclass(frozen=True)
class Slide:
    """An opened slide: its geometry, and handles that are opened where they are needed.

    It may be shared by threads and sent to other processes (only the description travels). (row, col) and
    (height, width) order throughout.
    """

    path: Path  # as it was named; for DICOM it may be a folder
    size_level0: tuple[int, int]  # (height, width)
    mpp: tuple[float, float]  # level-0 um/px (row, col)
    mpp_source: MppSource
    level_sizes: tuple[tuple[int, int], ...]  # (height, width)
    level_downsamples: tuple[tuple[float, float], ...]  # level-0 pixels a level pixel (row, col)
    bounds_level0: tuple[int, int, int, int]  # (row, col, height, width) of the non-empty area
    vendor: str  # OpenSlide's name of the format, or "picture"
    objective_power: float | None
    notes: tuple[str, ...]  # what a person should know about the scale
    fingerprint: str | None  # OpenSlide's hash: equal for copies of a slide and all files of a DICOM one
    _file: Path = field(repr=False)
    _openslide_downsamples: tuple[float, ...] = field(repr=False)
    _picture: np.ndarray | None = field(default=None, repr=False, compare=False)  # u8[H,W,3]
    _handles: _Handles = field(default_factory=_Handles, repr=False, compare=False)

    @cached_property
    def tiles(self) -> tuple[TileIndex | None, ...]:
        """Where each level's tiles lie in the file, and which were found sound; None where not known."""
        return read_tile_index(self._file, self.vendor, self.level_sizes)

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_handles": None, "_picture": None}
        state.pop("tiles", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _handles=_Handles())
        if self.vendor == "picture":
            self.__dict__["_picture"] = _read_picture(self._file)[0]


def open_slide(
    path: str | Path,
    *,
    mpp: float | tuple[float, float] | None = None,
    mpp_table: Mapping[str, tuple[float, float]] | None = None,
    annotation_mpp: float | None = None,
    mpp_override: bool = False,
) -> Slide:
    """Opens a slide in any format of OpenSlide, or a plain PNG, JPEG or TIFF picture.

    The scale is the slide's own, of its OME-XML or TIFF resolution, then the table's, then what its
    annotation states, then the option's (`mpp.find_mpp`); `Slide.mpp_source` says which and `Slide.notes`
    what was odd about it. Plain pictures are decoded as a whole (3 bytes a pixel, at most
    `pictures.MAX_PIXELS`), once for a process's threads.

    Args:
      path: the file (for MIRAX the `.mrxs`), or the folder of one DICOM slide.
      mpp: level-0 um/px, one number or (row, col), for files that do not say.
      mpp_table: the same per slide, from `mpp.read_mpp_table`.
      annotation_mpp: the same, as the slide's annotation states it.
      mpp_override: let `mpp_table` and `mpp` come before what the file says.

    Raises:
      UserError: no such file, not a slide, cut off, too large for a plain picture, of unknown scale, or a
        TIFF or DICOM slide whose pixels OpenSlide would show wrongly (`tiff_tags`, `dicom_tags`).
    """
    path = Path(path)
    file = slide_file(path) if path.is_dir() else path
    handle = _open_with_openslide(file)
    picture: np.ndarray | None = None
    if handle is not None:
        properties, downsamples = _properties(handle), tuple(handle.level_downsamples)
        sizes = tuple((height, width) for width, height in handle.level_dimensions)
        refuse_unfaithful(file, properties.get("openslide.vendor", ""), sizes)
        if SERIES in properties:
            refuse_unfaithful_dicom(dicom_files(file.parent), properties[SERIES])
    else:
        picture, properties = _read_picture(path)
        sizes, downsamples = ((picture.shape[0], picture.shape[1]),), (1.0,)
    scale = find_mpp(
        path, properties, option=mpp, table=mpp_table, annotation=annotation_mpp, override=mpp_override
    )
    slide = Slide(
        path=path,
        size_level0=sizes[0],
        mpp=scale.value,
        mpp_source=scale.source,
        level_sizes=sizes,
        level_downsamples=tuple(
            _level_downsample(sizes[0], *level) for level in zip(sizes, downsamples, strict=True)
        ),
        bounds_level0=_bounds(properties, sizes[0]),
        vendor=properties.get("openslide.vendor", "picture"),
        objective_power=_power(properties),
        notes=scale.notes,
        fingerprint=properties.get("openslide.quickhash-1"),
        _file=file,
        _openslide_downsamples=downsamples,
        _picture=picture,
    )
    slide._handles.handle, slide._handles.process = handle, os.getpid()
    return slide


def is_slide(path: str | Path) -> bool:
    """Whether OpenSlide takes a file for a slide, or its name says so; also the folder of DICOM files."""
    path = Path(path)
    if path.suffix.lower() in SLIDE_SUFFIXES or holds_dicom(path):
        return True
    try:
        return path.is_file() and openslide.OpenSlide.detect_format(path) is not None
    except openslide.OpenSlideError:
        return True


def _open_with_openslide(path: Path) -> openslide.OpenSlide | None:
    """A handle, or None where OpenSlide does not take the file for a slide. Raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path} not found (or not a file): expected a slide or a picture")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes): copy or download it again")
    try:
        return openslide.OpenSlide(path) if openslide.OpenSlide.detect_format(path) else None
    except openslide.OpenSlideError as error:
        if has_no_levels(path, error):
            raise no_levels(path) from error
        raise UserError(
            f"{path} is a slide that OpenSlide cannot open ({error}). It may be cut off: compare its size "
            f"with the original's, and copy or download it again. {IF_WHOLE}."
        ) from error


def _properties(handle: openslide.OpenSlide) -> dict[str, str]:
    """OpenSlide's properties; it lists damaged names that it then does not know."""
    found = {}
    for name in handle.properties:
        with contextlib.suppress(KeyError):
            found[name] = handle.properties[name]
    return found


def downsample_at(slide: Slide, mpp: float) -> tuple[float, float]:
    """Level-0 pixels to a pixel at `mpp`, (row, col).

    Raises:
      UserError: `mpp` is no positive number, or out of all proportion.
    """
    if not POSSIBLE_MPP[0] <= mpp <= MAX_WORKING_MPP:
        raise UserError(f"mpp {mpp!r} is no positive number of um/px at which a slide can be read")
    return mpp / slide.mpp[0], mpp / slide.mpp[1]


def size_at(slide: Slide, mpp: float) -> tuple[int, int]:
    """(height, width) in pixels of the whole slide at `mpp`; the last row and column may reach beyond it."""
    # The small constant keeps 1000 / (1000 / 125) from becoming 126 by rounding.
    height, width = (
        math.ceil(size / factor - 1e-6)
        for size, factor in zip(slide.size_level0, downsample_at(slide, mpp), strict=True)
    )
    return max(1, height), max(1, width)


def windows(
    size: tuple[int, int], window: tuple[int, int], overlap: int = 0
) -> Iterator[tuple[int, int, int, int]]:
    """Yields (row, col, height, width) that cover `size` row by row; those at the far edges are cut to fit.

    Args:
      size: (height, width) of the area.
      window: (height, width) of one window.
      overlap: pixels that neighbours share.

    Raises:
      ValueError: `overlap` is not smaller than the window.
    """
    step = (window[0] - overlap, window[1] - overlap)
    if min(step) < 1 or overlap < 0:
        raise ValueError(f"overlap {overlap} does not fit into windows of {window}")
    for row in range(0, max(1, size[0] - overlap), step[0]):
        for col in range(0, max(1, size[1] - overlap), step[1]):
            yield row, col, min(window[0], size[0] - row), min(window[1], size[1] - col)


def open_handle(slide: Slide) -> openslide.OpenSlide:
    """This thread's open handle."""
    handles = slide._handles
    if handles.handle is None or handles.process != os.getpid():
        try:
            handles.handle, handles.process = openslide.OpenSlide(slide._file), os.getpid()
        except (openslide.OpenSlideError, OSError) as error:
            raise UserError(f"{slide.path} could be opened before but cannot be now: {error}") from error
    return handles.handle


def close_handle(slide: Slide) -> None:
    """Forgets this thread's handle; the next read opens a fresh one."""
    if slide._handles.handle is not None:
        slide._handles.handle.close()
        slide._handles.handle = None


def _level_downsample(
    size_level0: tuple[int, int], size: tuple[int, int], downsample: float
) -> tuple[float, float]:
    """A level's factor: OpenSlide's, or the whole number that rounded sizes hide (62003 / 15500 is 4)."""
    whole = round(downsample)
    if whole >= 1 and all(
        full // whole <= part <= -(-full // whole) for full, part in zip(size_level0, size, strict=True)
    ):
        return float(whole), float(whole)
    return downsample, downsample


def _bounds(properties: Mapping[str, str], size_level0: tuple[int, int]) -> tuple[int, int, int, int]:
    """OpenSlide's bounds as (row, col, height, width); the whole canvas where they are missing or absurd."""
    with contextlib.suppress(KeyError, ValueError):
        row, col, height, width = (
            int(properties[f"openslide.bounds-{name}"]) for name in ("y", "x", "height", "width")
        )
        if row >= 0 and col >= 0 and 0 < height <= size_level0[0] - row and 0 < width <= size_level0[1] - col:
            return row, col, height, width
    return 0, 0, *size_level0


def _power(properties: Mapping[str, str]) -> float | None:
    try:
        return float(properties["openslide.objective-power"])
    except (KeyError, ValueError):
        return None


def _read_picture(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """A plain picture as u8[H,W,3], and its TIFF resolution under OpenSlide's property names."""
    try:
        pixels = read_image(path)
    except UserError as error:
        raise UserError(
            f"{error}. (OpenSlide does not take it for a slide; one that is cut off often looks like this. "
            f"{IF_WHOLE}. A picture that is only too large becomes a slide with "
            "`vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --bigtiff`.)"
        ) from error
    with Image.open(path) as picture:
        tags = getattr(picture, "tag_v2", {})
        unit = {2: "inch", 3: "centimeter"}.get(tags.get(296, 2))
        found = {"XResolution": tags.get(282), "YResolution": tags.get(283), "ResolutionUnit": unit}
        found["ImageDescription"] = _as_utf8(tags.get(270))
    return pixels, {f"tiff.{name}": str(value) for name, value in found.items() if value is not None}


def _as_utf8(text: str | None) -> str | None:
    """A tag's text, which Pillow takes for Latin-1: the micro sign of OME-XML has two bytes."""
    with contextlib.suppress(UnicodeError):
        return text.encode("latin-1").decode("utf-8") if isinstance(text, str) else None
    return text
