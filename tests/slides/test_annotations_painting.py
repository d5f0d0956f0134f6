import json
import re
import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely import Polygon

from l2s_jax.slides.annotations import painting as painting_module
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table, class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import write_geojson, write_imagescope_xml
from l2s_jax.system.errors import UserError

SQUARE = Polygon([(10, 10), (30, 10), (30, 30), (10, 30)])


def annotations(*regions):
    return Annotations(tuple(Region(polygon, code) for polygon, code in regions))


def star(rng, centre, radius, vertices):
    """A simple polygon around `centre`, concave nearly always."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, vertices))
    radii = radius * rng.uniform(0.3, 1, vertices)
    return Polygon(np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1))


def centres_inside(regions, size, downsample, origin=(0, 0)):
    """The mask by shapely's own test of every pixel centre."""
    rows = (origin[0] + np.arange(size[0]) + 0.5) * downsample[0]
    cols = (origin[1] + np.arange(size[1]) + 0.5) * downsample[1]
    x, y = np.meshgrid(cols, rows)
    mask = np.zeros(size, np.uint8)
    for region in regions:
        mask[shapely.contains_xy(region.polygon, x, y)] = region.code
    return mask


@st.composite
def scenes(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    regions = []
    for _ in range(draw(st.integers(1, 5))):
        outer = star(rng, rng.uniform(-50, 450, 2), rng.uniform(5, 250), int(rng.integers(3, 40)))
        hole = star(rng, outer.centroid.coords[0], rng.uniform(5, 60), 8)
        for part in shapely.get_parts(shapely.make_valid(outer).difference(shapely.make_valid(hole))):
            if isinstance(part, Polygon) and part.area > 0:
                regions.append(Region(part, int(rng.integers(0, 4))))
    return Annotations(tuple(regions))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(1.0, 17.0), st.floats(1.0, 17.0))
def test_painting_is_shapelys_answer_at_every_pixel_centre(drawn, row, col):
    size = (40, 50)
    # Random vertices: no pixel centre lies on an outline.
    np.testing.assert_array_equal(
        paint(drawn, size, (row, col)), centres_inside(drawn.regions, size, (row, col))
    )


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(1.0, 9.0), st.integers(-20, 60), st.integers(-20, 60))
def test_a_window_is_a_crop_of_the_whole(drawn, factor, row, col):
    whole = paint(drawn, (120, 120), (factor, factor), origin=(-20, -20))
    window = paint(drawn, (30, 25), (factor, factor), origin=(row, col))
    np.testing.assert_array_equal(window, whole[row + 20 : row + 50, col + 20 : col + 45])


def test_pixels_and_their_centres_are_where_they_are_said_to_be():
    mask = paint(annotations((SQUARE, 2)), (8, 8), (5.0, 5.0))
    expected = np.zeros((8, 8), np.uint8)
    expected[2:6, 2:6] = 2  # centres 12.5 .. 27.5
    np.testing.assert_array_equal(mask, expected)
    # Rows and columns are not exchanged.
    oblong = Polygon([(0, 0), (40, 0), (40, 10), (0, 10)])
    mask = paint(annotations((oblong, 1)), (8, 8), (5.0, 10.0))
    assert mask[:2, :4].all() and mask.sum() == 8


def test_neighbours_share_centres_on_their_edge_without_gap_or_overlap():
    """The edge x = 12.5 runs exactly through pixel centres; they go to the right."""
    left, right = shapely.box(0, 0, 12.5, 40), shapely.box(12.5, 0, 40, 40)
    both = paint(annotations((left, 1), (right, 2)), (8, 8), (5.0, 5.0))
    reverse = paint(annotations((right, 2), (left, 1)), (8, 8), (5.0, 5.0))
    np.testing.assert_array_equal(both, reverse)
    assert (both[:, :2] == 1).all() and (both[:, 2:] == 2).all()
    upper, lower = shapely.box(0, 0, 40, 12.5), shapely.box(0, 12.5, 40, 40)
    both = paint(annotations((lower, 2), (upper, 1)), (8, 8), (5.0, 5.0))
    assert (both[:2] == 1).all() and (both[2:] == 2).all()


