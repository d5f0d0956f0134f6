"""What the file of a pretrained encoder says of how it was made. No JAX."""

import json
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from l2s_jax.system.errors import UserError
from l2s_jax.system.values import converted, fits

NOTE = "pretraining"
"""Its key in the file's metadata."""


class Pretraining(NamedTuple):
    """What an encoder has learned from, and all that its file says."""

    groups: tuple[str, ...]  # patients and slides; of pictures without a manifest the files' names
    slides: tuple[str, ...]  # names of the slides' files
    pictures: tuple[str, ...]  # digests of the windows of pictures without a manifest
    side: int  # of a window, pixels
    mpp: float | None  # of a window, um/px; None: not known
    how: dict[str, Any]  # everything, options and figures too


def read_pretraining(path: Path) -> Pretraining | None:
    """How `l2s pretrain` made an encoder; None for a file that it did not make, or of another format.

    Raises:
      UserError: the file says so in a form that it was not written in.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(NOTE)
    except (SafetensorError, OSError):
        return None  # whoever reads its weights says why
    if text is None:
        return None
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        note = None
    hints = {name: hint for name, hint in get_type_hints(Pretraining).items() if name != "how"}
    if not isinstance(note, dict) or not all(fits(note.get(name), hint) for name, hint in hints.items()):
        raise UserError(
            f"{path}: what it says of its pretraining is damaged, so that it is not known which patients it "
            "has learned from. Copy it again from where it came, or pretrain again"
        )
    return Pretraining(how=note, **{name: converted(note.get(name), hint) for name, hint in hints.items()})
