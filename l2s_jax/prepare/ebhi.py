"""EBHI-Seg (Shi et al. 2023, CC BY 4.0): its folders into a manifest.

Layout: `<class>/image/<file>.png` with `<class>/label/<file>.png`, 224 x 224, one class a picture. The slide
is the part of a file name before its first hyphen, in capitals (`GTxc2012888-1-400-012.png` is of
GTXC2012888); where the folder has an `index.csv` with columns class, file, slide_group, that one is believed.
Pictures of a slide look alike and some slides hold several classes, so the split is by slide.
"""

import csv
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from l2s_jax.data.manifest import Classes, Manifest, PatchRow, read_manifest, write_classes
from l2s_jax.data.pictures import read_both, write_png
from l2s_jax.prepare.folders import claim_folder, finish_folder
from l2s_jax.prepare.splits import SPLIT_FRACTIONS, split_groups
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.ranges import require_seed
from l2s_jax.types import PATCH_MULTIPLE, fits_network

FOLDERS = ("Normal", "Polyp", "Low-grade IN", "High-grade IN", "Serrated adenoma", "Adenocarcinoma")
SIZE = 224
"""Height and width of every published picture, in pixels."""

FOREGROUND = 127
"""Masks have soft edges and some use 253 for the foreground: it is what lies above this."""

_SLIDE = re.compile(r"\s*([A-Za-z]+\d+)\s*-")

_SEVEN = Classes(
    names=("background", *(folder.lower().replace(" in", " IN") for folder in FOLDERS)),
    colours=(
        (255, 255, 255),
        (76, 153, 76),
        (86, 180, 233),
        (240, 200, 60),
        (230, 140, 30),
        (150, 90, 180),
        (200, 50, 60),
    ),
    pixel_values=tuple(range(7)),
    background=0,
    ignore_value=255,
)
_FOUR = Classes(
    names=("background", "normal and polyp", "intraepithelial neoplasia", "adenocarcinoma"),
    colours=((255, 255, 255), (76, 153, 76), (230, 170, 40), (200, 50, 60)),
    pixel_values=tuple(range(4)),
    background=0,
    ignore_value=255,
)
# Class code of each folder; in the four-class task, which mirrors BACH's, serrated adenoma is left out.
TASKS: dict[int, tuple[Classes, dict[str, int]]] = {
    4: (_FOUR, {"Normal": 1, "Polyp": 1, "Low-grade IN": 2, "High-grade IN": 2, "Adenocarcinoma": 3}),
    7: (_SEVEN, {folder: code for code, folder in enumerate(FOLDERS, start=1)}),
}


@dataclass(frozen=True)
class Pair:
    """A picture and its mask as published."""

    folder: str  # the class's, one of `FOLDERS`
    image: Path
    mask: Path
    slide: str


