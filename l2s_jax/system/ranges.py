"""Ranges of numbers, which stand in an option's type: `Annotated[float, Range(0, 100)]`.

`annotated-types` has the same vocabulary, but no check of a value and no words for people, which are what is
wanted here.
"""

from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from l2s_jax.system.errors import UserError

MOST = 2**31 - 1
"""Steps, seeds and pixels are int32 on the device."""


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


SEEDS = Range(0, MOST)
Seed = Annotated[int, SEEDS]
"""The type of every option that seeds chance."""

COUNTS = Range(1, 1_000_000)
Count = Annotated[int, COUNTS]
"""Of things that a person asks for."""

SCALES = Range(0.001, 1000)
"""um/px that a person may state; beyond lie slips of the keyboard, and numbers that overflow later."""


def out_of_range(options: Any) -> list[str]:
    """A line for each field of a dataclass whose value lies outside of the `Range` in its type.

    What is no number (None, a word) lies outside of none; of several numbers each is looked at.
    """
    faults = []
    for name, allowed in ranges_of(type(options)).items():
        value = getattr(options, name)
        each = value if isinstance(value, tuple) else (value,)
        if any(isinstance(one, int | float) and one not in allowed for one in each):
            faults.append(f"{name} = {value!r} must be {allowed}")
    return faults


def require_in_range(options: Any) -> None:
    """Raises `UserError` naming every field that `out_of_range` names."""
    if faults := out_of_range(options):
        raise UserError("\n".join(["options that make no sense:", *faults] if len(faults) > 1 else faults))


def require_seed(seed: int) -> None:
    """Raises `UserError` for a number that NumPy and JAX cannot both take for a seed."""
    if seed not in SEEDS:
        raise UserError(f"seed = {seed!r} must be {SEEDS}")


def ranges_of(options: type) -> dict[str, Range]:
    """Names of a dataclass's fields to the `Range` in their types, of those that have one."""
    found = {}
    for name, hint in get_type_hints(options, include_extras=True).items():
        for part in getattr(hint, "__metadata__", ()):
            if isinstance(part, Range):
                found[name] = part
    return found
