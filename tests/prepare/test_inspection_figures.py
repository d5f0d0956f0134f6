"""Figs. 4, B.7, B.8 and B.9 from small pictures: what is drawn, where and in which style."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.figures.drawing import save_figure
from l2s_jax.prepare.centred_extraction import extract_centred, find_regions
from l2s_jax.prepare.inspection_figures import (
    GREEN,
    RED,
    _nearest_centre,
    _shares,
    _tiles_on,
    draw_centred_and_tiled,
    draw_patches,
    draw_splitting,
    draw_tissue,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.tile_extraction import extract_tiles

CLASSES = Classes(
    ("normal", "benign", "invasive"), ((255, 255, 255), (255, 0, 0), (0, 0, 255)), (0, 1, 2), background=0
)
OPTIONS = dataclasses.replace(ExtractionOptions(), patch_size=16)


def slide():
    """A pink field with a small region across a tile's border and a large one."""
    image = np.full((96, 128, 3), 255, np.uint8)
    image[:80] = (220, 150, 190)
    mask = np.zeros((96, 128), np.uint8)
    mask[10:20, 12:20] = 1
    mask[40:80, 60:120] = 2
    return image, mask


def boxes(axes):
    return [one for one in axes.patches if isinstance(one, Rectangle)]


def test_patches_are_drawn_in_the_style_of_their_kind():
    image, mask = slide()
    tissue = image[..., 1] < 200
    tiles = extract_tiles(mask, tissue, 0, OPTIONS)
    figure = draw_patches(image, mask, tiles, 16, CLASSES)
    drawn = boxes(figure.axes[0])
    assert len(drawn) == len(tiles) == 6 * 8
    styles = {}
    for box in drawn:
        # a box is inset by 2% of the patch
        origin = (round(box.get_y() - 0.32), round(box.get_x() - 0.32))
        styles[origin] = (to_hex(box.get_edgecolor()), box.get_linestyle() == "solid")
    for origin, is_mask, dropped in zip(tiles.origins, tiles.is_mask, tiles.dropped, strict=True):
        assert styles[tuple(origin)] == ((RED, True) if dropped else (GREEN, bool(is_mask)))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:3] == [
        f"mask patch ({(tiles.is_mask & (tiles.dropped == '')).sum()})",
        f"image-level patch ({(~tiles.is_mask & (tiles.dropped == '')).sum()})",
        f"left out ({(tiles.dropped != '').sum()})",
    ]
    assert figure.axes[0].get_title() == f"left out: too little tissue ({(tiles.dropped != '').sum()})"


def test_tissue_steps_are_in_reading_order():
    image, _ = slide()
    image[20:30, 20:30] = 255  # a hole
    image[90:92, 90:92] = (220, 150, 190)  # a speck
    figure = draw_tissue(image, ExtractionOptions())
    titles = [axes.get_title() for axes in figure.axes]
    assert [title[:2] for title in titles] == [f"{n}." for n in range(1, 7)]
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    white = 255
    assert [(shown[n] == white).sum() for n in (2, 3, 4)] == [80 * 128 - 100 + 4, 80 * 128 + 4, 80 * 128]
    assert titles[4] == f"5. opened: {80 / 96:.0%} tissue"
    assert (shown[5][81:] == white).all()
    closed = draw_tissue(image, dataclasses.replace(ExtractionOptions(), morphology="close"))
    assert closed.axes[4].get_title().startswith("5. closed")


def test_centred_and_tiled_show_the_same_region():
    image, mask = slide()
    figure = draw_centred_and_tiled(image, mask, OPTIONS, CLASSES)
    centred, tiled, whole, cut = figure.axes
    assert len(boxes(centred)) == 1 and len(boxes(tiled)) == 4
    assert whole.get_title() == "holds 100% of the region"
    # rows 10..15 and columns 12..15 of 10 x 8 pixels lie in the first tile: 24; 6 x 4, 4 x 4 in the others
    assert cut.get_title() == f"holds {24 / 80:.0%} of the region"


def test_splitting_shows_every_centre():
    image, mask = slide()
    figure = draw_splitting(image, mask, OPTIONS, CLASSES)
    patches = extract_centred(mask, None, 0, OPTIONS)
    count = (patches.regions == 1).sum()
    left, right = figure.axes
    assert left.get_title().startswith(f"{count} parts of ")
    assert len(boxes(right)) == count and len(left.lines[0].get_xdata()) == count


def test_parts_are_those_of_the_nearest_centre():
    _, mask = slide()
    region = list(find_regions(mask, 0, OPTIONS))[1]
    centres = np.array([[50.0, 70.0], [60.0, 110.0], [75.0, 90.0]])
    parts = _nearest_centre(region, centres)
    for row, col in ((0, 0), (39, 59), (20, 30), (10, 45)):
        distances = np.hypot(*(centres - [row + 40.5, col + 60.5]).T)
        assert parts[row, col] == distances.argmin()


def test_tiles_on_a_region_hold_all_of_it():
    _, mask = slide()
    for region in find_regions(mask, 0, OPTIONS):
        tiles = _tiles_on(region, mask.shape, 16)
        assert _shares(region, tiles, 16).sum() == pytest.approx(1)


@pytest.mark.parametrize("draw", [draw_centred_and_tiled, draw_splitting])
@pytest.mark.parametrize("shape", [(64, 64), (8, 8)])
def test_an_unannotated_slide_is_said_to_have_no_region(draw, shape):
    image, mask = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, np.uint8)
    figure = draw(image, mask, OPTIONS, CLASSES)
    assert "no region is" in figure.texts[0].get_text()


def test_a_slide_smaller_than_a_patch_can_be_drawn():
    image, mask = np.full((8, 8, 3), 255, np.uint8), np.ones((8, 8), np.uint8)
    patches = extract_centred(mask, None, 0, OPTIONS)
    draw_patches(image, mask, patches, 16, CLASSES)
    assert "no region is" in draw_centred_and_tiled(image, mask, OPTIONS, CLASSES).texts[0].get_text()
    assert "no region is" in draw_splitting(image, mask, OPTIONS, CLASSES).texts[0].get_text()


def test_figures_become_png_files(tmp_path):
    image, mask = slide()
    large = np.kron(image, np.ones((15, 15, 1), np.uint8))  # shrunk before it is drawn
    tiles = extract_tiles(mask, None, 0, OPTIONS)
    for name, figure in {
        "fig4": draw_patches(image, mask, tiles, 16, CLASSES),
        "b7": draw_tissue(large, ExtractionOptions()),
        "b8": draw_centred_and_tiled(image, mask, OPTIONS, CLASSES),
        "b9": draw_splitting(image, mask, OPTIONS, CLASSES),
    }.items():
        save_figure(figure, tmp_path / f"{name}.png", dpi=60)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 150
            assert np.asarray(picture.convert("RGB")).std() > 10
