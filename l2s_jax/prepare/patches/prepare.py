"""`l2s prepare patches`: pictures that somebody has, with their masks and labels, into a manifest."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from l2s_jax.data.classes import Classes
from l2s_jax.data.manifest import Manifest, read_manifest, write_classes
from l2s_jax.figures.drawing import save_figure
from l2s_jax.prepare.folders import FILES, PICTURES, SHEET, claim_folder, finish_folder
from l2s_jax.prepare.patches.classes import classes_of
from l2s_jax.prepare.patches.dealing import deal
from l2s_jax.prepare.patches.files import passed_over
from l2s_jax.prepare.patches.idle import idle
from l2s_jax.prepare.patches.looking import Seen, look_at_all
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.pairing import pair_masks
from l2s_jax.prepare.patches.patients import with_groups
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.prepare.patches.pictures import find_pictures
from l2s_jax.prepare.patches.scales import require_one_scale
from l2s_jax.prepare.patches.sheet import draw_sheet
from l2s_jax.prepare.patches.writing import names_of, write_picture
from l2s_jax.prepare.splits import shares_of
from l2s_jax.slides.annotations.class_names import as_written
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import read_record, refuse
from l2s_jax.system.progress import track
from l2s_jax.system.resources import usable_cores
from l2s_jax.system.texts import listed
from l2s_jax.types import PATCH_MULTIPLE, fits_network

FAULTS_SHOWN = 20


def prepare_patches(
    source: str | Path,
    out: str | Path,
    options: OwnPatchesOptions,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Makes a manifest of pictures that are patches, or become some: masks for some, labels for others.

    Pictures are copied as they are where nothing has to be done to them; masks are written anew, with the
    codes of the classes. The label of a picture with a mask is its own; without one, the class that the mask
    shows beside background where that is one, and what the mask shows stands in the column `allowed`.
    Patches that are cut out of a picture with a label only know which classes can be there: the label's and
    background.

    Args:
      source: a folder of pictures, or a CSV file with the column `image` and any of `mask`, `label`, `group`,
        `split`, `mpp`.
      out: folder that is made. Started again after an interruption, it is made anew.
      options: where masks, labels, patients and splits are found.
      overwrite: use an output folder that holds something else.
      say: receives what was found and decided.

    Raises:
      UserError: nothing is there; masks without a picture or without classes; pictures that cannot be read,
        of which nothing is known, or that are no patches; nothing says whose they are; the output folder
        holds something else or cannot be written.
    """
    source, out = Path(source), Path(out)
    if options.fit and options.patch_size is None:
        raise UserError("--fit needs --patch-size, the side that pictures are brought to")
    if options.patch_size is not None and not fits_network(options.patch_size):
        raise UserError(f"--patch-size {options.patch_size}: expected a multiple of {PATCH_MULTIPLE}")
    if source.is_dir() and out.resolve() in (source.resolve(), *source.resolve().parents):
        raise UserError(f"{out} holds the pictures themselves: choose another folder for the manifest")
    shares_of(options.split)
    told = find_pictures(source, out, options)
    pictures = [replace(one, label=as_written(one.label)) for one in told]
    pictures = pair_masks(pictures, source, out, options)
    _require_elsewhere(pictures, out)
    pictures, found = with_groups(pictures, options)
    made, warnings = classes_of(pictures, options)
    pictures = [replace(one, mpp=options.mpp if one.mpp is None else one.mpp) for one in pictures]
    for line in (*passed_over(source, out), *found, *warnings, *idle(told, pictures, source, options)):
        say(line)
    _require_known(pictures, options)
    seen, faults = look_at_all(pictures, made, options)
    if faults and (not options.skip_faulty or not seen):
        what = "mend them, or leave these pictures out with --skip-faulty" if seen else "nothing is left"
        more = [f"... and {len(faults) - FAULTS_SHOWN} more"] if len(faults) > FAULTS_SHOWN else []
        raise UserError(
            "\n".join(
                [f"{len(faults)} faulty picture(s) in {source}; {what}:", *faults[:FAULTS_SHOWN], *more]
            )
        )
    seen = deal(seen, made.classes, options)
    _require_patches(seen, options)
    if options.patch_size is not None and not options.fit:
        _require_background(seen, made.classes, options.patch_size)
    _require_names_apart(seen, options)
    for line in require_one_scale(seen, made.classes, options):
        say(line)
    _require_own_pictures(out)
    out = claim_folder(out, _recipe(source, options), reading={"left_out": faults}, overwrite=overwrite)
    for name in PICTURES:  # what an earlier start wrote, perhaps of other pictures
        shutil.rmtree(out / name, ignore_errors=True)
    write_classes(out, made.written)
    work = partial(write_picture, out=out, made=made, options=options)
    with ThreadPoolExecutor(usable_cores()) as pool:
        of_pictures = track(pool.map(work, seen), "writing", total=len(seen), unit="pictures")
        rows = [row for of_picture in of_pictures for row in of_picture]
    numbered = [replace(row, line=number + 2) for number, row in enumerate(rows)]
    save_figure(draw_sheet(numbered, made.written), out / SHEET)
    finish_folder(out, made.written, numbered)
    for fault in faults:
        say(f"left out: {fault}")
    say(f"look at {out / SHEET}: do the masks lie on what they are of?")
    return read_manifest(out)


