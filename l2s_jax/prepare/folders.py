"""Output folders of `prepare`: never somebody else's, and finished only when the manifest stands in them."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from l2s_jax import __version__
from l2s_jax.data.manifest import PATCHES, STAIN
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import unwritable, write_text

RECIPE = "prepared.toml"
READING = "reading"
PICTURES = ("images", "masks", "parts")
STAIN_PICTURE = "stain_reference.png"
STAIN_OF_LABELS = "stain_of_labels.json"


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
        files of other origin stay, unless they have a name that is written.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    out = Path(out)
    recipe = {"version": __version__, **recipe}
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; expected a folder for the manifest. Choose another name")
    before = _recipe_of(out)
    if out.is_dir() and any(out.iterdir()) and before != recipe:
        if not overwrite:
            raise UserError(
                f"{out} holds other files{_differences(before, recipe)}. Choose an empty folder, or write "
                "into it with --overwrite"
            )
        if (out / RECIPE).exists():
            for name in PICTURES:
                shutil.rmtree(out / name, ignore_errors=True)
            for name in (STAIN, STAIN_OF_LABELS, STAIN_PICTURE):
                (out / name).unlink(missing_ok=True)
    try:
        (out / PATCHES).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out / PATCHES, error) from error
    write_text(out / RECIPE, tomli_w.dumps(recipe | {READING: reading or {}}))
    return out


def _recipe_of(out: Path) -> dict[str, Any] | None:
    try:
        recipe = tomllib.loads((out / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    recipe.pop(READING, None)
    return recipe


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
