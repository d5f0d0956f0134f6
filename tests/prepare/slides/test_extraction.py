"""Patches found in bands are those of the whole mask; windows hold each known pixel once."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from l2s_jax.prepare.centred_extraction import extract_centred
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.slides import windows as windows_module
from l2s_jax.prepare.slides.extraction import (
    bands_of,
    class_pixels,
    extract_centred_in_bands,
    extract_tiles_in_bands,
)
from l2s_jax.prepare.slides.windows import known_windows
from l2s_jax.prepare.tile_extraction import extract_tiles
from l2s_jax.slides.annotated_slide import AnnotatedSlide, mask_window, tissue_window
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.overview import Overview
from l2s_jax.types import IGNORE_PIXEL

DOWN = 4.0
OPTIONS = ExtractionOptions(patch_size=16, min_foreground=0.5)
BOXES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, IGNORE_PIXEL]),
        st.integers(-3, 70),
        st.integers(-3, 90),
        st.integers(1, 50),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=8,
)


def annotated(boxes, undrawn=IGNORE_PIXEL, size=(80, 100), seed=0):
    """A slide of `size` pixels at the working scale, of which only the geometry is there."""
    regions = tuple(
        Region(box(left, top, left + width, top + height).intersection(box(0, 0, size[1], size[0])), code)
        for code, top, left, height, width in boxes
    )
    scaled = tuple(
        Region(box(*(DOWN * side for side in region.polygon.bounds)), region.code)
        for region in regions
        if region.polygon.area
    )
    slide = SimpleNamespace(mpp=(0.5, 0.5), size_level0=tuple(int(DOWN * side) for side in size))
    tissue = np.random.default_rng(seed).random((size[0] // 4, size[1] // 4)) < 0.7
    return AnnotatedSlide(slide, Annotations(scaled), 2.0, undrawn, Overview(None, tissue, 8.0))


def whole(sheet):
    """The mask and the tissue of all of it."""
    mask = paint(sheet.annotations, sheet.size, (DOWN, DOWN), background=sheet.undrawn)
    return mask, tissue_window(sheet, (0, 0), sheet.size)


@given(BOXES, st.integers(1, 2000))
@settings(deadline=None, max_examples=60)
def test_centred_patches_are_those_of_the_whole_mask(boxes, pixels):
    sheet = annotated(boxes)
    mask, tissue = whole(sheet)
    found = extract_centred_in_bands(sheet, 0, OPTIONS, bands_of(sheet, pixels))
    expected = extract_centred(mask, tissue, None, OPTIONS)
    np.testing.assert_array_equal(found.origins, expected.origins)
    np.testing.assert_array_equal(found.regions, expected.regions)
    np.testing.assert_array_equal(found.dropped == "", expected.dropped == "")
    assert found.is_mask.all()


@given(BOXES)
@settings(deadline=None, max_examples=30)
def test_where_the_rest_is_background_it_is_no_region(boxes):
    sheet = annotated([one for one in boxes if one[0]] or [(1, 3, 3, 9, 9)], undrawn=0)
    mask, tissue = whole(sheet)
    found = extract_centred_in_bands(sheet, 0, OPTIONS, bands_of(sheet))
    expected = extract_centred(mask, tissue, 0, OPTIONS)
    np.testing.assert_array_equal(found.origins, expected.origins)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.dropped, expected.dropped)


@given(BOXES, st.sampled_from([0, IGNORE_PIXEL]))
@settings(deadline=None, max_examples=30)
def test_tiles_are_those_of_the_whole_mask(boxes, undrawn):
    sheet = annotated(boxes, undrawn)
    mask, tissue = whole(sheet)
    found = extract_tiles_in_bands(sheet, 0, OPTIONS).kept()
    expected = extract_tiles(mask, tissue, 0, OPTIONS).kept()
    for name in ("origins", "labels", "is_mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@given(BOXES, st.sampled_from([0, IGNORE_PIXEL]), st.integers(1, 2000))
@settings(deadline=None, max_examples=30)
def test_pixels_of_classes_are_counted_over_all_of_a_slide(boxes, undrawn, pixels):
    sheet = annotated(boxes, undrawn)
    counted = class_pixels(sheet, bands_of(sheet, pixels))
    np.testing.assert_array_equal(counted, np.bincount(whole(sheet)[0].ravel(), minlength=256))


@given(BOXES, st.integers(20, 60))
@settings(deadline=None, max_examples=60)
def test_windows_hold_each_known_pixel_once(boxes, core):
    sheet = annotated(boxes)
    mask, _ = whole(sheet)
    seen = np.zeros(sheet.size, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "CORE", core)
        for window in known_windows(sheet, 16):
            (row, col), (height, width) = window.origin, window.mask.shape
            assert min(row, col) >= 0 and row + height <= sheet.size[0] and col + width <= sheet.size[1]
            assert min(height, width) >= 16
            here = np.s_[row : row + height, col : col + width]
            known = window.mask != IGNORE_PIXEL
            seen[here] += known
            np.testing.assert_array_equal(window.mask[known], mask[here][known])
    np.testing.assert_array_equal(seen, mask != IGNORE_PIXEL)


def test_where_the_rest_is_background_empty_glass_makes_no_window():
    sheet = annotated([(1, 3, 3, 9, 9)], undrawn=0, size=(80, 200))
    sheet.overview.tissue[:] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "CORE", 40)
        assert [window.origin for window in known_windows(sheet, 16)] == [(0, 0)]


def test_beyond_the_slide_nothing_is_known():
    sheet = annotated([(1, 0, 0, 80, 100)], undrawn=0)
    window = mask_window(sheet, (70, 90), (20, 20))
    assert (window[:10, :10] == 1).all() and (window[10:] == IGNORE_PIXEL).all()
    assert (window[:, 10:] == IGNORE_PIXEL).all()


def test_a_very_large_region_is_cut_into_squares_first():
    options = ExtractionOptions(patch_size=16, min_foreground=0)
    sheet = annotated([(1, 0, 0, 640, 640)], size=(640, 640))
    found = extract_centred_in_bands(sheet, None, options, bands_of(sheet))
    assert abs(len(found) - (1 + 40 * 40)) < 60
    covered = np.zeros(sheet.size, bool)
    for row, col in found.origins:
        covered[row : row + 16, col : col + 16] = True
    assert covered.mean() > 0.8
