"""WSSS4LUAD (Han et al. 2022): its pictures with masks into a manifest whose labels are sets of classes.

Layout: `img/<name>.png` with `mask/<name>.png` of the same size, any size, several classes in a picture. The
masks hold 0 tumour epithelium, 1 tumour-associated stroma, 2 normal tissue, 3 white background: the empty
slide, so that all tissue belongs to a class. The names tell no patient: a picture is taken for a group, and
figures are optimistic for that. The scale is not published with the files and is left open.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.manifest import Classes, Manifest, PatchRow, read_manifest, write_classes
from l2s_jax.data.pictures import read_both, write_png
from l2s_jax.prepare.folders import claim_folder, finish_folder
from l2s_jax.prepare.splits import FREE, SPLIT_FRACTIONS, assigned
from l2s_jax.system.chance import generator
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.ranges import require_seed
from l2s_jax.system.resources import usable_cores
from l2s_jax.types import IGNORE_LABEL, PATCH_MULTIPLE, SPLITS, Split, fits_network

CLASSES = Classes(
    names=("tumour epithelium", "tumour-associated stroma", "normal tissue", "background"),
    colours=((200, 50, 60), (76, 153, 76), (70, 110, 200), (255, 255, 255)),
    pixel_values=(0, 1, 2, 3),
    background=3,
    ignore_value=255,
)
FOLDERS = ("img", "mask")
KNOWN = {*CLASSES.pixel_values, CLASSES.ignore_value}
"""What masks may hold."""


class Pair(NamedTuple):
    """A picture and its mask as published."""

    image: Path
    mask: Path


class Tile(NamedTuple):
    """What a manifest's row is made of: a part of a picture, or all of it."""

    name: str
    image: np.ndarray  # uint8[H,W,3]
    mask: np.ndarray  # uint8[H,W], class codes


