"""Centred extraction (B.2) and tiling (3.3): cases by hand, brute force, properties, degenerate masks."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label as skimage_label

from l2s_jax.prepare.centred_extraction import centre_count, extract_centred, find_regions
from l2s_jax.prepare.extraction import (
    LITTLE_TISSUE,
    NO_CLASS,
    PICTURE_TOO_SMALL,
    join,
    mask_labels,
    overlapping_pairs,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.presets import EXTRACTION_PRESETS
from l2s_jax.prepare.tile_extraction import MANY_CLASSES, ONE_CLASS, class_borders, extract_tiles, grid
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

SMALL = dataclasses.replace(ExtractionOptions(), patch_size=8)
SMALL_RELEASE = dataclasses.replace(EXTRACTION_PRESETS["release"], patch_size=8, kmeans_step=2)
MASKS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    elements=st.sampled_from([0, 0, 0, 1, 2, IGNORE_PIXEL]),
)


def blank(height=64, width=64):
    return np.zeros((height, width), np.uint8)


def covered(patches, shape, size):
    """bool[H,W]: pixels in at least one patch."""
    seen = np.zeros(shape, bool)
    for row, col in patches.origins:
        seen[row : row + size, col : col + size] = True
    return seen


# Centred extraction


def test_a_small_region_gets_one_patch_around_it():
    mask = blank()
    mask[20:24, 30:36] = 2
    patches = extract_centred(mask, None, 0, SMALL)
    assert patches.origins.tolist() == [[22 - 4, 33 - 4]]
    assert patches.labels.tolist() == [2] and patches.is_mask.all()
    assert patches.dropped_counts() == {}


@pytest.mark.parametrize(
    ("pixel", "origin"),
    [((0, 0), (0, 0)), ((63, 63), (56, 56)), ((0, 40), (0, 36)), ((32, 62), (28, 56))],
)
def test_patches_are_pushed_inside(pixel, origin):
    mask = blank()
    mask[pixel] = 1
    assert extract_centred(mask, None, 0, SMALL).origins.tolist() == [list(origin)]


def test_the_centroid_is_the_release_s_centre():
    mask = blank()
    mask[20, 20:28] = 1
    mask[21:28, 20] = 1  # an L
    box = extract_centred(mask, None, 0, SMALL)
    centroid = extract_centred(mask, None, 0, dataclasses.replace(SMALL, centre="centroid"))
    assert box.origins.tolist() == [[20, 20]]
    # 15 pixels: row mean 20 + 28/15 = 21.87, to which 0.5 is added, less 4, rounded down
    assert centroid.origins.tolist() == [[18, 18]]


def test_a_large_region_is_split_by_its_area():
    mask = blank()
    mask[10:20, 10:50] = 1  # 10 x 40: longer than 8
    patches = extract_centred(mask, None, 0, SMALL)
    assert len(patches) == math.ceil(1 + 400 / 64) == 8
    assert (patches.regions == 0).all()
    # 8 centres on a strip of 40 are about 5 apart, so patches of 8 leave no gap along it
    assert covered(patches, mask.shape, 8)[15, 10:50].all()


def test_the_box_s_area_splits_finer():
    mask = blank()
    for step in range(30):
        mask[10 + step, 10 + step] = 1  # a diagonal: area 30, box 900
    by_region = extract_centred(mask, None, 0, SMALL)
    by_box = extract_centred(mask, None, 0, dataclasses.replace(SMALL, kmeans_area="box"))
    assert len(by_region) == math.ceil(1 + 30 / 64) == 2
    assert len(by_box) == math.ceil(1 + 900 / 64) == 16


def test_nextpow2_splits_what_would_fit():
    mask = blank()
    mask[20:32, 20:32] = 1  # 12 fits into 12, but is rounded up to 16
    options = dataclasses.replace(SMALL, patch_size=12)
    assert len(extract_centred(mask, None, 0, options)) == 1
    rounded = dataclasses.replace(options, small_region="nextpow2")
    assert len(extract_centred(mask, None, 0, rounded)) == math.ceil(1 + 144 / 144)


def test_touching_regions_are_one_in_the_release_only():
    mask = blank()
    mask[20:24, 20:22], mask[20:24, 22:26] = 1, 2
    assert extract_centred(mask, None, 0, SMALL).regions.tolist() == [0, 1]
    any_class = extract_centred(mask, None, 0, dataclasses.replace(SMALL, components="any"))
    assert any_class.origins.tolist() == [[18, 19]] and any_class.labels.tolist() == [2]


def test_diagonal_neighbours_are_one_region():
    mask = blank()
    mask[20, 20] = mask[21, 21] = 1
    assert len(extract_centred(mask, None, 0, SMALL)) == 1


def test_kmeans_step_takes_multiples_of_the_picture_s_grid():
    mask = blank()
    mask[11:27, 13:45] = 1
    step = dataclasses.replace(SMALL, kmeans_step=8)
    patches = extract_centred(mask, None, 0, step)
    # rows 16, 24 and columns 16, 24, 32, 40: eight pixels for nine centres, so all pixels are used
    assert len(patches) == 9
    patches = extract_centred(mask, None, 0, dataclasses.replace(SMALL, patch_size=16, kmeans_step=8))
    assert len(patches) == 3
    # each centre is a mean of some of those rows (+ 0.5), less 8
    assert set(patches.origins[:, 0]) <= {8, 12, 16}


def test_the_seed_fixes_the_split_and_changes_it():
    mask = blank(200, 200)
    mask[10:190, 10:190] = 1
    options = dataclasses.replace(SMALL, patch_size=32, kmeans_points=500)
    first, again = (extract_centred(mask, None, 0, options).origins for _ in range(2))
    other = extract_centred(mask, None, 0, dataclasses.replace(options, seed=1)).origins
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_split_has_about_equal_areas():
    mask = blank(300, 300)
    rows, cols = np.mgrid[:300, :300]
    mask[(rows - 150) ** 2 + (cols - 150) ** 2 < 120**2] = 1
    options = dataclasses.replace(SMALL, patch_size=64)
    patches = extract_centred(mask, None, 0, options)
    assert len(patches) == math.ceil(1 + (mask == 1).sum() / 64**2)
    centres = patches.origins + 32
    points = np.argwhere(mask)
    nearest = ((points[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
    areas = np.bincount(nearest, minlength=len(centres))
    assert areas.max() < 2 * areas.min()


@pytest.mark.parametrize("options", [SMALL, SMALL_RELEASE])
@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_every_region_has_patches_inside_the_picture(options, mask):
    patches = extract_centred(mask, None, 0, options)
    regions = list(find_regions(mask, 0, options))
    assert sorted(set(patches.regions.tolist())) == list(range(len(regions)))
    if min(mask.shape) < options.patch_size:
        assert (patches.dropped == PICTURE_TOO_SMALL).all()
        return
    assert (patches.origins >= 0).all()
    assert (patches.origins + options.patch_size <= mask.shape).all()
    for number, region in enumerate(regions):
        count = (patches.regions == number).sum()
        longest = max(region.inside.shape)
        if options.small_region == "nextpow2":
            longest = 2 ** math.ceil(math.log2(longest))
        expected = 1 if longest <= options.patch_size else min(centre_count(region, options), region.area)
        assert count == expected


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_a_small_region_is_whole_in_its_patch(mask):
    if min(mask.shape) < SMALL.patch_size:
        return
    patches = extract_centred(mask, None, 0, SMALL)
    for number, region in enumerate(find_regions(mask, 0, SMALL)):
        if max(region.inside.shape) > SMALL.patch_size:
            continue
        (row, col), (rows, cols) = patches.origins[patches.regions == number][0], region.box
        assert row <= rows.start and rows.stop <= row + SMALL.patch_size
        assert col <= cols.start and cols.stop <= col + SMALL.patch_size


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_regions_partition_the_labelled_pixels_as_skimage_does(mask):
    times = np.zeros(mask.shape, int)
    regions = list(find_regions(mask, 0, SMALL))
    for region in regions:
        times[region.box] += region.inside
        assert (mask[region.box][region.inside] == region.code).all()
        assert region.area == region.inside.sum()
    np.testing.assert_array_equal(times, (mask != 0) & (mask != IGNORE_PIXEL))
    assert len(regions) == sum(skimage_label(mask == code, connectivity=2).max() for code in (1, 2))


@settings(max_examples=30, deadline=None)
@given(MASKS)
def test_renaming_classes_renames_labels_only(mask):
    names = np.arange(256)
    names[[1, 2]] = 7, 9  # in the same order, so that ties go the same way
    renamed = names[mask].astype(np.uint8)
    first, second = extract_centred(mask, None, 0, SMALL), extract_centred(renamed, None, 0, SMALL)
    np.testing.assert_array_equal(first.origins, second.origins)
    np.testing.assert_array_equal(second.labels, names[first.labels])


def test_too_little_tissue_is_dropped_at_the_threshold():
    mask = blank()
    mask[20:22, 20:22] = 1  # patch at 17, 17
    tissue = np.zeros(mask.shape, bool)
    tissue[17:25, 17:23] = True  # 6 of 8 columns: exactly 75%
    assert extract_centred(mask, tissue, 0, SMALL).dropped_counts() == {}
    tissue[17, 17] = False
    patches = extract_centred(mask, tissue, 0, SMALL)
    assert patches.dropped_counts() == {LITTLE_TISSUE: 1}
    assert len(patches) == 1 and len(patches.kept()) == 0
    off = dataclasses.replace(SMALL, min_foreground=0)
    assert len(extract_centred(mask, tissue, 0, off).kept()) == 1


@pytest.mark.parametrize("value", [0, IGNORE_PIXEL])
def test_an_empty_mask_has_no_patches(value):
    patches = extract_centred(np.full((64, 64), value, np.uint8), None, 0, SMALL)
    assert len(patches) == 0 and patches.origins.shape == (0, 2)


def test_a_mask_of_one_class_is_one_large_region():
    mask = np.full((32, 32), 3, np.uint8)
    patches = extract_centred(mask, np.ones(mask.shape, bool), 0, SMALL)
    assert len(patches) == math.ceil(1 + 1024 / 64) and (patches.labels == 3).all()


def test_without_background_every_class_is_a_region():
    mask = blank(8, 16)
    mask[:, 8:] = 1
    assert extract_centred(mask, None, None, SMALL).labels.tolist() == [0, 1]


# Tiles


def test_tiles_by_hand():
    mask = blank(16, 24)
    mask[0:8, 0:8] = 1  # all one class
    mask[0, 0:6] = 0  # 6/64 others: 90.6% of class 1
    mask[0:8, 8:16] = 2
    mask[0, 8:15] = 1  # 7/64 others: 89.1% of class 2, two classes
    mask[0:8, 16:24] = 0
    mask[0:4, 16:20], mask[4:8, 16:20] = 1, 2  # three classes
    mask[8:16, 0:8] = IGNORE_PIXEL
    mask[8:16, 8:16] = 1
    mask[8:12, 8:16] = IGNORE_PIXEL  # one class, half of the tile
    mask[8:16, 16:24] = 1
    mask[8:16, 16:18], mask[8:16, 18:20] = IGNORE_PIXEL, 2  # two classes and unlabelled pixels
    tiles = extract_tiles(mask, None, 0, SMALL)
    assert tiles.origins.tolist() == [[0, 0], [0, 8], [0, 16], [8, 0], [8, 8], [8, 16]]
    assert tiles.dropped.tolist() == ["", "", MANY_CLASSES, NO_CLASS, ONE_CLASS, ""]
    kept = tiles.kept()
    assert kept.is_mask.tolist() == [False, True, True]
    assert kept.labels.tolist() == [1, 2, 1]


def test_three_classes_with_a_dominant_one_are_an_image_level_patch():
    mask = blank(8, 8)
    mask[0, 0], mask[0, 1] = 1, 2
    tiles = extract_tiles(mask, None, 0, SMALL)
    assert not tiles.is_mask[0] and tiles.labels[0] == 0 and tiles.dropped[0] == ""


@pytest.mark.parametrize(("others", "is_mask"), [(10, False), (11, True)])
def test_exactly_ninety_per_cent_is_dominant(others, is_mask):
    mask = blank(10, 10)
    mask.flat[:others] = 1
    tiles = extract_tiles(mask, None, 0, dataclasses.replace(ExtractionOptions(), patch_size=10))
    assert tiles.is_mask.tolist() == [is_mask]


@pytest.mark.parametrize(("drop_last", "per_side"), [(False, 8), (True, 7)])
def test_whole_tiles_of_1024(drop_last, per_side):
    options = ExtractionOptions(drop_last=drop_last)
    assert len(grid((1024, 1024), options)) == per_side**2
    assert len(grid((1100, 1100), options)) == 64  # whole either way: a rest is left over
    assert len(grid((100, 1024), options)) == 0


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_tiles_partition_the_picture_and_equal_brute_force(mask):
    tiles = extract_tiles(mask, None, 0, SMALL)
    rows, cols = mask.shape[0] // 8, mask.shape[1] // 8
    times = np.zeros(mask.shape, int)
    for row, col in tiles.origins:
        times[row : row + 8, col : col + 8] += 1
    assert (times[: rows * 8, : cols * 8] == 1).all() and times.sum() == rows * cols * 64
    for (row, col), code, is_mask, dropped in zip(
        tiles.origins, tiles.labels, tiles.is_mask, tiles.dropped, strict=True
    ):
        window = mask[row : row + 8, col : col + 8]
        classes = [c for c in (0, 1, 2) if (window == c).any()]
        dominant = [c for c in classes if (window == c).sum() >= 0.9 * 64]
        if dominant:
            assert (code, is_mask, dropped) == (dominant[0], False, "")
        elif len(classes) == 2:
            other = [c for c in classes if c != 0]
            assert is_mask and dropped == ""
            assert code == max(other, key=lambda c: ((window == c).sum(), -c))
        else:
            assert dropped in (NO_CLASS, ONE_CLASS, MANY_CLASSES) and not is_mask


def test_tiles_without_tissue_are_dropped():
    mask, tissue = blank(8, 16), np.zeros((8, 16), bool)
    tissue[:, 8:] = True
    tiles = extract_tiles(mask, tissue, 0, SMALL)
    assert tiles.dropped.tolist() == [LITTLE_TISSUE, ""]


def test_a_picture_smaller_than_a_tile_has_none():
    assert len(extract_tiles(blank(7, 100), None, 0, SMALL)) == 0
    assert len(extract_tiles(blank(7, 100), None, 0, SMALL_RELEASE)) == 0


def test_release_makes_every_tile_an_image_level_patch_of_its_commonest_class():
    mask = blank(25, 25)
    mask[4:20, 4:20] = 1
    mask[12:25, 12:25] = 2
    tiles = extract_tiles(mask, None, 0, dataclasses.replace(SMALL_RELEASE, seg_from="grid"))
    assert len(tiles) == 9 and not tiles.is_mask.any() and (tiles.dropped == "").all()
    for (row, col), code in zip(tiles.origins, tiles.labels, strict=True):
        assert code == np.bincount(mask[row : row + 8, col : col + 8].ravel()).argmax()


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_perimeter_patches_lie_on_borders_and_apart(mask):
    patches = extract_tiles(mask, None, 0, SMALL_RELEASE)
    perimeter = patches.where(patches.is_mask)
    borders = class_borders(mask)
    if min(mask.shape) < 8:
        assert len(patches) == 0
        return
    assert (len(perimeter) > 0) == borders.any()
    for row, col in perimeter.origins:
        assert row >= 0 and col >= 0 and row + 8 <= mask.shape[0] and col + 8 <= mask.shape[1]
    for (row, col), (other_row, other_col) in itertools.combinations(perimeter.origins, 2):
        shared = max(0, 8 - abs(row - other_row)) * max(0, 8 - abs(col - other_col))
        assert shared < 0.2 * 64


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_class_borders_by_brute_force(mask):
    expected = np.zeros(mask.shape, bool)
    height, width = mask.shape
    for row, col in itertools.product(range(height), range(width)):
        around = [(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
        codes = {int(mask[r, c]) for r, c in around if 0 <= r < height and 0 <= c < width}
        here = int(mask[row, col])
        expected[row, col] = here != IGNORE_PIXEL and bool(codes - {here, IGNORE_PIXEL})
    np.testing.assert_array_equal(class_borders(mask), expected)


# Labels, overlaps, options


@pytest.mark.parametrize(
    ("pixels", "foreground", "three_to_one"),
    [
        ({0: 60, 1: 4}, 1, 0),
        ({0: 48, 1: 16}, 1, 1),  # exactly 3 : 1
        ({0: 49, 1: 15}, 1, 0),
        ({0: 40, 1: 10, 2: 14}, 2, 2),
        ({0: 20, 1: 44}, 1, 1),
        ({0: 64}, 0, 0),
        ({IGNORE_PIXEL: 60, 2: 4}, 2, 2),
        ({IGNORE_PIXEL: 64}, IGNORE_LABEL, IGNORE_LABEL),
    ],
)
def test_label_rules_by_hand(pixels, foreground, three_to_one):
    counts = np.zeros((1, 256), np.int64)
    for code, number in pixels.items():
        counts[0, code] = number
    assert mask_labels(counts, 0, "foreground").tolist() == [foreground]
    assert mask_labels(counts, 0, "three_to_one").tolist() == [three_to_one]
    without = counts[0].copy()
    without[IGNORE_PIXEL] = 0
    commonest = int(without.argmax()) if without.any() else IGNORE_LABEL
    assert mask_labels(counts, None, "foreground").tolist() == [commonest]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.integers(0, 30)),
    st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_overlapping_pairs_by_brute_force(origins, share):
    expected = []
    for i, j in itertools.combinations(range(len(origins)), 2):
        rows, cols = np.maximum(8 - np.abs(origins[i] - origins[j]), 0)
        if rows * cols > share * 64:
            expected.append([i, j])
    assert overlapping_pairs(origins, 8, share).tolist() == expected


def test_joined_patches_keep_their_rows():
    mask = blank()
    mask[20:24, 30:36] = 2
    centred, tiles = extract_centred(mask, None, 0, SMALL), extract_tiles(mask, None, 0, SMALL)
    both = join(centred, tiles)
    assert len(both) == 1 + 64 and both.is_mask[0] and both.regions.tolist() == [0] + [-1] * 64


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("patch_size", 0, "patch_size = 0 must be 1 to"), ("dominance", 90, "dominance = 90 must be 0 to 1")],
)
def test_impossible_options_are_refused(option, value, message):
    with pytest.raises(UserError, match=message):
        ExtractionOptions(**{option: value})
