"""Class maps and probabilities as pyramidal OME-TIFF, written and read a row of tiles at a time."""

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
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
    options: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        colours = np.full((256, 3), 255, np.uint16)
        colours[: len(palette)] = palette
        options = {"photometric": "palette", "colormap": colours.T * np.uint16(257)}
    identifier = _uuid([picture], name, description, repr(mpp))
    metadata = {"axes": "YX", **_metadata(name, description, mpp), "UUID": str(identifier)}
    _write(
        path,
        [picture],
        mpp,
        metadata=None if pages else metadata,
        description=description.encode() if pages else None,
        **options,
    )


def write_channels(
    path: str | Path,
    channels: Mapping[str, RowFile],
    mpp: float | None,
    *,
    name: str,
    description: str = "",
) -> None:
    """Writes pictures of one size as the named channels of one OME-TIFF, tiled and a pyramid likewise.

    Args:
      path: the .ome.tif file; written whole or not at all.
      channels: names to pictures, in order.
      mpp: um/px; None where it is not known, and then not written.
      name: of the image, in the OME metadata.
      description: what its values mean, likewise.

    Raises:
      UserError: the file cannot be written.
    """
    pictures = list(channels.values())
    identifier = _uuid(pictures, name, description, repr(mpp), *channels)
    metadata = {"axes": "CYX", "Channel": {"Name": list(channels)}, **_metadata(name, description, mpp)}
    metadata["UUID"] = str(identifier)
    _write(path, pictures, mpp, metadata=metadata, photometric="minisblack")


def _metadata(name: str, description: str, mpp: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"Name": name, "Description": description}
    for axis in "XY" if mpp is not None else "":
        found |= {f"PhysicalSize{axis}": mpp, f"PhysicalSize{axis}Unit": "µm"}
    return found


def _write(
    path: str | Path,
    pictures: Sequence[RowFile],
    mpp: float | None,
    *,
    metadata: dict[str, Any] | None,
    description: bytes | None = None,
    **options: Any,
) -> None:
    """Writes pictures of one size, levels in SubIFDs, or as pages where there is no metadata for OME."""
    size, steps = pictures[0].size, [1]
    while max(size) > TILE * steps[-1]:
        steps.append(steps[-1] * STEP)
    ome = metadata is not None
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=ome) as writer:
        for step in steps:
            shape = tuple(-(-side // step) for side in size)
            if mpp is not None:
                options |= {"resolution": (1e4 / (mpp * step),) * 2, "resolutionunit": "CENTIMETER"}
            writer.write(
                chain.from_iterable(_tiles(picture, step) for picture in pictures),
                shape=shape if len(pictures) == 1 else (len(pictures), *shape),
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                subifds=len(steps) - 1 if step == 1 and ome else None,
                subfiletype=0 if step == 1 else 1,
                description=description if step == 1 else None,
                metadata=metadata if step == 1 else None,
                **options,
            )


def _uuid(pictures: Sequence[RowFile], *words: str) -> uuid.UUID:
    """An identifier that follows from what is written: the same file again has the same one.

    Left to itself tifffile takes the time and the address of the machine's network card.
    """
    digest = hashlib.sha256("\0".join(words).encode())
    for picture in pictures:
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