def _require_elsewhere(pictures: Sequence[Picture], out: Path) -> None:
    """Raises where pictures or masks lie in the folder that is made, which is emptied first."""
    there = out.resolve()
    files = (path for one in pictures for path in (one.image, one.mask) if path is not None)
    inside = [path for path in files if path.resolve().is_relative_to(there)]
    if inside:
        raise UserError(
            f"{len(inside)} picture(s) and mask(s) lie in {out}, which is to be made: {listed(inside, 3)}. "
            "Choose another folder"
        )


def _require_names_apart(seen: Sequence[Seen], options: OwnPatchesOptions) -> None:
    """Raises where patches of two pictures would have one name."""
    owners: dict[str, str] = {}
    for one in seen:
        for name in names_of(one, options):
            other = owners.setdefault(name.casefold(), one.picture.name)
            if other != one.picture.name:
                raise UserError(
                    f"a patch of {other} and one of {one.picture.name} would both be called {name}: rename "
                    "one picture"
                )


def _require_own_pictures(out: Path) -> None:
    """Raises where something in the folders of pictures is not of the manifest that was finished there."""
    record = read_record(out, FILES)
    found = (path for name in PICTURES for path in sorted((out / name).rglob("[!.]*")) if path.is_file())
    foreign = [path for path in found if path.relative_to(out).as_posix() not in record] if record else []
    refuse([f"{path} is there and was not made by prepare" for path in foreign])


def _require_known(pictures: Sequence[Picture], options: OwnPatchesOptions) -> None:
    """Raises where nothing is known of pictures, which can be many, unless such are left out."""
    nothing = [one.name for one in pictures if one.mask is None and not one.label]
    if nothing and (not options.skip_faulty or len(nothing) == len(pictures)):
        raise UserError(
            f"{len(nothing)} of {len(pictures)} picture(s) have neither a mask nor a label "
            f"({listed(nothing, 3)}): name the folder of the masks with --masks; say labels with "
            "--label-from folder, or in a CSV file with the columns image,label; or leave such pictures out "
            "with --skip-faulty"
        )


def _require_patches(seen: Sequence[Seen], options: OwnPatchesOptions) -> None:
    """Raises where pictures that are to be trained on as they are can be no patches."""
    if options.patch_size is not None:
        return
    sizes = Counter(one.size for one in seen if one.picture.split == "train")
    size = next(iter(sizes), (PATCH_MULTIPLE, PATCH_MULTIPLE))
    if len(sizes) > 1 or size[0] != size[1] or not fits_network(size[0]):
        shown = listed((f"{n} of {rows} x {cols}" for (rows, cols), n in sizes.most_common()), 5)
        least = min(min(size) for size in sizes) // PATCH_MULTIPLE * PATCH_MULTIPLE
        mend = (
            f"Cut them into patches with --patch-size {min(least, 256)}, or squeeze each into one with "
            f"--patch-size {min(least, 256)} --fit"
            if least
            else f"--patch-size {PATCH_MULTIPLE} --fit brings them to such a size"
        )
        raise UserError(
            f"training pictures are {shown} (height x width): patches are square, all of one size, a "
            f"multiple of {PATCH_MULTIPLE}. {mend}"
        )


def _require_background(seen: Sequence[Seen], classes: Classes, size: int) -> None:
    """Raises where a picture with a label only is to be cut, and no class is background."""
    cut = [
        one.picture.name
        for one in seen
        if one.picture.split == "train" and one.picture.mask is None and one.size != (size, size)
    ]
    if cut and classes.background is None:
        raise UserError(
            f"{len(cut)} picture(s) with a label only are to be cut ({listed(cut, 3)}): what else a part can "
            "show must be a class too. Name the background with --background NAME (or in classes.toml), or "
            "squeeze pictures with --fit"
        )


def _recipe(source: Path, options: OwnPatchesOptions) -> dict[str, Any]:
    """By what the folder is made, as TOML can hold it."""
    values = {name: value for name, value in asdict(options).items() if value is not None}
    values = {
        name: str(value.resolve())
        if isinstance(value, Path)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }
    return {"what": "patches", "source": str(source.resolve()), **values}
