"""GeoJSON as QuPath's versions and other tools write it: what is read, what is counted, what it takes."""

import gzip
import json
import resource
import time

import pytest

from l2s_jax.data.manifest import Classes
from l2s_jax.slides.annotations import geojson_format
from l2s_jax.slides.annotations import types as types_module
from l2s_jax.slides.annotations.class_names import class_table, drawn_classes
from l2s_jax.slides.annotations.reading import read_annotations, read_outlines
from l2s_jax.slides.annotations.types import summary
from l2s_jax.system.errors import UserError

TWO = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 7), background=0)
TABLE = class_table(TWO)
RING = [[10, 10], [90, 10], [90, 90], [10, 90], [10, 10]]
POLYGON = {"type": "Polygon", "coordinates": [RING]}
TUMOUR = {"name": "tumour"}


def feature(properties, geometry=POLYGON, **more):
    return {"type": "Feature", "geometry": geometry, "properties": properties, **more}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def names(path):
    return [outline.names for outline in read_outlines(path).outlines]


VERSIONS = {
    "0.2": lambda kind: feature(
        {"classification": {"name": "tumour", "colorRGB": -3670016}, "isLocked": False, "measurements": []},
        id={"annotation": "PathAnnotationObject", "cell": "PathCellObject", "tile": "PathTileObject",
            "detection": "PathDetectionObject", "tma": "TMACoreObject"}[kind],
    ),
    "0.3": lambda kind: feature(
        {"object_type": "tma_core" if kind == "tma" else kind,
         "classification": {"name": "tumour", "colorRGB": -3670016}, "isLocked": False},
    ),
    "0.4 and later": lambda kind: feature(
        {"objectType": "tmaCore" if kind == "tma" else kind,
         "classification": {"name": "tumour", "color": [200, 0, 0]}, "measurements": {"a": float("nan")}},
        id="8b5c1f6e-1c7b-4a6c-8d0f-5f0e8a3f7a11",
    ),
}  # fmt: skip
"""What each version writes, after QuPath's QuPathTypeAdapters and GsonTools."""


@pytest.mark.parametrize("version", VERSIONS)
def test_only_annotations_are_regions(tmp_path, version):
    make = VERSIONS[version]
    kinds = ["annotation", *["cell"] * 225, "detection", "detection", "tile", "tma", "annotation"]
    for content in ([make(kind) for kind in kinds], {"features": [make(kind) for kind in kinds]}):
        path = write(tmp_path / "a.geojson", content)
        found = read_annotations(path, TABLE)
        assert len(found.regions) == 2
        assert dict(found.skipped) == {"cell": 225, "detection": 2, "tile": 1, "TMA core": 1}
        assert "225 skipped (cell)" in summary(found)
        assert {outline.colour for outline in read_outlines(path).outlines} == {(200, 0, 0)}


def test_a_file_of_cells_only_says_so(tmp_path):
    path = write(tmp_path / "a.geojson", [VERSIONS["0.3"]("cell")])
    with pytest.raises(UserError, match=r"a\.geojson has no region to use.*1 skipped \(cell\)"):
        read_annotations(path, TABLE)


def test_objects_inside_objects(tmp_path):
    """`childObjects`, which QuPath writes where the hierarchy is exported."""
    inner = feature({"objectType": "annotation", "classification": {"name": "stroma"}})
    cell = feature({"objectType": "cell", "classification": {"name": "stroma"}})
    outer = feature({"objectType": "annotation", "classification": TUMOUR, "childObjects": [inner, cell]})
    found = read_annotations(write(tmp_path / "a.geojson", outer), TABLE)
    assert [region.code for region in found.regions] == [1, 0] and found.skipped == (("cell", 1),)


