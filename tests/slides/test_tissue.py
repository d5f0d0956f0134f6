"""The tissue mask of Appendix B.1, against colorsys, scikit-image, SciPy and cases worked by hand."""

import colorsys
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hsv

from l2s_jax.slides.tissue import (
    close_square,
    fill_holes,
    foreground_share,
    is_saturated,
    open_square,
    sample_tissue_pixels,
    tissue_mask,
    tissue_steps,
)

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[2] / "../shared/data"))
MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def all_pairs():
    """uint8[256,256,3]: every pair of a greatest (row) and least (column) channel, in turning order."""
    high, low = np.mgrid[:256, :256].astype(np.uint8)
    high, low = np.maximum(high, low), np.minimum(high, low)
    return np.stack([low, high, low], -1)


@pytest.mark.parametrize("least", [0.05, 0.1, 0.5, 1.0])
def test_saturation_equals_colorsys_at_every_pair(least):
    image = all_pairs()
    expected = [[colorsys.rgb_to_hsv(*map(int, pixel))[1] >= least for pixel in row] for row in image]
    np.testing.assert_array_equal(is_saturated(image, least, darkest=0), expected)


@pytest.mark.parametrize("least", [0.05, 0.1, 0.5])
def test_saturation_equals_skimage_but_for_its_rounding(least):
    image = all_pairs()
    theirs = rgb2hsv(image)[..., 1]
    tie = np.abs(theirs - least) < 1e-12  # float64 quotients of quotients are good to about 1e-15
    np.testing.assert_array_equal(is_saturated(image, least, darkest=0)[~tie], (theirs >= least)[~tie])
    assert is_saturated(image, least, darkest=0)[tie].all()


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((255, 255, 255), False),
        ((0, 0, 0), False),
        ((128, 128, 128), False),
        ((200, 180, 180), True),  # exactly 10%
        ((200, 181, 181), False),
        ((255, 230, 230), False),  # 25/255 = 9.8%
        ((255, 229, 229), True),  # 26/255 = 10.2%
        ((3, 0, 1), False),  # nearly black: its saturation is noise
        ((0, 120, 40), True),  # green ink: saturated, and so taken for tissue
    ],
)
def test_saturation_by_hand(pixel, expected):
    assert is_saturated(np.array([[pixel]], np.uint8))[0, 0] == expected


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_fill_holes_equals_scipy(mask):
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@settings(max_examples=100, deadline=None)
@given(MASKS, st.integers(1, 6))
def test_opening_equals_scipy(mask, size):
    np.testing.assert_array_equal(
        open_square(mask, size), ndimage.binary_opening(mask, np.ones((size, size), bool))
    )


@settings(max_examples=50, deadline=None)
@given(MASKS, st.integers(1, 6))
def test_opening_by_brute_force(mask, size):
    expected = np.zeros_like(mask)
    for row in range(mask.shape[0] - size + 1):
        for col in range(mask.shape[1] - size + 1):
            window = (slice(row, row + size), slice(col, col + size))
            expected[window] |= mask[window].all()
    np.testing.assert_array_equal(open_square(mask, size), expected)


@settings(max_examples=50, deadline=None)
@given(MASKS, st.integers(1, 6))
def test_closing_keeps_the_mask_and_equals_scipy_away_from_the_edge(mask, size):
    closed = close_square(mask, size)
    assert (closed | ~mask).all()
    inner = (slice(size, -size), slice(size, -size))
    theirs = ndimage.binary_closing(mask, np.ones((size, size), bool))
    np.testing.assert_array_equal(closed[inner], theirs[inner])


def slide_picture():
    """A pink square with a white hole and a pink speck, on white."""
    image = np.full((100, 100, 3), 255, np.uint8)
    image[20:60, 20:60] = (220, 150, 190)
    image[35:45, 35:45] = 255
    image[80:85, 80:85] = (220, 150, 190)
    return image


def test_steps_by_hand():
    saturated, filled, opened = tissue_steps(slide_picture())
    assert (saturated.sum(), filled.sum(), opened.sum()) == (1600 - 100 + 25, 1600 + 25, 1600)
    assert opened[20:60, 20:60].all()


def test_closing_keeps_the_speck():
    assert tissue_mask(slide_picture(), morphology="close").sum() == 1625


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (90, 90, 90)])
def test_a_picture_without_colour_has_no_tissue(colour):
    assert not tissue_mask(np.full((64, 64, 3), colour, np.uint8)).any()


def test_a_picture_full_of_tissue_is_all_tissue():
    assert tissue_mask(np.full((30, 40, 3), (200, 120, 180), np.uint8)).all()


def test_a_picture_smaller_than_the_opening_has_no_tissue_and_no_error():
    assert not tissue_mask(np.full((4, 7, 3), (200, 120, 180), np.uint8)).any()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"expected uint8\[H,W,3\]"):
        tissue_mask(image)


@settings(max_examples=50, deadline=None)
@given(
    MASKS,
    hnp.arrays(np.int64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.integers(-10, 30)),
    st.integers(1, 12),
)
def test_foreground_share_equals_counting(tissue, origins, size):
    padded = np.pad(tissue, 60)
    expected = [padded[row + 60 : row + 60 + size, col + 60 : col + 60 + size].mean() for row, col in origins]
    np.testing.assert_allclose(foreground_share(tissue, origins, size), expected, atol=1e-12)


def test_sampled_pixels_are_tissue():
    image = slide_picture()
    tissue = tissue_mask(image)
    pixels, valid = sample_tissue_pixels(image, tissue, count=500)
    assert pixels.shape == (1, 500, 1, 3) and valid.all()
    pixels, valid = sample_tissue_pixels(image, tissue, count=2000)
    assert valid.sum() == 1600 and (pixels[~valid] == 255).all()
    assert not sample_tissue_pixels(image, np.zeros_like(tissue))[1].any()


def test_a_real_slide_is_mostly_tissue():
    openslide = pytest.importorskip("openslide")
    path = DATA / "slides/CMU-1-Small-Region.svs"
    if not path.is_file():
        pytest.skip(f"{path} not found (set L2S_DATA)")
    with openslide.OpenSlide(str(path)) as slide:
        picture = slide.get_thumbnail((slide.dimensions[0] // 16, slide.dimensions[1] // 16))
    tissue = tissue_mask(np.asarray(picture.convert("RGB")))
    assert 0.3 < tissue.mean() < 1.0  # tissue with some glass


def test_biopsies_are_mostly_tissue():
    files = sorted((DATA / "ebhi-seg").glob("*/image/*.png"))[::40]
    if not files:
        pytest.skip(f"no EBHI-Seg pictures under {DATA} (set L2S_DATA)")
    shares = [tissue_mask(np.asarray(Image.open(file).convert("RGB"))).mean() for file in files]
    assert min(shares) > 0.5
