"""Values that a file gave, held against the types that they should have."""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

INT64 = (-(2**63), 2**63 - 1)
"""What a whole number may be: TOML's own limits, and what arrays and other programs can hold."""

LONGEST = 80
"""Characters of a value that a message quotes."""


def fits(value: Any, hint: Any) -> bool:
    """Whether a value that TOML or JSON gave is of a type: lists stand for tuples, integers for floats."""
    if hint is Any:
        return True
    if value is None:
        return hint in (None, NoneType) or NoneType in get_args(hint)
    if get_origin(hint) is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list) and _items_fit(value, get_args(hint))
    if get_origin(hint) in (dict, Mapping):
        return isinstance(value, dict) and all(fits(one, get_args(hint)[1]) for one in value.values())
    if get_args(hint):
        return any(fits(value, part) for part in _parts(hint))
    if isinstance(value, int) and not INT64[0] <= value <= INT64[1]:
        return False
    if hint is float:
        return type(value) in (int, float)
    return type(value) is (str if hint is Path else hint)


def converted(value: Any, hint: Any) -> Any:
    """A value that fits, as the type has it."""
    if value is None or hint is Any:
        return value
    if get_origin(hint) is tuple:
        args = get_args(hint)
        hints = [args[0]] * len(value) if args[1:] == (...,) else args
        return tuple(map(converted, value, hints))
    if get_origin(hint) in (dict, Mapping):
        return {key: converted(one, get_args(hint)[1]) for key, one in value.items()}
    if get_args(hint) and get_origin(hint) is not Literal:
        return converted(value, next(part for part in _parts(hint) if fits(value, part)))
    return hint(value) if hint in (float, Path) else value


def describe(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        args = get_args(hint)
        if args[1:] == (...,):
            return f"a list, each {describe(args[0])}"
        return f"a list of {len(args)}: {', '.join(map(describe, args))}"
    if get_origin(hint) in (dict, Mapping):
        of = get_args(hint)[1]
        return f"a table, each value {describe(of)}{' in quotes' if of is str else ''}"
    if get_args(hint):
        return " or ".join(map(describe, _parts(hint)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(hint, "a table" if hint is dict else getattr(hint, "__name__", str(hint)))


def shown(value: Any) -> str:
    """A value as a message quotes it: short, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists within lists
        text = f"a {type(value).__name__} that is too large to show"
    return clipped(text, LONGEST)


def clipped(text: Any, most: int = 300) -> str:
    """A text, cut where it is too long for a message: errors quote what they meet."""
    text = str(text)
    return text if len(text) <= most else f"{text[:most]}..."


def _items_fit(values: list[Any], hints: tuple[Any, ...]) -> bool:
    if hints[1:] == (...,):
        return all(fits(value, hints[0]) for value in values)
    return len(values) == len(hints) and all(map(fits, values, hints))


def without_none(hint: Any) -> Any:
    """A type of which None was one among two; any other as it is."""
    if NoneType not in get_args(hint) or len(_parts(hint)) != 1:
        return hint
    return _parts(hint)[0]


def _parts(hint: Any) -> list[Any]:
    """What a union consists of, None apart."""
    return [part for part in get_args(hint) if part is not NoneType]