@pytest.mark.parametrize(
    "classification, name",
    [
        ({"name": "Tumor", "colorRGB": -1}, "Tumor"),
        ({"parentClass": {"name": "Tumor"}, "name": "Positive", "colorRGB": -377282}, "Tumor: Positive"),
        ({"name": "CD8", "parentClass": {"name": "CD3", "parentClass": {"name": "T"}}}, "T: CD3: CD8"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive"),
        ({"names": ["Tumor", "Positive"], "name": "Positive"}, "Tumor: Positive"),
        ({"names": ["Tumor"]}, "Tumor"),
        ("Tumor: Positive", "Tumor: Positive"),
        (None, "of the object"),
        ({}, "of the object"),
        ({"name": 7}, "of the object"),
    ],
)
def test_names_of_classes(tmp_path, classification, name):
    path = write(tmp_path / "a.geojson", feature({"classification": classification, "name": "of the object"}))
    assert names(path) == [(name,)]


def test_derived_classes_stay_apart(tmp_path):
    of = [{"parentClass": {"name": parent}, "name": "Positive"} for parent in ("Tumour", "Stroma")]
    path = write(tmp_path / "a.geojson", [feature({"classification": one}) for one in of])
    with pytest.raises(UserError, match=r"'Tumour: Positive' \(1\), 'Stroma: Positive' \(1\)"):
        read_annotations(path, TABLE)
    table = class_table(TWO, synonyms={"Tumour: Positive": "tumour", "Stroma: Positive": "stroma"})
    assert [region.code for region in read_annotations(path, table).regions] == [1, 0]


@pytest.mark.parametrize(
    "properties, colour",
    [
        ({"classification": {"name": "a", "colorRGB": -3670016}}, (200, 0, 0)),  # 0xffc80000
        ({"classification": {"name": "a", "colorRGB": 255}}, (0, 0, 255)),
        ({"classification": {"name": "a", "color": [1, 2, 3]}}, (1, 2, 3)),
        ({"classification": {"name": "a", "color": [1, 2, 3, 128]}}, (1, 2, 3)),
        ({"classification": {"name": "a"}, "color": [4, 5, 6]}, (4, 5, 6)),
        ({"classification": {"name": "a", "color": [1, 2, "x"]}}, None),
        ({"classification": {"name": "a", "color": [1, 2, 999]}}, None),
        ({"classification": {"name": "a", "colorRGB": True}}, None),
        ({}, None),
    ],
)
def test_colours(tmp_path, properties, colour):
    path = write(tmp_path / "a.geojson", feature(properties))
    assert [outline.colour for outline in read_outlines(path).outlines] == [colour]


def test_the_classes_of_a_file(tmp_path):
    def of(name, colour):
        return feature({"classification": {"name": name, "color": colour}})

    content = [of("b", [1, 2, 3]), of("a", [4, 5, 6]), of("b", [7, 8, 9]), of("b", [1, 2, 3]), feature({})]
    found = drawn_classes(read_outlines(write(tmp_path / "a.geojson", content)).outlines)
    assert found == [("b", 3, (1, 2, 3)), ("a", 1, (4, 5, 6)), ("", 1, None)]


def test_collections_bare_geometries_and_features_without_a_type(tmp_path):
    collection = {
        "type": "GeometryCollection",
        "geometries": [POLYGON, {"type": "Point", "coordinates": [1, 1]}],
    }
    content = [feature(TUMOUR, collection), {"geometry": POLYGON, "properties": TUMOUR}]
    found = read_annotations(write(tmp_path / "a.geojson", content), TABLE)
    assert len(found.regions) == 2 and found.skipped == (("Point", 1),)
    assert names(write(tmp_path / "b.geojson", POLYGON)) == [()]


def test_ellipses_are_their_outlines(tmp_path):
    path = write(tmp_path / "a.geojson", feature(TUMOUR, POLYGON | {"isEllipse": True}))
    assert read_annotations(path, TABLE).regions[0].polygon.area == 6400


@pytest.mark.parametrize(
    "content, tool",
    [
        ({"images": [], "annotations": [], "categories": []}, "COCO"),
        ({"shapes": [], "imagePath": "a.png", "version": "5"}, "LabelMe"),
        ({"elements": [], "name": "a"}, "HistomicsUI"),
        ({"a": 1}, "JSON but no GeoJSON; expected"),
    ],
)
def test_json_of_other_tools_is_named(tmp_path, content, tool):
    with pytest.raises(UserError, match=rf"a\.json is JSON but no GeoJSON.*|{tool}") as caught:
        read_outlines(write(tmp_path / "a.json", content))
    assert tool in str(caught.value)


# Packed files


@pytest.mark.parametrize("text", [json.dumps(feature(TUMOUR)), "<Annotations MicronsPerPixel='0.5'/>"])
def test_gzip(tmp_path, text):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(read_annotations(path, TABLE, allow_empty=True).regions) == text.count("tumour")


def test_damaged_and_endless_gzip(tmp_path, monkeypatch):
    path = tmp_path / "a.geojson.gz"
    packed = gzip.compress(json.dumps([feature(TUMOUR)] * 5000).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=r"a\.geojson\.gz"):
        read_annotations(path, TABLE)
    path.write_bytes(packed[:10] + b"\xff" * 50)
    with pytest.raises(UserError, match=r"a\.geojson\.gz cannot be unpacked"):
        read_annotations(path, TABLE)
    monkeypatch.setattr(types_module, "MAX_FILE_BYTES", 4 * 2**20)
    for zeros in (b"[" + b" " * 50_000_000, b"<Annotations>" + b"<a/>" * 10_000_000):
        path.write_bytes(gzip.compress(zeros, 1))
        assert path.stat().st_size < 2**20
        with pytest.raises(UserError, match=r"a\.geojson\.gz unpacks to more than 4 MB"):
            read_annotations(path, TABLE)


# Large files


def grown():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_cells_beside_regions_are_streamed(tmp_path):
    """60 MB of cells with NaN among their measurements, and two regions: memory is that of the regions."""
    cell = json.dumps(
        feature(
            {"objectType": "cell", "measurements": {f"m{i}": float("nan") for i in range(40)}},
            {"type": "Polygon", "coordinates": [[[x, x % 7] for x in range(60)]]},
        )
    )
    path = tmp_path / "cells.geojson"
    with path.open("w") as file:
        file.write('{"type": "FeatureCollection", "features": [' + json.dumps(feature(TUMOUR)) + ",")
        for _ in range(60_000_000 // len(cell)):
            file.write(cell + ",\n")
        file.write(json.dumps(feature(TUMOUR)) + "]}")
    before, start = grown(), time.process_time()
    found = read_annotations(path, TABLE)
    assert len(found.regions) == 2 and dict(found.skipped)["cell"] == 60_000_000 // len(cell)
    assert grown() - before < 40 and time.process_time() - start < 30


@pytest.mark.parametrize("split", [1, 7, 4096])
def test_windows_of_any_size_give_the_same(tmp_path, monkeypatch, split):
    """Values, numbers and characters of several bytes that the window cuts in two."""
    monkeypatch.setattr("l2s_jax.slides.annotations.json_stream.BLOCK", split)
    content = {
        "n": -12.5e3,
        "x": [True, None],
        "features": [feature({"name": "Tümör \U0001f9ea"})] * 3,
        "z": 1,
    }
    path = tmp_path / "a.geojson"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
        if split == 4096 or encoding == "utf-8":
            assert names(path) == [("Tümör \U0001f9ea",)] * 3, encoding


@pytest.mark.parametrize(
    "text", ["[1, ", "[{}", '{"features": [', '{"a": 1, 2: 3}', "[] []", '{"a" 1}', "[", "{"]
)
def test_broken_json(tmp_path, text):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.geojson is (not valid JSON|JSON but no GeoJSON)"):
        read_outlines(path)


def test_limits_count_regions_and_vertices(tmp_path, monkeypatch):
    monkeypatch.setattr(geojson_format, "MAX_VERTICES", 9)
    path = write(tmp_path / "a.geojson", [feature(TUMOUR)] * 2)
    with pytest.raises(UserError, match=r"a\.geojson has more than .* 9 vertices"):
        read_annotations(path, TABLE)
