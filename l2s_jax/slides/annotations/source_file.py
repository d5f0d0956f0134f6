"""Opening an annotation file from an untrusted source, packed with gzip or not."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from l2s_jax.slides.annotations import types
from l2s_jax.system.errors import UserError

_GZIP = b"\x1f\x8b"


class _Unpacked:
    """A gzip stream that stops where more comes out than a file may hold."""

    def __init__(self, file: gzip.GzipFile, path: Path):
        self.file, self.path = file, path

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        if self.file.tell() > types.MAX_FILE_BYTES:
            raise too_large(self.path, "unpacks to more than")
        return data

    def seek(self, place: int) -> int:
        return self.file.seek(place)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """An open annotation file, unpacked while it is read; only `read(size)` and `seek(0)` are to be used.

    Raises:
      UserError: it cannot be read or unpacked, or holds more than `types.MAX_FILE_BYTES`.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as inner:
                    yield cast(Any, _Unpacked(inner, path))
            else:
                if path.stat().st_size > types.MAX_FILE_BYTES:
                    raise too_large(path, "has more than")
                yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}). It may be cut off: copy it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def too_large(path: Path, how: str) -> UserError:
    """The refusal of a file beyond `types.MAX_FILE_BYTES`."""
    return UserError(
        f"{path} {how} {types.MAX_FILE_BYTES // 2**20} MB. Export annotations only (no cells or detections), "
        "or split the file"
    )