def test_later_lies_over_earlier_and_holes_stay_open():
    ring = Polygon(shapely.box(0, 0, 80, 80).exterior, [shapely.box(20, 20, 60, 60).exterior])
    mask = paint(annotations((shapely.box(0, 0, 80, 40), 1), (ring, 3)), (8, 8), (10.0, 10.0), background=9)
    assert (mask[2:4, 2:6] == 1).all()  # through the hole
    assert (mask[4:6, 2:6] == 9).all()  # nothing there
    assert (mask[:2] == 3).all() and (mask[:, :2] == 3).all()
    mask = paint(annotations((ring, 3), (shapely.box(0, 0, 80, 40), 1)), (8, 8), (10.0, 10.0))
    assert (mask[:4] == 1).all()


def test_regions_beyond_the_mask_are_cut_at_its_edge():
    everything = shapely.box(-1e6, -1e6, 1e6, 1e6)
    assert (paint(annotations((everything, 1)), (5, 6), (3.0, 3.0)) == 1).all()
    elsewhere = shapely.box(1000, 1000, 2000, 2000)
    assert not paint(annotations((elsewhere, 1)), (5, 6), (3.0, 3.0)).any()
    assert paint(annotations(), (5, 6), (3.0, 3.0), background=255).min() == 255


def test_chunks_of_crossings_do_not_show(monkeypatch):
    drawn = annotations((star(np.random.default_rng(0), (200, 200), 190, 300), 1))
    expected = paint(drawn, (100, 100), (4.0, 4.0))
    monkeypatch.setattr(painting_module, "_MAX_CROSSINGS", 7)
    np.testing.assert_array_equal(paint(drawn, (100, 100), (4.0, 4.0)), expected)


def test_a_large_slide_is_painted_in_seconds():
    """60,000 x 60,000 at 8 um/px with 200 regions of 400 vertices."""
    rng = np.random.default_rng(0)
    drawn = annotations(
        *((star(rng, rng.uniform(0, 60000, 2), 8000, 400), int(rng.integers(1, 4))) for _ in range(200))
    )
    start = time.process_time()
    mask = paint(drawn, (3750, 3750), (16.0, 16.0))
    assert time.process_time() - start < 20  # about 2 s on an idle core
    areas = [region.polygon.area / 16**2 for region in drawn.regions]
    alone = paint(Annotations(drawn.regions[-1:]), (3750, 3750), (16.0, 16.0))
    assert (mask[alone > 0] == drawn.regions[-1].code).all()
    inside = Annotations((Region(star(rng, (30000, 30000), 8000, 400), 1),))
    painted = (paint(inside, (3750, 3750), (16.0, 16.0)) > 0).sum()
    assert painted == pytest.approx(inside.regions[0].polygon.area / 16**2, rel=0.01)
    assert max(areas) > 1e4


# Tracing


def blobs(rng, size, classes, sigma):
    noise = ndimage.gaussian_filter(rng.standard_normal((classes, *size)), (0, sigma, sigma))
    return noise.argmax(axis=0).astype(np.uint8)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.7, 2.0]),
    st.floats(0.5, 16.1),
    st.floats(0.5, 16.1),
)
def test_traced_masks_paint_back_exactly(seed, size, classes, sigma, row, col):
    """White noise has every kind of corner that touches itself."""
    mask = blobs(np.random.default_rng(seed), size, classes, sigma)
    traced = polygons_from_mask(mask, (row, col), origin=(3, -2))
    np.testing.assert_array_equal(paint(traced, size, (row, col), origin=(3, -2)), mask)
    for region in traced.regions:
        assert region.polygon.is_valid and region.polygon.area > 0 and region.code > 0
    for code in range(1, classes):
        area = sum(region.polygon.area for region in traced.regions if region.code == code)
        assert area == pytest.approx((mask == code).sum() * row * col, rel=1e-9)  # float64 sums
        # One polygon for each component that is connected through edges.
        assert sum(region.code == code for region in traced.regions) == ndimage.label(mask == code)[1]


