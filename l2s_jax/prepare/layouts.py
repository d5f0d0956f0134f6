"""Finding files in downloaded data sets, whose folders people unpack and rename in their own ways."""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from l2s_jax.system.errors import UserError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DEPTH = 4


def require_folder(folder: str | Path) -> Path:
    """The folder as a path. Raises `UserError` where there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that holds the unpacked data set")
    return folder


def folders_named(root: Path, names: Iterable[str]) -> list[Path]:
    """Folders of given names at most `DEPTH` levels below `root` (or itself), the nearest first.

    Names are compared without case, and `_`, `-` and space count as the same.
    """
    wanted = {_plain(name) for name in names}
    return [folder for folder in _walk(root) if _plain(folder.name) in wanted]


def pictures_in(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name; hidden files are none."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "." and path.is_file()
    )


def plain_name(name: str) -> str:
    """A name that is safe as a file name everywhere: letters, digits, `.`, `-` and `_`."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"


def read_pairs(path: str | Path, key: str, value: str) -> dict[str, str]:
    """Two columns of a CSV file as a dict; rows without a value are left out.

    Raises:
      UserError: unreadable, a column missing, or a key that stands twice with different values.
    """
    path = Path(path)
    pairs: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                name, content = (row[key] or "").strip(), (row[value] or "").strip()
                if name and content and pairs.setdefault(name, content) != content:
                    raise UserError(
                        f"{path} line {reader.line_num}: {name} is {content} here and {pairs[name]} above"
                    )
    except KeyError as error:
        raise UserError(f"{path}: column {error} is missing; expected {key},{value}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return pairs


def listed(items: Iterable[object], most: int = 8) -> str:
    """The first few items in words."""
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _walk(root: Path) -> Iterator[Path]:
    level = [root]
    for _ in range(DEPTH + 1):
        yield from level
        level = [Path(entry) for folder in level for entry in sorted(_subfolders(folder))]


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()
