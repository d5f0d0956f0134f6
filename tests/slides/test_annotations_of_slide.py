"""From which corner annotations count on slides with bounds, by every command that reads them."""

import numpy as np
import openslide
import pytest
from PIL import Image
from shapely import Polygon

from helpers.slide_generator import write_asap_xml, write_leica_slide, write_qupath_geojson
from l2s_jax.cli import app as cli
from l2s_jax.data.manifest import Classes
from l2s_jax.slides.annotations.class_names import bach_table, class_table
from l2s_jax.slides.annotations.of_slide import read_slide_annotations
from l2s_jax.slides.annotations.types import summary
from l2s_jax.slides.sheets import read_slide_sheet
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

TWO = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 7), background=0)
TABLE = class_table(TWO)
CANVAS, CORNER, AREA = (1600, 2000), (320, 480), (640, 960)
SQUARE = [(160, 80), (480, 80), (480, 400), (160, 400)]
ON_CANVAS = Polygon([(x + CORNER[1], y + CORNER[0]) for x, y in SQUARE])


@pytest.fixture(scope="module")
def leica(tmp_path_factory):
    """A scanned area of pale glass on a larger canvas; the square of tissue is where `SQUARE` is drawn."""
    image = np.full((*AREA, 3), 240, np.uint8)
    image[80:400, 160:480] = (180, 60, 140)
    path = tmp_path_factory.mktemp("leica") / "a.scn"
    return write_leica_slide(path, image, canvas=CANVAS, corner=CORNER)


def test_openslide_states_the_bounds(leica):
    slide = open_slide(leica)
    assert slide.vendor == "leica" and slide.size_level0 == CANVAS
    assert slide.bounds_level0 == (*CORNER, *AREA)
    pixel = openslide.OpenSlide(leica).read_region((480 + 160, 320 + 80), 0, (1, 1)).getpixel((0, 0))
    assert pixel[:3] == (180, 60, 140)


def test_geojson_counts_from_the_bounds_and_xml_from_the_whole(leica, tmp_path):
    slide = open_slide(leica)
    drawn = write_qupath_geojson(tmp_path / "a.geojson", [("tumour", [SQUARE])])
    xml = write_asap_xml(tmp_path / "a.xml", [("tumour", SQUARE)])
    found = read_slide_annotations(drawn, TABLE, slide)
    assert found.regions[0].polygon.equals(ON_CANVAS)
    assert "row 320, col 480" in summary(found) and "--outlines-from whole" in summary(found)
    found = read_slide_annotations(xml, TABLE, slide)
    assert found.regions[0].polygon.equals(Polygon(SQUARE)) and "--outlines-from bounds" in summary(found)
    for path in (drawn, xml):
        for origin, expected in (("bounds", ON_CANVAS), ("whole", Polygon(SQUARE))):
            found = read_slide_annotations(path, TABLE, slide, outlines_from=origin)
            assert found.regions[0].polygon.equals(expected) and found.notes == ()


def mask_of(size, box):
    mask = np.zeros(size, np.uint8)
    mask[box] = 7
    return Image.fromarray(mask)


def test_a_mask_covers_the_area_whose_proportions_it_has(leica, tmp_path):
    slide = open_slide(leica)
    mask_of((64, 96), np.s_[8:40, 16:48]).save(tmp_path / "cropped.png")
    mask_of((160, 200), np.s_[40:72, 64:96]).save(tmp_path / "whole.png")
    for name, other in (("cropped", "whole"), ("whole", "bounds")):
        found = read_slide_annotations(tmp_path / f"{name}.png", TABLE, slide)
        assert found.regions[0].polygon.equals(ON_CANVAS), name
        assert f"--outlines-from {other}" in summary(found)
        with pytest.raises(UserError, match=rf"{name}\.png.*proportions differ"):
            read_slide_annotations(tmp_path / f"{name}.png", TABLE, slide, outlines_from=other)


def test_slides_without_bounds_assume_nothing(tmp_path):
    Image.new("RGB", (100, 100), "white").save(tmp_path / "a.png")
    slide = open_slide(tmp_path / "a.png", mpp=1.0)
    drawn = write_qupath_geojson(tmp_path / "a.geojson", [("tumour", [[(1, 1), (9, 1), (9, 9)]])])
    for origin in (None, "bounds", "whole"):
        found = read_slide_annotations(drawn, TABLE, slide, outlines_from=origin)
        assert found.regions[0].polygon.bounds == (1, 1, 9, 9) and found.notes == ()


def test_sheets_inspect_and_evaluate_slides_agree(leica, tmp_path, capsys):
    drawn = write_qupath_geojson(tmp_path / "a.geojson", [("invasive", [SQUARE])])
    sheet = read_slide_sheet(leica, drawn, bach_table(), 8.0, "open")
    expected = np.zeros((100, 125), np.uint8)
    expected[25:45, 40:60] = 3
    np.testing.assert_array_equal(sheet.mask, expected)
    assert sheet.tissue[25:45, 40:60].all() and any("--outlines-from" in note for note in sheet.notes)
    read = read_slide_annotations(drawn, bach_table(), open_slide(leica))
    assert read.regions[0].polygon.equals(ON_CANVAS)
    arguments = [
        "inspect",
        str(leica),
        "--bach",
        "--annotations",
        str(drawn),
        "--mpp",
        "8",
        "--patch-size",
        "16",
    ]
    assert cli.run([*arguments, "--out", str(tmp_path / "o")]) == 0
    assert "invasive: 1 regions, 3.2% of the slide" in capsys.readouterr().out  # 400 of 12500 pixels
    sheet = read_slide_sheet(leica, drawn, bach_table(), 8.0, "open", outlines_from="whole")
    assert sheet.mask[5:25, 10:30].all() and sheet.mask.astype(bool).sum() == 400