def test_tracing_skips_what_it_is_told_to():
    mask = np.array([[0, 1, 255], [0, 1, 2]], np.uint8)
    assert [region.code for region in polygons_from_mask(mask, (1, 1)).regions] == [1, 2]
    assert [region.code for region in polygons_from_mask(mask, (1, 1), background=None).regions] == [0, 1, 2]
    assert polygons_from_mask(np.zeros((4, 4), np.uint8), (1, 1)).regions == ()


def test_simplification_keeps_its_bound():
    mask = blobs(np.random.default_rng(3), (120, 120), 3, 5.0)
    exact = polygons_from_mask(mask, (16.0, 16.0))
    simple = polygons_from_mask(mask, (16.0, 16.0), simplify_level0=24.0)
    assert len(simple.regions) == len(exact.regions)
    for one, other in zip(exact.regions, simple.regions, strict=True):
        assert one.polygon.boundary.hausdorff_distance(other.polygon.boundary) <= 24.0 + 1e-9
        assert abs(one.polygon.area - other.polygon.area) <= 24.0 * one.polygon.length
    vertices = [sum(len(region.polygon.exterior.coords) for region in a.regions) for a in (exact, simple)]
    assert vertices[1] < vertices[0] / 2


def test_a_large_mask_is_traced_in_seconds():
    mask = blobs(np.random.default_rng(0), (1000, 1000), 3, 4.0)
    start = time.process_time()
    traced = polygons_from_mask(mask, (16.0, 16.0))
    assert time.process_time() - start < 20
    np.testing.assert_array_equal(paint(traced, mask.shape, (16.0, 16.0)), mask)


# Writing and reading back


def written(kind, path, drawn):
    if kind == "geojson":
        write_geojson(path, drawn, BACH_CLASSES)
    else:
        write_imagescope_xml(path, drawn, BACH_CLASSES, mpp=0.467)
    return read_annotations(path, bach_table(), allow_empty=True)


@settings(max_examples=60, deadline=None)
@given(drawn=scenes(), kind=st.sampled_from(["geojson", "imagescope"]))
def test_round_trips_keep_classes_order_and_areas(tmp_path_factory, drawn, kind):
    path = tmp_path_factory.getbasetemp() / f"round-trip.{kind}"
    back = written(kind, path, drawn)
    for size, factor in (((60, 60), 8.0),):
        one, other = (paint(a, size, (factor, factor)) for a in (drawn, back))
        # A vertex moves by less than 0.001 of a level-0 pixel: at most a centre on an outline changes sides.
        assert (one != other).sum() <= 1
    for code in range(4):
        areas = [sum(r.polygon.area for r in a.regions if r.code == code) for a in (drawn, back)]
        perimeter = sum(r.polygon.length for r in drawn.regions if r.code == code)
        assert abs(areas[0] - areas[1]) <= 0.001 * perimeter + 1e-6
    if kind == "geojson":  # a sliver that is thinner than the digits that are written can lose its area
        thick = [r for r in drawn.regions if r.polygon.area > 0.001 * r.polygon.length]
        in_order = iter(region.code for region in drawn.regions)
        assert all(region.code in in_order for region in back.regions)
        assert len(thick) <= len(back.regions) <= len(drawn.regions)


def test_a_sliver_thinner_than_the_digits_is_not_written(tmp_path):
    thin = Polygon([(10.0001, 10), (20.0002, 10), (30, 10.0001)])
    back = written("geojson", tmp_path / "a.geojson", annotations((SQUARE, 1), (thin, 2)))
    assert [region.code for region in back.regions] == [1] and back.degenerate == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["geojson", "imagescope"]), st.sampled_from([0.0, 1.0]))
