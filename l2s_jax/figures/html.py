"""One self-contained HTML page: no script, no font and no picture from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --text: #222; --page: #fff; --quiet: #5a5a5a; --line: #ddd }
:root { --head: #f4f4f4; --link: #0b57a4; --mark: #fff3c4 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e2e2e2; --page: #16181b; --quiet: #a8a8a8; --line: #3b3f44; --head: #23272c }
  :root { --link: #8bbcf5; --mark: #4a421c }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page) }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem }
h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid var(--line) }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .2rem .7rem; border: 1px solid var(--line) }
th { background: var(--head); text-align: left }
caption { text-align: left; color: var(--quiet); padding: .3rem 0 }
.facts th { white-space: nowrap; vertical-align: top; font-weight: 600 }
.facts td { overflow-wrap: anywhere }
td.number { text-align: right; font-variant-numeric: tabular-nums }
tr.quiet td, tr.quiet th { color: var(--quiet); font-style: italic; font-weight: normal }
tr:target { background: var(--mark) }
img { max-width: 100%; height: auto }
p.note, figcaption, .notes { color: var(--quiet) }
pre { background: var(--head); padding: .6rem; overflow: auto }
a { color: var(--link) }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px }
"""

TABLES_STYLE = """
body { max-width: 92rem }
p, dl, nav, figcaption, .notes { max-width: 68rem }
nav ul { columns: 2; padding-left: 1.2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 }
dt { color: var(--quiet) }
dd { margin: 0 }
.scroll { overflow: auto; max-height: 36rem; margin: .6rem 0 }
.scroll table { margin: 0; font-size: 13px }
.scroll td, .scroll th { white-space: nowrap; padding: .15rem .5rem }
.scroll td.text { white-space: normal; min-width: 14rem; max-width: 40rem }
.scroll thead th { position: sticky; top: 0; z-index: 2 }
.scroll tr > :first-child { position: sticky; left: 0; z-index: 1; background: var(--head) }
.scroll thead tr > :first-child { z-index: 3 }
.scroll tr:target > * { background: var(--mark) }
.scroll a { text-decoration-style: dotted; text-underline-offset: 2px; color: inherit }
tbody th { font-weight: 600 }
sup { line-height: 0 }
th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid var(--link) }
th button::after { content: "\\2195"; color: var(--quiet); padding-left: .3em; font-weight: normal }
th[aria-sort=ascending] button::after { content: "\\2191"; color: inherit }
th[aria-sort=descending] button::after { content: "\\2193"; color: inherit }
figure { margin: 1rem 0 }
figure svg { max-width: 100%; height: auto; background: #fff }
figure svg { border: 1px solid var(--line); border-radius: 4px }
.notes { font-size: 13px; margin: .3rem 0; padding: 0; list-style: none }
.care { border-left: 4px solid #c98500; background: var(--mark); padding: .4rem 1rem .4rem 2rem }
summary { cursor: pointer; color: var(--quiet) }
@media (max-width: 40rem) { nav ul { columns: 1 } dl { grid-template-columns: 1fr; gap: 0 } }
@media (max-width: 40rem) { dd { margin-bottom: .4rem } .scroll tr > :first-child { position: static } }
@media (max-width: 40rem) { figure { overflow-x: auto } figure svg { max-width: none; width: 44rem } }
code { font-size: 13px }
@media print { .scroll { max-height: none; overflow: visible } }
"""

SORT_SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const body = table.tBodies[0];
  const asWritten = Array.from(body.rows);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    const down = before === "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    if (before === "descending") return body.append(...asWritten);
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const rows = asWritten.map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const numbers = [Number(a), Number(b)];
      const order = numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }));
}
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a browser lets the page do: nothing that leaves it."""


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def page(
    title: str,
    sections: Iterable[tuple[str, str]],
    *,
    style: str = "",
    script: str = "",
    policy: str = POLICY,
) -> str:
    """An HTML document of (heading, HTML) sections.

    Args:
      title: of the page, and its first heading.
      sections: headings and what stands below them. A heading's id is its `anchor`.
      style: more CSS.
      script: runs when the page has been read.
      policy: what a browser lets the page do.
    """
    body = "".join(
        f'<h2 id="{anchor(heading)}">{escape(heading)}</h2>\n{html}\n' for heading, html in sections
    )
    end = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}{end}</body></html>\n"
    )


def anchor(text: str) -> str:
    """A text as an id: letters, digits, points and hyphens are kept, a space becomes an underscore.

    All else becomes its number between two underscores, so that `A+` and `A=` are not the same place.
    """
    return "".join(c if c.isalnum() or c in "-." else "_" if c == " " else f"_{ord(c):x}_" for c in text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; numbers are set flush right, text is escaped unless it is `Html`."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and what they stand for."""
    lines = "".join(f'<tr><th scope="row">{escape(name)}</th>{_cell(value)}</tr>\n' for name, value in rows)
    return f'<table class="facts"><tbody>\n{lines}</tbody></table>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>' if value == value else '<td class="number">–</td>'
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{value if isinstance(value, Html) else escape(str(value))}</td>"


def sortable_table(name: str, header: Sequence[str], rows: Iterable[str], *, caption: str = "") -> str:
    """A table in a frame of its own that scrolls; with `SORT_SCRIPT`, a heading's button sorts by its column.

    A second click sorts downwards, a third gives the order as written.

    Args:
      name: what it is called by a screen reader.
      header: column headings.
      rows: `<tr>` elements; a cell's `data-value`, where it has one, is what it is sorted by.
      caption: stands above it.
    """
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(text)}</button></th>'
        for text in header
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">'
        f'<table class="sortable">{above}<thead><tr>'
        f"{head}</tr></thead><tbody>\n{''.join(rows)}</tbody></table></div>"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Text as it is, in a fixed font."""
    return f"<pre>{escape(text)}</pre>"
