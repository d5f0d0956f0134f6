"""A page of the pseudo-masks that a run learns from, the most doubtful first."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from l2s_jax.data.manifest import Classes
from l2s_jax.figures import html
from l2s_jax.figures.drawing import inline_jpeg, spread_evenly
from l2s_jax.figures.overlays import overlay
from l2s_jax.system.files import write_text
from l2s_jax.training.plan import RunPlan
from l2s_jax.training.pseudo_masks import PseudoMasks, count_classes, likeliest_text
from l2s_jax.types import IGNORE_LABEL

PAGE = "pseudo_masks.html"
DOUBTFUL, OTHERS = 120, 60
"""How many pictures the page has at most: a page of all would not open."""
SIDE = 192
"""Pixels a side of the pictures on the page, at most."""

STYLE = """
.masks { display: flex; flex-wrap: wrap; gap: .8rem }
.masks figure { margin: 0; max-width: 20rem }
.masks img { height: 9rem; image-rendering: auto; margin-right: 2px }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid var(--line) }
"""


def write_page(folder: Path, plan: RunPlan, masks: PseudoMasks, classes: Classes) -> None:
    """Writes `pseudo_masks.html` into a run's folder.

    Args:
      folder: of the run that learns from the pseudo-masks.
      plan: its plan, with them.
      masks: what a teacher gave.
      classes: the manifest's.
    """
    order = np.argsort(-masks.doubt, kind="stable")
    first, rest = order[:DOUBTFUL], order[DOUBTFUL:]
    sections = [
        ("What this is", _what(masks, classes)),
        (f"Most doubtful: {len(first)}", _figures(plan, masks, first, classes)),
    ]
    if len(rest):
        some = rest[spread_evenly(len(rest), OTHERS)]
        heading = f"Of the other {len(rest)}, {len(some)} evenly spread over their doubt"
        sections.append((heading, _figures(plan, masks, some, classes)))
    write_text(folder / PAGE, html.page(f"Pseudo-masks of {folder.name}", sections, style=STYLE))


def _what(masks: PseudoMasks, classes: Classes) -> str:
    parts = count_classes(masks.codes, len(classes)) / max(masks.codes.size, 1)
    swatches = " ".join(
        f'<span class="swatch" style="background:rgb{colour}"></span> {escape(name)} {part:.0%}'
        for name, colour, part in zip(classes.names, classes.colours, parts, strict=True)
    )
    text = (
        f"{len(masks.rows)} patches have no mask, and a label or classes that can occur. A teacher drew "
        "these pseudo-masks, and the run learns from them as from masks. Doubt is the teacher's mean "
        "probability that a pixel is of another class than was drawn. Left the picture, right what was drawn."
    )
    if masks.why_likeliest:
        text += f" The {likeliest_text(masks.why_likeliest)}."
    return html.paragraph(text) + f"<p>{swatches}</p>"


def _figures(plan: RunPlan, masks: PseudoMasks, which: Sequence[int] | np.ndarray, classes: Classes) -> str:
    return f'<div class="masks">{"".join(_figure(plan, masks, int(k), classes) for k in which)}</div>'


def _figure(plan: RunPlan, masks: PseudoMasks, k: int, classes: Classes) -> str:
    row = int(masks.rows[k])
    (image,), (mask,) = plan.patches.fetch(np.array([row]))
    drawn = overlay(image, mask, classes)
    patch, label = plan.patches.rows[row], int(plan.patches.label[row])
    named = "no label" if label == IGNORE_LABEL else classes.names[label]
    caption = f"{patch.image.stem} ({patch.group}): {named}, doubt {masks.doubt[k]:.0%}"
    pictures = inline_jpeg(image, SIDE, "picture") + inline_jpeg(drawn, SIDE, "pseudo-mask")
    return f"<figure>{pictures}<figcaption>{escape(caption)}</figcaption></figure>\n"
