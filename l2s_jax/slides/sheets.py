"""A whole annotated slide at the working scale, and a picture with its mask resized to one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import MAX_PIXELS
from l2s_jax.slides.annotations.class_names import ClassTable
from l2s_jax.slides.annotations.of_slide import OutlinesFrom, read_slide_annotations
from l2s_jax.slides.annotations.painting import count_unpainted, paint
from l2s_jax.slides.annotations.reading import stated_mpp
from l2s_jax.slides.annotations.types import Annotations, summary
from l2s_jax.slides.reading import read_region
from l2s_jax.slides.slide import Slide, downsample_at, open_slide, size_at
from l2s_jax.slides.tissue import OPENING, TISSUE_MPP, tissue_mask
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL


class Sheet(NamedTuple):
    """A source as read, at the scale of the patches."""

    image: np.ndarray  # u8[H,W,3], RGB
    mask: np.ndarray | None  # u8[H,W], class codes; None: only the label is known
    tissue: np.ndarray | None = None  # bool[H,W]; None: no rule on tissue
    label: int = IGNORE_LABEL  # class code of the whole, where there is no mask
    mpp: float | None = None  # um/px
    notes: tuple[str, ...] = ()  # what a person should know


Resample = Literal["antialias", "nearest"]

FILTERS: Mapping[Resample, Image.Resampling] = {
    "antialias": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
"""`antialias` is a triangle as wide as the step between pixels; `nearest` is what Pillow did by default when
the authors' code was written."""

MOST_BESIDE_PYRAMID = 2**27
"""Level-0 pixels beyond which it is said that a slide without a pyramid is slow to read."""


def read_slide_sheet(
    path: Path,
    annotations_path: Path,
    table: ClassTable,
    mpp: float,
    morphology: str,
    *,
    slide_mpp: float | None = None,
    mpp_table: Mapping[str, tuple[float, float]] | None = None,
    mpp_override: bool = False,
    outlines_from: OutlinesFrom | None = None,
) -> Sheet:
    """Reads a slide as a whole with its painted annotation and its tissue.

    Args:
      path: the slide.
      annotations_path: of any format that `read_annotations` reads.
      table: which names mean which class.
      mpp: working scale in um/px.
      morphology: of `tissue_mask`.
      slide_mpp: level-0 um/px where neither slide, table nor annotation says.
      mpp_table: level-0 um/px by slide, from `read_mpp_table`.
      mpp_override: let both come before what slide and annotation say.
      outlines_from: where annotations count from on slides with bounds, see `read_slide_annotations`.

    Raises:
      UserError: the slide or its annotation cannot be used, or has too many pixels at `mpp`.
    """
    slide = open_slide_with(path, annotations_path, slide_mpp, mpp_table, mpp_override)
    annotations = read_slide_annotations(annotations_path, table, slide, outlines_from=outlines_from)
    image = whole_slide(slide, mpp)
    mask, unpainted = paint_slide(annotations_path, annotations, slide, mpp, table.classes)
    tissue = tissue_mask(image, morphology=morphology, opening=opening_at(mpp))
    notes = (*slide_notes(slide), *annotation_notes(annotations), *unpainted)
    return Sheet(image, mask, tissue, mpp=mpp, notes=notes)


def paint_slide(
    path: Path, annotations: Annotations, slide: Slide, mpp: float, classes: Classes
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask of a whole slide at `mpp`, and what to say of regions that are too small for it.

    What is not drawn is background (or the first class, where none is); what was drawn to be ignored is
    `IGNORE_PIXEL`.

    Args:
      path: the annotation's, for messages.
      annotations: of the slide.
      slide: the slide.
      mpp: um/px of the mask.
      classes: of the annotation's codes.

    Returns:
      u8[h,w], and notes.

    Raises:
      UserError: there are regions, but no pixel of the mask is in one.
    """
    factor = downsample_at(slide, mpp)
    mask = paint(annotations, size_at(slide, mpp), factor, background=classes.background or 0)
    number = count_unpainted(annotations, factor)
    if number and number == len(annotations.regions):
        raise UserError(
            f"{path}: none of its {number} regions covers a pixel at {mpp:g} um/px. Choose a finer scale, or "
            "draw larger regions"
        )
    return mask, ((f"{number} regions smaller than a pixel at {mpp:g} um/px: not painted",) if number else ())


def open_slide_with(
    path: Path,
    annotations_path: Path | None,
    slide_mpp: float | None,
    mpp_table: Mapping[str, tuple[float, float]] | None = None,
    mpp_override: bool = False,
) -> Slide:
    """Opens a slide; its scale is its own, the table's, what the annotation states, or `slide_mpp`.

    With `mpp_override` the table's and `slide_mpp` come first.
    """
    stated = stated_mpp(annotations_path) if annotations_path is not None else None
    return open_slide(
        path, mpp=slide_mpp, mpp_table=mpp_table, annotation_mpp=stated, mpp_override=mpp_override
    )


def whole_slide(slide: Slide, mpp: float) -> np.ndarray:
    """u8[H,W,3]: all of a slide at `mpp`.

    Raises:
      UserError: more than `pictures.MAX_PIXELS` pixels, or a part of the slide cannot be decoded.
    """
    height, width = size_at(slide, mpp)
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{slide.path} has {height} x {width} pixels at {mpp:g} um/px; at most {MAX_PIXELS:,} are read "
            "as one picture. Choose a coarser scale"
        )
    return read_region(slide, (0, 0), (height, width), mpp)


def opening_at(mpp: float) -> int:
    """Side of the opening's square in pixels, of the size that `tissue.OPENING` has at `TISSUE_MPP`.

    Rounded down, so that it is the paper's 10 pixels at BACH's 7.5 um/px as well as at 8.
    """
    return max(1, int(OPENING * TISSUE_MPP / mpp))


def slide_notes(slide: Slide) -> tuple[str, ...]:
    """What a person should know about a slide: where its scale is from, and that it has no pyramid."""
    notes = list(slide.notes)
    if slide.mpp_source in ("table", "annotation", "option"):
        notes.append(f"mpp {slide.mpp[0]:.4g} is not from the slide but from the {slide.mpp_source}")
    height, width = slide.size_level0
    if len(slide.level_sizes) == 1 and height * width > MOST_BESIDE_PYRAMID:
        notes.append("no pyramid: all of it is read at full resolution, which is slow")
    return tuple(notes)


def annotation_notes(annotations: Annotations) -> tuple[str, ...]:
    """What was mended or left out of an annotation; nothing where all of it was used."""
    text = summary(annotations)
    return (text,) if "," in text or annotations.notes else ()


def resized_sheet(
    image: np.ndarray, mask: np.ndarray, size: int, morphology: str, resample: Resample = "antialias"
) -> Sheet:
    """A picture and its mask (class codes) at `size` x `size`.

    The mask is sampled at the nearest pixel. The tissue's opening is `tissue.OPENING` pixels of the resized
    picture: these pictures do not say their scale.

    Args:
      image: u8[H,W,3].
      mask: u8[H,W].
      size: side of the result; both sides are brought to it, whatever their proportion.
      morphology: of `tissue_mask`.
      resample: of the image, see `FILTERS`.
    """
    small = resized(image, (size, size), FILTERS[resample])
    codes = resized(mask, (size, size), Image.Resampling.NEAREST)
    return Sheet(small, codes, tissue_mask(small, morphology=morphology))


def resized(array: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """u8[H,W] or u8[H,W,3] at (height, width) `size`."""
    return np.array(Image.fromarray(array).resize(size[::-1], how))
