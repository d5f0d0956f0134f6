"""What is known by its label only: pictures in a folder for each class, whole slides, regions of slides.

The label of a slide, of a region or of a picture that is cut is not the label of each patch in it: of such a
patch it is known which classes can be there, the label's and background (`allowed`). Where the label is
background, all of it is.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from l2s_jax.data.pictures import read_image, write_png
from l2s_jax.prepare.layouts import listed, pictures_in, plain_name
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.sources import Preparation, Source
from l2s_jax.slides.annotated_slide import AnnotatedSlide, tissue_window
from l2s_jax.slides.annotations.types import Region
from l2s_jax.slides.sheets import FILTERS, Resample, Sheet, resized
from l2s_jax.slides.slide import downsample_at
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL


class Label(NamedTuple):
    """What is known of a patch."""

    label: int  # class code, or IGNORE_LABEL
    allowed: tuple[int, ...]  # class codes that can be there; empty: the label's and background
    bag_label: int = IGNORE_LABEL  # class that is somewhere in the whole of which it is a part


class LabelledPicture(NamedTuple):
    """A labelled picture as patches."""

    images: np.ndarray  # u8[N,S,S,3]
    known: Label
    mpp: float | None  # um/px


def label_of_part(code: int, background: int | None) -> Label:
    """What the label of a whole says of a part of it.

    Raises:
      UserError: there is no background, so that a part might be anything.
    """
    if background is None:
        raise UserError(
            "a slide's, region's or large picture's label says that its class is somewhere in it. What else "
            "is there must be a class too: name the background with --background NAME"
        )
    if code == background:
        return Label(code, ())
    return Label(IGNORE_LABEL, tuple(sorted((code, background))), code)


def label_fields(known: Label, bag: str) -> dict[str, Any]:
    """What is known of a patch as fields of its row; `bag` is the name of the whole that it is a part of."""
    fields = {"label": known.label, "allowed": list(known.allowed)}
    return fields if known.bag_label == IGNORE_LABEL else fields | {"bag": bag, "bag_label": known.bag_label}


def find_labelled(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each class's folder, by its name.

    Raises:
      UserError: no folder, or no picture in any.
    """
    if not folder.is_dir():
        raise UserError(f"--labelled {folder} is no folder: expected one with a folder of pictures a class")
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    found = {path.name: pictures for path in inner if (pictures := pictures_in(path))}
    if not found:
        raise UserError(f"--labelled {folder}: no picture in a folder named after a class")
    return found


def labelled_names(pictures: Mapping[str, list[Path]]) -> dict[Path, str]:
    """A unique name for each picture: its class's and its own."""
    return {
        path: f"{plain_name(name)}-{plain_name(path.stem)}"
        for name, paths in pictures.items()
        for path in paths
    }


def describe_labelled(pictures: Mapping[str, list[Path]], groups: Mapping[str, str]) -> list[str]:
    """How many pictures each class has, and whether their patients are known."""
    counts = ", ".join(f"{len(paths)} {name}" for name, paths in pictures.items())
    every = [path for paths in pictures.values() for path in paths]
    known = sum(picture_group(path, "", groups) != "" for path in every)
    lines = [f"{len(every)} labelled pictures, to train on only: {counts}"]
    if known < len(every):
        alone = [path.name for path in every if not picture_group(path, "", groups)]
        lines.append(
            f"the patient of {len(alone)} of them is not known ({listed(alone, 3)}): each is a group of its "
            "own. If one is of a patient of val or test, what is learned leaks into the score: name groups "
            "with --groups FILE (columns picture,group)"
        )
    return lines


def picture_group(path: Path, alone: str, groups: Mapping[str, str]) -> str:
    """The group of a picture: by CLASS/NAME, its name or its name without suffix; else `alone`."""
    names = (f"{path.parent.name}/{path.name}", path.name, path.stem)
    return next((groups[name] for name in names if name in groups), alone)


