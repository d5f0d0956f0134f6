"""What takes part in the score of a slide: not what was drawn to be ignored, nor what nobody drew."""

import numpy as np
import pytest

from helpers.slide_generator import write_qupath_geojson
from l2s_jax.data.classes import Classes
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.slides.evaluate import names_table
from l2s_jax.prediction.slides.figures import judge_slide, scored_text, without_background
from l2s_jax.slides.annotations.of_slide import read_slide_annotations
from l2s_jax.slides.ome_tiff import write_pyramid
from l2s_jax.slides.row_file import scratch_picture, write_block
from l2s_jax.slides.slide import open_slide

CLASSES = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)
RECORD = {"mpp": 8.0, "size": [50, 60]}


def box(top, left, bottom, right):
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """At 8 um/px the slide has 50 x 60 pixels; all of it is predicted as tumour."""
    folder = tmp_path_factory.mktemp("ignored")
    path = write_pyramidal_slide(
        folder / "a.svs", lambda *_: (180, 60, 140), size=(800, 960), mpp=0.5, compression="deflate"
    )
    with scratch_picture(folder, (50, 60)) as picture:
        write_block(picture, 0, 0, np.ones((50, 60), np.uint8))
        write_pyramid(folder / "a.ome.tif", picture, 8.0, name="a")
    return open_slide(path)


def judged_with(slide, folder, regions, undrawn, frame=()):
    drawn = write_qupath_geojson(folder / "a.geojson", regions)
    found = read_slide_annotations(drawn, names_table(CLASSES, {}, ["pen"], frame), slide)
    return judge_slide(slide, slide.path.parent / "a.ome.tif", RECORD, found, CLASSES, undrawn)


def test_ignored_regions_are_not_scored(slide, tmp_path):
    regions = [
        ("tumour", box(0, 0, 800, 480)),
        ("pen", box(0, 0, 160, 960)),
        ("Ignore*", box(640, 0, 800, 960)),
    ]
    judged = judged_with(slide, tmp_path, regions, "background")
    # Rows 10 to 39 are known: left half tumour, right half undrawn and so stroma.
    for one in judged.values():
        np.testing.assert_array_equal(one.matrix, [[0, 900], [0, 900]])
        assert one.pixels == 3000 and one.share == 0.6
    assert "60.0% of the tissue and 60.0% of the slide" in scored_text(judged)


def test_what_nobody_drew_is_unknown(slide, tmp_path):
    judged = judged_with(slide, tmp_path, [("tumour", box(0, 0, 800, 480))], "unknown")
    np.testing.assert_array_equal(judged["slide"].matrix, [[0, 0], [0, 1500]])
    warning = without_background({"a": judged}, CLASSES)
    assert "'stroma'" in warning and "--frame" in warning and "--undrawn background" in warning


@pytest.mark.parametrize("name, frame", [("Region*", ()), ("seen", ("seen",))])
def test_inside_a_frame_it_is_background(slide, tmp_path, name, frame):
    """A frame over rows 10 to 29, with an ignored column in it, and tumour that reaches beyond it."""
    regions = [
        ("tumour", box(0, 0, 800, 480)),
        (name, box(160, 0, 480, 960)),
        ("Ignore*", box(0, 800, 800, 960)),
    ]
    judged = judged_with(slide, tmp_path, regions, "unknown", frame)
    np.testing.assert_array_equal(judged["slide"].matrix, [[0, 20 * 20], [0, 50 * 30]])
    assert judged["slide"].share == pytest.approx(1900 / 3000)
    assert without_background({"a": judged}, CLASSES) is None
