"""A table with notes, and its forms: Markdown, LaTeX, CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from l2s_jax.system.csv_text import rows_text

PLUS_MINUS = "±"
MISSING = "–"
ON_TEST = "epoch chosen on the test split itself: these figures are optimistic"


@dataclass(frozen=True)
class Entry:
    """One field of a table."""

    text: str
    marks: tuple[str, ...] = ()  # letters of the notes that hold for it
    link: str = ""  # id of the row that it was worked out from, in the HTML page
    value: float | None = None  # what it is sorted by; its text by default


@dataclass(frozen=True)
class TextTable:
    """A table as people read it. Numbers are finished text; a note is a letter and its meaning."""

    name: str  # stem of its files
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()
    labels: int = 1  # how many of the first columns name the row
    quiet: frozenset[int] = field(default_factory=frozenset)  # rows that stand back, such as the paper's


class Notes:
    """Gives each different text a letter, in the order in which they come up."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def mark(self, text: str) -> str:
        """The letter of a note: a to z, then aa, ab, ..."""
        if text not in self._letters:
            number = len(self._letters)
            first = "" if number < 26 else chr(ord("a") + number // 26 - 1)
            self._letters[text] = first + chr(ord("a") + number % 26)
        return self._letters[text]

    def all(self) -> tuple[tuple[str, str], ...]:
        """Letters and texts."""
        return tuple((letter, text) for text, letter in self._letters.items())


def to_markdown(table: TextTable) -> str:
    """GitHub's Markdown; labels flush left, numbers flush right, notes below."""
    rule = ["---" if number < table.labels else "---:" for number in range(len(table.header))]
    lines = [_markdown_row(list(map(_plain_markdown, table.header))), _markdown_row(rule)]
    for row in table.rows:
        lines.append(_markdown_row([_markdown(entry) for entry in row]))
    notes = [f"<sup>{mark}</sup> {_plain_markdown(text)}" for mark, text in table.notes]
    head = f"**{_plain_markdown(table.title)}**\n\n{_plain_markdown(table.caption)}"
    return "\n\n".join([head, "\n".join(lines), *notes]) + "\n"


def _markdown_row(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _markdown(entry: Entry) -> str:
    marks = f"<sup>{','.join(entry.marks)}</sup>" if entry.marks else ""
    return _plain_markdown(entry.text) + marks


def _on_one_line(text: str) -> str:
    """A name from a table made elsewhere may hold a line break, which would begin another row."""
    return " ".join(text.splitlines())


def _plain_markdown(text: str) -> str:
    text = _on_one_line(text)
    for character in "\\*_|<`$[]~&":
        text = text.replace(character, f"\\{character}")
    return text


def to_latex(table: TextTable) -> str:
    r"""A LaTeX `table`; it needs \usepackage{booktabs,graphicx}."""
    numbers = len(table.header) - table.labels
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        rf"\caption{{{_latex(table.title)}. {_latex(table.caption)}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * table.labels}{'r' * numbers}}}",
        r"\toprule",
        " & ".join(map(_latex, table.header)) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        lines.append(" & ".join(map(_latex_entry, row)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\footnotesize\textsuperscript{{{mark}}} {_latex(text)}" for mark, text in table.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_entry(entry: Entry) -> str:
    marks = rf"\textsuperscript{{{','.join(entry.marks)}}}" if entry.marks else ""
    return _latex(entry.text) + marks


LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "–": "--",
        "−": "$-$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
    }
)


def _latex(text: str) -> str:
    text = _on_one_line(text)
    # Behind the end of a row these two would be its options.
    first = f"{{{text[0]}}}" if text[:1] in ("[", "*") else text[:1].translate(LATEX)
    return first + text[1:].translate(LATEX)


def to_csv(table: TextTable) -> str:
    """Comma-separated values; the notes of a row stand in full in a last column, each behind its column."""
    meaning = dict(table.notes)
    rows = [[*table.header, "notes"]]
    for row in table.rows:
        notes = [
            f"{name}: {meaning[mark]}"
            for name, entry in zip(table.header, row, strict=True)
            for mark in entry.marks
        ]
        texts = (entry.text.replace("−", "-") for entry in row)
        rows.append([*texts, "; ".join(notes)])
    return rows_text(rows)
