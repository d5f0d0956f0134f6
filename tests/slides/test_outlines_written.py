"""Outlines are valid as they stand in the file, after rounding and simplifying, and lose no area."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely import Polygon

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.class_names import class_table
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import DECIMALS, write_geojson, write_imagescope_xml

CLASSES = Classes(("other", "a", "b"), ((9, 9, 9), (255, 0, 0), (0, 0, 255)), (0, 1, 2), 0)


def written(path):
    """The polygons of a GeoJSON file, without any repair."""
    features = json.loads(path.read_text())["features"]
    rings = [feature["geometry"]["coordinates"] for feature in features]
    assert all(ring[0] == ring[-1] for polygon in rings for ring in polygon)
    return [Polygon(polygon[0], polygon[1:]) for polygon in rings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("outlines")


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.floats(0.4, 3.0),
    st.tuples(st.floats(0.3, 40.0), st.floats(0.3, 40.0)),
    st.sampled_from([0.0, 2.0, 5.0, 10.0, 30.0]),
    st.tuples(st.floats(0, 999), st.floats(0, 999)),
)
def test_outlines_of_random_masks_are_valid_and_lose_no_area(folder, seed, blur, factor, simplify, offset):
    rng = np.random.default_rng(seed)
    mask = (ndimage.gaussian_filter(rng.normal(size=(70, 70)), blur) > 0).astype(np.uint8)
    mask[mask > 0] += rng.integers(0, 2, mask.shape, np.uint8)[mask > 0] if seed % 2 else 0
    traced = polygons_from_mask(mask, factor, simplify_level0=simplify * max(factor))
    path = folder / "a.geojson"
    number = write_geojson(path, traced, CLASSES, offset_level0=offset)
    polygons = written(path)
    assert number == len(polygons)
    assert all(polygon.is_valid and polygon.area > 0 for polygon in polygons)
    total, length = (sum(getattr(r.polygon, name) for r in traced.regions) for name in ("area", "length"))
    assert sum(polygon.area for polygon in polygons) == pytest.approx(total, abs=10.0**-DECIMALS * length)
    # As it stands: adding an offset in floating point may move a vertex off the edge that it touches.
    again = read_annotations(path, class_table(CLASSES), allow_empty=True)
    assert again.repaired == 0 and again.degenerate == 0


def test_rings_that_meet_when_rounded_do_not_stop_the_file(tmp_path):
    """GEOS's own rounding raises on these: "unable to assign free hole to a shell"."""
    rng = np.random.default_rng(891217)
    mask = (ndimage.gaussian_filter(rng.normal(size=(70, 70)), 0.5383763165144819) > 0).astype(np.uint8)
    mask[mask > 0] += rng.integers(0, 2, mask.shape, np.uint8)[mask > 0]
    factor, offset = (0.30001, 21.347795560359536), (213.8298306925639,) * 2
    traced = polygons_from_mask(mask, factor, simplify_level0=2 * max(factor))
    write_geojson(tmp_path / "a.geojson", traced, CLASSES, offset_level0=offset)
    polygons = written(tmp_path / "a.geojson")
    assert all(polygon.is_valid for polygon in polygons)
    total = sum(region.polygon.area for region in traced.regions)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(total, rel=1e-3)


TOUCHING = Polygon([(0, 0), (10, 0), (10, 10), (5, 0.0002), (0, 10)])
"""Its notch ends two ten-thousandths above its lower edge: rounded, it lies on it."""


def test_what_rounding_makes_touch_itself_is_written_as_two(tmp_path):
    assert TOUCHING.is_valid and not shapely.transform(TOUCHING, lambda xy: np.round(xy, 3)).is_valid
    drawn = Annotations((Region(TOUCHING, 1),))
    assert write_geojson(tmp_path / "a.geojson", drawn, CLASSES) == 2
    polygons = written(tmp_path / "a.geojson")
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(TOUCHING.area, abs=0.01)
    write_imagescope_xml(tmp_path / "a.xml", drawn, CLASSES)
    again = read_annotations(tmp_path / "a.xml", class_table(CLASSES))
    assert again.repaired == 0 and len(again.regions) == 2


def test_what_has_no_area_left_is_left_out(tmp_path):
    speck = Region(Polygon([(0, 0), (1e-4, 0), (0, 1e-4)]), 1)
    square = Region(Polygon([(0, 0), (4, 0), (4, 4), (0, 4)]), 2)
    assert write_geojson(tmp_path / "a.geojson", Annotations((speck, square)), CLASSES) == 1
    assert [polygon.area for polygon in written(tmp_path / "a.geojson")] == [16]
