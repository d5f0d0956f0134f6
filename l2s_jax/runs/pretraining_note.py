"""What the file of a pretrained encoder says of how it was made. No JAX."""

import json
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import UserError

NOTE = "pretraining"
"""Its key in the file's metadata."""


def read_pretraining(path: Path) -> dict[str, Any] | None:
    """How `l2s pretrain` made an encoder; None for a file that it did not make, or of another format.

    Its `groups` are the patients and slides that the encoder has learned from.

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
    groups = note.get("groups") if isinstance(note, dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise UserError(
            f"{path}: what it says of its pretraining is damaged, so that it is not known which patients it "
            "has learned from. Copy it again from where it came, or pretrain again"
        )
    return dict(note)
