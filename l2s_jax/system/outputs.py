"""Output files that are never written over a file of other origin.

Every folder of outputs has a record, `outputs.jsonl`: a line for each file that was made in it, with the
file's SHA-256 and what it was made from. A file may be replaced only where the record proves that it was made
here, from nothing but what its successor is made from, and that nobody has changed it since. All else (a
drawing of the same name, a corrected outline, the output for another input) is refused.

Outputs are written into a folder of their own beside their place, noted in the record, and then moved. A
process that is killed in between leaves files that the record knows.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.files import PARTIAL, sha256_of_file, unwritable

RECORD = "outputs.jsonl"
LARGE = 2**28
"""Bytes above which a source is told by its size and samples of it: slides are too large to read twice."""

SHOWN = 10

STAGE_LOCK = "stage.lock"
ABANDONED_S = 3600.0
JUST_MADE_S = 1.0
"""A folder as new as that may be one whose process has not locked it yet."""


class Source(NamedTuple):
    """What an output is made from: a file, a folder, or in words what else decides which output it is."""

    name: str  # the absolute path of a file or folder, or a relative one from the outputs upwards
    digest: str = ""  # of a file's content; "" where it is not told by that


class Made(NamedTuple):
    """An entry of the record."""

    sha256: str
    sources: tuple[Source, ...]
    key: str  # of the options and the network, where the maker tells them


Record = Mapping[str, Sequence[Made]]
"""File name, relative to the folder and with /, to its entries, the oldest first."""


def source_of(path: str | Path, *, outputs: Path | None = None, digest: bool = False) -> Source:
    """A file or folder as a source.

    Args:
      path: the file or folder.
      outputs: the folder of outputs. Where it lies inside `path`, both can be moved together.
      digest: know a file again, by its content, where it was moved.
    """
    path = Path(path).resolve()
    name = str(path)
    if outputs is not None and outputs.resolve().is_relative_to(path):
        name = os.path.relpath(path, outputs.resolve())
    return Source(name, content_digest(path) if digest and path.is_file() else "")


def content_digest(path: Path) -> str:
    """SHA-256 of a file's content; of its size and of 18 samples where it is larger than `LARGE`."""
    size = path.stat().st_size
    if size <= LARGE:
        return sha256_of_file(path)
    digest, sample = hashlib.sha256(str(size).encode()), 2**20
    with path.open("rb") as file:
        for number in range(18):
            file.seek(max(0, size - sample) * number // 17)
            digest.update(file.read(sample))
    return f"sampled {digest.hexdigest()}"


def read_record(folder: Path, name: str = RECORD) -> Record:
    """What was made in a folder; empty without a record. Lines that are damaged prove nothing."""
    found: dict[str, list[Made]] = {}
    try:
        lines = (folder / name).read_bytes().split(b"\n")
    except OSError:
        return found
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = json.loads(line)
            sources = tuple(Source(str(path), str(digest)) for path, digest in entry["from"])
            made = Made(str(entry["sha256"]), sources, str(entry["key"]))
            file = PurePosixPath(entry["file"])
            if not file.is_absolute() and ".." not in file.parts:
                found.setdefault(str(file), []).append(made)
    return found


def made_here(path: Path) -> bool:
    """Whether a file is, unchanged, one that the record of its folder names."""
    entries = read_record(path.parent).get(path.name, ())
    return bool(entries) and path.is_file() and sha256_of_file(path) in {made.sha256 for made in entries}


class Refusal(NamedTuple):
    """Why a file may not be replaced."""

    text: str
    changed: bool  # it was made here for this, and somebody has changed it since


def refusal(folder: Path, name: str, sources: Sequence[Source], record: Record) -> Refusal | None:
    """Why `name` in `folder` may not be replaced by something made from `sources`; None where it may."""
    path = folder / name
    if not os.path.lexists(path):
        return None
    entries = record.get(name, ())
    if not entries or not path.is_file():
        return Refusal(f"{path} is there and was not made by l2s (not in {folder / RECORD})", False)
    others = [source for source in entries[-1].sources if not _among(source, sources)]
    if others:
        now = ", ".join(_shown(source, folder) for source in sources)
        before = _shown(others[0], folder)
        text = f"{path} was made from {before}, and would be replaced by what is made from {now}"
        return Refusal(text, False)
    if sha256_of_file(path) not in {made.sha256 for made in entries}:
        return Refusal(f"{path} was changed since l2s made it", True)
    return None


def _shown(source: Source, folder: Path) -> str:
    """The name of a source as people know it: one that counts from `folder` is looked up there."""
    return os.path.normpath(folder / source.name) if source.name.startswith("..") else source.name


def _among(source: Source, sources: Sequence[Source]) -> bool:
    return any(
        source.name == other.name or (source.digest != "" and source.digest == other.digest)
        for other in sources
    )


def require_replaceable(folder: Path, names: Iterable[str], sources: Sequence[Source]) -> None:
    """Raises `UserError` where one of the files may not be replaced; ask before anything is computed."""
    there = [name for name in names if os.path.lexists(folder / name)]
    record = read_record(folder) if there else {}
    found = (refusal(folder, name, sources, record) for name in there)
    refuse([one.text for one in found if one is not None])


def refuse_foreign(outputs: Mapping[Path, Iterable[Path]]) -> None:
    """Refuses inputs whose outputs would replace files of other origin or of another input.

    Outputs that were changed since they were made are not asked about.

    Args:
      outputs: input to the files that are made from it.

    Raises:
      UserError: lists them.
    """
    records: dict[Path, Record] = {}
    reasons = []
    for path, files in outputs.items():
        there = [file for file in files if os.path.lexists(file)]
        sources = (source_of(path, digest=True),) if there else ()
        for file in there:
            if file.parent not in records:
                records[file.parent] = read_record(file.parent)
            record = records[file.parent]
            found = refusal(file.parent, file.name, sources, record)
            if found is not None and not found.changed:
                reasons.append(found.text)
    refuse(reasons)


def refuse(reasons: Sequence[str]) -> None:
    """Raises `UserError` where there is a reason."""
    if reasons:
        what = f"{len(reasons)} file(s) would be written over"
        raise UserError(_listing(f"{what}. Choose another output folder, or move them away:", reasons))


def _listing(head: str, reasons: Sequence[str]) -> str:
    left_out = len(reasons) - SHOWN
    more = [f"... and {left_out} more"] if left_out > 0 else []
    return "\n  ".join([head, *reasons[:SHOWN], *more])


def require_apart(outputs: Mapping[Path, Iterable[Path]]) -> None:
    """Refuses inputs that would be written to one file, or over one of the inputs.

    Args:
      outputs: input to the files that are made from it.

    Raises:
      UserError: names both inputs, and what to do.
    """
    folders = {path.parent for paths in outputs.values() for path in paths}
    folds = {folder: _folds_names(folder) for folder in folders}
    inputs = {_name_of(path.resolve(), True): path for path in outputs}
    first: dict[str, Path] = {}
    reasons = []
    for source, paths in outputs.items():
        for path in paths:
            other = first.setdefault(_name_of(path, folds[path.parent]), source)
            if other != source:
                reasons.append(f"{other} and {source}: both would be written to {path}")
                break
            over = inputs.get(_name_of(path.resolve(), True))
            if over is not None and os.path.lexists(path) and path.samefile(over):
                reasons.append(f"{source}: its output would be written over {over}, which is an input")
                break
    if reasons:
        head = (
            "outputs are named after inputs, and names meet. Rename one of the two, or call twice with an "
            "output folder for each:"
        )
        raise UserError(_listing(head, reasons))


def _name_of(path: Path, folds: bool) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold() if folds else str(path)


def _folds_names(folder: Path) -> bool:
    """Whether `a` and `A` are one file in a folder, or in the nearest one above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=".partial-a", dir=folder) as file:
            return os.path.lexists(Path(file.name).with_name(Path(file.name).name.swapcase()))
    except OSError:
        return False


@contextlib.contextmanager
def publishing(
    folder: Path,
    sources: Sequence[Source],
    *,
    key: str = "",
    last: Sequence[str] = (),
    instead_of: Sequence[str] = (),
    anew: Sequence[str] = (),
) -> Iterator[Path]:
    """Gives a folder to write into; moves what it holds into `folder` when the block ends well.

    All files are looked at before the first is moved: either all may be replaced, or none is.

    Args:
      folder: where the files go; made where it does not exist.
      sources: what they are made from.
      key: of the options and the network, noted in the record.
      last: names of files that speak of the others: taken away first, and moved last.
      instead_of: names of files that an earlier call may have made from the same sources. Those of another
        key would be taken for a part of what is written now: they are taken away, where nobody has changed
        them since.
      anew: folders in `folder` that hold only what this call puts there: what an earlier call made in them
        from the same sources is taken away, where nobody has changed it since.

    Raises:
      UserError: one of them would replace a file that it may not replace, or the folder cannot be written.
    """
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead_stages(folder)
        stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
        lock = FileLock(stage / STAGE_LOCK)
        lock.acquire()
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield stage
        try:
            _move(stage, folder, sources, key, last, instead_of, anew)
        except OSError as error:
            raise unwritable(folder, error) from error
    except Unwritable as error:  # people know the folder, not the one that it stands in for
        raise Unwritable(str(error).replace(str(stage), str(folder))) from error
    finally:
        lock.release()
        shutil.rmtree(stage, ignore_errors=True)


def remove_dead_stages(folder: Path) -> None:
    """Removes what killed processes left that were publishing into a folder; what others are writing stays.

    A process holds a lock in its own stage, which is free when it has ended. A single file has none: it is
    one that nobody has touched for an hour. A command that finds its outputs finished publishes nothing, so
    it calls this by itself.
    """
    from filelock import FileLock, Timeout

    for stage in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError, Timeout):
            age = time.time() - stage.lstat().st_mtime
            if stage.is_file() and not stage.is_symlink() and age > ABANDONED_S:
                stage.unlink()
            if stage.is_symlink() or not (stage / STAGE_LOCK).is_file() or age < JUST_MADE_S:
                continue
            with FileLock(stage / STAGE_LOCK).acquire(timeout=0):
                pass
            shutil.rmtree(stage)


def _take_away(
    folder: Path,
    made: Collection[str],
    sources: Sequence[Source],
    key: str,
    instead_of: Sequence[str],
    anew: Sequence[str],
) -> None:
    """Removes what was made from the same sources, is as it was made, and would be taken for new."""
    record = read_record(folder) if instead_of or anew else {}
    old = {name for name in instead_of if name in record and record[name][-1].key != key}
    old |= {name for name in record if name.startswith(tuple(f"{each}/" for each in anew))}
    for name in sorted(old.difference(made)):
        if refusal(folder, name, sources, record) is None:
            (folder / name).unlink(missing_ok=True)


def _move(
    stage: Path,
    folder: Path,
    sources: Sequence[Source],
    key: str,
    last: Sequence[str],
    instead_of: Sequence[str],
    anew: Sequence[str],
) -> None:
    names = sorted(
        path.relative_to(stage).as_posix()
        for path in stage.rglob("*")
        if path.is_file() and path.name != STAGE_LOCK
    )
    require_replaceable(folder, names, sources)
    note_made(folder, {name: sha256_of_file(stage / name) for name in names}, sources, key)
    for name in last:
        (folder / name).unlink(missing_ok=True)
    _take_away(folder, names, sources, key, instead_of, anew)
    for name in sorted(names, key=lambda name: name in last):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(stage / name, folder / name)


def note_made(
    folder: Path, sums: Mapping[str, str], sources: Sequence[Source], key: str = "", record: str = RECORD
) -> None:
    """Adds files to a folder's record, on the disk before they are: name to SHA-256."""
    from filelock import FileLock

    entries: list[dict[str, Any]] = [
        {"file": name, "sha256": sha256, "from": [list(source) for source in sources], "key": key}
        for name, sha256 in sums.items()
    ]
    text = "".join(json.dumps(entry, ensure_ascii=True) + "\n" for entry in entries)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{record}.lock"), (folder / record).open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a line that was cut off stays one that proves nothing
                    file.write(b"\n")
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(folder / record, error) from error


def require_own_table(path: Path, columns: Sequence[str]) -> None:
    """Refuses a table that gains rows where it was not begun here, or has other columns.

    Rows of it may have been changed: only those of the inputs at hand are replaced.

    Raises:
      UserError: says which, and what to do.
    """
    if not os.path.lexists(path):
        return
    if not read_record(path.parent).get(path.name):
        refuse([f"{path} is there and was not made by l2s (not in {path.parent / RECORD})"])
    import csv

    try:
        with path.open(newline="", encoding="utf-8") as file:
            there = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}. Move it away") from error
    if there != list(columns):
        raise UserError(
            f"{path} has other columns, {', '.join(there)}: it is of another run or version, or was changed. "
            "Move it away or choose another output folder"
        )


def begin_table(path: Path) -> None:
    """Notes a table that gains rows, before its first one."""
    if not os.path.lexists(path) and not read_record(path.parent).get(path.name):
        note_made(path.parent, {path.name: ""}, ())
