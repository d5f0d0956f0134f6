"""Pictures of what patch extraction does to a slide, after the paper's Figs. 4, B.7, B.8 and B.9. No JAX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.figures.drawing import legend, new_figure
from l2s_jax.figures.overlays import overlay
from l2s_jax.prepare.centred_extraction import ConnectedRegion, find_regions, push_inside, region_centres
from l2s_jax.prepare.extraction import Patches
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.slides.tissue import OPENING, tissue_steps

MOST_PIXELS = 1400
"""Pictures are shrunk to this side before they are drawn."""

GREEN, RED = "#00a000", "#d02020"
KIND_STYLES: dict[str, tuple[str, Any]] = {  # Fig. 4
    "mask patch": (GREEN, "solid"),
    "image-level patch": (GREEN, (0, (3, 2))),
    "left out": (RED, "solid"),
}


def draw_tissue(image: np.ndarray, options: ExtractionOptions, opening: int = OPENING) -> Figure:
    """How the background is removed, step by step in reading order (Fig. B.7).

    Args:
      image: u8[H,W,3], the slide at the working mpp.
      options: whose `morphology` to use.
      opening: side of its square in pixels.

    Returns:
      Six panels: slide, saturation, threshold, holes filled, opened or closed, and what is left of the slide.
    """
    saturated, filled, cleaned = tissue_steps(image, morphology=options.morphology, opening=opening)
    brightest = image.max(-1).astype(np.float32)
    saturation = (brightest - image.min(-1)) / np.maximum(brightest, 1)
    last = "opened" if options.morphology == "open" else "closed"
    panels = [
        ("1. slide", image),
        ("2. saturation", (saturation * 255).astype(np.uint8)),
        ("3. at least 10% saturation", saturated),
        ("4. holes filled", filled),
        (f"5. {last}: {cleaned.mean():.0%} tissue", cleaned),
        ("6. background removed", np.where(cleaned[..., None], image, np.uint8(255))),
    ]
    figure = new_figure(9, 0.6 + 6 * min(max(image.shape[0] / image.shape[1], 0.4), 2))
    for axes, (title, picture) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        _show(axes, picture)
        axes.set_title(title, fontsize=9)
    return figure


def draw_patches(
    image: np.ndarray, mask: np.ndarray, patches: Patches, size: int, classes: Classes
) -> Figure:
    """Patches on the picture: mask patches solid green, image-level dashed green, left out red (Fig. 4).

    Args:
      image: u8[H,W,3].
      mask: u8[H,W], class codes, drawn as a tint.
      patches: of `extract_tiles` or `extract_centred`.
      size: their side in pixels.
      classes: names and colours.
    """
    height, width = mask.shape
    figure = new_figure(8, max(8 * height / width, 3) + 0.9)
    axes = figure.subplots()
    _show(axes, overlay(image, mask, classes))
    kinds = np.where(patches.dropped != "", 2, np.where(patches.is_mask, 0, 1))
    names = list(KIND_STYLES)
    for kind in (2, 1, 0):  # what is kept lies on top
        for origin in patches.origins[kinds == kind]:
            _box(axes, origin, size, *KIND_STYLES[names[kind]])
    counts = np.bincount(kinds, minlength=3)
    lines: list = [
        Line2D([], [], color=colour, linestyle=style, label=f"{name} ({counts[kind]})")
        for kind, (name, (colour, style)) in enumerate(KIND_STYLES.items())
        if counts[kind]
    ]
    handles = [*lines, *legend(classes)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    if reasons := patches.dropped_counts():
        left_out = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
        axes.set_title(f"left out: {left_out}", fontsize=9)
    return figure


def draw_centred_and_tiled(
    image: np.ndarray, mask: np.ndarray, options: ExtractionOptions, classes: Classes
) -> Figure:
    """One region as centred extraction sees it, and as tiles do (Fig. B.8).

    The region shown is the one that fits into a patch and of which the tiles' best holds the least.
    Arguments as `draw_patches`. Where no region fits into a patch the figure says so.
    """
    best = _worst_tiled(mask, options, classes)
    if best is None:
        return _nothing("no region is small enough for one patch")
    region, centred, tiles, shares = best
    size = options.patch_size
    best_tile = tiles[np.argmax(shares)]
    tinted = overlay(image, mask, classes)
    figure = new_figure(7, 7.4)
    axes = figure.subplots(2, 2)
    low, high = np.minimum(tiles.min(0), centred), np.maximum(tiles.max(0), centred) + size
    middle, reach = (low + high) / 2, (high - low).max() / 2 + size / 8
    for column, (title, boxes, chosen) in enumerate(
        (("(a) centred extraction", centred[None], centred), ("(b) tiled extraction", tiles, best_tile))
    ):
        _show(axes[0, column], tinted)
        for origin in boxes:
            _box(axes[0, column], origin, size, GREEN, "solid")
        axes[0, column].set_xlim(middle[1] - reach, middle[1] + reach)
        axes[0, column].set_ylim(middle[0] + reach, middle[0] - reach)
        axes[0, column].set_title(title, fontsize=10)
        row, col = chosen
        _show(axes[1, column], tinted[row : row + size, col : col + size])
        share = _shares(region, chosen[None], size)[0]
        axes[1, column].set_title(f"holds {share:.0%} of the region", fontsize=9)
    figure.legend(handles=legend(classes), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def draw_splitting(
    image: np.ndarray, mask: np.ndarray, options: ExtractionOptions, classes: Classes
) -> Figure:
    """The largest region, split by K-means, and the patches on its centres (Fig. B.9).

    Arguments as `draw_patches`. Where every region fits into a patch the figure says so.
    """
    regions = list(find_regions(mask, classes.background, options))
    large = [region for region in regions if len(region_centres(region, options)) > 1]
    if not large or min(mask.shape) < options.patch_size:
        return _nothing("no region is larger than a patch")
    region = max(large, key=lambda one: one.area)
    centres = region_centres(region, options)
    rows, cols = region.box
    parts = _nearest_centre(region, centres)
    figure = new_figure(9, 0.5 + 4.5 * min(max(region.inside.shape[0] / region.inside.shape[1], 0.4), 1.6))
    left, right = figure.subplots(1, 2)
    _show(left, _with_parts(image, region, parts))
    _show(right, overlay(image, mask, classes))
    for origin in push_inside(centres, mask.shape, options.patch_size):
        _box(right, origin, options.patch_size, GREEN, "solid")
    for axes in (left, right):
        axes.plot(centres[:, 1], centres[:, 0], "o", color="white", markeredgecolor="black", markersize=5)
        axes.set_xlim(cols.start - options.patch_size / 2, cols.stop + options.patch_size / 2)
        axes.set_ylim(rows.stop + options.patch_size / 2, rows.start - options.patch_size / 2)
    areas = np.bincount(parts[parts >= 0], minlength=len(centres))
    left.set_title(f"{len(centres)} parts of {areas.min():,} to {areas.max():,} pixels", fontsize=9)
    right.set_title(f"a patch of {options.patch_size} pixels on each centre", fontsize=9)
    return figure


def _show(axes: Axes, picture: np.ndarray) -> None:
    """Draws a picture, shrunk where it is large, in its own pixel coordinates."""
    height, width = picture.shape[:2]
    extent = (0, width, height, 0)
    shown = Image.fromarray(picture if picture.dtype == np.uint8 else picture.astype(np.uint8) * 255)
    shown.thumbnail((MOST_PIXELS, MOST_PIXELS), reducing_gap=2)
    axes.imshow(np.asarray(shown), cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
    axes.set_axis_off()


def _box(axes: Axes, origin: Sequence[int], size: int, colour: str, style: Any) -> None:
    """A patch's outline, drawn just inside it so that neighbours do not hide one another."""
    row, col = origin
    inset = size * 0.02
    corner, side = (col + inset, row + inset), size - 2 * inset
    box = Rectangle(corner, side, side, fill=False, edgecolor=colour, linestyle=style, linewidth=1.5)
    box.set_path_effects([Stroke(linewidth=3, foreground="white", alpha=0.7), Normal()])
    axes.add_patch(box)


