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
        """A Markdown table: one row a campaign."""
        columns = ("starts", "kills", "stops asked for", "mutated inputs", "compared with an unbroken one",
                   "lost rows", "differing files", "half files", "refusals", "tracebacks", "hangs", "crashes",
                   "processes left behind", "heeded late", "exit codes", "damage read as data",
                   "peak MiB")  # fmt: skip
        shown = [name for name in columns if any(name in one.numbers for one in self.campaigns.values())]
        lines = ["| campaign | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
        for name, counts in sorted(self.campaigns.items()):
            lines.append(f"| {name} | " + " | ".join(f"{counts.numbers.get(c, 0):g}" for c in shown) + " |")
        return "\n".join(lines)
