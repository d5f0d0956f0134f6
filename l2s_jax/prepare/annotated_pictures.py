"""Sets of pictures with a map of all their pixels, Gleason2019 and DigestPath2019, into manifests."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from l2s_jax.data.classes import Classes
from l2s_jax.prepare.layouts import plain_name
from l2s_jax.prepare.options import AnnotatedPictureOptions, WorkOptions, extraction_of
from l2s_jax.prepare.pipeline import Prepared, prepare_sources
from l2s_jax.prepare.sources import Preparation, Source
from l2s_jax.prepare.splits import split_groups
from l2s_jax.slides.sheets import Resample, Sheet
from l2s_jax.stain.fit import Stainer
from l2s_jax.system.errors import UserError


class AnnotatedPicture(NamedTuple):
    """A picture of such a set."""

    name: str
    slide: str  # pictures of one are not split
    kind: int  # pictures of each kind are spread evenly over the splits
    files: tuple[Path, ...]
    read: Callable[[int, str, Resample], Sheet]  # (side, last step of the tissue mask, filter)


class PictureSet(NamedTuple):
    """What tells one such set from another."""

    key: str  # in recipes
    name: str  # in Fig. 5
    classes: Classes


def prepare_pictures(
    out: str | Path,
    pictures: Sequence[AnnotatedPicture],
    options: AnnotatedPictureOptions,
    work: WorkOptions,
    stainer: Stainer | None,
    of: PictureSet,
    *,
    recipe: dict[str, Any],
    found: Iterable[str],
    failures: Iterable[str] = (),
) -> Prepared:
    """Makes a manifest: tiles of training pictures, val and test whole or as tiles, split by slide.

    Args:
      out: folder that is made.
      pictures: of the set.
      options: how they are cut.
      work: workers, overwriting.
      stainer: needed unless the options leave stains as they are.
      of: the set.
      recipe: the set's own options that decide the content.
      found: lines on what was met, for the report.
      failures: of pictures that cannot be used.

    Raises:
      UserError: pictures would be smaller than a patch, or see `prepare_sources`.
    """
    if options.size < options.patch_size:
        raise UserError(f"--size {options.size} is smaller than a patch of {options.patch_size}")
    slides = [picture.slide for picture in pictures]
    splits = split_groups(slides, [picture.kind for picture in pictures], options.fractions, options.seed)
    sources = [
        Source(
            plain_name(picture.name),
            picture.slide,
            split,
            picture.files,
            partial(picture.read, options.size, options.morphology, options.resample),
        )
        for picture, split in zip(pictures, splits, strict=True)
    ]
    recipe = {
        "what": of.key,
        "size": options.size,
        "exclude": sorted(options.exclude),
        "fractions": list(options.fractions),
        "seed": options.seed,
        **recipe,
    }
    job = Preparation(Path(out), of.classes, extraction_of(options), "tiles", stainer)
    return prepare_sources(
        out, sources, job, recipe, options, work, dataset=of.name, found=found, failures=failures
    )
