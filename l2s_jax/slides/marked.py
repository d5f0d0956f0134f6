"""What of a slide is worked on: its tissue, as found or as files say, without what other files leave out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.slides.area_folders import AreaFolders, require_named
from l2s_jax.slides.areas import Areas, covered, find_areas, read_areas, require_areas
from l2s_jax.slides.overview import Overview, Tissue
from l2s_jax.slides.quality import ink_share
from l2s_jax.slides.slide import Slide
from l2s_jax.system.errors import UserError

LITTLE = 0.5
"""Share of the tissue found here from which on a file of what is to be kept is believed without a warning."""


class Marked(NamedTuple):
    """What files mark on a slide; None where there is none."""

    within: Areas | None = None  # what is to be kept, in place of the tissue found here
    exclude: Areas | None = None  # what is to be left out

    def settings(self) -> dict[str, Any]:
        """What decides the prediction, for its record; nothing where nothing is marked."""
        found = {"within_areas": self.within, "exclude_areas": self.exclude}
        return {name: one.digest for name, one in found.items() if one is not None}


class Part(NamedTuple):
    """The part of a slide that is worked on."""

    tissue: Tissue  # found here, or as a file says; with what is to be left out
    excluded: np.ndarray | None  # bool[h,w] on the same grid; None: nothing
    ink: float  # share of the tissue with the colours of ink; NaN without tissue
    lines: tuple[str, ...]  # what a person should know

    def kept(self) -> np.ndarray:
        """bool[h,w]: the tissue without what is to be left out."""
        return self.tissue.mask if self.excluded is None else self.tissue.mask & ~self.excluded


def require_marked(folders: AreaFolders, slides: Sequence[Path]) -> None:
    """Refuses, before anything is read, what cannot be meant.

    Raises:
      UserError: classes or values are named without a folder, or a folder has no file of any of the slides.
    """
    require_named(folders)
    require_areas("--within", folders.within, slides)
    require_areas("--exclude", folders.exclude, slides)


def marked_files(path: Path, folders: AreaFolders) -> tuple[Path | None, Path | None]:
    """The files of what is to be kept of a slide, and of what is to be left out.

    Args:
      path: the slide as it was given, after which the files are named.
      folders: in which they are looked for.

    Raises:
      UserError: several of one kind, or none of what is to be kept where a folder of that is named.
    """
    within = None if folders.within is None else find_areas(folders.within, path)
    if within is None and folders.within is not None:
        raise UserError(
            f"{path}: --within {folders.within} holds no file of it, such as {path.stem}.geojson or "
            f"{path.stem}.png"
        )
    return within, None if folders.exclude is None else find_areas(folders.exclude, path)


def read_marked(path: Path, slide: Slide, folders: AreaFolders) -> Marked:
    """Reads what files mark on a slide. Raises `UserError`, see `marked_files` and `areas.read_areas`."""
    onlys = (folders.within_only, folders.exclude_only)
    return Marked(
        *(
            None if file is None else read_areas(file, slide, only=only, areas_from=folders.areas_from)
            for file, only in zip(marked_files(path, folders), onlys, strict=True)
        )
    )


def part_of(slide: Slide, overview: Overview, folders: AreaFolders, marked: Marked) -> Part:
    """The tissue of a slide and what of it is to be left out.

    Args:
      slide: the slide.
      overview: of the slide.
      folders: as `marked` was read from.
      marked: from `read_marked`.

    Raises:
      UserError: nothing is left.
    """
    image, here = overview.image, Tissue(overview.tissue, overview.mpp)
    total, tissue, lines = int(here.mask.sum()), here, []
    if overview.unreadable:
        lines.append(
            f"warning: {max(overview.unreadable, 1e-4):.2%} of {slide.path.name} cannot be read: the file is "
            "damaged there. Copy or download it again"
        )
    if marked.within is not None:
        kept = covered(marked.within, slide, here.mpp)
        tissue = Tissue(kept, here.mpp)
        lines += [f"within {marked.within.path}: {one}" for one in marked.within.notes]
        if not kept.any():
            raise UserError(f"{slide.path}: {marked.within.path} keeps nothing of it")
        share = (kept & here.mask).sum() / total if total else 1.0
        lines.append(
            f"within {marked.within.path.name}: {kept.mean():.1%} of the slide, {share:.1%} of the tissue "
            "that is found here"
        )
        if share < LITTLE:
            lines.append(
                f"warning: {marked.within.path} holds less than half of the tissue. Does it mark what is to "
                "be left out (--exclude), or is it of another slide?"
            )
    if marked.exclude is None:
        if folders.exclude is not None:
            lines.append(f"nothing is left out: {folders.exclude} holds no file of this slide")
        return Part(tissue, None, ink_share(image, tissue.mask), tuple(lines))
    excluded = covered(marked.exclude, slide, here.mpp)
    lines += [f"leaves out {marked.exclude.path}: {one}" for one in marked.exclude.notes]
    inside = int(tissue.mask.sum())
    share = (tissue.mask & excluded).sum() / inside if inside else 0.0
    lines.append(f"leaves out {marked.exclude.path.name}: {share:.1%} of the tissue")
    if inside and share == 1:
        raise UserError(
            f"{slide.path}: {marked.exclude.path} leaves out all of its tissue. Does it mark what is to be "
            "kept (--within)?"
        )
    if share > 1 - LITTLE:
        lines.append(
            f"warning: {marked.exclude.path} leaves out more than half of the tissue. Does it mark what is "
            "to be kept (--within)?"
        )
    return Part(tissue, excluded, ink_share(image, tissue.mask & ~excluded), tuple(lines))
