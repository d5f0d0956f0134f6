"""Ink, blur and stains as figures to compare slides by."""

import numpy as np
import pytest
from scipy import ndimage

from helpers.slide_generator import ellipses, smooth_picture
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.quality import COLUMNS, append_quality
from l2s_jax.slides.marked import part_of, read_marked
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.quality import ink_share, sharpness, tissue_windows
from l2s_jax.slides.slide import open_slide
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.slide_quality import quality_of, stain_angle

GLASS, TISSUE, NUCLEI = (243, 240, 244), (205, 110, 165), (95, 70, 150)
GREEN, BLUE, BLACK = (40, 140, 70), (40, 110, 200), (30, 28, 32)


@pytest.mark.parametrize("colour", [TISSUE, NUCLEI, (190, 60, 90), (150, 100, 190)])
def test_stained_tissue_is_no_ink(colour):
    assert ink_share(np.full((9, 9, 3), colour, np.uint8), np.ones((9, 9), bool)) == 0


@pytest.mark.parametrize("colour", [GREEN, BLUE, BLACK])
def test_ink_is_counted_where_there_is_tissue(colour):
    image = np.full((10, 10, 3), TISSUE, np.uint8)
    image[:4] = colour
    tissue = np.ones((10, 10), bool)
    tissue[0] = False
    assert ink_share(image, tissue) == pytest.approx(3 / 9)
    assert np.isnan(ink_share(image, tissue & False))


def test_blur_lowers_sharpness_and_faint_stains_do_not():
    rng = np.random.default_rng(0)
    sharp = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 1)[..., None] * [300, 200, 100] + 150
    values = [
        sharpness([np.clip(one, 0, 255).astype(np.uint8)])
        for one in (sharp, (sharp - 150) / 2 + 150, ndimage.gaussian_filter(sharp, (2, 2, 0)))
    ]
    assert values[1] == pytest.approx(values[0], rel=0.1) and values[2] < values[0] / 3
    assert np.isnan(sharpness([])) and np.isnan(sharpness([np.full((9, 9, 3), 200, np.uint8)]))
    assert sharpness([smooth_picture(200, 200)]) < values[0]


def test_angles_between_stains():
    def fit(first, second, usable=True):
        columns = [np.array(one) / np.linalg.norm(one) for one in (first, second)]
        return StainFit(np.stack(columns, 1), np.ones(2), usable)

    one = fit((1, 0, 0), (0, 1, 0))
    assert stain_angle(one, one) == pytest.approx(0, abs=1e-3)
    assert stain_angle(one, fit((1, 1, 0), (0, 1, 0))) == pytest.approx(45)
    assert np.isnan(stain_angle(one, None)) and np.isnan(stain_angle(fit((1, 0, 0), (0, 1, 0), False), one))


def test_a_row_a_slide(tmp_path):
    parts = [(400, 500, 300, 400, TISSUE), (400, 300, 60, 80, GREEN)]
    path = write_pyramidal_slide(
        tmp_path / "a.svs", ellipses(parts, GLASS), size=(800, 1000), mpp=1.0, compression="deflate"
    )
    slide, options = open_slide(path), SlideOptions()
    marked = read_marked(slide.path, slide, options.folders)
    part = part_of(slide, overview_of(slide), options.folders, marked)
    found = quality_of(slide, part, None, None)
    assert ["slide", *found] == COLUMNS
    assert found["ink_share"] == pytest.approx(60 * 80 / (300 * 400), rel=0.1)
    assert found["tissue_share"] == pytest.approx(np.pi * 300 * 400 / 800_000, rel=0.05)
    assert found["excluded_share"] == 0 and found["sharpness"] > 0
    assert len(tissue_windows(slide, part.tissue)) == 16
    append_quality(tmp_path / "quality.csv", "a", found)
    append_quality(tmp_path / "quality.csv", "a", found)
    assert len((tmp_path / "quality.csv").read_text().splitlines()) == 2
