"""Where a slide's scale is from, and values that none can have."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from l2s_jax.data.ome_xml import read_ome
from l2s_jax.phantom.slide_writing import write_bach_xml, write_pyramidal_slide
from l2s_jax.slides.mpp import find_mpp, read_mpp_table
from l2s_jax.slides.sheets import open_slide_with
from l2s_jax.slides.slide import downsample_at, open_slide
from l2s_jax.system.errors import UserError

PICTURE = np.full((300, 420, 3), 200, np.uint8)


def write_ome(path, sizes, *, tile=(128, 128), **options):
    """An OME-TIFF with PhysicalSizeX and Y, and their units, as given."""
    metadata = {"axes": "YXS", **sizes}
    tifffile.imwrite(path, PICTURE, ome=True, photometric="rgb", tile=tile, metadata=metadata, **options)
    return path


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize(
    "value, unit, mpp",
    [
        (0.5, "µm", 0.5),
        (0.5, None, 0.5),
        (500.0, "nm", 0.5),
        (0.0005, "mm", 0.5),
        (5e-5, "cm", 0.5),
        (5000.0, "Å", 0.5),
    ],
)
def test_ome_tiff_says_its_scale(tmp_path, tile, value, unit, mpp):
    sizes = {"PhysicalSizeX": value, "PhysicalSizeY": value * 2}
    if unit:
        sizes |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", sizes, tile=tile))
    assert slide.mpp == pytest.approx((2 * mpp, mpp)) and slide.mpp_source == "ome"
    assert slide.vendor == ("generic-tiff" if tile else "picture")


def test_one_side_stands_in_for_the_other(tmp_path):
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", {"PhysicalSizeX": 0.25}))
    assert slide.mpp == (0.25, 0.25) and slide.mpp_source == "ome"


def test_ome_comes_before_the_resolution_and_says_so(tmp_path):
    resolution = {"resolution": (10000.0, 10000.0), "resolutionunit": "CENTIMETER"}
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", {"PhysicalSizeX": 0.25}, **resolution))
    assert slide.mpp == (0.25, 0.25)
    assert any("0.25 from ome is used, not 1 from tiff-resolution" in note for note in slide.notes)
    slide = open_slide(write_ome(tmp_path / "b.ome.tif", {}, **resolution))
    assert slide.mpp == (1.0, 1.0) and slide.mpp_source == "tiff-resolution"


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel"}, "in 'pixel', which is no length"),
        ({"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "reference frame"}, "no length"),
        ({"PhysicalSizeX": 350.0}, "350 um/px is not plausible"),
        ({}, "PhysicalSizeX is missing"),
    ],
)
def test_ome_without_a_usable_scale(tmp_path, sizes, message):
    path = write_ome(tmp_path / "a.ome.tif", sizes)
    with pytest.raises(UserError, match=rf"the scale is not known.*{message}.*--slide-mpp"):
        open_slide(path)
    assert open_slide(path, mpp=0.5).mpp_source == "option"


@pytest.mark.parametrize("tile", [(128, 128), None])
def test_a_resolution_without_a_unit_is_no_scale(tmp_path, tile):
    path = tmp_path / "a.tif"
    common = {"photometric": "rgb", "tile": tile, "metadata": None}
    tifffile.imwrite(path, PICTURE, resolution=(20000.0, 20000.0), resolutionunit="NONE", **common)
    with pytest.raises(UserError, match=r"the scale is not known.*an inch or a centimetre.*--slide-mpp"):
        open_slide(path)
    tifffile.imwrite(path, PICTURE, resolution=(20000.0, 20000.0), resolutionunit="CENTIMETER", **common)
    assert open_slide(path).mpp == (0.5, 0.5)


@pytest.mark.parametrize("text", ["", "<OME", "<OME/>", "<OME><Image><Pixels/></Image></OME>", "ImageJ=1"])
def test_descriptions_that_say_nothing(text):
    ome = read_ome(text)
    assert ome is None or ome.mpp is None


def test_entities_in_a_description_are_not_read():
    assert read_ome('<!DOCTYPE OME [<!ENTITY a "b">]><OME><Image><Pixels SizeC="&a;"/></Image></OME>') is None


def test_the_scale_of_an_annotation_is_called_so(tmp_path):
    slide = write_pyramidal_slide(tmp_path / "a.svs", PICTURE, mpp=0.5)
    square = [("benign", [(0, 0), (9, 0), (9, 9)])]
    drawn = write_bach_xml(tmp_path / "a.xml", square, mpp=0.25)
    opened = open_slide_with(slide, drawn, None)
    assert opened.mpp == (0.5, 0.5)
    assert opened.notes == ("mpp 0.5 from openslide is used, not 0.25 from annotation",)
    bare = write_pyramidal_slide(tmp_path / "b.svs", PICTURE, mpp=None)
    opened = open_slide_with(bare, drawn, None)
    assert opened.mpp == (0.25, 0.25) and opened.mpp_source == "annotation"
    opened = open_slide_with(bare, drawn, 1.0)
    assert opened.mpp == (0.25, 0.25) and any("not 1 from option" in note for note in opened.notes)
    opened = open_slide_with(bare, drawn, 1.0, {"b.svs": (2.0, 2.0)})
    assert opened.mpp == (2.0, 2.0) and opened.mpp_source == "table"


EXTREMES = ["inf", "-inf", "nan", "1e-300", "1e308", "1e999", "-0.5", "0", "x", "", "0,25", "1e-4", "2000"]


@pytest.mark.parametrize("value", EXTREMES)
def test_extremes_in_a_table_are_refused(tmp_path, value):
    path = tmp_path / "mpp.csv"
    path.write_text(f'slide,mpp\nA01,0.5\nA02,"{value}"\n')
    with pytest.raises(UserError, match=r"mpp\.csv line 3: expected.*0\.001 to 1000") as caught:
        read_mpp_table(path)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e-300, 1e308, -0.5, 0.0])
def test_extremes_as_an_option_or_working_scale_are_refused(tmp_path, value):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    for scale in (value, (value, 0.5), (0.5, value)):
        with pytest.raises(UserError, match="0.001 to 1000"):
            open_slide(tmp_path / "a.png", mpp=scale)
    with pytest.raises(UserError, match="no positive number of um/px"):
        downsample_at(open_slide(tmp_path / "a.png", mpp=0.5), value)


@pytest.mark.parametrize("value", ["inf", "1e308", "1e-300", "-1", "x", ""])
def test_extremes_in_a_file_are_taken_as_missing(tmp_path, value):
    properties = {"openslide.mpp-x": value, "openslide.mpp-y": value, "openslide.vendor": "aperio"}
    with pytest.raises(UserError, match="is not plausible"):
        find_mpp(tmp_path, properties)


def test_tables_as_spreadsheets_save_them(tmp_path):
    path = tmp_path / "mpp.csv"
    path.write_bytes("\ufeffslide , mpp,,\r\nA01,0.5,,\r\n,,,\r\nA02,0.25,,\r\n".encode())
    assert read_mpp_table(path) == {"A01": (0.5, 0.5), "A02": (0.25, 0.25)}
    path.write_text("slide;mpp\nA01;0,5\n")
    with pytest.raises(UserError, match=r"mpp\.csv.*parted by semicolons"):
        read_mpp_table(path)
    path.write_bytes("slide,mpp\nA01,0.5\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"mpp\.csv.*UTF-8"):
        read_mpp_table(path)
    path.write_text('slide,mpp\n"' + "x" * 200_000 + '",1\n')
    with pytest.raises(UserError, match=r"mpp\.csv line .*is no CSV"):
        read_mpp_table(path)
