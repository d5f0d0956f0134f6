"""quality.csv and quality.html: the slides of a data set, to be looked at before it is trained on.

The page holds small pictures of all slides and opens offline. Pictures and figures come from the records of
finished slides, so that a page made again has read no slide but those that changed.
"""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from l2s_jax.data.classes import Classes
from l2s_jax.figures.html import SORT_SCRIPT, TABLES_STYLE, page, paragraph, sortable_table
from l2s_jax.prepare.folders import QUALITY_PAGE, QUALITY_TABLE
from l2s_jax.prepare.slides.looking import Looked, with_marks
from l2s_jax.prepare.slides.thumbnails import legend
from l2s_jax.prepare.sources import Source
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.files import write_text

FIGURES = {
    "tissue_mm2": ("tissue, mm2", 1.0, "{:.3g}"),
    "tissue_share": ("tissue, % of slide", 100.0, "{:.1f}"),
    "known_share": ("known, % of tissue", 100.0, "{:.1f}"),
    "drawn_on_tissue": ("drawn on tissue, %", 100.0, "{:.0f}"),
    "excluded_share": ("left out, % of tissue", 100.0, "{:.1f}"),
    "ink_share": ("ink, % of tissue", 100.0, "{:.2f}"),
    "sharpness": ("sharpness", 1.0, "{:.3f}"),
    "stain_angle": ("stains, degrees off", 1.0, "{:.1f}"),
    "unreadable_share": ("cannot be read, %", 100.0, "{:.2f}"),
}
"""Columns of quality.csv, and how the page shows them: heading, factor, format."""

STYLE = """
.scroll { max-height: none; overflow: visible }
.scroll img { display: block; max-width: none; border: 1px solid var(--line); background: #fff }
.scroll td, .scroll th { vertical-align: top }
tr.odd > * { background: var(--mark) }
.scroll tr.odd > :first-child { background: var(--mark) }
.scroll thead th { white-space: normal; min-width: 4rem }
.scroll td.text { min-width: 8rem; max-width: 18rem }
ul.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem }
ul.key span { display: inline-block; width: .9em; height: .9em; margin-right: .4em; border: 1px solid }
"""

LONGEST_NOTE = 400


def looked_at(source: Source, record: dict[str, Any]) -> Looked | None:
    """A slide's record, as `cut_slide` leaves it, as a row; None for what is no slide (labelled pictures)."""
    if "quality" not in record:
        return None
    return Looked(
        source.files[0].name,
        source.group,
        source.split,
        {key: record["quality"].get(key) for key in FIGURES},
        record.get("thumbnail", ""),
        tuple(record.get("notes", ())),
    )


def write_quality(
    out: Path, slides: Iterable[Looked], classes: Classes, failures: Sequence[str]
) -> tuple[str, ...]:
    """Writes both files into a data set's folder; what to say of them. Without slides neither is written.

    Args:
      out: the folder.
      slides: all of the data set.
      classes: whose colours the outlines have.
      failures: messages of slides that are not in it.
    """
    found = with_marks(list(slides))
    if not found:
        return ()
    write_text(out / QUALITY_TABLE, _table(found))
    write_text(out / QUALITY_PAGE, quality_page(found, classes, failures))
    odd = [one for one in found if one.marks]
    lines = [f"{len(odd)} of {len(found)} slides to be looked at first: {out / QUALITY_PAGE}"]
    lines += [f"  {one.name}: {'; '.join(one.marks)}" for one in odd[:10]]
    return (*lines, *([f"  ... and {len(odd) - 10} more"] if len(odd) > 10 else []))


def _table(slides: Sequence[Looked]) -> str:
    rows = [
        {"slide": one.name, "group": one.group, "split": one.split}
        | {name: one.figures.get(name) for name in FIGURES}
        | {"look_at": "; ".join(one.marks)}
        for one in slides
    ]
    return table_text(pd.DataFrame(rows), float_format="%.4g")


def quality_page(slides: Sequence[Looked], classes: Classes, failures: Sequence[str] = ()) -> str:
    """The page as HTML.

    Args:
      slides: with their marks, in the order of the page.
      classes: whose colours the outlines have.
      failures: messages of slides that are not in it.
    """
    odd = sum(bool(one.marks) for one in slides)
    head = (
        f"{len(slides)} slides, {odd} of them marked. Marks are hints where to look, and decide nothing: "
        "they compare slides of one data set, and are made for H&E. A heading sorts by its column; a second "
        "click turns the order round."
    )
    # The slide and its picture, then what there is to say, then figures; a column of zeros is left out.
    names = [name for name in FIGURES if any(one.figures.get(name) for one in slides)]
    header = ["slide", "picture", "look at", *(FIGURES[name][0] for name in names), "group", "split", "notes"]
    table = sortable_table("slides", header, (_row(one, names) for one in slides))
    sections = [("What to look at", paragraph(head) + _key(classes)), ("Slides", table)]
    if failures:
        items = "".join(f"<li>{escape(failure)}</li>" for failure in failures)
        sections.append(("Not in the data set", f"<ul>{items}</ul>"))
    return page("Slides of this data set", sections, style=TABLES_STYLE + STYLE, script=SORT_SCRIPT)


def _key(classes: Classes) -> str:
    items = "".join(
        f'<li><span style="background: rgb{colour}"></span>{escape(name)}</li>'
        for name, colour in legend(classes)
    )
    return f'<ul class="key">{items}</ul>'


def _row(one: Looked, names: Sequence[str]) -> str:
    picture = "–"
    if one.thumbnail:
        source = f"data:image/jpeg;base64,{escape(one.thumbnail)}"
        picture = f'<img alt="{escape(one.name)}, with what is drawn on it" src="{source}">'
    notes = "; ".join(one.notes)
    cells = [
        f'<th scope="row">{escape(one.name)}</th>',
        f'<td data-value="">{picture}</td>',
        f'<td class="text" data-value="{len(one.marks)}">{escape("; ".join(one.marks))}</td>',
        *(_figure(name, one.figures.get(name)) for name in names),
        f"<td>{escape(one.group)}</td>",
        f"<td>{escape(one.split)}</td>",
        f'<td class="text">{escape(notes[:LONGEST_NOTE])}{"…" if len(notes) > LONGEST_NOTE else ""}</td>',
    ]
    odd = ' class="odd"' if one.marks else ""
    return f"<tr{odd}>{''.join(cells)}</tr>\n"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return '<td class="number" data-value="">–</td>'
    _, factor, shown = FIGURES[name]
    return f'<td class="number" data-value="{value:.6g}">{shown.format(value * factor)}</td>'
