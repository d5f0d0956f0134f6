"""TOML files of options: read, and each value held against its type."""

import tomllib
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import UserError
from l2s_jax.system.values import INT64, clipped, converted, describe, fits, shown


def read_table(path: str | Path, what: str = "config") -> dict[str, Any]:
    """A TOML file as it is. Raises `UserError` where it cannot be read, which calls it `what`."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the {what} {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return parse_table(content, path)


def parse_table(content: bytes, path: str | Path) -> dict[str, Any]:
    """TOML as it is: UTF-8, numbers within 64 bits as TOML demands, not nested beyond sense.

    Args:
      content: of the file.
      path: for messages.

    Raises:
      UserError: it is no such thing; names the file, and the key where a number is too large.
    """
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
        large = _beyond_64_bits(table, "")
    except RecursionError as error:
        raise UserError(f"{path} is not valid TOML: lists or tables are nested too deeply") from error
    except (
        ValueError
    ) as error:  # TOMLDecodeError, bad UTF-8, impossible dates, numbers of thousands of digits
        raise UserError(f"{path} is not valid TOML: {clipped(error)}") from error
    if large:
        raise UserError(f"{path}: {large} is a number beyond 64 bits, which TOML does not have")
    return table


def _beyond_64_bits(value: Any, name: str) -> str:
    """The key of a whole number that is too large; empty where there is none."""
    if isinstance(value, dict):
        inner = ((one, f"{name}.{key}" if name else str(key)) for key, one in value.items())
    elif isinstance(value, list):
        inner = ((one, name) for one in value)
    else:
        return name if type(value) is int and not INT64[0] <= value <= INT64[1] else ""
    return next((found for found in (_beyond_64_bits(*one) for one in inner) if found), "")


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
        elif not fits(value, hints[key]):
            faults.append(f"{key} = {shown(value)} must be {describe(hints[key])}")
        else:
            values[key] = converted(value, hints[key])
    if faults:
        raise UserError("\n".join([f"{where}:", *faults]))
    return values
