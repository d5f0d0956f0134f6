"""TIFF slides that OpenSlide opens and shows with other pixels than they hold: refused by their tags.

OpenSlide 4.0.1 lets libtiff turn each tile by itself where a picture is to be shown turned, which scrambles
it; it divides samples of 12 bits by 256 as if they had 16; it takes any fourth channel for transparency; and
of the channels, focal planes or time points in a file it shows the first; and it takes tiles of JPEG for what
the tags say of their colours, where they themselves say something else. None of this is an error to it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile

from l2s_jax.data.coded_colours import MOST_HEADER, jpeg_2000_coding, tiff_colours_fault
from l2s_jax.data.ome_xml import read_ome
from l2s_jax.system.errors import UserError

MAX_PAGES = 10_000
"""Pages looked at; no slide has as many."""

_JPEG, _OLD_JPEG, _APERIO_JPEG_2000 = 7, 6, (33003, 33005)
_JPEG_TABLES = 347
_GREY, _INVERTED, _RGB, _PALETTE, _YCBCR = 1, 0, 2, 3, 6
_PHOTOMETRIC = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "a colour filter array"}
_SUBSAMPLINGS = ((1, 1), (2, 1), (2, 2))

ONE_PLANE_A_PAGE = ("generic-tiff", "aperio")
"""Vendors whose pages are levels by their size alone; the others say which page is what."""


def refuse_unfaithful(path: Path, vendor: str, level_sizes: Sequence[tuple[int, int]]) -> None:
    """Raises `UserError` for a TIFF slide whose pixels OpenSlide would show wrongly; other files pass.

    Args:
      path: a file that OpenSlide opens.
      vendor: OpenSlide's name of the format.
      level_sizes: (height, width) of the levels.
    """
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page.aspage() for page in tiff.pages[:MAX_PAGES]]
            faults = [_fault(page) for page in pages if page is pages[0] or page.is_tiled]
            if vendor in ONE_PLANE_A_PAGE:
                faults += [_colours_fault(page, tiff.filehandle) for page in pages if page.is_tiled]
            same = sum(_size(page) == _size(pages[0]) for page in pages)
            described, samples = pages[0].description, pages[0].samplesperpixel
    except Exception as error:  # tifffile raises whatever the bytes lead it to
        raise UserError(
            f"{path}: its TIFF tags cannot be read ({error}). It may be cut off: copy or download it again"
        ) from error
    found = next((fault for fault in faults if fault), None)
    if found is None and vendor in ONE_PLANE_A_PAGE:
        found = _planes_fault(same, described, samples) or _levels_fault(level_sizes)
    if found is not None:
        raise UserError(f"{path}: {found}")


def _size(page: Any) -> tuple[int, int]:
    return page.imagelength, page.imagewidth


_PYRAMID = "'OUT.tif[tile,pyramid,compression=jpeg,bigtiff]'"
"""What vips is to write so that OpenSlide takes it."""


MOST_TILE_PIXELS = 2**26
"""OpenSlide makes room for a whole tile at once, and its process ends where there is none."""


def tile_size_fault(width: int, height: int) -> str | None:
    """What is wrong with a tile's size, which no slide has."""
    if width * height <= MOST_TILE_PIXELS:
        return None
    return (
        f"its tiles are {width:,} x {height:,} pixels, more than a slide has: its header is damaged. Copy or "
        "download it again"
    )