def read_labelled(
    path: Path,
    known: Label,
    of_part: Label | None,
    size: int,
    scale: float | None,
    mpp: float,
    resample: Resample,
) -> LabelledPicture:
    """A picture as patches: squeezed into one, or brought to a scale and cut.

    Args:
      path: the picture.
      known: what its label says of all of it.
      of_part: what it says of a part; None where that cannot be said.
      size: side of the patches.
      scale: the picture's um/px; None to squeeze it.
      mpp: um/px of the patches.
      resample: how it is resized.

    Raises:
      UserError: unreadable, smaller than a patch, or cut without a background.
    """
    image = read_image(path)
    if scale is None:
        return LabelledPicture(resized(image, (size, size), FILTERS[resample])[None], known, None)
    sides = [max(1, round(side * scale / mpp)) for side in image.shape[:2]]
    rows, cols = (side // size for side in sides)
    if not rows or not cols:
        raise UserError(
            f"{path} is {image.shape[0] * scale:.4g} x {image.shape[1] * scale:.4g} um at {scale:g} um/px, "
            f"smaller than a patch of {size * mpp:g} um. Leave it out, choose a smaller --patch-size, or "
            "make every picture one patch with --labelled-fit"
        )
    if rows * cols > 1 and of_part is None:
        label_of_part(0, None)
    small = resized(image, (sides[0], sides[1]), FILTERS[resample])
    top, left = (sides[0] - rows * size) // 2, (sides[1] - cols * size) // 2
    patches = [
        small[top + row * size :, left + col * size :][:size, :size]
        for row in range(rows)
        for col in range(cols)
    ]
    return LabelledPicture(np.stack(patches), known if rows * cols == 1 or of_part is None else of_part, mpp)


def write_labelled(
    source: Source, job: Preparation, picture: LabelledPicture, images: np.ndarray
) -> dict[str, Any]:
    """Writes the patches of a picture, `images` in the stains that they are to have."""
    rows = []
    for number, image in enumerate(images):
        name = f"images/{source.name}/{number:05d}.png"
        write_png(job.out / name, image)
        row = {"image": name, "mask": "", **label_fields(picture.known, source.name)}
        rows.append(row | {"source": f"{source.files[0].parent.name}/{source.files[0].name}"})
    return {"rows": rows, "dropped": {}, "overlaps": 0}


def as_sheet(picture: LabelledPicture) -> Sheet:
    """The picture as what its patches' stains are of: each of its own."""
    return Sheet(picture.images[0], None, None)


def label_origins(
    sheet: AnnotatedSlide, region: Region, options: ExtractionOptions, most: int, name: str
) -> np.ndarray:
    """int64[N,2]: tiles with tissue and their middle in a region, at most so many, drawn at random.

    Args:
      sheet: the slide.
      region: which carries a label.
      options: size of the patches, least share of tissue, seed.
      most: patches.
      name: of the slide, so that slides differ in their draw.
    """
    down, size = downsample_at(sheet.slide, sheet.mpp), options.patch_size
    left, top, right, bottom = region.polygon.bounds
    last = [side - size for side in sheet.size]
    rows = np.arange(max(0, int(top / down[0])), min(last[0], int(bottom / down[0])) + 1, size)
    cols = np.arange(max(0, int(left / down[1])), min(last[1], int(right / down[1])) + 1, size)
    origins = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    middles = (origins + size / 2) * down
    origins = origins[shapely.contains_xy(region.polygon, middles[:, 1], middles[:, 0])]
    rng = np.random.default_rng((options.seed, zlib.crc32(name.encode())))
    kept: list[tuple[int, int]] = []
    for row, col in rng.permutation(origins).tolist():
        if len(kept) == most:
            break
        if tissue_window(sheet, (row, col), (size, size)).mean() >= options.min_foreground:
            kept.append((row, col))
    return np.array(sorted(kept), np.int64).reshape(-1, 2)
