"""The files of DICOM slides, of which each is one level, and the label and the overview are further ones.

OpenSlide takes any file of a series for the slide and finds the others beside it.
"""

from collections.abc import Iterator
from pathlib import Path

import openslide

from l2s_jax.system.errors import UserError

MAX_FILES = 1000
"""Files of a folder that are looked at: a slide has about ten."""

SERIES = "dicom.SeriesInstanceUID"
_NO_LEVELS = "No pyramid levels found"


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark after its preamble."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: Path) -> bool:
    """Whether there is a DICOM file directly in a folder."""
    return folder.is_dir() and next(dicom_files(folder), None) is not None


def slide_file(folder: Path) -> Path:
    """A file by which OpenSlide opens the one slide of a folder.

    Raises:
      UserError: none or several slides, each named by a file; label or overview only; damaged files.
    """
    series: dict[str, Path] = {}
    faults: list[tuple[Path, str]] = []
    for path in dicom_files(folder):
        try:
            with openslide.OpenSlide(path) as handle:
                series.setdefault(handle.properties.get(SERIES, str(path)), path)
        except openslide.OpenSlideError as error:
            faults.append((path, str(error)))
    if len(series) > 1:
        listed = ", ".join(path.name for path in series.values())
        raise UserError(
            f"{folder} holds {len(series)} DICOM slides. Name a file of each instead of the folder: {listed}"
        )
    if series:
        return next(iter(series.values()))
    if not faults:
        raise UserError(f"{folder} is not a file, and as a folder it holds no DICOM file. Name a slide")
    damaged = [f"{path.name}: {fault}" for path, fault in faults if _NO_LEVELS not in fault]
    if damaged:
        raise UserError(
            f"{folder} holds DICOM files that OpenSlide cannot open ({damaged[0]}). Copy or download them "
            "again"
        )
    raise no_levels(folder)


def no_levels(path: Path) -> UserError:
    """The refusal of a label, overview or thumbnail without the slide that it is of."""
    return UserError(
        f"{path} has only a DICOM label, overview or thumbnail image, and no level of a slide (ImageType "
        "VOLUME). Put the slide's other files beside it"
    )


def has_no_levels(path: Path, error: openslide.OpenSlideError) -> bool:
    """Whether OpenSlide did not open a file since it is a label or overview alone."""
    return _NO_LEVELS in str(error) and is_dicom(path)


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files directly in a folder, by name; at most `MAX_FILES` of its files are looked at."""
    for path in sorted(folder.iterdir())[:MAX_FILES]:
        if path.is_file() and not path.name.startswith(".") and is_dicom(path):
            yield path
