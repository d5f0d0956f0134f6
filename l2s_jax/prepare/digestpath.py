"""DigestPath2019, colonoscopy tissue: pictures with JPEG masks into a manifest (section 3.1).

Layout, under the given folder or up to four folders deeper:

  tissue-train-pos-v1/NAME.jpg with NAME_mask.jpg       lesions
  tissue-train-neg/NAME.jpg                             no lesion and no mask: all of it is background

Masks are JPEG, whose values ring around 0 and 255: they are thresholded at 128 before anything else is done
to them. Pictures of one slide must not be split; the slide is read off the name by a rule that was inferred
from other readers of the set, not from its documentation. What it finds is in the report.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import read_image
from l2s_jax.prepare.annotated_pictures import AnnotatedPicture, PictureSet, prepare_pictures
from l2s_jax.prepare.layouts import folders_named, listed, pictures_in, require_folder
from l2s_jax.prepare.options import DigestPathOptions, WorkOptions
from l2s_jax.prepare.pipeline import Prepared
from l2s_jax.prepare.presets import DIGESTPATH_PRESETS, Preset, named
from l2s_jax.slides.sheets import Resample, Sheet, resized_sheet
from l2s_jax.stain.fit import Stainer
from l2s_jax.system.errors import UserError

POSITIVE = ("tissue-train-pos-v1", "tissue-train-pos")
NEGATIVE = ("tissue-train-neg-v1", "tissue-train-neg")
MASK_SUFFIX = "_mask"

CLASSES = Classes(
    names=("no lesion", "lesion"),
    colours=((255, 255, 255), (200, 50, 60)),
    pixel_values=(0, 1),
    background=0,
)
THRESHOLD = 128
"""A mask's lesion is what is at least this bright."""

DIGESTPATH2019 = PictureSet("digestpath2019", "DigestPath2019", CLASSES)


class Found(NamedTuple):
    """A picture of the set."""

    name: str
    image: Path
    mask: Path | None  # None: no lesion


def prepare_digestpath(
    folder: str | Path,
    out: str | Path,
    options: DigestPathOptions | Preset = "paper",
    work: WorkOptions = WorkOptions(),  # noqa: B008, frozen
    *,
    stainer: Stainer | None = None,
) -> Prepared:
    """Makes a manifest of DigestPath2019: tiles of training pictures, val and test whole, split by slide.

    Args:
      folder: the unpacked challenge.
      out: folder that is made.
      options: or the name of a preset; `replace(DIGESTPATH_PRESETS["release"], patch_size=64)` is the
        release but for one option.
      work: workers, overwriting.
      stainer: `l2s_jax.MACENKO`, unless the options say `stain="off"`; preparing itself knows no JAX.

    Raises:
      UserError: nothing of the layout is there, a rule that is none, or see `prepare_pictures`.
    """
    chosen = named(options, DIGESTPATH_PRESETS)
    found_pictures, found, failures = find_pictures(require_folder(folder), chosen.exclude)
    slides, said = slides_of([picture.name for picture in found_pictures], chosen.slide_rule)
    pictures = [
        AnnotatedPicture(
            picture.name,
            slide,
            int(picture.mask is not None),
            tuple(path for path in (picture.image, picture.mask) if path is not None),
            partial(read_picture, picture.image, picture.mask),
        )
        for picture, slide in zip(found_pictures, slides, strict=True)
    ]
    return prepare_pictures(
        out,
        pictures,
        chosen,
        work,
        stainer,
        DIGESTPATH2019,
        recipe={"slide_rule": chosen.slide_rule},
        found=[*found, *said],
        failures=failures,
    )


def find_pictures(folder: Path, exclude: tuple[str, ...] = ()) -> tuple[list[Found], list[str], list[str]]:
    """The set's pictures by name, lines on what was met, and faults of pictures that cannot be used.

    Raises:
      UserError: no picture in either folder, or `exclude` names none.
    """
    pictures: list[Found] = []
    failures: list[str] = []
    counts = Counter[str]()
    for names, lesion in ((POSITIVE, True), (NEGATIVE, False)):
        for place in folders_named(folder, names):
            files = {path.stem: path for path in pictures_in(place)}
            masks = {stem: path for stem, path in files.items() if stem.endswith(MASK_SUFFIX)}
            for stem in sorted(files.keys() - masks):
                mask = masks.get(stem + MASK_SUFFIX)
                if lesion and mask is None and stem not in exclude:
                    failures.append(
                        f"{files[stem]} lies among the lesions but has no {stem}{MASK_SUFFIX}.jpg"
                    )
                elif stem not in exclude:
                    counts["with lesions" if lesion else "without"] += 1
                    pictures.append(Found(stem, files[stem], mask))
                counts["excluded as asked"] += stem in exclude
            alone = sorted(s for s in masks if s.removesuffix(MASK_SUFFIX) not in files)
            failures += [f"{masks[stem]} is a mask without a picture" for stem in alone]
    if not pictures:
        raise UserError(
            f"{folder} does not hold DigestPath2019 as published: no picture in {POSITIVE[0]}/ (with masks) "
            f"or {NEGATIVE[1]}/"
        )
    if counts["excluded as asked"] < len(set(exclude)):
        raise UserError(f"--exclude: not all of {listed(exclude)} are names of pictures")
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return sorted(pictures), [f"{len(pictures)} pictures: {said}"], failures


def slides_of(names: list[str], rule: str) -> tuple[list[str], list[str]]:
    """The slide of each name, and lines on how well the rule fits.

    Raises:
      UserError: the rule is no regular expression with one group.
    """
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UserError(f"--slide-rule {rule!r} is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise UserError(f"--slide-rule {rule!r} has {pattern.groups} groups; expected one, around the slide")
    matches = [pattern.match(name) for name in names]
    slides = [match[1] if match and match[1] else name for name, match in zip(names, matches, strict=True)]
    unfit = [name for name, match in zip(names, matches, strict=True) if not match or not match[1]]
    said = [f"{len(set(slides))} slides by the rule {rule!r} (paper: 324)"]
    if unfit:
        said.append(
            f"warning: {len(unfit)} names do not fit the rule and count as slides of their own; slides may "
            f"then straddle splits (--slide-rule changes it): {listed(unfit, 4)}"
        )
    return slides, said


def read_picture(
    image_path: Path, mask_path: Path | None, size: int, morphology: str, resample: Resample
) -> Sheet:
    """A picture and its mask, thresholded and then resized; no mask is no lesion.

    Raises:
      UserError: unreadable, of two sizes, or a mask without a lesion.
    """
    image = read_image(image_path)
    if mask_path is None:
        return resized_sheet(image, np.zeros(image.shape[:2], np.uint8), size, morphology, resample)
    grey = np.asarray(Image.fromarray(read_image(mask_path)).convert("L"))
    if grey.shape != image.shape[:2]:
        raise UserError(
            f"{mask_path} has {grey.shape[0]} x {grey.shape[1]} pixels, its image {image.shape[0]} x "
            f"{image.shape[1]} (height x width); expected the same"
        )
    mask = (grey >= THRESHOLD).astype(np.uint8)
    if not mask.any():
        raise UserError(
            f"{mask_path} has no lesion: its brightest pixel is {grey.max()}, below {THRESHOLD}. "
            "Expected 255 for lesions; mend the mask or leave the picture out with --exclude"
        )
    return resized_sheet(image, mask, size, morphology, resample)
