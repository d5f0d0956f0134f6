"""SHA-256 of a folder's files, in a file that `sha256sum -c` reads too: what was damaged is not used.

A changed digit in a mean, a shortened list of patients or a flipped bit in a weight is still a file that can
be read, and would give other figures without a word.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file, write_text

SUMS = "SHA256SUMS"
STRAY = ("Thumbs.db", "desktop.ini")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def note_sum(folder: Path, name: str, content: bytes) -> None:
    """Adds the sum of a file, in place of an earlier one of the same name. One process at a time."""
    sums = read_sums(folder, strict=False) | {name: hashlib.sha256(content).hexdigest()}
    write_sums(folder, sums)


def forget_sum(folder: Path, name: str) -> None:
    """Takes a file's sum out, before the file is replaced. One process at a time."""
    sums = read_sums(folder, strict=False)
    if sums.pop(name, None) is not None:
        write_sums(folder, sums)


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Writes the sums of a folder anew."""
    write_text(folder / SUMS, "".join(f"{sum_}  {name}\n" for name, sum_ in sorted(sums.items())))


def sums_of(folder: Path) -> dict[str, str]:
    """The sums of all files below a folder, by their paths in it with `/`."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: sha256_of_file(folder / name) for name in names if name != SUMS}


def read_sums(folder: Path, *, strict: bool = True) -> dict[str, str]:
    """The sums that a folder was given; none where it was written before there were any.

    Raises:
      UserError: the file is damaged; not where it is not `strict`, which leaves such lines out.
    """
    path = folder / SUMS
    try:
        lines = path.read_bytes().decode("utf-8").split("\n") if path.exists() else [""]
    except (OSError, UnicodeDecodeError) as error:
        if not strict:
            return {}
        raise UserError(f"cannot read {path}: {error}. {_advice(path)}") from error
    found = {match[2]: match[1] for match in map(_LINE.fullmatch, lines) if match}
    if strict and (lines[-1] or len(found) < len(lines) - 1):
        raise UserError(f"{path} is damaged: expected a SHA-256 and a file's name a line. {_advice(path)}")
    return found


def _advice(path: Path) -> str:
    return (
        f"Copy {path.parent} again from where it came; if you are sure of its other files, delete {path.name}"
    )


def without_sum(folder: Path, sums: dict[str, str]) -> list[str]:
    """Files below a folder that have no sum, those of file managers apart."""
    there = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [path.as_posix() for path in there if not path.name.startswith(".") and path.name not in STRAY]
    return sorted(name for name in names if name not in sums and name != SUMS)


def changed(folder: Path, names: Iterable[str], sums: dict[str, str]) -> list[str]:
    """Those files of a folder that are not what their sums say; a missing one among them."""
    wrong = []
    for name in names:
        try:
            same = sha256_of_file(folder / name) == sums[name]
        except OSError:
            same = False
        if not same:
            wrong.append(name)
    return wrong
