"""The words after an option, as its type has them: what is wrong with one is said without Python's own terms.

tyro would pass on what Python says of a text that is no number, and of an option that may be left out it
would say, in its help too, that None is a value.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from l2s_jax.system.values import shown, without_none


class Word(NamedTuple):
    """One word of a type."""

    name: str  # in help
    read: Callable[[str], Any]  # raises ValueError
    expected: str


def _whole_number_or_all(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else int(text)


WORDS: dict[Any, Word] = {
    int: Word("INT", int, "a whole number, such as 8"),
    float: Word("FLOAT", float, "a number, such as 0.5 or 1e-3"),
    int | Literal["all"]: Word("INT|all", _whole_number_or_all, "a whole number, such as 2, or all"),
    str: Word("STR", str, "a text"),
    Path: Word("PATH", Path, "a path"),
}


def read_words(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for tyro of one such word or several, where `None` stands for an option left out.

    Returns:
      None for other types.
    """
    named = without_none(info.type)
    optional = named != info.type
    several = get_origin(named) is tuple
    parts = get_args(named) if several else (named,)
    endless = parts[1:] == (...,)
    if len({*parts} - {...}) != 1 or parts[0] not in WORDS:
        return None
    word, number = WORDS[parts[0]], len(parts)

    def read(texts: list[str]) -> Any:
        if optional and texts == ["None"]:
            return None
        values = tuple(_read(word, text) for text in texts)
        return values if several else values[0]

    def texts_of(value: Any) -> list[str]:
        return list(map(str, value)) if several and value is not None else [str(value)]

    names = f"{word.name} [{word.name} ...]"
    if not endless:
        names = " ".join([word.name] * number)
    elif not optional:
        names = f"[{names}]"
    # `is_instance` chooses between the types of a union, which none of these is a part of.
    return PrimitiveConstructorSpec("*" if endless else number, names, read, lambda _: True, texts_of)


def _read(word: Word, text: str) -> Any:
    try:
        return word.read(text)
    except ValueError:
        raise ValueError(f"{shown(text)}: expected {word.expected}") from None


def registry() -> ConstructorRegistry:
    """The rules of tyro with ours before them."""
    rules = ConstructorRegistry()
    rules.primitive_rule(read_words)
    return rules
