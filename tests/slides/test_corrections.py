"""What a person has corrected is told from what nobody has touched, as QuPath hands both back."""

import json
import uuid

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.corrections import describe_told, tell
from l2s_jax.slides.annotations.object_ids import PREDICTED_AREA, is_object_id
from l2s_jax.slides.annotations.predicted_files import read_predictions
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.annotations.types import Annotations, Outline, Region
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file
from l2s_jax.system.outputs import note_made

CLASSES = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)
PLACES = (0.1234, 10.0006, 20.0, 40.0)


@pytest.fixture
def predicted(tmp_path):
    """Four squares of tumour as `predict` writes them, with a note of it."""
    regions = tuple(Region(shapely.box(x, 0, x + 5, 5), 1) for x in PLACES)
    path = tmp_path / "predictions" / "a.geojson"
    path.parent.mkdir()
    measured = [{PREDICTED_AREA: 25.0}] * len(regions)
    write_geojson(path, Annotations(regions), CLASSES, key="k", measurements=measured)
    note_made(path.parent, {path.name: sha256_of_file(path)}, ())
    return path


def exported(path, change, *, ids=True, measurements=True):
    """The file as QuPath exports it, two decimals, rings the other way round, with some changes."""
    content = json.loads(path.read_text())
    features = content["features"]
    for one in features:
        rings = one["geometry"]["coordinates"]
        one["geometry"]["coordinates"] = [
            [[round(x, 2), round(y, 2)] for x, y in ring[2:] + ring[1:3]][::-1] for ring in rings
        ]
        if not ids:
            one["id"] = "PathAnnotationObject"
        elif measurements:  # an object since 0.4
            values = one["properties"].pop("measurements")
            one["properties"]["measurements"] = {item["name"]: item["value"] for item in values}
        if not measurements:
            del one["properties"]["measurements"]
    features = change(features)
    out = path.parents[1] / "exported.geojson"
    out.write_text(json.dumps({**content, "features": features}))
    return read_outlines(out).outlines


def corrections(features):
    """The second one has another shape, the third one another class, the fourth is gone, one is drawn."""
    first, second, third, _ = features
    second["geometry"]["coordinates"] = [[[11, 1], [16, 1], [16, 6], [11, 1]]]
    third["properties"]["classification"]["name"] = "stroma"
    square = {"type": "Polygon", "coordinates": [[[50, 0], [54, 0], [54, 4], [50, 0]]]}
    properties = {"objectType": "annotation", "classification": {"name": "tumour"}}
    drawn = {"type": "Feature", "id": str(uuid.UUID(int=7, version=4)), "geometry": square}
    return [second, drawn | {"properties": properties}, third, first]


@pytest.mark.parametrize("ids, measurements", [(True, True), (True, False), (False, True)])
def test_what_comes_back_from_qupath_is_told_apart(predicted, ids, measurements):
    before = read_predictions([predicted])
    found = exported(predicted, corrections, ids=ids, measurements=measurements)
    told = tell(before, found)
    assert [(one.names[0], one.unseen) for one in told.outlines] == [
        ("tumour", True), ("tumour", False), ("tumour", False), ("stroma", False),
    ]  # fmt: skip
    assert told.counts.corrected == 2 and told.counts.unseen == told.counts.drawn == 1
    assert told.counts.predicted == 4 and told.counts.accepted == 0
    assert told.counts.deleted == (1 if ids else 3)  # without ids a changed object cannot be found again
    assert tell(before, found, "truth").counts.accepted == 1
    assert not any(one.unseen for one in tell(before, found, "truth").outlines)


def test_locked_objects_are_true_where_that_is_asked_for(predicted):
    def lock(features):
        features[1]["properties"]["isLocked"] = True
        return features

    found, before = exported(predicted, lock), read_predictions([predicted])
    assert tell(before, found).counts.unseen == 4
    told = tell(before, found, "locked")
    assert told.counts.accepted == 1 and [one.unseen for one in told.outlines] == [True] * 3 + [False]
    lines = describe_told([told.counts], "locked")
    assert "3 untouched predictions are unknown" in lines[1] and "locked" in lines[2]


