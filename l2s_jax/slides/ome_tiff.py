"""Class maps as pyramidal OME-TIFF, written and read a row of tiles at a time."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from l2s_jax.slides.grids import centres
from l2s_jax.slides.row_file import RowFile, read_rows, sample
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path

TILE = 512
STEP = 4
"""Each level of the pyramid is this much coarser than the one before, down to one tile."""

Colour = tuple[int, int, int]


def write_pyramid(
    path: str | Path,
    picture: RowFile,
    mpp: float,
    *,
    name: str,
    description: str = "",
    palette: Sequence[Colour] | None = None,
    pages: bool = False,
) -> None:
    """Writes a picture as tiled, deflate-compressed OME-TIFF with a pyramid in SubIFDs.

    Coarser levels hold the pixel nearest to their pixels' centres: class codes cannot be averaged.

    Args:
      path: the .ome.tif file, or .tif with `pages`; written whole or not at all.
      picture: what to write.
      mpp: um/px, written as OME's PhysicalSize and as TIFF resolution.
      name: of the image, in the OME metadata.
      description: what its values mean, likewise.
      palette: colours of the values 0.., white beyond them; None writes greys.
      pages: a plain TIFF whose levels are pages, for readers that do not follow SubIFDs; without `name`.

    Raises:
      UserError: the file cannot be written.
    """
    steps = [1]
    while max(picture.size) > TILE * steps[-1]:
        steps.append(steps[-1] * STEP)
    options: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        colours = np.full((256, 3), 255, np.uint16)
        colours[: len(palette)] = palette
        options = {"photometric": "palette", "colormap": colours.T * np.uint16(257)}
    metadata = {
        "axes": "YX",
        "Name": name,
        "Description": description,
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
        "UUID": str(_uuid(picture, name, description, repr(mpp))),
    }
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=True, ome=not pages) as writer,
    ):
        for step in steps:
            height, width = (-(-side // step) for side in picture.size)
            writer.write(
                _tiles(picture, step),
                shape=(height, width),
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                resolution=(1e4 / (mpp * step),) * 2,
                resolutionunit="CENTIMETER",
                subifds=len(steps) - 1 if step == 1 and not pages else None,
                subfiletype=0 if step == 1 else 1,
                description=description.encode() if step == 1 and pages else None,
                metadata=metadata if step == 1 and not pages else None,
                **options,
            )


def _uuid(picture: RowFile, *words: str) -> uuid.UUID:
    """An identifier that follows from what is written: the same file again has the same one.

    Left to itself tifffile takes the time and the address of the machine's network card.
    """
    digest = hashlib.sha256("\0".join(words).encode())
    for top in range(0, picture.size[0], TILE):
        digest.update(read_rows(picture, top, min(top + TILE, picture.size[0])).tobytes())
    return uuid.UUID(bytes=digest.digest()[:16], version=5)


def _tiles(picture: RowFile, step: int) -> Iterator[np.ndarray]:
    """The tiles of a level, row by row, those at the far edges filled up with zeros."""
    height, width = (-(-side // step) for side in picture.size)
    columns = centres(picture.size[1], width, step)
    rows = centres(picture.size[0], height, step)
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        strip = read_rows(picture, top, bottom) if step == 1 else sample(picture, rows[top:bottom], columns)
        for left in range(0, width, TILE):
            tile = np.zeros((TILE, TILE), np.uint8)
            part = strip[:, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def read_strips(path: str | Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, u8[h,W]): the full resolution of a file of `write_pyramid`, from top to bottom.

    Raises:
      UserError: the file is missing, damaged or not one of `write_pyramid`.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            height, width = page.shape
            strip = np.zeros((0, width), np.uint8)
            row = 0
            for tile, (*_, top, left, _), _ in page.segments():
                if left == 0:
                    if top:
                        yield row, strip
                    row, strip = top, np.zeros((min(page.tilelength, height - top), width), np.uint8)
                part = tile[0, : len(strip), : width - left, 0]
                strip[: part.shape[0], left : left + part.shape[1]] = part
            yield row, strip
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise UserError(f"cannot read the class map {path}: {error}. Predict the slide again") from error