def prepare_ebhi(
    folder: str | Path,
    out: str | Path,
    *,
    classes: Literal[4, 7] = 4,
    patch_size: int = 128,
    seed: int = 0,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Resizes EBHI-Seg's pictures and masks and writes a manifest, split 50/25/25 by slide.

    Args:
      folder: the data set, with one folder a class.
      out: folder that is made. Started again after an interruption, it is made anew.
      classes: 4 (background; normal and polyp; low- and high-grade neoplasia; adenocarcinoma) or 7 (all).
      patch_size: height and width in pixels, a multiple of 16. Images are shrunk with an antialiasing
        triangle filter; masks are thresholded, then sampled at the nearest pixel.
      seed: of the split.
      skip_faulty: leave faulty pictures out instead of stopping at them; `prepared.toml` then lists them.
      overwrite: use an output folder that holds something else.

    Raises:
      UserError: naming everything that is missing, unpaired, unreadable or of another size; or the output
        folder holds something else or cannot be written.
    """
    require_seed(seed)
    if classes not in TASKS:
        raise UserError(f"classes {classes}: expected 4 or 7")
    if not fits_network(patch_size):
        raise UserError(f"patch_size {patch_size}: expected a multiple of {PATCH_MULTIPLE}")
    task, codes = TASKS[classes]
    pairs, faults = find_pairs(folder, codes)
    readable, unreadable = _readable(pairs)
    faults += unreadable
    if faults and (not skip_faulty or not readable):
        what = "mend them, or leave these pictures out with --skip-faulty" if readable else "nothing is left"
        raise UserError("\n".join([f"{len(faults)} faulty picture(s) in {folder}; {what}:", *faults]))
    recipe: dict[str, Any] = {"what": "ebhi", "source": str(Path(folder).resolve()), "classes": classes}
    recipe |= {"patch_size": patch_size, "seed": seed, "left_out": faults}
    out = claim_folder(out, recipe, overwrite=overwrite)
    _write_pictures(readable, out, codes, patch_size)
    labels = [codes[pair.folder] for pair in readable]
    splits = split_groups([pair.slide for pair in readable], labels, SPLIT_FRACTIONS, seed)
    write_classes(out, task)
    finish_folder(
        out,
        task,
        [
            PatchRow(
                line=number + 2,
                image=out / "images" / _name(pair),
                mask=out / "masks" / _name(pair),
                label=codes[pair.folder],
                group=pair.slide,
                split=split,
                source=f"EBHI-Seg {pair.folder}/{pair.image.name}",
            )
            for number, (pair, split) in enumerate(zip(readable, splits, strict=True))
        ],
    )
    return read_manifest(out)


def find_pairs(folder: str | Path, wanted: Iterable[str] = FOLDERS) -> tuple[list[Pair], list[str]]:
    """Finds pictures with their masks, in order of their names, and names everything that does not pair up.

    Raises:
      UserError: a class's folder is missing.
    """
    folder = Path(folder)
    missing = [
        f"{name}/{kind}"
        for name in wanted
        for kind in ("image", "label")
        if not (folder / name / kind).is_dir()
    ]
    if missing:
        raise UserError(
            f"{folder}: no folder(s) {', '.join(missing)}. Expected EBHI-Seg as published: one folder a "
            f"class ({', '.join(wanted)}), each with image/ and label/. Name the folder that holds these"
        )
    slides = _slides_of_index(folder / "index.csv")
    pairs, faults = [], []
    for name in wanted:
        images, masks = _pictures(folder / name / "image"), _pictures(folder / name / "label")
        faults += [f"{images[stem]} has no mask in {name}/label" for stem in sorted(images.keys() - masks)]
        faults += [f"{masks[stem]} has no picture in {name}/image" for stem in sorted(masks.keys() - images)]
        for stem in sorted(images.keys() & masks):
            slide = slides.get((name, images[stem].name)) or slide_of(stem)
            if slide is None:
                faults.append(
                    f"{images[stem]}: the name tells no slide (expected the form GT2012149-1-400-005.png)"
                )
            else:
                pairs.append(Pair(name, images[stem], masks[stem], slide))
    if not pairs and not faults:
        raise UserError(f"{folder}: the class folders hold no pictures")
    return pairs, faults


def slide_of(file_name: str) -> str | None:
    """The slide that a published file name tells, or None where it is of another form."""
    match = _SLIDE.match(file_name)
    return match[1].upper() if match else None


def _slides_of_index(path: Path) -> dict[tuple[str, str], str]:
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {
                (row["class"], row["file"]): row["slide_group"]
                for row in csv.DictReader(file)
                if row["slide_group"]
            }
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected a CSV file with columns class, file, slide_group ({error!r}). Mend it"
        ) from error


def _pictures(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by stem; hidden files and thumbnails' databases are no pictures."""
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff") and path.name[0] != "."
    }


def _read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8[224,224,3] and foreground bool[224,224]; `UserError` with every fault of the two files."""
    image, mask, faults = read_both(pair.image, pair.mask)
    for path, array in ((pair.image, image), (pair.mask, mask)):
        if array is not None and array.shape[:2] != (SIZE, SIZE):
            faults.append(
                f"{path} is {array.shape[0]} x {array.shape[1]}; expected {SIZE} x {SIZE} as published"
            )
    if mask is not None and mask.dtype != np.uint8:
        faults.append(f"{pair.mask} has 16 bits; expected 8")
    elif mask is not None and not (mask > FOREGROUND).any():
        faults.append(f"{pair.mask} has no foreground (no value above {FOREGROUND})")
    if faults or image is None or mask is None:
        raise UserError("\n".join(faults))
    return image, mask > FOREGROUND


def _readable(pairs: list[Pair]) -> tuple[list[Pair], list[str]]:
    """The pairs that can be used, and the faults of the others."""

    def fault(pair: Pair) -> str:
        try:
            _read_pair(pair)
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(track(pool.map(fault, pairs), "reading", total=len(pairs), unit="pictures"))
    good = [pair for pair, fault in zip(pairs, faults, strict=True) if not fault]
    return good, [fault for fault in faults if fault]


def _write_pictures(pairs: list[Pair], out: Path, codes: dict[str, int], size: int) -> None:
    def write(pair: Pair) -> None:
        image, foreground = _read_pair(pair)
        mask = foreground * np.uint8(codes[pair.folder])
        write_png(out / "images" / _name(pair), resized(image, size, Image.Resampling.BILINEAR))
        write_png(out / "masks" / _name(pair), resized(mask, size, Image.Resampling.NEAREST))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in track(pool.map(write, pairs), "resizing", total=len(pairs), unit="pictures"):
            pass


def resized(array: np.ndarray, size: int, how: Image.Resampling) -> np.ndarray:
    """`array` (uint8[H,W] or uint8[H,W,3]) at `size` x `size`."""
    return np.array(Image.fromarray(array).resize((size, size), how))


def _name(pair: Pair) -> str:
    return f"{pair.folder.lower().replace(' ', '-')}/{pair.image.stem}.png"
