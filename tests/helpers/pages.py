"""The documents as data: their blocks of code, their commands, their links."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "REPRODUCIBILITY.md",
        "CHANGELOG.md",
        "experiments/README.md",
        "benchmarks/README.md",
    )
] + sorted((ROOT / "docs").rglob("*.md"))
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

NOT_RUN = "# not run by the tests: "
"""Begins a block that is shown and cannot be run here; what follows is why."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def why_not(self):
        """Why the tests do not run it, as the block itself says; None where they do."""
        lines = [line.replace("// ", "# ", 1) for line in self.text.splitlines()]  # Groovy's comments
        found = [line for line in lines if line.startswith(NOT_RUN)]
        return found[0].removeprefix(NOT_RUN).strip() if found else None

    @property
    def commands(self):
        """Its commands as words, without comments; a backslash joins lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def text_of(name):
    return (ROOT / name).read_text()


def blocks(name):
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", text_of(name), re.M | re.S)]


def inline_code(name):
    """What stands between single backticks, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(name), flags=re.M | re.S))


def links(name):
    """(path, anchor) of every link of a page to another place in the repository."""
    bare = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text_of(name), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", bare)
    return [target.partition("#")[::2] for target in targets if "://" not in target]


def anchors(path):
    """The names that a page's headings have in links."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
