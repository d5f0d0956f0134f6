"""A phantom of BACH as it is downloaded: slides, their annotations and photos, all drawn and so all known.

The classes differ in architecture as in `patches.py`: benign regions hold its normal glands, in situ its
adenomas, invasive its carcinomas, and normal tissue is stroma. At 7.5 um/px real glands are a few pixels
wide, so these are drawn seven times as large as life.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from shapely import Polygon

from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.patches import phantom_patch, phantom_slide
from l2s_jax.phantom.slide_writing import write_bach_xml, write_pyramidal_slide
from l2s_jax.prepare.bach import PHOTO_FOLDERS, WORKING_MPP
from l2s_jax.slides.annotations.class_names import BACH_CLASSES
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.system.outputs import Source, publishing, require_replaceable
from l2s_jax.system.progress import track
from l2s_jax.system.ranges import require_seed
from l2s_jax.types import PATCH_MULTIPLE, fits_network

ANNOTATED, UNANNOTATED = 10, 2
"""Slides A01 to A10 with regions, and 01, 02 without."""

BLOCK = 16
"""Level-0 pixels along each side of a drawn pixel, which is one of level 2."""

MPP = WORKING_MPP / BLOCK
"""um/px of level 0; the published slides have 0.467."""

WORDINGS = ("", "Benign", "Carcinoma in situ", "Invasive carcinoma")
"""What stands on a region, by class code."""

PREFIXES = ("n", "b", "is", "iv")
"""How names of photos begin, by class code."""

REACH = 6
"""Glands of a class are circled together where they are less than twice this far apart, in drawn pixels."""


class Section(NamedTuple):
    """An annotated slide at `WORKING_MPP`."""

    image: np.ndarray  # u8[H,W,3]
    mask: np.ndarray  # u8[H,W], BACH's class codes: what painting the regions gives
    regions: tuple[tuple[int, Polygon], ...]  # code and outline in drawn pixels, later over earlier


def draw_bach(
    out: str | Path,
    *,
    patch_size: int = 32,
    photos: int = 4,
    overlap: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Draws a phantom of BACH in the layout in which it is downloaded; `prepare_bach` takes it.

    WSI/ has ten slides of 6 x 8 patches at 7.5 um/px with pyramid, XML and gt_thumbnails, and two without;
    Photos/ has the microscopy pictures.

    Args:
      out: folder that is made; the same arguments give the same pictures.
      patch_size: side of the patches that will be cut at 7.5 um/px, a multiple of 16.
      photos: of each class.
      overlap: how much the classes resemble each other, 0..2; 0 keeps them apart.
      seed: of everything that is drawn.
      overwrite: draw into a folder that holds something already; files that are not of a phantom stay.

    Returns:
      The folder.

    Raises:
      UserError: an option is out of range, or the folder holds something else or cannot be written.
    """
    require_seed(seed)
    out = Path(out)
    if patch_size < 32 or not fits_network(patch_size):
        raise UserError(f"patch_size {patch_size}: expected a multiple of {PATCH_MULTIPLE}, at least 32")
    if photos < 0 or not 0 <= overlap <= 2:
        raise UserError(f"photos {photos}, overlap {overlap}: expected 0 or more, and 0 to 2")
    if out.exists() and not (out.is_dir() and (overwrite or not any(out.iterdir()))):
        raise UserError(f"{out} is there already. Choose an empty folder, or draw into it with --overwrite")
    sources = (Source("the phantom of BACH"),)
    require_replaceable(out, _names(photos), sources)
    with publishing(out, sources) as stage:
        _draw(stage, patch_size, photos, overlap, seed)
    return out


def _names(photos: int) -> list[str]:
    """The files of a phantom."""
    slides = range(1, ANNOTATED + UNANNOTATED + 1)
    names = [f"WSI/{_slide_name(number)}.svs" for number in slides]
    names += [f"WSI/{_slide_name(number)}.xml" for number in slides if number <= ANNOTATED]
    names += [f"WSI/gt_thumbnails/{_slide_name(number)}.png" for number in slides if number <= ANNOTATED]
    return names + [
        f"Photos/{folder}/{_photo_name(code, number)}"
        for code, folder in enumerate(PHOTO_FOLDERS)
        for number in range(1, photos + 1)
    ]


