"""Which part of a slide is predicted: its tissue, all of it, or what files say is to be kept or left out."""

from typing import Any, NamedTuple

import numpy as np

from l2s_jax.prediction.slides.job import Area, area_of
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.slides.areas import Areas, covered, find_areas, read_areas
from l2s_jax.slides.overview import Tissue, overview_of
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


def read_marked(slide: Slide, options: SlideOptions) -> Marked:
    """Reads what files mark on a slide.

    Raises:
      UserError: a file cannot be used, or there is none of what is to be kept.
    """
    found: list[Areas | None] = []
    for folder, only in (
        (options.within_folder, options.within_only),
        (options.exclude, options.exclude_only),
    ):
        path = None if folder is None else find_areas(folder, slide.path)
        if path is None and folder is not None and folder == options.within_folder:
            raise UserError(
                f"{slide.path}: --within {folder} holds no file of it, such as {slide.path.stem}.geojson or "
                f"{slide.path.stem}.png"
            )
        found.append(
            None if path is None else read_areas(path, slide, only=only, areas_from=options.areas_from)
        )
    return Marked(*found)


def part_of(slide: Slide, options: SlideOptions, marked: Marked) -> Part:
    """The tissue of a slide and what of it is to be left out.

    Raises:
      UserError: nothing is left, or more of the slide than is allowed cannot be read.
    """
    overview = overview_of(slide)
    image, here = overview.image, Tissue(overview.tissue, overview.mpp)
    total, tissue, lines = int(here.mask.sum()), here, []
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
        if options.exclude is not None:
            lines.append(f"nothing is left out: {options.exclude} holds no file of this slide")
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


def tissue_area(part: Part, size: tuple[int, int], mpp: float) -> Area:
    """The tissue without what is left out, on a picture of `size` at `mpp`."""
    mask = part.tissue.mask if part.excluded is None else part.tissue.mask & ~part.excluded
    return area_of(mask, size, mpp / part.tissue.mpp)._replace(unknown=part.excluded)


def predicted_area(part: Part, options: SlideOptions, tissue: Area) -> Area | None:
    """What is predicted of the slide; None is all of it."""
    if options.within != "slide":
        return tissue
    return None if part.excluded is None else tissue._replace(mask=~part.excluded)
