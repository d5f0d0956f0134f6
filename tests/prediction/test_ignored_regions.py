"""What was drawn to be ignored takes no part in the score of a slide."""

import numpy as np

from helpers.slide_generator import write_qupath_geojson
from l2s_jax.data.classes import Classes
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.slides.evaluate import judge_slide, names_table
from l2s_jax.slides.annotations.of_slide import read_slide_annotations
from l2s_jax.slides.ome_tiff import write_pyramid
from l2s_jax.slides.row_file import scratch_picture, write_block
from l2s_jax.slides.slide import open_slide

CLASSES = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)


def box(top, left, bottom, right):
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def test_ignored_regions_are_not_scored(tmp_path):
    """At 8 um/px the slide has 50 x 60 pixels; all of it is predicted as tumour."""
    path = write_pyramidal_slide(
        tmp_path / "a.svs", lambda *_: (180, 60, 140), size=(800, 960), mpp=0.5, compression="deflate"
    )
    slide = open_slide(path)
    regions = [
        ("tumour", box(0, 0, 800, 480)),
        ("pen", box(0, 0, 160, 960)),
        ("Ignore*", box(640, 0, 800, 960)),
    ]
    drawn = write_qupath_geojson(tmp_path / "a.geojson", regions)
    with scratch_picture(tmp_path, (50, 60)) as picture:
        write_block(picture, 0, 0, np.ones((50, 60), np.uint8))
        write_pyramid(tmp_path / "a.ome.tif", picture, 8.0, name="a")
    record = {"mpp": 8.0, "size": [50, 60]}
    table = names_table(CLASSES, {}, ["pen"])
    found = read_slide_annotations(drawn, table, slide)
    matrices = judge_slide(slide, tmp_path / "a.ome.tif", record, found, CLASSES)
    # Rows 10 to 39 are known: left half tumour, right half undrawn and so stroma.
    for matrix in matrices.values():
        np.testing.assert_array_equal(matrix, [[0, 900], [0, 900]])