def test_an_object_cut_in_two_is_a_correction_of_one(predicted):
    def cut(features):
        parts = [[[[x, 0], [x + 2, 0], [x + 2, 5], [x, 0]]] for x in (10, 13)]
        features[1]["geometry"] = {"type": "MultiPolygon", "coordinates": parts}
        return features

    told = tell(read_predictions([predicted]), exported(predicted, cut))
    assert told.counts.corrected == 1 and told.counts.unseen == 3 and len(told.outlines) == 5
    assert [one.unseen for one in told.outlines] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("measurements", [True, False])
def test_predictions_without_their_file_are_never_taken_for_truth(predicted, measurements):
    found = exported(predicted, lambda features: features, measurements=measurements)
    with pytest.raises(UserError, match=r"4 object.*--corrected-from.*--untouched truth"):
        tell([], found)
    told = tell([], found, "truth")
    assert told.counts.accepted == 4 and "warning: 4" in describe_told([told.counts], "truth")[0]
    with pytest.raises(UserError, match="none of the files under --corrected-from"):
        tell(read_predictions([predicted])[:3], found)


def test_a_copy_with_an_id_of_its_own_is_untouched_too(predicted):
    def copied(features):
        return [one | {"id": str(uuid.UUID(int=number, version=4))} for number, one in enumerate(features)]

    told = tell(read_predictions([predicted]), exported(predicted, copied))
    assert told.counts.unseen == 4 and told.counts.deleted == 0


def test_predictions_that_were_written_over_tell_nothing(predicted):
    text = predicted.read_text()
    predicted.write_text(text.replace('"tumour"', '"stroma"'))
    with pytest.raises(UserError, match=r"a\.geojson was changed since predict wrote it"):
        read_predictions([predicted])
    drawn = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}
    other = predicted.with_name("b.geojson")
    other.write_text(json.dumps(drawn))
    with pytest.raises(UserError, match="1 of 1 outlines were not predicted"):
        read_predictions([other])


ids = st.sampled_from(["", "1", "2", "3"])
lists = st.lists(st.tuples(ids, st.sampled_from("ab"), st.integers(0, 2)), max_size=6)


def outlines(drawn):
    square = np.array([[0.0, 0], [4, 0], [4, 4]])
    return [Outline((name,), (square + 10 * place,), uid=uid) for uid, name, place in drawn]


@given(lists, lists)
def test_every_object_is_kept_and_unseen_only_if_it_was_predicted_so(predicted, found):
    before = {uid: (uid, name, place) for uid, name, place in predicted if uid}
    told = tell(outlines(before.values()), outlines(found))
    assert len(told.outlines) == len(found)
    first = [one.unseen for one in told.outlines]
    assert first == sorted(first, reverse=True)
    was = {(name, place) for _, name, place in before.values()}
    for one in told.outlines:
        what = (one.names[0], int(one.rings[0][0, 0] // 10))
        assert not one.unseen or what in was
        if what not in was:
            assert not one.unseen
    counts = told.counts
    objects = len({uid for uid, *_ in found if uid}) + sum(not uid for uid, *_ in found)
    assert counts.corrected + counts.unseen + counts.drawn == objects
    assert counts.deleted >= len(before.keys() - {uid for uid, *_ in found}) - counts.unseen


def test_kinds_of_objects_are_no_ids(tmp_path):
    """QuPath 0.2 writes `"id": "PathAnnotationObject"` on every feature."""
    square = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}
    found = ("PathAnnotationObject", 7, "x")
    features = [{"type": "Feature", "id": one, "geometry": square} for one in found]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    assert [one.uid for one in read_outlines(tmp_path / "a.geojson").outlines] == ["", "", "x"]
    assert not is_object_id("x") and not is_object_id(str(uuid.UUID(int=1, version=4)))
