"""Predicted areas as objects that people want to edit: their course, what they carry, and their ids."""

import json

import numpy as np
import pytest
import shapely
import tifffile
from scipy import ndimage

from helpers.slide_generator import ellipses
from l2s_jax.data.classes import Classes
from l2s_jax.models.network import Outputs
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import predict_slides
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.slides.annotations.class_names import class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations

GLASS, PINK = (243, 240, 244), (200, 90, 150)
CLASSES = Classes(("glass", "gland"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)
CENTRE, RADII = (512, 640), (360, 480)
MPP, WORKING = 0.5, 4.0


def by_share(images):
    """Logits of a cell of 8 pixels by how much of it is pink: what a well trained network would say."""
    pink = (images[..., 1] < 165).astype(np.float32)
    share = pink.reshape(len(images), images.shape[1] // 8, 8, images.shape[2] // 8, 8).mean((2, 4))
    logits = np.stack([0.5 - share, share - 0.5], -1) * 4
    return Outputs(logits, logits.mean((1, 2)))


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "a.svs"
    return write_pyramidal_slide(path, ellipses([(*CENTRE, *RADII, PINK)], GLASS), size=(1024, 1280), mpp=MPP)


def predict(slide, out, network="network 1", **options):
    predictor = Predictor(by_share, CLASSES, Tiling(32, 16, "gaussian", 8), WORKING, None, "", network)
    records, failures = predict_slides([slide], out, predictor, SlideOptions(readers=1, **options), str)
    assert not failures
    return records[slide], json.loads((out / "a.geojson").read_text())["features"]


def outer(features):
    return np.array(max((one["geometry"]["coordinates"][0] for one in features), key=len))


def distance(features):
    """How far the outline's vertices lie from the ellipse, in pixels of the class map."""
    ring = shapely.segmentize(shapely.LinearRing(outer(features)), 4)
    x, y = shapely.get_coordinates(ring).T
    radius = np.hypot((y - CENTRE[0]) / RADII[0], (x - CENTRE[1]) / RADII[1])
    return np.abs(radius - 1) * np.sqrt(RADII[0] * RADII[1]) / (WORKING / MPP)


def test_bilinear_outlines_follow_the_tissue_and_have_few_vertices(slide, tmp_path):
    cells, squares = predict(slide, tmp_path / "cells", enlargement="nearest", simplify=0)
    record, smooth = predict(slide, tmp_path / "smooth")
    assert record["enlargement"] == "bilinear" and record["outlines_simplified_um"] == 8.0
    assert cells["enlargement"] == "nearest" and cells["outlines_simplified_um"] == 0
    assert record["key"] != cells["key"]
    assert distance(smooth).mean() < 0.8 < 1.6 < distance(squares).mean()
    _, stairs = predict(slide, tmp_path / "stairs", simplify=0)
    assert len(outer(smooth)) < len(outer(stairs)) / 3
    # Within the stated tolerance of the edges of pixels, and exactly along them where none is allowed.
    exact, simple = (shapely.LinearRing(outer(one)) for one in (stairs, smooth))
    assert exact.hausdorff_distance(simple) * MPP <= 8.0
    outlines = read_annotations(tmp_path / "stairs/a.geojson", class_table(CLASSES))
    codes = tifffile.imread(tmp_path / "stairs/a.ome.tif")
    np.testing.assert_array_equal(paint(outlines, codes.shape, (8, 8)), codes)


def test_objects_carry_what_was_measured(slide, tmp_path):
    _, features = predict(slide, tmp_path, simplify=0, within="slide")
    codes = tifffile.imread(tmp_path / "a.ome.tif")
    components, number = ndimage.label(codes == 1)
    sizes = np.bincount(components.ravel())[1:]
    measured = [{one["name"]: one["value"] for one in f["properties"]["measurements"]} for f in features]
    areas = sorted(one["Predicted area um^2"] for one in measured)
    np.testing.assert_allclose(areas, sorted(sizes * WORKING**2), rtol=1e-6)
    for one in measured:
        assert set(one) == {
            "Predicted area um^2", "Mean probability", "Probability: glass", "Probability: gland",
        }  # fmt: skip
        assert one["Mean probability"] == one["Probability: gland"]
        assert one["Probability: glass"] + one["Probability: gland"] == pytest.approx(1, abs=0.005)
    largest = max(measured, key=lambda one: one["Predicted area um^2"])
    inside = 1 / (1 + np.exp(-4))  # where all of a cell is pink; less at the edge
    assert inside - 0.06 < largest["Mean probability"] < inside
    assert {f["properties"]["classification"]["name"] for f in features} == {"gland"}
    assert features[0]["properties"]["classification"]["color"] == [255, 0, 0]


def test_ids_stay_the_same_for_the_same_prediction(slide, tmp_path):
    def ids(features):
        return [one["id"] for one in features]

    _, first = predict(slide, tmp_path / "a")
    _, again = predict(slide, tmp_path / "b")
    _, other = predict(slide, tmp_path / "c", network="network 2")
    assert ids(first) == ids(again) and len(set(ids(first))) == len(first)
    assert not set(ids(first)) & set(ids(other))
