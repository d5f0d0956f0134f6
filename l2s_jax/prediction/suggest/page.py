"""suggested.html: the list with its pictures, to be opened from its folder without a network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.figures import html
from l2s_jax.figures.overlays import overlay
from l2s_jax.prediction.review.page import POLICY
from l2s_jax.prediction.review.strips import small, tinted, write_panels
from l2s_jax.prediction.suggest.listing import Suggestion
from l2s_jax.prediction.suggest.looks import Look

PICTURES = "pictures"
"""Folder of the strips, beside the page."""

STYLE = """
body { max-width: 100rem }
.quiet, .facts, p { max-width: 68rem }
#list { list-style: none; padding: 0; display: grid; gap: 1rem }
#list { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
#list li { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; overflow-wrap: anywhere }
#list img { display: block; width: 100%; height: auto; background: var(--head) }
#list img.alone { max-width: 12rem }
.panels { display: grid; grid-template-columns: repeat(3, 1fr); color: var(--quiet); font-size: 12px }
#list p { margin: .25rem 0 }
.where { color: var(--quiet); font-size: 13px }
.swatch { display: inline-block; width: .9em; height: .9em; margin: 0 .35em 0 .9em; vertical-align: -.08em }
.swatch { border: 1px solid var(--quiet) }
"""

LOOKED_AT = (
    "Side by side are the picture, the pseudo-label (of the classes that can be there, the likeliest) and "
    "what is contested: pink where networks take another class for likeliest, the stronger the more of them."
)
WITHOUT = "No network was asked: the list follows from labels, patients and chance."


def picture_name(rank: int) -> str:
    """The file of a suggestion's strip."""
    return f"{rank:04d}.jpg"


def write_picture(path: Path, image: np.ndarray, look: Look | None, classes: Classes) -> None:
    """Writes a suggestion's strip: the picture, and where networks were asked, what they say.

    Args:
      path: ends in .jpg, in a folder that is there.
      image: u8[H,W,3].
      look: of that picture.
      classes: whose colours are used.

    Raises:
      Unwritable: it cannot be written.
    """
    panels = [small(image)]
    if look is not None:
        codes, contested = (look.of_pixels(one) for one in (look.scores.codes, look.scores.contested))
        panels += [small(overlay(image, codes, classes)), small(tinted(image, contested))]
    write_panels(path, panels)


def suggestions_page(
    title: str,
    found: Sequence[Suggestion],
    titles: Sequence[str],
    pictures: set[int],
    looked: bool,
    classes: Classes,
    facts: Sequence[tuple[str, str]],
    note: str,
) -> str:
    """The page as HTML.

    Args:
      title: of the page.
      found: in the order of the list.
      titles: what each is called, a file and where it is.
      pictures: ranks that have a strip.
      looked: whether networks were asked.
      classes: whose names and colours are used.
      facts: names and texts of what it was made from.
      note: what is to be said of the order.
    """
    cards = "".join(
        _card(one, name, one.rank in pictures, looked, classes)
        for one, name in zip(found, titles, strict=True)
    )
    key = "".join(
        f'<span class="swatch" style="background: rgb{colour}"></span>{escape(name)}'
        for name, colour in zip(classes.names, classes.colours, strict=True)
    )
    about = html.paragraph(note) + html.paragraph(LOOKED_AT if looked else WITHOUT)
    body = f'{about}{f"<p>{key}</p>" if looked else ""}<ol id="list">{cards}</ol>{html.facts(facts)}'
    return html.page(title, [("What to draw next, in this order", body)], style=STYLE, policy=POLICY)


def _card(one: Suggestion, name: str, has_picture: bool, looked: bool, classes: Classes) -> str:
    alt = f"Picture{', pseudo-label and what is contested' if looked else ''} of {name}"
    kind = "" if looked else ' class="alone"'
    address = f"{PICTURES}/{picture_name(one.rank)}"
    picture = f'<img{kind} loading="lazy" src="{address}" alt="{escape(alt)}">' if has_picture else ""
    panels = "".join(f"<span>{text}</span>" for text in ("picture", "pseudo-label", "contested"))
    if looked and has_picture:
        picture += f'<div class="panels" aria-hidden="true">{panels}</div>'
    label = classes.names[one.stratum] if one.stratum >= 0 else "several classes can be there"
    return (
        f"<li>{picture}<p><b>{one.rank}</b> {escape(label)}: {escape(one.why)}</p>"
        f'<p class="where">{escape(name)} · {escape(one.candidate.group)}</p></li>\n'
    )
