"""Annotations that belong to slides by their names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from l2s_jax.slides.annotations.source_file import opened
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import made_here, read_record
from l2s_jax.system.texts import listed

SUFFIXES = (".geojson", ".json", ".xml", ".annotations")
"""Of outlines, packed with .gz or not."""

MASKS = ("_mask.png", "_mask.tif", "_mask.tiff")

_MARKS = (b'"Feature', b'"geometry"', b'"coordinates"')
"""One of these stands near the beginning of any GeoJSON; what `predict` writes as NAME.json has none."""


@dataclass(frozen=True)
class Pairing:
    """What belongs to what."""

    of: dict[Path, Path] = field(default_factory=dict)  # slide: annotation
    left: tuple[Path, ...] = ()  # annotations of no slide
    notes: tuple[str, ...] = ()


def pair_annotations(slides: Sequence[Path], folder: Path | None) -> Pairing:
    """Finds NAME.geojson, .json, .xml, .annotations (.gz too), NAME_mask.png or .tif for each slide NAME.

    NAME is the slide's name with or without its suffix; case does not matter. What `predict` has written
    there, unchanged, is no annotation.

    Args:
      slides: files, or folders of DICOM slides.
      folder: where the annotations are; None for beside the slides.

    Raises:
      UserError: two annotations for one slide.
    """
    places = dict.fromkeys([folder] if folder is not None else [path.parent for path in slides])
    names: dict[Path, dict[str, list[Path]]] = {}
    other: list[str] = []
    predicted: list[str] = []
    for place in places:
        assert place is not None
        names[place], record = {}, read_record(place)
        for path in sorted(place.iterdir()):
            stem = annotated_name(path) if path.is_file() and path.name[0] != "." else None
            if stem is None:
                continue
            if path.suffix.lower() == ".json" and not _is_geojson(path):
                other.append(path.name)
            elif path.name in record and made_here(path):
                predicted.append(path.name)
            else:
                names[place].setdefault(stem.casefold(), []).append(path)
    of: dict[Path, Path] = {}
    for slide in slides:
        place = folder if folder is not None else slide.parent
        stems = dict.fromkeys(name.casefold() for name in _names(slide))
        found = [path for stem in stems for path in names[place].get(stem, ())]
        if len(found) > 1:
            raise UserError(
                f"{slide} has {len(found)} annotations: {', '.join(map(str, found))}. Keep one of them, or "
                "say in a CSV file with the columns slide,annotation which it is"
            )
        if found:
            of[slide] = found[0]
    notes = [f"JSON but no GeoJSON, passed over: {listed(other)}"] if other else []
    if predicted:
        notes.append(
            f"what predict has written and nobody has changed is no annotation: {listed(predicted)}. Correct "
            "it, export it elsewhere (--annotations), and name this folder with --corrected-from"
        )
    used = {path.resolve() for path in of.values()}
    every = [path for by_name in names.values() for paths in by_name.values() for path in paths]
    return Pairing(of, tuple(path for path in every if path.resolve() not in used), tuple(notes))


def annotated_name(path: Path) -> str | None:
    """The name of the slide that an annotation is of, by its own; None for a file that is no annotation."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    ends = (*MASKS, *SUFFIXES)
    return next(
        (name[: -len(end)] for end in ends if name.lower().endswith(end) and len(name) > len(end)), None
    )


def _names(slide: Path) -> list[str]:
    """A slide's name, and what is left of it without its suffixes."""
    if slide.is_dir():
        return [slide.name]
    stem = slide.name[: len(slide.name) - len(slide.suffix)]
    return [slide.name, stem, stem[:-4]] if stem.lower().endswith(".ome") else [slide.name, stem]


def _is_geojson(path: Path) -> bool:
    try:
        with opened(path) as file:
            start = file.read(2**20)
    except UserError:
        return True  # told where it is read
    return any(mark in start for mark in _MARKS) or start.strip() in (b"[]", b"{}")
