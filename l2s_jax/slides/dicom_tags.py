"""DICOM slides that OpenSlide opens and shows with other pixels than they hold: refused by tags and frames.

Frames whose coding names other colours than their tags are shown by the tags: converters have written YCbCr
JPEGs as RGB, and JPEG 2000 whose colours were never transformed as transformed. OpenSlide 4.0.0 and 4.0.1
show such files in different colours, and neither says a word. Of several optical paths the first is shown.
"""

from collections.abc import Iterable
from pathlib import Path

import openslide

from l2s_jax.data.coded_colours import jpeg_2000_coding, jpeg_colours
from l2s_jax.slides.dicom import SERIES
from l2s_jax.system.errors import UserError

_JPEG = ("1.2.840.10008.1.2.4.50",)
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_READ = ["SeriesInstanceUID", "ImageType", "PhotometricInterpretation", "NumberOfOpticalPaths"]
_HEAD = 12
"""Bytes of the pixel data's tag, type and length; what is compressed is always written so."""


def refuse_unfaithful_dicom(files: Iterable[Path], series: str) -> None:
    """Raises `UserError` for a slide with a level that OpenSlide would show wrongly.

    Args:
      files: DICOM files that may be of the slide.
      series: its SeriesInstanceUID.
    """
    for path in files:
        try:
            fault = _fault(path, series)
        except Exception as error:  # pydicom raises whatever the bytes lead it to
            if not _is_of(path, series):
                continue
            raise UserError(
                f"{path}: its DICOM tags cannot be read ({error}). It may be damaged: copy or download it "
                "again"
            ) from error
        if fault is not None:
            raise UserError(f"{path}: {fault}")


def _is_of(path: Path, series: str) -> bool:
    """Whether OpenSlide takes a file for one of the slide's; what else lies in its folder does not matter."""
    try:
        with openslide.OpenSlide(path) as handle:
            return bool(handle.properties.get(SERIES) == series)
    except openslide.OpenSlideError:
        return False


def _fault(path: Path, series: str) -> str | None:
    from pydicom import dcmread  # takes a third of a second, and few slides are DICOM
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    with path.open("rb") as file:
        tags = dcmread(file, stop_before_pixels=True, specific_tags=_READ)
        coded, kind = tags.file_meta.TransferSyntaxUID, tags.get("ImageType") or []
        level = tags.get("SeriesInstanceUID") == series and "VOLUME" in kind
        if not level:
            return None
        if (paths := int(tags.get("NumberOfOpticalPaths") or 1)) > 1:
            return (
                f"it holds {paths} optical paths, of which only the first would be shown. Save the one meant"
            )
        if coded not in _JPEG + _JPEG_2000:
            return None
        file.seek(_HEAD, 1)
        parse_basic_offsets(file)
        frame = next(generate_fragments(file), b"")
    said = str(tags.get("PhotometricInterpretation", ""))
    if coded in _JPEG:
        found = jpeg_colours(frame)
        if found is None or (found == "RGB") == (said == "RGB"):
            return None
        right = "RGB" if found == "RGB" else "YBR_FULL_422"
        return (
            f"its JPEG frames say that they are {found}, and its PhotometricInterpretation says {said}, by "
            "which its colours would be shown. If the frames are right, set the tag in a copy of all its "
            f"files, e.g. `dcmodify -m PhotometricInterpretation={right} FILE`; else convert the slide again "
            "from its original"
        )
    coding = jpeg_2000_coding(frame)
    if coding is None or coding.transform or (said == "RGB" and not coding.subsampled):
        return None
    lacking = "with fewer samples for some channels" if coding.subsampled else "without a colour transform"
    return (
        f"its PhotometricInterpretation says {said}, but its JPEG 2000 frames are coded {lacking}, so that "
        "they can be YCbCr and would be shown as RGB. Convert the slide again from its original, with a "
        "newer converter"
    )