def prepare_wsss4luad(
    folder: str | Path,
    out: str | Path,
    *,
    patch_size: int = 128,
    seed: int = 0,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Cuts the training pictures into patches and writes a manifest, split 50/25/25 by picture.

    A patch's label is the set of the classes that its mask shows (column `allowed`), and a class where that
    is one beside background. Patches do not overlap and lie centred in their picture; what is left at its
    rim is not learned. Pictures of val and test stay whole.

    Args:
      folder: the data set, with the folders img and mask.
      out: folder that is made. Started again after an interruption, it is made anew.
      patch_size: height and width in pixels, a multiple of 16.
      seed: of the split.
      skip_faulty: leave faulty pictures out instead of stopping at them; `prepared.toml` then lists them.
      overwrite: use an output folder that holds something else.

    Raises:
      UserError: naming everything that is missing, unpaired, unreadable, too small or of another size than
        its mask; or the output folder holds something else or cannot be written.
    """
    require_seed(seed)
    if not fits_network(patch_size):
        raise UserError(f"patch_size {patch_size}: expected a multiple of {PATCH_MULTIPLE}")
    pairs, faults = find_pairs(folder)
    held, unreadable = _pixels_held(pairs, patch_size)
    faults += unreadable
    if faults and (not skip_faulty or not held):
        what = "mend them, or leave these pictures out with --skip-faulty" if held else "nothing is left"
        raise UserError("\n".join([f"{len(faults)} faulty picture(s) in {folder}; {what}:", *faults]))
    recipe: dict[str, Any] = {
        "what": "wsss4luad",
        "source": str(Path(folder).resolve()),
        "patch_size": patch_size,
    }
    recipe |= {"seed": seed, "left_out": faults}
    out = claim_folder(out, recipe, overwrite=overwrite)
    splits = _splits(np.stack(list(held.values())), seed)
    write_classes(out, CLASSES)

    def write(pair: Pair, split: Split) -> list[PatchRow]:
        return [_written(tile, pair, split, out) for tile in _tiles(pair, split, patch_size)]

    with ThreadPoolExecutor(usable_cores()) as pool:
        work = pool.map(write, held, splits)
        written = list(track(work, "cutting", total=len(held), unit="pictures"))
    rows = [row for of_picture in written for row in of_picture]
    finish_folder(out, CLASSES, [replace(row, line=number + 2) for number, row in enumerate(rows)])
    return read_manifest(out)


def find_pairs(folder: str | Path) -> tuple[list[Pair], list[str]]:
    """Finds pictures with their masks, in order of their names, and names everything that does not pair up.

    Raises:
      UserError: a folder is missing, or both are empty.
    """
    folder = Path(folder)
    missing = [name for name in FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise UserError(
            f"{folder}: no folder(s) {', '.join(missing)}. Expected pictures of WSSS4LUAD with masks, as "
            "in its validation part: img/ and mask/ with PNG files of the same names. Name the folder that "
            "holds both"
        )
    images, masks = ({path.name: path for path in _pictures(folder / name)} for name in FOLDERS)
    faults = [f"{images[name]} has no mask in mask/" for name in sorted(images.keys() - masks)]
    faults += [f"{masks[name]} has no picture in img/" for name in sorted(masks.keys() - images)]
    pairs = [Pair(images[name], masks[name]) for name in sorted(images.keys() & masks)]
    if not pairs and not faults:
        raise UserError(f"{folder}: img/ and mask/ hold no PNG files")
    return pairs, faults


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.name[0] != "."]


def _pixels_held(pairs: list[Pair], patch_size: int) -> tuple[dict[Pair, np.ndarray], list[str]]:
    """Pixels of each class f64[C] of each usable picture, and the faults of the others."""

    def read(pair: Pair) -> np.ndarray | str:
        try:
            mask = _read_pair(pair, patch_size)[1]
        except UserError as error:
            return str(error)
        return np.bincount(mask.reshape(-1), minlength=256)[: len(CLASSES)].astype(float)

    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(track(pool.map(read, pairs), "reading", total=len(pairs), unit="pictures"))
    each = list(zip(pairs, found, strict=True))
    good = {pair: pixels for pair, pixels in each if not isinstance(pixels, str)}
    return good, [fault for _, fault in each if isinstance(fault, str)]


def _splits(pixels: np.ndarray, seed: int) -> list[Split]:
    """The split of each picture, so that each has its share of the pixels f64[N,C] of each class.

    Raises:
      UserError: there are fewer pictures than splits.
    """
    if len(pixels) < len(SPLITS):
        raise UserError(f"{len(pixels)} picture(s) cannot be split into {', '.join(SPLITS)}")
    counts = np.column_stack([pixels, np.maximum(pixels.sum(1), 1)])
    free = np.full(len(counts), FREE)
    where = assigned(counts, np.array(SPLIT_FRACTIONS), generator(seed), free)
    return [SPLITS[number] for number in where]


def _read_pair(pair: Pair, patch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8[H,W,3] and mask uint8[H,W]; `UserError` with every fault of the two files."""
    image, mask, faults = read_both(pair.image, pair.mask)
    if image is not None and min(image.shape[:2]) < patch_size:
        faults.append(f"{pair.image} is {_size(image)}; expected {patch_size} pixels a side at least")
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        faults.append(f"{pair.mask} is {_size(mask)}, its picture {_size(image)}")
    others = [] if mask is None else sorted({*np.unique(mask).tolist()} - KNOWN)
    if others:
        said = ", ".join(map(str, others[:5]))
        faults.append(f"{pair.mask} holds the value(s) {said}; expected 0 to 3, as published")
    if faults or image is None or mask is None:
        raise UserError("\n".join(faults))
    return image, mask.astype(np.uint8)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _tiles(pair: Pair, split: Split, size: int) -> Iterator[Tile]:
    """The whole picture where it is judged, else the patches that fit into it side by side."""
    image, mask = _read_pair(pair, size)
    if split != "train":
        yield Tile(pair.image.stem, image, mask)
        return
    top, left = ((length % size) // 2 for length in mask.shape)
    for row in range(top, mask.shape[0] - size + 1, size):
        for column in range(left, mask.shape[1] - size + 1, size):
            place = (slice(row, row + size), slice(column, column + size))
            yield Tile(f"{pair.image.stem}_{row}_{column}", image[place], mask[place])


def _written(tile: Tile, pair: Pair, split: Split, out: Path) -> PatchRow:
    """Writes the pictures of a row, and gives the row."""
    image, mask = (out / kind / split / f"{tile.name}.png" for kind in ("images", "masks"))
    write_png(image, tile.image)
    write_png(mask, tile.mask)
    held = tuple(int(code) for code in np.unique(tile.mask) if code != CLASSES.ignore_value)
    beside = [code for code in held if code != CLASSES.background] or list(held)
    return PatchRow(
        line=0,
        image=image,
        mask=mask,
        label=beside[0] if len(beside) == 1 else IGNORE_LABEL,
        group=pair.image.stem,
        split=split,
        source=f"WSSS4LUAD {pair.image.name}",
        allowed=held,
    )
