"""Writing that never leaves half a file behind."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.values import clipped

LOCK = ".lock"
PATIENCE = 0.5
"""Seconds to wait for a lock: `is_locked` holds one for a moment."""
PARTIAL = ".partial-"
"""How names of files begin that are being written; a killed process leaves them behind."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; renames it to `path` when the block ends without an exception.

    The temporary name keeps the suffix, since writers choose their format by it. Parent folders are made.

    Raises:
      Unwritable: the folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows brings to the disk only what it may write
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all. Raises `Unwritable` where the folder cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def unwritable(path: Path, error: OSError) -> Unwritable:
    """The message for an output that cannot be written: which path, why, and what to do."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return Unwritable(f"cannot write {path}: a file is where a folder is needed. Choose another folder")
    return Unwritable(
        f"cannot write {path}: {error.strerror or error}. "
        "Nothing that was finished has been lost: free some space or choose another output folder"
    )


def sha256_of_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all. What is not finite becomes null: JSON has no NaN."""
    write_text(path, json_text(content, indent=2) + "\n")


def json_text(content: Any, **options: Any) -> str:
    """JSON that every reader takes: null in the place of NaN and infinity, which only Python reads."""
    return json.dumps(_finite(content), allow_nan=False, **options)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content


def read_json(path: Path) -> Any:
    """Reads JSON. Raises `UserError` naming the file where it cannot."""
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {clipped(error)}") from error


def parse_json(content: bytes) -> Any:
    """JSON as it is. Raises `ValueError` for all that is none, lists without end among them."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("lists or tables are nested too deeply") from error


def remove_leftovers(folder: Path, *, everywhere: bool = False) -> None:
    """Removes what killed processes left half-written in a folder that this process has to itself.

    Args:
      folder: which need not be there.
      everywhere: in the folders in it too.
    """
    for path in folder.glob(f"{'**/' if everywhere else ''}{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a folder. Raises `UserError` at once where one is already in it."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise UserError(
            f"another process is working on {folder}: wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process, this one or another, has a folder to itself; False where that cannot be told."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that can only be read
        return False
    lock.release()
    return False


def cache_folder() -> Path:
    """Folder for downloads and compiled programs: L2S_CACHE, else l2s_jax in the user's cache folder.

    Raises:
      UserError: L2S_CACHE is not set, and the user has no home, as in some containers.
    """
    named = os.environ.get("L2S_CACHE")
    if named:
        return expanded(named)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # a relative one is to be ignored, says the XDG specification
        base = expanded("~/.cache")
    return base / "l2s_jax"


def expanded(path: str | Path) -> Path:
    """A path with `~` replaced by the home folder. Raises `UserError` where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{path}: this user has no home folder here. Set L2S_CACHE to a folder that can be written to, "
            "for weights and compiled programs, and name other folders without ~"
        ) from error
