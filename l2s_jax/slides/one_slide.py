"""Which files are one slide: DICOM has a file a level, and OpenSlide opens the slide from any of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import openslide


def dicom_series(path: Path) -> str:
    """SeriesInstanceUID of the DICOM slide that a file belongs to; "" for anything else."""
    try:
        if not path.is_file() or openslide.OpenSlide.detect_format(path) != "dicom":
            return ""
        with openslide.OpenSlide(path) as slide:
            return slide.properties.get("dicom.SeriesInstanceUID", "")
    except openslide.OpenSlideError:  # said when it is opened to be read
        return ""


def each_once(paths: Sequence[Path], say: Callable[[str], None]) -> list[Path]:
    """The files without those that are a slide or picture once more; says which.

    Args:
      paths: files; the first of each slide is kept.
      say: receives progress messages.
    """
    first: dict[str, Path] = {}
    for path in paths:
        series = dicom_series(path)
        name = series or str(path.resolve())
        other = first.get(name)
        if other is None:
            first[name] = path
        else:
            why = f"files of one DICOM slide (series {series})" if series else "the same file"
            say(f"{other} and {path} are {why}: done once, as {other.name}")
    return list(first.values())