def _fault(page: Any) -> str | None:
    """What of a page OpenSlide would show wrongly or cannot read, and what to do about it."""
    if page.is_tiled and (fault := tile_size_fault(page.tilewidth, page.tilelength)):
        return fault
    tags = page.tags
    orientation = tags.valueof(274, default=1)
    bits, formats = _all(tags.valueof(258, default=1)), _all(tags.valueof(339, default=1))
    photometric, samples = int(page.photometric), page.samplesperpixel
    planar, compression = tags.valueof(284, default=1), int(page.compression)
    extra = _all(tags.valueof(338, default=()))
    if orientation not in (0, 1):
        return (
            f"it is to be shown turned or mirrored (Orientation {orientation}), and its tiles can be "
            f"shown scrambled. Save it upright, e.g. `vips autorot IN {_PYRAMID}`"
        )
    if any(one != 8 for one in bits) or any(one not in (1, 4) for one in formats):
        kind = "" if all(one in (1, 4) for one in formats) else " that are signed or no whole numbers"
        return (
            f"it has {max(bits)} bits a channel{kind}; expected 8. Scale it to 8 bits with a range that you "
            f"choose once for all slides, e.g. `vips linear IN {_PYRAMID} A B --uchar`"
        )
    if page.imagedepth > 1:
        return f"it is a stack of {page.imagedepth} planes in one page; expected one plane. Save one of them"
    colours = {_GREY: 1, _INVERTED: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3}.get(photometric)
    if colours is None:
        name = _PHOTOMETRIC.get(photometric, f"photometric interpretation {photometric}")
        return f"its colours are {name}; expected RGB. Convert it with its colour profile"
    if samples != colours and not (photometric == _RGB and samples == 4 and extra in ((1,), (2,))):
        return (
            f"it has {samples} channels, of which {max(0, samples - colours)} is no transparency "
            f"(ExtraSamples {', '.join(map(str, extra)) or 'missing'}), but would be taken for it. Save the "
            f"three of red, green and blue only, e.g. `vips extract_band IN {_PYRAMID} 0 --n 3`"
        )
    if planar == 2 and (photometric != _RGB or samples != 3 or compression in (_JPEG, _OLD_JPEG)):
        return (
            "its channels lie in planes of their own (PlanarConfiguration 2). Save it with them interleaved"
        )
    if photometric == _YCBCR and compression not in (_JPEG, *_APERIO_JPEG_2000):
        return f"its colours are YCbCr without JPEG (compression {compression}). Save it as RGB or as JPEG"
    if photometric == _YCBCR and compression == _JPEG and page.is_tiled:
        subsampling = _all(tags.valueof(530, default=(2, 2)))
        if subsampling not in _SUBSAMPLINGS:
            return f"its colours are stored at an unusual {subsampling} (YCbCrSubSampling). Save it as RGB"
    return None


def _colours_fault(page: Any, file: Any) -> str | None:
    """Tiles that say of their colours something else than the tags; the first is looked at."""
    compression, photometric = int(page.compression), int(page.photometric)
    at = next((number for number, count in enumerate(page.databytecounts) if count), None)
    if at is None or page.samplesperpixel != 3 or compression not in (_JPEG, *_APERIO_JPEG_2000):
        return None
    file.seek(page.dataoffsets[at])
    tile = file.read(min(page.databytecounts[at], MOST_HEADER))
    if compression == _JPEG:
        return tiff_colours_fault(photometric, tile, page.tags.valueof(_JPEG_TABLES, default=b""))
    coding = jpeg_2000_coding(tile)
    if coding is None or compression != _APERIO_JPEG_2000[0] or not coding.transform:
        return None
    return (
        "its tags say that its colours are YCbCr (compression 33003), by which they would be shown, and its "
        "JPEG 2000 tiles give RGB. Convert it again from its original"
    )


def _planes_fault(same: int, description: str, samples: int) -> str | None:
    """A file of several channels, focal planes or time points, of which one would be shown."""
    ome = read_ome(description)
    what, how = "", "Save the picture that is meant as one RGB plane"
    if same > 1:
        what = f"it holds {same} pictures of the full size"
    elif ome is not None and ome.planes > samples:
        what = f"its OME-XML has {ome.planes} planes where a page holds {samples} channels"
    elif ome is not None and ome.elsewhere:
        what = "it is one of several OME-TIFF files, described by another one"
    if not what:
        return None
    return f"{what} (channels, focal planes or time points), and only the first would be shown. {how}"


def _levels_fault(level_sizes: Sequence[tuple[int, int]]) -> str | None:
    """A level that cannot be a reduction of level 0: another picture that passes for one."""
    height, width = level_sizes[0]
    for number, (rows, cols) in enumerate(level_sizes):
        if abs((height / rows) / (width / cols) - 1) > 0.01 + 1 / rows + 1 / cols:
            return (
                f"level {number} ({rows} x {cols}) has other proportions than level 0 ({height} x {width}): "
                "another picture stands where a reduced one should. Save it without that page"
            )
    return None


def _all(value: Any) -> tuple[int, ...]:
    """A tag's values, of which there may be one or many."""
    return tuple(int(one) for one in value) if isinstance(value, (tuple, list)) else (int(value),)