def test_masks_survive_the_way_out_and_back(tmp_path_factory, seed, kind, sigma):
    """Islands in holes in islands, touching in corners, at a scale that is no whole number."""
    mask = blobs(np.random.default_rng(seed), (25, 25), 4, sigma)
    path = tmp_path_factory.getbasetemp() / f"mask.{kind}"
    factor = (16.0321, 15.9107)
    back = written(kind, path, polygons_from_mask(mask, factor))
    np.testing.assert_array_equal(paint(back, mask.shape, factor), mask)


def test_geojson_is_what_qupath_expects(tmp_path):
    ring = Polygon(shapely.box(0, 0, 80, 80).exterior, [shapely.box(20, 20, 60, 60).exterior])
    path = tmp_path / "a.geojson"
    write_geojson(path, annotations((ring, 1), (SQUARE, 3)), BACH_CLASSES, offset_level0=(5, 7.25))
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection" and len(content["features"]) == 2
    first, second = content["features"]
    assert first["type"] == "Feature" and first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"] == {"name": "benign", "color": [255, 0, 0]}
    assert second["properties"]["classification"] == {"name": "invasive", "color": [0, 0, 255]}
    assert {feature["geometry"]["type"] for feature in content["features"]} == {"Polygon"}
    outer, hole = first["geometry"]["coordinates"]
    assert outer[0] == outer[-1] and hole[0] == hole[-1] and len(outer) == len(hole) == 5
    assert Polygon(outer).exterior.is_ccw and not Polygon(hole).exterior.is_ccw
    assert min(x for x, _ in outer) == -7.25 and min(y for _, y in outer) == -5
    back = read_annotations(path, bach_table(), offset_level0=(5, 7.25))
    assert back.regions[0].polygon.equals(ring) and back.regions[1].polygon.equals(SQUARE)
    assert "80.0" not in path.read_text()  # whole numbers stay whole


def test_imagescope_layers(tmp_path):
    """Runs of a class share a layer; a region cut by another one's hole does not."""
    ring = Polygon(shapely.box(0, 0, 80, 80).exterior, [shapely.box(20, 20, 60, 60).exterior])
    island, over = shapely.box(30, 30, 40, 40), shapely.box(10, 30, 50, 50)
    path = tmp_path / "a.xml"
    drawn = annotations((ring, 1), (island, 1), (SQUARE, 3), (ring, 2), (over, 2))
    write_imagescope_xml(path, drawn, BACH_CLASSES, mpp=0.467)
    text = path.read_text()
    assert re.findall(r'Name="([^"]*)" ReadOnly', text) == ["benign", "invasive", "in situ", "in situ"]
    assert re.findall(r'LineColor="(\d+)"', text)[:2] == ["255", str(255 * 65536)]
    assert text.count('NegativeROA="1"') == 2
    back = read_annotations(path, bach_table())
    assert back.mpp == 0.467
    assert [region.code for region in back.regions] == [1, 1, 3, 2, 2]
    for one, other in zip(drawn.regions, back.regions, strict=True):
        assert one.polygon.equals(other.polygon)


def test_names_are_escaped(tmp_path):
    classes = BACH_CLASSES.__class__(('a"<b>&é', "x"), ((1, 2, 3), (4, 5, 6)), (0, 1))
    for write, name in ((write_geojson, "a.geojson"), (write_imagescope_xml, "a.xml")):
        write(tmp_path / name, annotations((SQUARE, 0)), classes)
        assert read_annotations(tmp_path / name, class_table(classes)).regions[0].code == 0


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (write_geojson, write_imagescope_xml):
        with pytest.raises(UserError, match="cannot write"):
            write(tmp_path / "file" / "a.json", annotations((SQUARE, 1)), BACH_CLASSES)


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(IndexError):
        write_geojson(tmp_path / "a.geojson", annotations((SQUARE, 1), (SQUARE, 77)), BACH_CLASSES)
    assert list(tmp_path.iterdir()) == []
