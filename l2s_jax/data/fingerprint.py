"""What the files of a manifest hold, in short: pictures that were exchanged under the same names are noticed.

The manifest's hash is that of its two text files. Where a picture or mask behind it is another one later, a
run that goes on would be of neither.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from l2s_jax.data.manifest import PatchRow
from l2s_jax.system.errors import UserError

PICTURES = "pictures.csv"
COLUMNS = ("image", "mask", "content")
DIGITS = 16
"""Hexadecimal digits of a SHA-256 that are kept: chance does not hit them, and nobody is kept out by them."""

THREADS = 4
SHOWN = 10

Fingerprint = dict[tuple[str, str], str]
"""Names of image and mask, relative to the manifest, to digits that change with a byte of either."""


def fingerprint(rows: Sequence[PatchRow], base: Path) -> Fingerprint:
    """Reads the files of all rows.

    Args:
      rows: of a manifest.
      base: its folder.

    Raises:
      UserError: a file cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        contents = list(pool.map(content_of, ((row.image, row.mask) for row in rows)))
    names = ((relative_name(row.image, base), relative_name(row.mask, base)) for row in rows)
    return dict(zip(names, contents, strict=True))


def relative_name(path: Path | None, base: Path) -> str:
    """How a file is called from a folder, with `/`; as it is where there is no such way, "" without one."""
    if path is None:
        return ""
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def content_of(paths: Iterable[Path | None]) -> str:
    """Digits that change with a byte of any of some files; None stands for one that there is not.

    Raises:
      UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = b"" if path is None else path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:DIGITS]


def fingerprint_text(found: Fingerprint) -> str:
    """The content of `pictures.csv`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*names, content) for names, content in found.items())
    return out.getvalue()


def require_same_pictures(before: Fingerprint, now: Fingerprint, what: str, advice: str) -> None:
    """Refuses pictures or masks that are not those of before. Files that only one of both has do not count.

    Args:
      before: when `what` was begun.
      now: as they are.
      what: the work that goes on.
      advice: what to do.

    Raises:
      UserError: naming the files.
    """
    other = [names for names, content in before.items() if now.get(names, content) != content]
    if other:
        listed = [image + (f" (or {mask})" if mask else "") for image, mask in other[:SHOWN]]
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        raise UserError(
            f"{what} was begun with other pictures or masks, of the same names: {', '.join(listed)}{more}. "
            f"{advice}"
        )
