"""What was counted, over all sittings: one JSON file that is added to."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from l2s_jax.system.files import write_text

KEPT_FAULTS = 20
"""Faults of a kind that are kept in words; all are counted."""


class Counts:
    """Numbers and faults of one campaign; they add up over sittings."""

    def __init__(self, table: dict[str, Any] | None = None):
        """Goes on from what was counted before."""
        table = table or {}
        self.numbers: dict[str, float] = defaultdict(int, table.get("numbers", {}))
        self.faults: dict[str, list[str]] = defaultdict(list, table.get("faults", {}))

    def add(self, what: str, number: int = 1) -> None:
        """Counts."""
        self.numbers[what] += number

    def most(self, what: str, value: float) -> None:
        """Keeps the largest."""
        self.numbers[what] = round(max(self.numbers[what], value), 1)

    def fault(self, kind: str, words: str) -> None:
        """Counts a fault and keeps it in words, the first ones of a kind."""
        self.add(kind)
        if len(self.faults[kind]) < KEPT_FAULTS:
            self.faults[kind].append(words)

    def table(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"numbers": dict(self.numbers), "faults": {k: v for k, v in self.faults.items() if v}}


class Figures:
    """The file of all campaigns."""

    def __init__(self, path: Path):
        """Reads what there is."""
        self.path = path
        table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.sittings: list[dict[str, Any]] = table.get("sittings", [])
        self.campaigns = {name: Counts(counts) for name, counts in table.get("campaigns", {}).items()}

    def campaign(self, name: str) -> Counts:
        """Counts of one campaign."""
        return self.campaigns.setdefault(name, Counts())

    def save(self) -> None:
        """Writes all of it, whole."""
        table = {
            "sittings": self.sittings,
            "campaigns": {name: counts.table() for name, counts in sorted(self.campaigns.items())},
        }
        write_text(self.path, json.dumps(table, indent=2) + "\n")

    def report(self) -> str:
        """Markdown: the sums, then a table of each kind of campaign, one row a campaign."""
        return "\n\n".join([f"**{self._total('kills')} kills** ({self._total('starts')} starts), "
                             f"**{self._total('mutated inputs')} damaged inputs**, "
                             f"**{self._faults()} faults**.",
                             *map(self._table_of, ("kills", "damage", "short room"))])  # fmt: skip

    def _total(self, what: str) -> str:
        return f"{sum(counts.numbers.get(what, 0) for counts in self.campaigns.values()):,g}"

    def _faults(self) -> str:
        return (
            f"{sum(counts.numbers[kind] for counts in self.campaigns.values() for kind in counts.faults):,g}"
        )

    def _table_of(self, kind: str) -> str:
        chosen = {name: one for name, one in sorted(self.campaigns.items()) if name.startswith(kind)}
        if not chosen:
            return f"No {kind} yet."
        columns = sorted({name for one in chosen.values() for name in one.numbers}, key=_order)
        lines = [f"| {kind} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name, counts in chosen.items():
            cells = (f"{counts.numbers.get(column, 0):,g}" for column in columns)
            lines.append(f"| {name.removeprefix(kind + ': ')} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def _order(column: str) -> tuple[int, str]:
    """What was done stands first, memory last, what went wrong between them."""
    done = (
        "starts",
        "kills",
        "stops asked for",
        "mutated inputs",
        "of these read",
        "compared with an unbroken one",
    )
    return (done.index(column) if column in done else 99 if column.startswith("peak") else 50, column)
