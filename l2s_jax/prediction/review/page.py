"""review.html: a gallery of labels and masks, the most suspicious first, to be marked by people.

The page opens from a folder and asks nobody for anything. Its pictures are files beside it, one a patch,
which the browser reads when they come near; what is known of them stands in the page as data, of which
`page.js` makes what is seen. Names reach the page as text only.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2s_jax.data.fingerprint import relative_name
from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.marks import COLUMNS, KINDS, WINDOW
from l2s_jax.data.origins import slide_of
from l2s_jax.figures import html
from l2s_jax.prediction.review.judgement import Judgement
from l2s_jax.prediction.review.suspicion import MaskDoubt
from l2s_jax.prediction.review.window_files import window_picture_name
from l2s_jax.prediction.review.windows import WindowDoubt
from l2s_jax.system.csv_text import rows_text
from l2s_jax.types import SPLITS

PICTURES = "pictures"
"""Folder of the strips, beside the page."""

POLICY = html.POLICY.replace("img-src", "img-src 'self' file:")

WHAT = (
    "Suspicion of a label is 1 minus its probability; of a mask, the share of its known pixels that is "
    "contradicted, each class of the mask counting alike. It is that of networks that have not learned from "
    "the patient or slide. Networks are wrong too, and most often about what is rare: the list says where to "
    "look, and decides nothing."
)
HOW = (
    "Side by side are the picture, the mask (hatched where it is contradicted; grey where there is none) and "
    "the prediction. Go to a patch with Tab, then on with J or an arrow, back with K. R marks it right, W "
    "wrong, U unsure, and goes on; Backspace takes a mark away. Marks stay in this browser until you save "
    "them as a file: l2s check DATA --review FILE reports on it, l2s prepare reviewed DATA OUT --review FILE "
    "leaves out what is wrong."
)
OF_WINDOWS = (
    "Behind labels and masks stand windows of slides, those first about which networks disagree most: mutual "
    "information of class and network, mean over the window's tissue, in nats. Side by side are the picture, "
    "the prediction and the disagreement, pink where it is great. Nobody has said what is in a window, so "
    "nothing in it is right or wrong and it takes no mark."
)

BODY = """
<noscript><p>Your browser does not run this page's script. The same list is in review.csv.</p></noscript>
<form id="bar" aria-label="filters"><div id="filters"></div>
<div id="state"><output id="count" aria-live="polite"></output>
<button type="button" id="save">Save marks (CSV)</button></div></form>
<ul id="key"></ul>
<ol id="list"></ol>
<p id="end"></p>
"""

STYLE = """
body { max-width: 100rem }
details { max-width: 68rem }
summary { cursor: pointer; color: var(--quiet) }
#bar { background: var(--page); padding: .5rem 0; border-bottom: 1px solid var(--line) }
#filters, #state { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center }
#state { margin-top: .4rem }
#bar label { display: inline-flex; gap: .3rem; align-items: center; max-width: 100% }
#bar select { font: inherit; min-width: 0; max-width: 14rem }
button { font: inherit; padding: .15rem .7rem; border: 1px solid var(--line); border-radius: 4px }
button { background: var(--head); color: var(--text); cursor: pointer }
#key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .35em; vertical-align: -.08em }
.swatch { border: 1px solid var(--quiet) }
#list { list-style: none; padding: 0; display: grid; gap: 1rem }
#list { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; scroll-margin: 7rem 0 1rem }
.card { content-visibility: auto; contain-intrinsic-size: auto 20rem; overflow-wrap: anywhere }
.card:focus { outline: 3px solid var(--link); outline-offset: 1px }
.card img { display: block; width: 100%; height: auto; background: var(--head) }
.panels { display: grid; grid-template-columns: repeat(3, 1fr); color: var(--quiet); font-size: 12px }
.card p { margin: .25rem 0 }
.card p span { display: inline-block; max-width: 100% }
.where { color: var(--quiet); font-size: 13px }
.verdicts { display: flex; gap: .4rem; margin-top: .4rem }
.verdicts button[aria-pressed=true] { background: var(--link); color: var(--page); border-color: var(--link) }
.card.right, .card.wrong, .card.unsure { border-left-width: 6px; padding-left: calc(.6rem - 5px) }
.card.right { border-left-color: #2e8b57 }
.card.wrong { border-left-color: #c0392b }
.card.unsure { border-left-color: #c98500 }
kbd { border: 1px solid; border-radius: 3px; padding: 0 .25em; font-size: 11px; opacity: .7 }
@media (min-width: 60rem) and (min-height: 30rem) { #bar { position: sticky; top: 0; z-index: 1 } }
@media (max-width: 40rem) { .card { scroll-margin-top: 1rem } .verdicts button { flex: 1; padding: .4rem 0 } }
@media (max-width: 40rem) { #bar label { width: 100%; justify-content: space-between } kbd { display: none } }
"""


def picture_name(row: PatchRow) -> str:
    """The file of a patch's strip: a number, so that no name has to be made fit for disks and addresses."""
    return f"{row.line:06d}.jpg"


def review_page(
    found: Sequence[Judgement],
    contents: Manifest,
    facts: Sequence[tuple[str, str]],
    windows: Sequence[WindowDoubt] = (),
) -> str:
    """The page as HTML.

    Args:
      found: in the order of the page.
      contents: the manifest.
      facts: names and texts of what it was made from.
      windows: of slides, which come behind.
    """
    data = page_data(found, contents, windows)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Nothing in the data ends the element that holds it, or begins another one.
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    parts = [WHAT, HOW, OF_WINDOWS] if windows else [WHAT, HOW]
    about = "".join(map(html.paragraph, parts)) + html.facts(facts)
    about = f"<details><summary>What this is, the keys, and what it was made from</summary>{about}</details>"
    body = f'{about}{BODY}<script type="application/json" id="data">{text}</script>'
    head = "Labels and masks, the most suspicious first"
    sections = [(f"{head}; then windows, the most contested first" if windows else head, body)]
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    title = f"Review of {contents.folder.name or contents.folder}"
    return html.page(title, sections, style=STYLE, script=script, policy=POLICY)


def page_data(
    found: Sequence[Judgement], contents: Manifest, windows: Sequence[WindowDoubt] = ()
) -> dict[str, Any]:
    """What `page.js` is told; see there for the fields of a row."""
    groups = sorted({one.row.group for one in found} | {one.group for one in windows})
    slides = sorted({slide_of(one.row) for one in found} - {""} | {one.slide for one in windows})
    of_group, of_slide = ({name: k for k, name in enumerate(names)} for names in (groups, slides))
    return {
        "key": f"l2s review {data_set_key(contents)}",
        "header": rows_text([COLUMNS]).strip("\n"),
        "classes": [
            [name, f"rgb({red}, {green}, {blue})"]
            for name, (red, green, blue) in zip(contents.classes.names, contents.classes.colours, strict=True)
        ],
        "kinds": (*KINDS, WINDOW) if windows else KINDS,
        "splits": SPLITS,
        "groups": groups,
        "slides": slides,
        "rows": [
            [
                f"{PICTURES}/{picture_name(one.row)}",
                one.item[0],
                rows_text([one.item]).strip("\n"),
                KINDS.index(one.kind),
                of_group[one.row.group],
                of_slide.get(slide_of(one.row), -1),
                SPLITS.index(one.row.split),
                round(one.doubt.suspicion, 4),
                one.members,
                -1 if one.doubt.likeliest is None else one.doubt.likeliest,
                round(one.doubt.likeliest_probability or 0.0, 3),
                _given(one),
            ]
            for one in found
        ]
        + [
            [
                f"{PICTURES}/{window_picture_name(one.rank)}",
                one.name,
                None,
                len(KINDS),
                of_group[one.group],
                of_slide[one.slide],
                SPLITS.index(one.split) if one.split else -1,
                round(one.disagreement, 4),
                one.members,
                one.likeliest,
                round(one.likeliest_probability, 3),
                [],
            ]
            for one in windows
        ],
    }


def _given(one: Judgement) -> list[tuple[int, float]]:
    """The label with its probability, or each class of the mask with its contradicted share, most first."""
    if not isinstance(one.doubt, MaskDoubt):
        return [(one.row.label, round(one.doubt.probability, 3))]
    shares = [(code, round(float(share), 3)) for code, share in enumerate(one.doubt.contradicted)]
    return sorted((pair for pair in shares if not math.isnan(pair[1])), key=lambda pair: -pair[1])


def data_set_key(contents: Manifest) -> str:
    """Under which name a browser keeps the marks: that of the classes and of the pictures.

    It is not that of the labels: one that is corrected leaves the marks of all others where they were.
    """
    root = root_of(contents.folder)
    names = sorted(relative_name(row.image, root) for row in contents.patches)
    return hashlib.sha256("\n".join((*contents.classes.names, "", *names)).encode()).hexdigest()[:16]
