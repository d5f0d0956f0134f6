"""The phantom of BACH is what BACH is: the layout, slides that OpenSlide opens, and a truth that agrees."""

import numpy as np
import openslide
import pytest
from PIL import Image

from l2s_jax.cli import app as cli
from l2s_jax.phantom.bach import MPP, draw_bach, phantom_section
from l2s_jax.prepare.bach import find_photos, find_slides
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table
from l2s_jax.slides.sheets import read_slide_sheet
from l2s_jax.system.errors import UserError

SHAPE = (192, 256)
JPEG_ERROR = 24
"""Grey levels between a drawn pixel and what is read; its mean is much smaller."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_bach(tmp_path_factory.mktemp("phantom") / "BACH", photos=1)


def test_the_layout_is_found(drawn):
    slides, found = find_slides(drawn)
    assert sorted(slides) == [f"A{number:02d}" for number in range(1, 11)]
    assert found == ["10 annotated slides; 2 without annotation are not used"]
    photos, said = find_photos(drawn, 32)
    assert said == ["photos: 1 Normal, 1 Benign, 1 InSitu, 1 Invasive"]
    sheets = [photo.read() for photo in photos]
    assert [sheet.label for sheet in sheets] == [0, 1, 2, 3]
    assert all(sheet.image.std() > 10 for sheet in sheets)


@pytest.mark.parametrize("name", ["A03", "A08"])
def test_slides_and_regions_are_the_drawn_ones(drawn, name):
    section = phantom_section(SHAPE, int(name[1:]))
    svs, xml = drawn / "WSI" / f"{name}.svs", drawn / "WSI" / f"{name}.xml"
    with openslide.OpenSlide(svs) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.level_dimensions[0] == (16 * SHAPE[1], 16 * SHAPE[0]) and slide.level_count == 3
        assert float(slide.properties["openslide.mpp-x"]) == MPP
    sheet = read_slide_sheet(svs, xml, bach_table(), 7.5, "open")
    np.testing.assert_array_equal(sheet.mask, section.mask)
    assert set(np.unique(section.mask)) == {0, 1, 2, 3}
    difference = np.abs(sheet.image.astype(int) - section.image)
    assert difference.max() <= JPEG_ERROR and difference.mean() < 3
    thumbnail = np.asarray(Image.open(drawn / "WSI" / "gt_thumbnails" / f"{name}.png"))
    np.testing.assert_array_equal(thumbnail, np.array(BACH_CLASSES.colours)[section.mask])


def test_it_is_the_same_each_time_and_another_with_another_seed():
    one, same, other = (phantom_section((64, 96), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.image, same.image)
    assert (one.image != other.image).any()


def test_what_is_there_is_not_drawn_over(tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert cli.run(["phantom-bach", str(tmp_path)]) == UserError("").exit_code
    assert "is there already" in capsys.readouterr().err
    assert cli.run(["phantom-bach", str(tmp_path / "new"), "--patch-size", "40"]) == 2
    assert "multiple of 16" in capsys.readouterr().err
