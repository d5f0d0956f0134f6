"""Ranges of numbers, which stand in an option's type: `Annotated[float, Range(0, 100)]`.

`annotated-types` has the same vocabulary, but no check of a value and no words for people, which are what is
wanted here.
"""

from dataclasses import dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Range:
    """Numbers that make sense. NaN never does."""

    low: float
    high: float
    open_low: bool = False
    """`low` itself makes no sense."""
    open_high: bool = False
    """`high` itself makes no sense."""

    def __contains__(self, value: float) -> bool:
        above = self.low < value if self.open_low else self.low <= value
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"above {self.low:,}" if self.open_low else f"at least {self.low:,}"
        high = f"below {self.high:,}" if self.open_high else f"at most {self.high:,}"
        return f"{low} and {high}" if self.open_low or self.open_high else f"{self.low:,} to {self.high:,}"


def out_of_range(options: Any) -> list[str]:
    """A line for each field of a dataclass whose value lies outside of the `Range` in its type.

    A value that is None lies outside of none.
    """
    faults = []
    for name, allowed in ranges_of(type(options)).items():
        value = getattr(options, name)
        if value is not None and value not in allowed:
            faults.append(f"{name} = {value!r} must be {allowed}")
    return faults


def ranges_of(options: type) -> dict[str, Range]:
    """Names of a dataclass's fields to the `Range` in their types, of those that have one."""
    found = {}
    for name, hint in get_type_hints(options, include_extras=True).items():
        for part in getattr(hint, "__metadata__", ()):
            if isinstance(part, Range):
                found[name] = part
    return found
