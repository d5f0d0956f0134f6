"""Where patches were cut, by what `prepare` has written down of them, and which slides a manifest knows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.pictures import picture_size

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) in pixels of some scale."""


def slide_of(row: PatchRow) -> str:
    """The slide that a patch was cut from, where `prepare` has written that down; else ""."""
    slide, found, _ = row.source.rpartition(" at row ")
    return slide if found else ""


def slide_name(slide: str | Path) -> str:
    """The name by which a slide is known again in another folder or format: the file's without its ending."""
    return Path(slide).stem


def group_of_slide(origins: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each slide's name (see `slide_name`).

    Names of which there are several groups are left out: files of many patients may be called `1.dcm`.

    Args:
      origins: slide, "" where that is not known, and group of each patch.
    """
    groups = defaultdict[str, set[str]](set)
    for slide, group in origins:
        groups[slide_name(slide)].add(group)
    return {slide: of.pop() for slide, of in groups.items() if slide and len(of) == 1}


def rows_of_slides(paths: Sequence[Path], contents: Manifest) -> list[PatchRow | None]:
    """A patch of each slide: one that was cut from it, else one of a group of its name; None without any."""
    known: dict[str, PatchRow] = {}
    for row in contents.patches:
        known.setdefault(slide_of(row), row)
    of_group = {row.group: row for row in contents.patches}
    return [known.get(path.name, of_group.get(path.stem)) for path in paths]


def groups_of(paths: Sequence[Path], rows: Sequence[PatchRow | None]) -> list[str]:
    """The patient of each slide: of the patch that `rows_of_slides` found, else the slide's own name."""
    return [path.stem if row is None else row.group for path, row in zip(paths, rows, strict=True)]


def boxes_of(rows: Sequence[PatchRow], mpp: float) -> Mapping[str, list[Box]]:
    """Where patches were cut, by the slide's file name, in pixels of `mpp`, as far as that is known."""
    found = defaultdict[str, list[Box]](list)
    for row in rows:
        slide = slide_of(row)
        if slide and (box := _box(row, mpp)) is not None:
            found[slide].append(box)
    return found


def _box(row: PatchRow, mpp: float) -> Box | None:
    words = row.source.rpartition(" at row ")[2].split(", col ")
    if row.mpp is None or len(words) != 2 or not all(word.strip().isdigit() for word in words):
        return None
    scale, (top, left) = row.mpp / mpp, map(int, words)
    height, width = picture_size(row.image)
    return top * scale, left * scale, (top + height) * scale, (left + width) * scale
