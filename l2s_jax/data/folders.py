"""Output folders of `prepare`: never somebody else's, and finished only when the manifest stands in them."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from l2s_jax import __version__
from l2s_jax.data.manifest import PATCHES
from l2s_jax.data.stain_files import STAIN
from l2s_jax.errors import UserError
from l2s_jax.files import unwritable, write_text

RECIPE = "prepared.toml"
PICTURES = ("images", "masks", "parts")
STAIN_PICTURE = "stain_reference.png"
STAIN_OF_LABELS = "stain_of_labels.json"


def claim_folder(out: str | Path, recipe: dict[str, Any], *, overwrite: bool = False) -> Path:
    """Makes `out` ready for a manifest and writes into it by what it is made (`prepared.toml`).

    A folder with the same recipe is one whose making was interrupted, or is made again: it is used as it is.
    `patches.csv` is taken away at the start and written last, so a folder that has it is complete.

    Args:
      out: the folder.
      recipe: options that decide the content; values that TOML can hold.
      overwrite: use a folder that holds something else. What an earlier `prepare` wrote there is deleted;
        files of other origin stay, unless they have a name that is written.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    out = Path(out)
    recipe = {"version": __version__, **recipe}
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; expected a folder for the manifest. Choose another name")
    if out.is_dir() and any(out.iterdir()) and _recipe_of(out) != recipe:
        if not overwrite:
            raise UserError(
                f"{out} holds other files{_made_as(out)}. Choose an empty folder, or write into it with "
                "--overwrite"
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
    write_text(out / RECIPE, tomli_w.dumps(recipe))
    return out


def _recipe_of(out: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads((out / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _made_as(out: Path) -> str:
    recipe = _recipe_of(out)
    if recipe is None:
        return ""
    return f" (prepared with {', '.join(f'{key}={value!r}' for key, value in recipe.items())})"
