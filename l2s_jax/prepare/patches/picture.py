"""A picture, and the words by which folders say what is in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from l2s_jax.types import Split

PASSED_OVER = ("image", "images", "img", "imgs", "picture", "pictures", "patch", "patches", "tiles")
"""Folders whose names say what is in them, and not of which class or patient it is."""

SPLIT_NAMES: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Picture:
    """A picture, and what is said of it outside its file."""

    name: str  # its path from the folder that holds all of them, with / and suffix; unique
    image: Path
    mask: Path | None = None
    label: str = ""  # name of a class
    group: str = ""
    split: Split | None = None
    mpp: float | None = None

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return PurePosixPath(self.name).with_suffix("").as_posix()
