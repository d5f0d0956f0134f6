"""Where patches were cut, by what `prepare` has written down of them, and which slides a manifest knows."""

from collections.abc import Sequence
from pathlib import Path

from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.pictures import picture_size

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) in pixels of some scale."""


def slide_of(row: PatchRow) -> str:
    """The slide that a patch was cut from, where `prepare` has written that down; else ""."""
    slide, found, _ = row.source.rpartition(" at row ")
    return slide if found else ""


def rows_of_slides(paths: Sequence[Path], contents: Manifest) -> list[PatchRow | None]:
    """A patch of each slide: one that was cut from it, else one of a group of its name; None without any."""
    known: dict[str, PatchRow] = {}
    for row in contents.patches:
        known.setdefault(slide_of(row), row)
    of_group = {row.group: row for row in contents.patches}
    return [known.get(path.name, of_group.get(path.stem)) for path in paths]


def groups_of_slides(paths: Sequence[Path], contents: Manifest) -> list[str]:
    """The patient of each slide: as the manifest has it, else the slide's own name."""
    rows = rows_of_slides(paths, contents)
    return [path.stem if row is None else row.group for path, row in zip(paths, rows, strict=True)]


def boxes_in(path: Path, rows: Sequence[PatchRow], mpp: float) -> list[Box]:
    """Where patches were cut from a slide, in pixels of `mpp`, as far as that is known."""
    return [box for row in rows if slide_of(row) == path.name for box in [_box(row, mpp)] if box is not None]


def _box(row: PatchRow, mpp: float) -> Box | None:
    words = row.source.rpartition(" at row ")[2].split(", col ")
    if row.mpp is None or len(words) != 2 or not all(word.strip().isdigit() for word in words):
        return None
    scale, (top, left) = row.mpp / mpp, map(int, words)
    height, width = picture_size(row.image)
    return top * scale, left * scale, (top + height) * scale, (left + width) * scale