def _nothing(message: str) -> Figure:
    figure = new_figure(4, 1)
    figure.text(0.5, 0.5, message, ha="center", va="center")
    return figure


def _shares(region: ConnectedRegion, origins: np.ndarray, size: int) -> np.ndarray:
    """float[N]: how much of a region each patch holds."""
    points = np.argwhere(region.inside) + [side.start for side in region.box]
    inside = (points[None] >= origins[:, None]) & (points[None] < origins[:, None] + size)
    return inside.all(-1).mean(1)


def _worst_tiled(
    mask: np.ndarray, options: ExtractionOptions, classes: Classes
) -> tuple[ConnectedRegion, np.ndarray, np.ndarray, np.ndarray] | None:
    """Of the small regions the one that tiles cut up most, with its patch, the tiles on it, their shares."""
    worst = None
    for region in find_regions(mask, classes.background, options):
        centres, tiles = region_centres(region, options), _tiles_on(region, mask.shape, options.patch_size)
        if len(centres) > 1 or len(tiles) == 0:
            continue
        shares = _shares(region, tiles, options.patch_size)
        if worst is None or shares.max() < worst[3].max():
            worst = region, push_inside(centres, mask.shape, options.patch_size)[0], tiles, shares
    return worst


def _tiles_on(region: ConnectedRegion, shape: tuple[int, ...], size: int) -> np.ndarray:
    """int[N,2]: origins of the whole tiles that a region's box touches."""
    rows, cols = (
        np.arange(side.start // size * size, min(side.stop, length - size + 1), size)
        for side, length in zip(region.box, shape, strict=True)
    )
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)


def _nearest_centre(region: ConnectedRegion, centres: np.ndarray) -> np.ndarray:
    """int[h,w]: the number of the nearest centre for each pixel of a region, -1 outside it."""
    points = np.argwhere(region.inside)
    at = points + [side.start for side in region.box] + 0.5
    parts = np.full(region.inside.shape, -1)
    nearest = np.zeros(len(at), np.int64)
    closest = np.full(len(at), np.inf)
    for number, centre in enumerate(centres):  # centre by centre: a table of all distances would be large
        distance = ((at - centre) ** 2).sum(1)
        nearest = np.where(distance < closest, number, nearest)
        closest = np.minimum(closest, distance)
    parts[tuple(points.T)] = nearest
    return parts


def _with_parts(image: np.ndarray, region: ConnectedRegion, parts: np.ndarray) -> np.ndarray:
    """u8[H,W,3]: the picture, each part of the region tinted with a colour of its own."""
    colours = (colormaps["tab20"](np.arange(20))[:, :3] * 255)[parts % 20]
    tinted = image.copy()
    tinted[region.box][parts >= 0] = (0.45 * image[region.box] + 0.55 * colours)[parts >= 0]
    return tinted
