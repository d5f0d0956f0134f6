"""Output folders of `prepare`: never somebody else's, and finished only when the manifest stands in them."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from l2s_jax import __version__
from l2s_jax.data.folds import FOLDS
from l2s_jax.data.manifest import CLASSES, PATCHES, STAIN, Classes, PatchRow, write_patches
from l2s_jax.system.children import require_main_guard
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import LOCK, PARTIAL, remove_leftovers, sha256_of_file, unwritable, write_text
from l2s_jax.system.outputs import Source, note_made, read_record, refuse
from l2s_jax.system.toml import parse_table

RECIPE = "prepared.toml"
FILES = "prepared_files.jsonl"
"""What was written, with SHA-256: in a folder that has it, `prepare` has finished."""

READING = "reading"
PICTURES = ("images", "masks")
FOLDERS = (*PICTURES, "parts")  # what is known of a slide that is finished; only `prepare` needs it
STAIN_PICTURE = "stain_reference.png"
STAIN_OF_LABELS = "stain_of_labels.json"
EXAMPLES = ("example.png", "example_mask.png")
QUALITY_TABLE, QUALITY_PAGE = "quality.csv", "quality.html"
QUALITY = (QUALITY_TABLE, QUALITY_PAGE)
SHEET = "patches.png"
SINGLE = (CLASSES, STAIN, STAIN_OF_LABELS, STAIN_PICTURE, *EXAMPLES, *QUALITY, SHEET)


def claim_folder(
    out: str | Path,
    recipe: dict[str, Any],
    *,
    reading: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Makes `out` ready for a manifest and writes into it by what it is made (`prepared.toml`).

    A folder with the same recipe is one whose making was interrupted, or is made again: it is used as it is.
    `patches.csv` is taken away at the start and written last, so a folder that has it is complete.

    Args:
      out: the folder.
      recipe: options that decide the content; values that TOML can hold.
      reading: options that were added for sources that could not be read without them. They are written down
        too, but others than before do not make it another folder.
      overwrite: use a folder that holds something else. What an earlier `prepare` wrote there is deleted;
        files of other origin stay.

    Raises:
      UserError: the folder holds something else, files that would be written over and are not of `prepare`
        or were changed since, or it cannot be written.
    """
    require_main_guard()
    out = Path(out)
    recipe = {"version": __version__, **recipe}
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; expected a folder for the manifest. Choose another name")
    before = _recipe_of(out)
    if out.is_dir() and before != recipe and not overwrite and any(map(_is_content, out.iterdir())):
        raise UserError(
            f"{out} holds other files{_differences(before, recipe)}. Choose an empty folder, or write into "
            "it with --overwrite"
        )
    try:
        remove_leftovers(out, everywhere=True)
        _clear(out, again=before == recipe)
    except OSError as error:
        raise unwritable(out, error) from error
    write_text(out / RECIPE, tomli_w.dumps(recipe | {READING: reading or {}}))
    return out


def release_folder(out: Path) -> None:
    """Takes back `claim_folder` where nothing has been made yet, so that other options can be tried."""
    if not any((out / "parts").glob("*.json")):
        for name in (RECIPE, *SINGLE):  # others of these names would have been refused
            (out / name).unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)
        with contextlib.suppress(OSError):  # something else is in it
            out.rmdir()


def finish_folder(out: Path, classes: Classes, rows: Sequence[PatchRow]) -> None:
    """Writes the manifest of a folder that is otherwise complete, and down what has been written."""
    files = {file for row in rows for file in (row.image, row.mask) if file is not None}
    files |= {*_files(out, PICTURES), *(out / name for name in SINGLE if (out / name).is_file())}
    source = (Source("prepare"),)
    sums = {path.relative_to(out).as_posix(): sha256_of_file(path) for path in sorted(files)}
    note_made(out, sums, source, record=FILES)
    write_patches(out, classes, rows)
    note_made(out, {PATCHES: sha256_of_file(out / PATCHES)}, source, record=FILES)


def _clear(out: Path, *, again: bool) -> None:
    """Takes away the manifest, and all that an earlier `prepare` wrote unless the same is made again.

    Raises:
      UserError: something of another origin, or changed since, would be lost; then all stays as it is.
    """
    record = read_record(out, FILES)
    changed = [
        out / name
        for name, entries in record.items()
        if (out / name).is_file() and sha256_of_file(out / name) not in {made.sha256 for made in entries}
    ]
    refuse([f"{path} was changed since prepare made it" for path in changed])
    single = [out / name for name in (*SINGLE, PATCHES, FOLDS) if (out / name).exists()]
    # An earlier `prepare` that did not finish wrote all that is in its folders: it began with none.
    begun = (out / RECIPE).exists()
    foreign = [
        path
        for path in (*single, *_files(out, PICTURES if begun else FOLDERS))
        if path.relative_to(out).as_posix() not in record and (record or not begun)
    ]
    if not again:
        refuse([f"{path} is there and was not made by prepare" for path in foreign])
        for path in (*(out / name for name in record), *single):
            path.unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)
        for folder in {(out / name).parent for name in record} - {out}:
            with contextlib.suppress(OSError):  # it is gone, or holds something else
                folder.rmdir()
    for name in (PATCHES, FOLDS, *QUALITY):
        (out / name).unlink(missing_ok=True)
    (out / FILES).unlink(missing_ok=True)


def _is_content(path: Path) -> bool:
    """Whether a file is worth anything: what a killed process left half-written, or its lock, is not."""
    return not path.name.startswith(PARTIAL) and path.name != LOCK


def _files(out: Path, folders: Sequence[str]) -> list[Path]:
    """The files in some folders, without what a killed process was writing."""
    files = (path for name in folders for path in (out / name).rglob("*") if path.is_file())
    return [path for path in files if not path.name.startswith(PARTIAL)]


def _recipe_of(out: Path) -> dict[str, Any] | None:
    try:
        recipe = parse_table((out / RECIPE).read_bytes(), out / RECIPE)
    except (OSError, UserError):
        return None
    recipe.pop(READING, None)
    return recipe


def reading_of(out: Path) -> dict[str, Any]:
    """What `claim_folder` was given as `reading` when the folder was made; empty for any other folder."""
    try:
        reading = parse_table((out / RECIPE).read_bytes(), out / RECIPE).get(READING)
    except (OSError, UserError):
        return {}
    return reading if isinstance(reading, dict) else {}


def _differences(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """What two recipes differ in, in words."""
    if before is None:
        return ""
    old, new = _flat(before), _flat(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    said = ", ".join(f"{name} {old.get(name)!r}, now {new.get(name)!r}" for name in names[:8])
    return f" (prepared with {said}{' and more' if len(names) > 8 else ''})"


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
