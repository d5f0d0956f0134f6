"""Corrected objects take the place of the predicted ones of the same id."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.corrections import with_corrections
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.annotations.types import Annotations, Outline, Region
from l2s_jax.slides.annotations.writing import write_geojson

RINGS = (np.array([[0.0, 0], [4, 0], [4, 4]]),)
CLASSES = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)


def outlines(*named):
    return [Outline((name,), RINGS, uid=uid) for uid, name in named]


def names(found):
    return [one.names[0] for one in found.outlines]


def test_what_is_corrected_stands_in_its_place_and_new_ones_on_top():
    predicted = outlines(("1", "a"), ("2", "b"), ("3", "c"))
    found = with_corrections(predicted, outlines(("", "drawn"), ("2", "B"), ("9", "new")))
    assert names(found) == ["a", "B", "c", "drawn", "new"]
    assert found[1:] == (1, 2, 2, 0)
    found = with_corrections(predicted, outlines(("2", "B")), complete=True)
    assert names(found) == ["B"] and found[1:] == (1, 0, 0, 2)


def test_an_object_of_several_parts_is_replaced_as_a_whole():
    predicted = outlines(("1", "a"), ("1", "a too"), ("2", "b"))
    found = with_corrections(predicted, outlines(("1", "A"), ("2", "B"), ("2", "B too")))
    assert names(found) == ["A", "B", "B too"] and found[1:] == (2, 0, 0, 0)
    assert names(with_corrections(outlines(("", "x"), ("", "y")), [])) == ["x", "y"]


ids = st.sampled_from(["", "1", "2", "3"])
lists = st.lists(st.tuples(ids, st.text("ab", min_size=1, max_size=2)), max_size=6)


@given(lists, lists)
def test_nothing_corrected_is_lost_and_no_corrected_id_is_left_as_predicted(predicted, corrected):
    before, after = outlines(*predicted), outlines(*(("" + uid, f"new {name}") for uid, name in corrected))
    found = with_corrections(before, after)
    kept = [one for one in found.outlines if one in after]
    assert sorted(map(id, kept)) == sorted(map(id, after))
    changed = {one.uid for one in after if one.uid}
    assert [one for one in found.outlines if one not in after] == [
        one for one in before if one.uid not in changed
    ]
    assert found.replaced == len({one.uid for one in before if one.uid} & changed)


def test_what_predict_writes_comes_back_with_its_ids(tmp_path):
    import shapely

    path = tmp_path / "a.geojson"
    regions = tuple(Region(shapely.box(x, 0, x + 5, 5), 1) for x in (0, 10, 20))
    write_geojson(path, Annotations(regions), CLASSES, key="k")
    predicted = read_outlines(path).outlines
    assert len({one.uid for one in predicted}) == 3
    # As QuPath exports it: the second one moved and another class, the third one deleted, one drawn anew.
    content = json.loads(path.read_text())
    first, second, _ = content["features"]
    second["geometry"]["coordinates"] = [[[11, 1], [16, 1], [16, 6], [11, 1]]]
    second["properties"]["classification"]["name"] = "stroma"
    drawn = json.loads(json.dumps(first)) | {"id": "0e6e1d2c-7c8c-4b36-a7ab-0f3a4c1c9c10"}
    path.write_text(json.dumps({**content, "features": [first, second, drawn]}))
    found = with_corrections(predicted, read_outlines(path).outlines, complete=True)
    assert [one.names for one in found.outlines] == [("tumour",), ("stroma",), ("tumour",)]
    assert found[1:] == (2, 0, 1, 1)


def test_kinds_of_objects_are_no_ids(tmp_path):
    """QuPath 0.2 writes `"id": "PathAnnotationObject"` on every feature."""
    square = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}
    found = ("PathAnnotationObject", 7, "x")
    features = [{"type": "Feature", "id": one, "geometry": square} for one in found]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    assert [one.uid for one in read_outlines(tmp_path / "a.geojson").outlines] == ["", "", "x"]
