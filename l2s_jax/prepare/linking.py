"""A second manifest of the same pictures: hard links to the same files, or copies where those cannot be."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import STAIN, Manifest, PatchRow, write_classes
from l2s_jax.prepare.folders import FILES, RECIPE, STAIN_PICTURE, claim_folder, finish_folder
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file, unwritable
from l2s_jax.system.outputs import read_record, refuse


def places(manifest: Manifest, out: Path) -> dict[Path, Path]:
    """Where each picture and mask goes; those that lie outside the manifest's folder stay where they are.

    Args:
      manifest: whose pictures are linked.
      out: folder of the other manifest.

    Returns:
      The files as the manifest names them, to their places.
    """
    root = root_of(manifest.folder)
    found = {}
    for row in manifest.patches:
        for path in (row.image, row.mask):
            if path is not None:
                name = _inside(root, path)
                found[path] = Path(os.path.abspath(path)) if name is None else out / name
    return found


def _inside(root: Path, path: Path) -> Path | None:
    try:
        name = Path(os.path.relpath(path, root))
    except ValueError:  # another drive
        return None
    return None if ".." in name.parts else name


def require_free(sources: Mapping[Path, Path], made: Iterable[Path], out: Path) -> None:
    """Refuses a folder in which a file of another origin has the name of one that is to come.

    Args:
      sources: from `places`.
      made: files that are to be written beside them.
      out: the folder.

    Raises:
      UserError: naming them; or two pictures that would have one name.
    """
    record = read_record(out, FILES)
    begun = (out / RECIPE).exists() and not record  # an earlier `prepare` did not finish
    reasons = []
    for source, target in sources.items():
        if target.is_relative_to(out) and target.exists():
            name = target.relative_to(out).as_posix()
            if name not in record and not (target.samefile(source) or _same_content(target, source)):
                reasons.append(f"{target} is there and was not made by prepare")
    taken = set(sources.values())
    for path in made:
        if path in taken:
            raise UserError(f"a picture of the manifest is called {path.relative_to(out)}, as a file to come")
        if path.exists() and path.relative_to(out).as_posix() not in record and not begun:
            reasons.append(f"{path} is there and was not made by prepare")
    refuse(reasons)


def _same_content(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and sha256_of_file(one) == sha256_of_file(other)


def link_all(sources: Mapping[Path, Path], out: Path) -> None:
    """Links or copies every file whose place is in `out`."""
    for source, target in sources.items():
        if target.is_relative_to(out):
            link(source, target)


def link(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, or a copy of it on another file system."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source = source.resolve()  # of a link, what it leads to
        if target.exists() and target.samefile(source):
            return
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)
    except OSError as error:
        raise unwritable(target, error) from error


def write_linked(
    found: Manifest, rows: Sequence[PatchRow], out: Path, recipe: dict[str, Any], *, overwrite: bool
) -> None:
    """Writes a manifest of some of another's pictures, with its classes and stain reference.

    Args:
      found: the other.
      rows: with its pictures and masks; all else in them may differ.
      out: folder of the new manifest.
      recipe: what it is made by; see `claim_folder`.
      overwrite: use a folder that holds something else.

    Raises:
      UserError: the folder is the other's own, or cannot be used.
    """
    if out.resolve() == found.folder.resolve():
        raise UserError(f"{out} is the manifest's own folder: choose another")
    sources = places(replace(found, patches=tuple(rows)), out)
    require_free(sources, (), out)
    out = claim_folder(out, recipe, overwrite=overwrite)
    link_all(sources, out)
    for name in (STAIN, STAIN_PICTURE):
        if (found.folder / name).is_file():
            link(found.folder / name, out / name)
    write_classes(out, found.classes)
    finish_folder(out, found.classes, [placed(row, sources) for row in rows])


def placed(row: PatchRow, sources: Mapping[Path, Path]) -> PatchRow:
    """The row with its files in their new places."""
    return replace(row, image=sources[row.image], mask=None if row.mask is None else sources[row.mask])
