"""TOML files of options: read, and each value held against its type."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from l2s_jax.system.errors import UserError


def read_table(path: str | Path, what: str = "config") -> dict[str, Any]:
    """A TOML file as it is. Raises `UserError` where it cannot be read, which calls it `what`."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def typed_options(table: dict[str, Any], hints: dict[str, Any], where: str) -> dict[str, Any]:
    """Options from TOML as their types want them: paths, tuples, floats.

    Args:
      table: names to values.
      hints: names to types of all options that there are.
      where: what an error is to begin with.

    Raises:
      UserError: naming every unknown option and every value of the wrong type.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            faults.append(f"unknown option {key!r} (known: {', '.join(hints)})")
        elif not _fits(value, hints[key]):
            faults.append(f"{key} = {value!r} must be {_describe(hints[key])}")
        else:
            values[key] = _converted(value, hints[key])
    if faults:
        raise UserError("\n".join([f"{where}:", *faults]))
    return values


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list) and _items_fit(value, get_args(hint))
    if get_origin(hint) is Mapping:
        return isinstance(value, dict) and all(_fits(part, get_args(hint)[1]) for part in value.values())
    if get_args(hint):
        return any(_fits(value, part) for part in _parts(hint))
    if hint is float:
        return type(value) in (int, float)
    return type(value) is (str if hint is Path else hint)


def _items_fit(values: list[Any], hints: tuple[Any, ...]) -> bool:
    if hints[1:] == (...,):
        return all(_fits(value, hints[0]) for value in values)
    return len(values) == len(hints) and all(map(_fits, values, hints))


def _converted(value: Any, hint: Any) -> Any:
    """A value that fits, as the type has it."""
    if get_origin(hint) is tuple:
        args = get_args(hint)
        hints = [args[0]] * len(value) if args[1:] == (...,) else args
        return tuple(map(_converted, value, hints))
    if get_args(hint) and get_origin(hint) not in (Literal, Mapping):
        return _converted(value, next(part for part in _parts(hint) if _fits(value, part)))
    return hint(value) if hint in (float, Path) else value


def _parts(hint: Any) -> list[Any]:
    """What a union consists of, None apart, which TOML cannot hold."""
    return [part for part in get_args(hint) if part is not type(None)]


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        args = get_args(hint)
        if args[1:] == (...,):
            return f"a list, each {_describe(args[0])}"
        return f"a list of {len(args)}: {', '.join(map(_describe, args))}"
    if get_origin(hint) is Mapping:
        return f"a table, each {_describe(get_args(hint)[1])}"
    if get_args(hint):
        return " or ".join(map(_describe, _parts(hint)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names[hint]
