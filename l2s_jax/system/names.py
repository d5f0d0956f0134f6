"""Names of files that can stand in text: tables, records and pages are UTF-8."""

from collections.abc import Iterable
from pathlib import Path


def without_unnameable(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The files whose names are UTF-8, and a message for each of the others.

    A disk can hold any bytes as a name, and Python keeps those that are no UTF-8 as lone surrogates, which no
    file of text can hold.
    """
    nameable, refused = [], []
    for path in paths:
        if is_text(path.name):
            nameable.append(path)
        else:
            refused.append(f"{str(path)!r}: its name is no UTF-8, and results are named after it. Rename it")
    return nameable, refused


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
