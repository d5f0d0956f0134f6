"""The features of a JSON file one after the other, whatever the size of the file.

Python's own decoder reads each value from a buffer: QuPath writes measurements that are NaN, which ijson and
its C parser refuse as no JSON.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from l2s_jax.system.errors import UserError

BLOCK = 2**20
MAX_VALUE = 32 * 2**20
"""Characters of one feature, or of one member beside the features; the worst of this size takes 1 GB."""

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


class _Text:
    """A window on the file's text, with the place of what comes next."""

    def __init__(self, file: IO[bytes]):
        start = file.read(BLOCK)
        self.file, self.ended = file, not start
        encoding = "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else json.detect_encoding(start)
        self.decode = codecs.getincrementaldecoder(encoding)().decode
        self.text, self.at, self.gone = self.decode(start), 0, 0

    def more(self) -> bool:
        """Reads on, twice as much as is left; False at the end of the file."""
        if self.ended:
            return False
        data = self.file.read(max(BLOCK, len(self.text) - self.at))
        self.ended = not data
        self.gone += self.at
        self.text, self.at = self.text[self.at :] + self.decode(data, self.ended), 0
        return True

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            raise ValueError(f"expected {expected!r} at character {self.gone + self.at}")
        self.at += 1

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except ValueError:
                if len(self.text) - self.at > MAX_VALUE or not self.more():
                    raise
                continue
            # A number at the end of the window may go on.
            if end < len(self.text) or not self.more():
                self.at = end
                return value

    def items(self) -> Iterator[Any]:
        """The items of the array that comes next."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != ",":
                break
            self.at += 1
        self.take("]")


def json_features(file: IO[bytes], path: Path) -> Iterator[Any]:
    """Yields the items of an array, or of an object's member `features`; or an object without one.

    Memory is that of the largest item, which has at most `MAX_VALUE` characters.

    Raises:
      UserError: no JSON.
    """
    try:
        text = _Text(file)
        if text.peek() == "[":
            yield from text.items()
        else:
            yield from _of_object(text)
        if text.peek():
            raise ValueError(f"more after the end at character {text.gone + text.at}")
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}). It may be cut off: export the annotations again"
        ) from error


def _of_object(text: _Text) -> Iterator[Any]:
    text.take("{")
    members: dict[str, Any] = {}
    streamed = False
    while text.peek() != "}":
        name = text.value()
        if not isinstance(name, str):
            raise ValueError(f"a member's name is no text at character {text.gone + text.at}")
        text.take(":")
        if name == "features" and text.peek() == "[":
            streamed = True
            yield from text.items()
        else:
            members[name] = text.value()
        if text.peek() != ",":
            break
        text.at += 1
    text.take("}")
    if not streamed:
        yield members
