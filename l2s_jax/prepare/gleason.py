"""Gleason2019: tissue cores with maps by six experts into a manifest (section 3.1).

Layout, under the given folder or up to four folders deeper:

  Train Imgs/slideSSS_coreCCC.jpg                       also Train_imgs or train
  MapsK_T/slideSSS_coreCCC_classimg_nonconvex.png       K is 1 to 6; the paper uses "the first map"

Not every core has a map by every expert; cores without the chosen one are left out and counted. Map values
are 0 (background or unlabelled), 1 benign, 3 to 5 Gleason grades, and 6, which is benign too; 2 is none and
is refused. That makes the five classes of the paper. Some maps are known to have unclosed outlines and so
lack whole areas; no rule finds them, name them with `exclude`.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import read_image, read_mask_values
from l2s_jax.prepare.annotated_pictures import AnnotatedPicture, PictureSet, prepare_pictures
from l2s_jax.prepare.layouts import folders_named, listed, pictures_in, require_folder
from l2s_jax.prepare.options import GleasonOptions, WorkOptions
from l2s_jax.prepare.pipeline import Prepared
from l2s_jax.prepare.presets import GLEASON_PRESETS, Preset, named
from l2s_jax.slides.sheets import Resample, Sheet, resized_sheet
from l2s_jax.stain.fit import Stainer
from l2s_jax.system.errors import UserError

IMAGE_FOLDERS = ("Train Imgs", "Train Images", "train")
MAP_SUFFIX = "_classimg_nonconvex"

CLASSES = Classes(
    names=("background", "benign", "grade 3", "grade 4", "grade 5"),
    colours=((255, 255, 255), (76, 153, 76), (240, 200, 60), (230, 120, 30), (180, 30, 60)),
    pixel_values=(0, 1, 2, 3, 4),
    background=0,
)
GLEASON2019 = PictureSet("gleason2019", "Gleason2019", CLASSES)
CODES = {0: 0, 1: 1, 3: 2, 4: 3, 5: 4, 6: 1}
"""Map value to class code."""

_CORE = re.compile(r"(slide\d+)_core\d+", re.IGNORECASE)


def prepare_gleason(
    folder: str | Path,
    out: str | Path,
    options: GleasonOptions | Preset = "paper",
    work: WorkOptions = WorkOptions(),  # noqa: B008, frozen
    *,
    stainer: Stainer | None = None,
) -> Prepared:
    """Makes a manifest of Gleason2019: tiles of training cores, val and test cores whole, split by slide.

    Args:
      folder: the unpacked challenge.
      out: folder that is made.
      options: or the name of a preset; `replace(GLEASON_PRESETS["release"], patch_size=64)` is the release
        but for one option.
      work: workers, overwriting.
      stainer: `l2s_jax.MACENKO`, unless the options say `stain="off"`; preparing itself knows no JAX.

    Raises:
      UserError: nothing of the layout is there, or see `prepare_pictures`.
    """
    chosen = named(options, GLEASON_PRESETS)
    pairs, found = find_cores(require_folder(folder), chosen.map_number, chosen.exclude)
    cores = [
        AnnotatedPicture(name, slide_of(name), 0, files, partial(read_core, *files))
        for name, files in pairs.items()
    ]
    return prepare_pictures(
        out, cores, chosen, work, stainer, GLEASON2019, recipe={"map": chosen.map_number}, found=found
    )


def find_cores(
    folder: Path, map_number: int = 1, exclude: tuple[str, ...] = ()
) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Cores with a map, {name: (image, map)} by name, and lines on what was met.

    Raises:
      UserError: no images, no maps of that expert, or none that belong together.
    """
    images = _by_core(folders_named(folder, IMAGE_FOLDERS), "")
    map_folder = f"Maps{map_number}_T"
    maps = _by_core(folders_named(folder, (map_folder,)), MAP_SUFFIX)
    if not images or not maps:
        what = (
            f"{map_folder}/slide001_core003{MAP_SUFFIX}.png" if images else "Train Imgs/slide001_core003.jpg"
        )
        raise UserError(f"{folder} does not hold Gleason2019 as published: no {what} was found in it")
    unknown = sorted(set(exclude) - images.keys())
    if unknown:
        raise UserError(f"--exclude names no core of the set: {listed(unknown)}")
    both = sorted((images.keys() & maps.keys()) - set(exclude))
    if not both:
        raise UserError(f"{folder}: no image has a map in {map_folder}")
    found = [f"{len(images)} cores, {len(both)} with a map in {map_folder} are used"]
    for names, what in (
        (sorted(images.keys() - maps.keys()), f"cores without a map in {map_folder}, left out"),
        (sorted(maps.keys() - images.keys()), "maps without an image"),
        (sorted(exclude), "cores excluded as asked"),
    ):
        if names:
            found.append(f"{len(names)} {what}: {listed(names)}")
    return {name: (images[name], maps[name]) for name in both}, found


def slide_of(name: str) -> str:
    """The slide that a core's name tells: slide005_core012 is of slide005."""
    match = _CORE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no name of a core")
    return match[1].lower()


def read_core(image_path: Path, map_path: Path, size: int, morphology: str, resample: Resample) -> Sheet:
    """A core and its map, resized, the map as class codes.

    Raises:
      UserError: unreadable, of two sizes, or with map values that mean nothing.
    """
    image, values = read_image(image_path), read_mask_values(map_path)
    if image.shape[:2] != values.shape:
        raise UserError(
            f"{map_path} has {values.shape[0]} x {values.shape[1]} pixels, its image {image_path} "
            f"{image.shape[0]} x {image.shape[1]} (height x width); expected the same"
        )
    return resized_sheet(image, codes_of_map(values, map_path), size, morphology, resample)


def codes_of_map(values: np.ndarray, path: Path) -> np.ndarray:
    """u8[H,W]: class codes of a map's values (any integers).

    Raises:
      UserError: a value that means nothing; 2 has a message of its own.
    """
    found, counts = np.unique(values, return_counts=True)
    wrong = {int(v): int(n) for v, n in zip(found, counts, strict=True) if int(v) not in CODES}
    if 2 in wrong:
        raise UserError(
            f"{path}: {wrong[2]} pixels have the value 2, which Gleason2019's maps do not use: grades are 3 "
            "to 5, benign is 1 (or 6). It may be of another release or hold class codes already. Mend the "
            "map or leave the core out with --exclude"
        )
    if wrong:
        known = ", ".join(map(str, CODES))
        raise UserError(
            f"{path}: map values {', '.join(f'{v} ({n} px)' for v, n in list(wrong.items())[:8])} mean "
            f"nothing; expected {known}"
        )
    table = np.zeros(7, np.uint8)
    table[list(CODES)] = list(CODES.values())
    return table[values]


def _by_core(folders: list[Path], suffix: str) -> dict[str, Path]:
    """Pictures named after a core, by its name; the first found of a name counts."""
    pictures: dict[str, Path] = {}
    for folder in folders:
        for path in pictures_in(folder):
            name = path.stem.removesuffix(suffix) if suffix else path.stem
            if path.stem.endswith(suffix) and _CORE.fullmatch(name):
                pictures.setdefault(name.lower(), path)
    return pictures
