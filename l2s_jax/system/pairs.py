"""Words of options that are several pairs, which stand in an option's type as `ranges.Range` does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pairs:
    """What stands on either side of the `=` of each pair."""

    name: str = "NAME"
    meaning: str = "CLASS"
    example: str = "1=benign"

    def __str__(self) -> str:
        return f"{self.name}={self.meaning}"