def _slide_name(number: int) -> str:
    return f"A{number:02d}" if number <= ANNOTATED else f"{number - ANNOTATED:02d}"


def _photo_name(code: int, number: int) -> str:
    return f"{PREFIXES[code]}{number:03d}.tif"


def _draw(out: Path, patch_size: int, photos: int, overlap: float, seed: int) -> None:
    """Draws all slides and photos into a folder."""
    shape = (6 * patch_size, 8 * patch_size)
    jobs: list[Callable[[], None]] = [
        partial(_write_slide, out / "WSI", number, shape, overlap, seed)
        for number in range(1, ANNOTATED + UNANNOTATED + 1)
    ]
    jobs += [
        partial(_write_photo, out / "Photos" / folder, code, number, patch_size, overlap, seed)
        for code, folder in enumerate(PHOTO_FOLDERS)
        for number in range(1, photos + 1)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in track(pool.map(lambda job: job(), jobs), "drawing", total=len(jobs), unit="pictures"):
            pass


def phantom_section(shape: tuple[int, int], seed: int, overlap: float = 0.0) -> Section:
    """Draws a slide's tissue with regions of all three classes.

    Args:
      shape: (height, width) in drawn pixels, 7.5 um each.
      seed: of everything that is drawn.
      overlap: as in `draw_bach`.
    """
    for attempt in range(seed * 1000, seed * 1000 + 1000):
        image, glands = phantom_slide(shape, attempt, overlap)
        if len(np.unique(glands)) == len(BACH_CLASSES):
            break
    mask, regions = np.zeros(shape, np.uint8), []
    circled = [(code, area) for code in range(1, len(BACH_CLASSES)) for area in _circled(glands == code)]
    # The small over the large.
    for code, area in sorted(circled, key=lambda pair: -pair[1].sum()):
        mask[area] = code
        traced = polygons_from_mask(area.astype(np.uint8), (1.0, 1.0))
        regions += [(code, region.polygon) for region in traced.regions]
    return Section(image, mask, tuple(regions))


def _circled(glands: np.ndarray) -> list[np.ndarray]:
    """bool[H,W] for each group of neighbouring glands: what a line drawn around them takes in."""
    distance = ndimage.distance_transform_edt(~glands)
    reached = np.pad(distance <= REACH, REACH)
    closed = ndimage.distance_transform_edt(reached)[REACH:-REACH, REACH:-REACH] > REACH - 2
    parts, count = ndimage.label(ndimage.binary_fill_holes(closed))
    return [parts == number for number in range(1, count + 1)]


def _write_slide(folder: Path, number: int, shape: tuple[int, int], overlap: float, seed: int) -> None:
    section = phantom_section(shape, 100 * seed + number, overlap)
    name = _slide_name(number)
    size = shape[0] * BLOCK, shape[1] * BLOCK
    write_pyramidal_slide(folder / f"{name}.svs", partial(blocks, section.image), size=size, mpp=MPP)
    if number <= ANNOTATED:
        outlines = [
            (WORDINGS[code], [(BLOCK * x, BLOCK * y) for x, y in polygon.exterior.coords[:-1]])
            for code, polygon in section.regions
        ]
        write_bach_xml(folder / f"{name}.xml", outlines, mpp=MPP)
        colours = np.array(BACH_CLASSES.colours, np.uint8)
        write_png(folder / "gt_thumbnails" / f"{name}.png", colours[section.mask])


def blocks(image: np.ndarray, row: int, col: int, height: int, width: int, downsample: int) -> np.ndarray:
    """A tile of any level, as `slide_writing.TileFunction` says."""
    block = BLOCK // downsample
    rows, cols = ((start // downsample + np.arange(n)) // block for start, n in ((row, height), (col, width)))
    return image[np.ix_(rows, cols)]


def _write_photo(folder: Path, code: int, number: int, size: int, overlap: float, seed: int) -> None:
    """A photo of 4 to 3 that shows, squeezed into a square patch, glands as large as on the slides."""
    which = (seed, 1, code, number)
    square, _ = phantom_patch(code, size, overlap, which, which)
    with atomic_path(folder / _photo_name(code, number)) as temporary:
        Image.fromarray(square.repeat(3, axis=0).repeat(4, axis=1)).save(temporary, compression="tiff_lzw")
