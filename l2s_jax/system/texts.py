"""Texts that users give (names of classes, groups, files), and how they are shown to them."""

import unicodedata
from collections.abc import Iterable

_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Marks that turn the direction of all text behind them, a table's other cells included."""


def control_fault(text: str) -> str | None:
    """What is wrong with a name that no table or page can hold; None where nothing is.

    Line breaks, other control characters, lone surrogates and marks that turn the direction of writing are
    refused. Letters of any script are not.
    """
    for letter in text:
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or ord(letter) in _TURNING:
            return f"{shown(text)} holds the control character U+{ord(letter):04X}: take it out"
    return None


def shown(text: str, most: int = 80) -> str:
    """A name in quotes, cut where it is very long."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def folded(text: str) -> str:
    """What is left of a name without Unicode form, case and spaces at its ends."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def told_apart(one: str, other: str) -> str:
    """Two names that look alike, so that a person sees how they differ."""
    if ascii(one) == repr(one) and ascii(other) == repr(other):
        return f"{one!r} and {other!r}"
    return f"{one!r} ({ascii(one)}) and {other!r} ({ascii(other)})"


def alike(name: str, known: Iterable[str]) -> str | None:
    """The first of the known names that differs from `name` in Unicode form or case only."""
    return next((other for other in known if other != name and folded(other) == folded(name)), None)


def one_letter_apart(one: str, other: str) -> bool:
    """Whether two words of five characters and more are one slip of the keyboard apart.

    One letter is missing, wrong, or has changed places with the next one. A digit or sign that differs is no
    slip: "Grade 3" and "Grade 4" are two things. Unicode form and case count as in `folded`.
    """
    one, other = folded(one), folded(other)
    if one == other or min(len(one), len(other)) < 5:
        return False
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    start = min(len(one), len(other)) if start is None else start
    rest, rests = one[start:], other[start:]
    while rest and rests and rest[-1] == rests[-1]:
        rest, rests = rest[:-1], rests[:-1]
    swapped = len(rest) == 2 and rest == rests[::-1]
    return (swapped or max(len(rest), len(rests)) == 1) and (rest + rests).isalpha()


def listed(items: Iterable[object], most: int = 10) -> str:
    """The first few items in words, and how many more there are."""
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
