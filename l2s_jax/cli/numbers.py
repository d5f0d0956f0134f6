"""Numbers on the command line: what is wrong with one is said in words, and help says nothing of None.

tyro would pass on what Python says of a text that is no number, and of an option that may be left out it
would say why the text is not None either.
"""

from collections.abc import Callable
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal, NoReturn, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo


def whole_number(text: str) -> int:
    """The number that a text is. Raises `ValueError`: it is none, or not a whole one."""
    try:
        return int(text)
    except ValueError:
        _refuse(text, "a whole number, such as 8")


def number(text: str) -> float:
    """The number that a text is. Raises `ValueError`: it is none."""
    try:
        return float(text)
    except ValueError:
        _refuse(text, "a number, such as 0.5 or 1e-3")


def whole_number_or_all(text: str) -> int | Literal["all"]:
    """The number that a text is, or `all`. Raises `ValueError`: it is neither."""
    try:
        return "all" if text == "all" else int(text)
    except ValueError:
        _refuse(text, "a whole number, such as 2, or all")


def _refuse(text: str, expected: str) -> NoReturn:
    raise ValueError(f"{text!r}: expected {expected}") from None


ONE: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", whole_number),
    float: ("FLOAT", number),
    int | Literal["all"]: ("INT|all", whole_number_or_all),
}
"""Types of one word: what help calls them, and how they are read."""

OPTIONAL: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int | None: ONE[int],
    float | None: ONE[float],
    str | None: ("STR", str),
    Path | None: ("PATH", Path),
}
SEVERAL: dict[Any, tuple[int | Literal["*"], Any]] = {
    tuple[int, ...]: ("*", int),
    tuple[int, ...] | None: ("*", int),
    tuple[float, ...]: ("*", float),
    tuple[float, float, float]: (3, float),
}
"""How many words these types have, and of which type each is."""


def read_words(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule of these types for tyro; None for all others.

    Its `is_instance` chooses between the types of a union, of which each of these is no part.
    """
    named: Any = info.type
    if get_origin(named) is tuple:  # typing's Tuple equals no tuple
        named = GenericAlias(tuple, get_args(named))
    if named in SEVERAL:
        number, of_type = SEVERAL[named]
        metavar, read = ONE[of_type]
        return PrimitiveConstructorSpec(
            nargs=number,
            metavar=f"{metavar} [{metavar} ...]" if number == "*" else " ".join([metavar] * number),
            instance_from_str=lambda words: tuple(map(read, words)),
            is_instance=lambda value: True,
            str_from_instance=lambda value: list(map(str, () if value is None else value)),
        )
    one = ONE.get(named) or OPTIONAL.get(named)
    if one is None:
        return None
    metavar, read = one
    may_be_none = named in OPTIONAL
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: None if may_be_none and words == ["None"] else read(words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def registry() -> ConstructorRegistry:
    """The rules of tyro with ours before them."""
    rules = ConstructorRegistry()
    rules.primitive_rule(read_words)
    return rules
