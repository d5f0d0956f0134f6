"""What is known of an annotated slide: drawn regions, and what lies undrawn in a frame."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.slide_generator import write_qupath_geojson
from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.class_names import FRAME, class_table, meaning_of
from l2s_jax.slides.annotations.frames import paint_known, undrawn_as, undrawn_text
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

CLASSES = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)
SIZE = (20, 30)


def box(top, left, bottom, right):
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


boxes = st.tuples(*(st.integers(0, 20) for _ in range(4))).filter(lambda b: b[0] != b[2] and b[1] != b[3])
polygons = boxes.map(
    lambda b: shapely.box(min(b[1], b[3]), min(b[0], b[2]), max(b[1], b[3]), max(b[0], b[2]))
)
regions = st.lists(st.builds(Region, polygons, st.sampled_from([0, 1, IGNORE_PIXEL])), max_size=4)


@settings(deadline=None, max_examples=60)
@given(regions=regions, frames=st.lists(polygons, max_size=3))
def test_drawn_stays_framed_is_background_the_rest_unknown(regions, frames):
    annotations = Annotations(tuple(regions), tuple(frames))
    known = paint_known(annotations, SIZE, (1, 1), undrawn="unknown", background=0)
    drawn = paint(annotations, SIZE, (1, 1), background=100)
    framed = paint(Annotations(tuple(Region(one, 1) for one in frames)), SIZE, (1, 1)).astype(bool)
    np.testing.assert_array_equal(known[drawn != 100], drawn[drawn != 100])
    assert (known[(drawn == 100) & framed] == 0).all()
    assert (known[(drawn == 100) & ~framed] == IGNORE_PIXEL).all()
    everywhere = paint_known(annotations, SIZE, (1, 1), undrawn="background", background=0)
    np.testing.assert_array_equal(everywhere, paint(annotations, SIZE, (1, 1)))
    without = paint_known(annotations, SIZE, (1, 1), undrawn="background", background=None)
    assert (without[drawn == 100] == IGNORE_PIXEL).all()
    window = paint_known(annotations, (5, 7), (1, 1), undrawn="unknown", background=0, origin=(3, 4))
    np.testing.assert_array_equal(window, known[3:8, 4:11])


def test_frames_are_known_by_name_where_they_are_asked_for(tmp_path):
    path = write_qupath_geojson(tmp_path / "a.geojson", [("Region*", box(0, 0, 10, 10))])
    with pytest.raises(UserError, match=r"not known: 'Region\*'"):
        read_annotations(path, class_table(CLASSES), size_level0=SIZE)
    found = read_annotations(path, class_table(CLASSES, frames=()), size_level0=SIZE)
    assert not found.regions and found.frames[0].area == 100  # a frame alone says: background
    table = class_table(CLASSES, frames=("looked at",))
    for name in ("Region*", "looked at", "Looked_At"):
        assert meaning_of(table, (name,))[1] == FRAME
    for arguments in ({"synonyms": {"x": "tumour"}}, {"ignored": ["x"]}):
        with pytest.raises(UserError, match="'x' is both .* a frame"):
            class_table(CLASSES, frames=["x"], **arguments)


def test_frames_have_holes_and_are_cut_at_the_edge(tmp_path):
    rings = [*box(0, 0, 40, 10), *box(2, 2, 8, 8)]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]},
        "properties": {"classification": {"name": "Region*"}},
    }
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    found = read_annotations(tmp_path / "a.geojson", class_table(CLASSES, frames=()), size_level0=SIZE)
    assert found.frames[0].area == 20 * 10 - 36 and found.clipped == 1


def test_a_mask_knows_all_its_pixels(tmp_path):
    codes = np.zeros(SIZE, np.uint8)
    codes[5:10] = 1
    Image.fromarray(codes).save(tmp_path / "a.png")
    found = read_annotations(tmp_path / "a.png", class_table(CLASSES), size_level0=(40, 60))
    known = paint_known(found, SIZE, (2, 2), undrawn="unknown", background=0)
    np.testing.assert_array_equal(known, codes)
    shifted = read_annotations(
        tmp_path / "a.png",
        class_table(CLASSES),
        size_level0=(80, 100),
        mask_size_level0=(40, 60),
        offset_level0=(10, 20),
    )
    assert shifted.frames[0].bounds == (20, 10, 80, 50)


def test_who_says_what_undrawn_is():
    nothing, framed = Annotations(()), Annotations((), (shapely.box(0, 0, 1, 1),))
    assert undrawn_as(None, nothing) == "unknown"
    assert undrawn_as(None, nothing, otherwise="background") == "background"
    assert undrawn_as(None, framed, otherwise="background") == "unknown"
    assert undrawn_as("background", framed) == "background"
    assert "inside 1 frame" in undrawn_text("unknown", framed)
    assert undrawn_text("unknown", nothing) == "what is not drawn is unknown"
    assert "background" in undrawn_text("background", framed)
