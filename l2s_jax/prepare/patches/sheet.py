"""A sheet of patches with their masks, to see at a glance whether the two belong together."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from l2s_jax.data.classes import Classes
from l2s_jax.data.manifest import PatchRow
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.figures.drawing import legend, new_figure, spread_evenly
from l2s_jax.figures.overlays import overlay
from l2s_jax.figures.texts import label_text
from l2s_jax.types import IGNORE_LABEL

MOST = 24
COLUMNS = 8


def chosen(rows: Sequence[PatchRow]) -> list[PatchRow]:
    """At most `MOST` rows: of each label as many, those with a mask first, evenly spread over their order."""
    kinds: dict[tuple[bool, int], list[PatchRow]] = {}
    for row in rows:
        kinds.setdefault((row.mask is None, row.label), []).append(row)
    share = max(1, MOST // len(kinds))
    picked = [kinds[kind][n] for kind in sorted(kinds) for n in spread_evenly(len(kinds[kind]), share)]
    return picked[:MOST]


def draw_sheet(patches: Sequence[PatchRow], classes: Classes) -> Figure:
    """Picture above, the same with its mask below; its label, and its name."""
    rows = chosen(patches)
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure = new_figure(max(1.6 * columns, 4), 3.6 * lines + 0.6)
    axes = figure.subplots(2 * lines, columns, squeeze=False)
    for panel in axes.ravel():
        panel.axis("off")
    for number, row in enumerate(rows):
        above, below = axes[2 * (number // columns) :, number % columns][:2]
        image = read_image(row.image)
        above.imshow(image)
        above.set_title(label_text(_title(row, classes)), fontsize=8)
        if row.mask is None:
            below.text(0.5, 0.5, "label only", transform=below.transAxes, ha="center", fontsize=8)
        else:
            below.imshow(overlay(image, read_mask(row.mask, classes), classes))
        below.set_title(label_text(row.image.stem), fontsize=6)
    names = legend(classes)
    figure.legend(handles=names, loc="outside lower center", ncols=min(len(names), 6), fontsize=8)
    return figure


def _title(row: PatchRow, classes: Classes) -> str:
    if row.label != IGNORE_LABEL:
        return classes.names[row.label]
    return "no label" if row.mask is not None else "a part"
