"""Rows of tables that name slides: which of them are of no slide that is here, and what they may mean."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from l2s_jax.slides.mpp import read_mpp_table
from l2s_jax.system.texts import folded, listed

SHOWN = 5


class Scales(NamedTuple):
    """What a table says of scales."""

    table: dict[str, tuple[float, float]] | None  # from `read_mpp_table`
    warnings: list[str]  # of rows, see `left_rows`


def read_scales(path: Path | None, slides: Sequence[Path], *, every: bool = False) -> Scales:
    """Reads `--mpp-table`, and says which of its rows are of no slide. Raises `UserError`.

    Arguments as `left_rows`.
    """
    if path is None:
        return Scales(None, [])
    table = read_mpp_table(path)
    return Scales(table, left_rows(f"--mpp-table {path}", table, slides, every=every))


def left_rows(option: str, rows: Collection[str], slides: Sequence[Path], *, every: bool) -> list[str]:
    """Warnings of rows that are of none of the slides.

    Args:
      option: with its table, as it was given.
      rows: the names that it has.
      slides: those that are here; rows name them with or without suffix.
      every: the slides are all that there are, so that each row should be of one. Otherwise the table may be
        of more, and only rows that may mean one of them are said, or that none is of any.
    """
    unnamed = [path for path in slides if not {path.name, path.stem} & set(rows)]
    known = {name for path in slides for name in (path.name, path.stem)}
    left = [name for name in rows if name not in known]
    if not left or not slides:
        return []
    hints = may_mean(((path.name, (path.name, path.stem)) for path in unnamed), left)
    if len(unnamed) == len(slides):
        return [
            f"warning: {option} names none of the slides: expected names such as {slides[0].name}, with or "
            f"without suffix; found {listed(left, SHOWN)}{hints}"
        ]
    if every:
        number = f"{len(left)} name(s) in {option} are of no slide that is here"
        return [f"warning: {number}: {listed(left, SHOWN)}{hints}"]
    return [f"warning: {option}{hints}"] if hints else []


def may_mean(slides: Iterable[tuple[str, Iterable[str]]], rows: Iterable[str]) -> str:
    """Which rows may be meant for slides that none names: they differ in case, suffix, blanks or signs.

    Args:
      slides: what each is called in messages, and by which names a row may name it.
      rows: that name no slide.

    Returns:
      The end of a sentence; "" where none is alike.
    """
    of_form: dict[str, str] = {}
    for row in rows:
        for form in _forms(row):
            of_form.setdefault(form, row)
    found = []
    for shown, names in slides:
        forms = [form for name in names for form in _forms(name)]
        alike = next((of_form[form] for form in forms if form in of_form), None)
        if alike is not None:
            found.append(f"{alike!r} may mean {shown}")
    if not found:
        return ""
    return f". {listed(found, SHOWN)}: write names as the files have them, with or without suffix"


def _forms(name: str) -> list[str]:
    """A name as it is and without its suffix, of letters and digits alone."""
    last = PureWindowsPath(name)  # takes both kinds of slashes
    words = (last.name, last.stem, last.stem.removesuffix(".ome"))
    return [form for word in words if (form := re.sub(r"[\W_]+", "", folded(word)))]
