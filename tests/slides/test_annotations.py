import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image
from shapely import Polygon

from helpers.slide_generator import write_asap_xml, write_qupath_geojson
from l2s_jax.data.manifest import Classes
from l2s_jax.phantom.slide_writing import write_bach_xml
from l2s_jax.slides.annotations import covering, repair
from l2s_jax.slides.annotations import types as types_module
from l2s_jax.slides.annotations.class_names import (
    BACH_CLASSES,
    IGNORED,
    bach_table,
    class_table,
    code_of,
    near_names,
)
from l2s_jax.slides.annotations.outlines import drawn_areas
from l2s_jax.slides.annotations.painting import count_unpainted, paint
from l2s_jax.slides.annotations.reading import read_annotations, read_outlines, stated_mpp
from l2s_jax.slides.annotations.repair import areas_of, polygons_from_rings
from l2s_jax.slides.annotations.types import Annotations, Region, summary
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[2] / "../shared/data"))
REAL = DATA / "slides" / "CMU-1-Small-Region.svs"

SQUARE = [(10, 10), (90, 10), (90, 90), (10, 90)]
SMALL = [(30, 30), (60, 30), (60, 60), (30, 60)]
RIM = [(70, 0), (100, 0), (100, 100), (70, 100)]
BOWTIE = [(0, 0), (40, 40), (40, 0), (0, 40)]
TWO = Classes(("stroma", "tumour"), ((255, 255, 255), (255, 0, 0)), (0, 7), background=0)


def imagescope(*annotations, mpp="0.25"):
    """ImageScope XML of (attributes of Annotation, [(attributes of Region, vertices)])."""
    text = f'<?xml version="1.0"?>\n<Annotations MicronsPerPixel="{mpp}">'
    for layer, regions in annotations:
        text += (
            f'<Annotation {layer}><Attributes><Attribute Name="Description" Value=""/></Attributes><Regions>'
        )
        for attributes, vertices in regions:
            text += f"<Region {attributes}><Attributes/><Vertices>"
            text += "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in vertices)
            text += "</Vertices></Region>"
        text += "</Regions><Plots/></Annotation>"
    return text + "</Annotations>"


def write(path, text):
    path.write_text(text)
    return path


def codes_and_areas(annotations):
    return [(region.code, region.polygon.area) for region in annotations.regions]


# ImageScope


@pytest.mark.parametrize("label_in", ["attribute", "text"])
def test_bach_dialect(tmp_path, label_in):
    labels = ["Benign", "Carcinoma in situ", "InSitu", "Invasive carcinoma", "BENIGN lesion", "in_situ"]
    path = write_bach_xml(tmp_path / "A01.xml", [(name, SQUARE) for name in labels], label_in=label_in)
    annotations = read_annotations(path, bach_table(), size_level0=(100, 100))
    assert [region.code for region in annotations.regions] == [1, 2, 2, 3, 1, 2]
    assert all(region.polygon.equals(Polygon(SQUARE)) for region in annotations.regions)
    assert annotations.mpp == 0.467 == stated_mpp(path)
    assert summary(annotations) == "6 regions, 2 wholly covered by later ones, 3 drawn twice"


def test_imagescope_class_is_the_most_specific_name_that_is_known(tmp_path):
    table = class_table(TWO, ids={"9": "stroma"})
    layers = imagescope(
        ('Id="1" Name="Tumour"', [('Text="see me"', SQUARE), ('Text="stroma"', SQUARE)]),
        ('Id="9" Name="Layer 2"', [("", SQUARE)]),
    )
    annotations = read_annotations(write(tmp_path / "a.xml", layers), table)
    assert [region.code for region in annotations.regions] == [1, 0, 0]


def test_annotation_ids_can_name_the_class(tmp_path):
    text = imagescope(*((f'Id="{ident}"', [("", SQUARE)]) for ident in (3, 1, 2)))
    path = write(tmp_path / "a.xml", text)
    table = bach_table(ids={"1": "benign", "2": "in situ", "3": "invasive"})
    assert [region.code for region in read_annotations(path, table).regions] == [3, 1, 2]
    with pytest.raises(UserError, match=r"'\(no name\)' \(3\)"):
        read_annotations(path, bach_table())


def test_decimal_vertices_and_decimal_commas(tmp_path):
    text = imagescope(
        ('Name="tumour"', [("", [("0.5", "0"), ("10,5", "0"), ("10.5", "1e1"), ("0,5", "10")])])
    )
    annotations = read_annotations(write(tmp_path / "a.xml", text), class_table(TWO))
    assert annotations.regions[0].polygon.equals(shapely.box(0.5, 0, 10.5, 10))


def test_negative_regions_are_holes_of_their_layer_only(tmp_path):
    text = imagescope(
        ('Name="tumour"', [('NegativeROA="1"', SMALL), ('NegativeROA="0"', SQUARE)]),
        ('Name="stroma"', [("", SQUARE)]),
    )
    annotations = read_annotations(write(tmp_path / "a.xml", text), class_table(TWO))
    assert codes_and_areas(annotations) == [(1, 80**2 - 30**2), (0, 80**2)]


def test_a_region_drawn_inside_a_hole_stays(tmp_path):
    island = [(40, 40), (50, 40), (50, 50), (40, 50)]
    text = imagescope(
        ('Name="tumour"', [("", SQUARE), ('NegativeROA="1"', SMALL), ('Text="stroma"', island)])
    )
    annotations = read_annotations(write(tmp_path / "a.xml", text), class_table(TWO))
    assert codes_and_areas(annotations) == [(1, 80**2 - 30**2), (0, 100)]


def test_rectangles_ellipses_and_things_without_area(tmp_path):
    corners = [(10, 20), (50, 40)]
    text = imagescope(
        (
            'Name="tumour"',
            [('Type="1"', corners), ('Type="2"', corners), ('Type="3"', corners), ('Type="4"', corners)],
        )
    )
    annotations = read_annotations(write(tmp_path / "a.xml", text), class_table(TWO))
    assert annotations.regions[0].polygon.equals(shapely.box(10, 20, 50, 40))
    # A 180-gon has 0.02% less area than its ellipse.
    assert annotations.regions[1].polygon.area == pytest.approx(np.pi * 20 * 10, rel=3e-4)
    assert annotations.regions[1].polygon.bounds == pytest.approx((10, 20, 50, 40))
    assert annotations.skipped == (("arrow", 1), ("ruler", 1))


@pytest.mark.parametrize("mpp", ["0", "-1", "nan", "1000", "", "x"])
def test_implausible_scales_of_a_file_are_none(tmp_path, mpp):
    path = write(tmp_path / "a.xml", imagescope(('Name="tumour"', [("", SQUARE)]), mpp=mpp))
    assert stated_mpp(path) is None


HALO = """<Annotations><Annotation Name="tumour" Visible="True" LineColor="65280"><Regions>
<Region Type="Polygon" HasEndcaps="0" NegativeROA="0"><Vertices><V X="10" Y="10"/><V X="90" Y="10"/>
<V X="90" Y="90"/><V X="10" Y="90"/><V X="10" Y="10"/></Vertices><Comments/></Region>
<Region Type="Polygon" HasEndcaps="0" NegativeROA="1"><Vertices><V X="30" Y="30"/><V X="60" Y="30"/>
<V X="60" Y="60"/><V X="30" Y="60"/></Vertices></Region>
<Region Type="Rectangle" HasEndcaps="0" NegativeROA="0"><Vertices><V X="140" Y="120"/><V X="100" Y="110"/>
</Vertices></Region>
<Region Type="Ellipse" HasEndcaps="0" NegativeROA="0"><Vertices><V X="100" Y="200"/><V X="140" Y="220"/>
</Vertices></Region>
<Region Type="Ruler" HasEndcaps="1" NegativeROA="0"><Vertices><V X="1" Y="2"/><V X="3" Y="4"/></Vertices>
</Region><Region Type="Pin" HasEndcaps="0" NegativeROA="0"><Vertices><V X="1" Y="2"/></Vertices></Region>
</Regions></Annotation></Annotations>"""
"""HALO's `.annotations`, after https://github.com/rharkes/pyhaloxml and the format's description there."""


def test_halo(tmp_path):
    path = write(tmp_path / "a.annotations", HALO)
    annotations = read_annotations(path, class_table(TWO))
    assert codes_and_areas(annotations)[:2] == [(1, 80**2 - 30**2), (1, 40 * 10)]
    assert annotations.regions[2].polygon.area == pytest.approx(np.pi * 20 * 10, rel=3e-4)
    assert annotations.regions[2].polygon.bounds == pytest.approx((100, 200, 140, 220))
    assert annotations.skipped == (("ruler", 1), ("pin", 1)) and annotations.degenerate == 0
    assert {outline.colour for outline in read_outlines(path).outlines} == {(0, 255, 0)}


# ASAP


def test_asap(tmp_path):
    path = write_asap_xml(tmp_path / "a.xml", [("Tumour", SQUARE), ("stroma", SMALL)])
    text = path.read_text().replace(
        "</Annotations>",
        '<Annotation Name="d" Type="Dot" PartOfGroup="Tumour"><Coordinates>'
        '<Coordinate Order="0" X="1" Y="1"/></Coordinates></Annotation></Annotations>',
        1,
    )
    annotations = read_annotations(write(path, text), class_table(TWO))
    assert codes_and_areas(annotations) == [(1, 6400), (0, 900)]
    assert annotations.skipped == (("dot", 1),) and annotations.mpp is None and stated_mpp(path) is None


def test_asap_vertices_come_in_their_order(tmp_path):
    shuffled = [2, 0, 3, 1]
    vertices = "".join(f'<Coordinate Order="{i}" X="{SQUARE[i][0]}" Y="{SQUARE[i][1]}"/>' for i in shuffled)
    text = (
        '<ASAP_Annotations><Annotations><Annotation Name="tumour" Type="Spline" PartOfGroup="None">'
        f"<Coordinates>{vertices}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )
    annotations = read_annotations(write(tmp_path / "a.xml", text), class_table(TWO))
    assert annotations.regions[0].polygon.equals(Polygon(SQUARE)) and annotations.repaired == 0


# GeoJSON


@pytest.mark.parametrize("bare_list", [True, False])
def test_qupath(tmp_path, bare_list):
    regions = [("Tumour", [SQUARE, SMALL]), ("stroma", [SMALL])]
    path = write_qupath_geojson(tmp_path / "a.geojson", regions, bare_list=bare_list)
    annotations = read_annotations(path, class_table(TWO))
    assert codes_and_areas(annotations) == [(1, 6400 - 900), (0, 900)]
    assert not shapely.contains_xy(annotations.regions[0].polygon, 45, 45)


def feature(geometry, properties=None):
    return {"type": "Feature", "geometry": geometry, "properties": properties or {"name": "tumour"}}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]}


def test_every_geometry_of_geojson(tmp_path):
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE], [[(x + 100, y) for x, y in SMALL]]]}
    content = [
        feature(multi),
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature({"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}),
        feature(None),
        {"type": "Feature"},
        feature(polygon([(x, y, 5.0) for x, y in SQUARE])),
        feature({"type": "Polygon", "coordinates": []}),
    ]
    path = write(tmp_path / "a.geojson", json.dumps(content))
    annotations = read_annotations(path, class_table(TWO))
    assert codes_and_areas(annotations) == [(1, 6400), (1, 900), (1, 6400), (1, 6400)]
    assert dict(annotations.skipped) == {"Point": 1, "LineString": 1, "no geometry": 2}
    assert annotations.degenerate == 1
    assert "1 without area skipped" in summary(annotations) and "1 skipped (Point)" in summary(annotations)


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "Tumour", "color": [1, 2, 3]}},
        {"classification": {"names": ["Tumour"], "colorRGB": -1}},
        {"classification": "tumour", "name": "stroma"},
        {"classification": None, "name": "tumour"},
        {"classification": {"name": 7}, "name": "TUMOUR"},
    ],
)
def test_where_geojson_names_a_class(tmp_path, properties):
    path = write(tmp_path / "a.geojson", json.dumps(feature(polygon(SQUARE), properties)))
    assert [region.code for region in read_annotations(path, class_table(TWO)).regions] == [1]


def test_offset_of_qupath_on_slides_with_bounds(tmp_path):
    path = write_qupath_geojson(tmp_path / "a.geojson", [("tumour", [SQUARE])])
    annotations = read_annotations(path, class_table(TWO), offset_level0=(1000, 50))
    assert annotations.regions[0].polygon.bounds == (60, 1010, 140, 1090)


# Masks


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_masks(tmp_path, name):
    mask = np.zeros((50, 40), np.uint8)
    mask[10:30, 5:20] = 7
    mask[15:20, 8:12] = 0
    Image.fromarray(mask).save(tmp_path / name)
    annotations = read_annotations(tmp_path / name, class_table(TWO), size_level0=(500, 400))
    assert codes_and_areas(annotations) == [(1, (20 * 15 - 5 * 4) * 100)]
    np.testing.assert_array_equal(paint(annotations, (50, 40), (10, 10)) * 7, mask)


def test_masks_that_cannot_be_used(tmp_path):
    Image.fromarray(np.full((50, 40), 3, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="only known together with the slide's size"):
        read_annotations(tmp_path / "a.png", class_table(TWO))
    with pytest.raises(UserError, match=r"3 \(2000 px\)"):
        read_annotations(tmp_path / "a.png", class_table(TWO), size_level0=(500, 400))
    Image.fromarray(np.full((50, 40), 7, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="their proportions differ"):
        read_annotations(tmp_path / "a.png", class_table(TWO), size_level0=(400, 500))


def test_what_a_mask_does_not_know_stays_unknown(tmp_path):
    mask = np.zeros((50, 40), np.uint8)
    mask[10:30, 5:20] = 7
    mask[30:40, 5:20] = 9
    Image.fromarray(mask).save(tmp_path / "a.png")
    table = class_table(replace(TWO, ignore_value=9))
    annotations = read_annotations(tmp_path / "a.png", table, size_level0=(500, 400))
    expected = np.select([mask == 7, mask == 9], [1, IGNORE_PIXEL])
    np.testing.assert_array_equal(paint(annotations, (50, 40), (10, 10)), expected)


# Names


def test_names_are_compared_without_case_and_punctuation_where_that_leaves_one_class():
    table = class_table(TWO, synonyms={"Cancer Tissue": "tumour"}, ignored=["", "Artefact"])
    for name in ("TUMOUR", " tumour ", "cancer_tissue", "Cancer-Tissue", "cancer  tissue"):
        assert code_of(table, (name,)) == 1, name
    assert code_of(table, ("artefact",)) == IGNORED == code_of(table, ("", " "))
    assert code_of(table, ("tumor",)) is None
    assert code_of(table, ("?", "stroma")) == 0


def test_signs_part_classes():
    three = Classes(("ER", "ER+", "ER-"), ((0, 0, 0),) * 3, (0, 1, 2))
    table = class_table(three)
    for code, names in enumerate((("ER", "er"), ("ER+", "er+", "ER\u207a"), ("ER-", "er-", "ER\u2212"))):
        for name in names:
            assert code_of(table, (name,)) == code, name
    assert code_of(class_table(Classes(("Tumor",), ((0, 0, 0),), (0,))), ("Tumor-",)) is None


def test_classes_that_differ_in_case_only_are_two():
    two = Classes(("Tumor", "tumor"), ((0, 0, 0),) * 2, (0, 1))
    table = class_table(two, synonyms={"ca": "Tumor", "CA": "tumor"})
    assert [code_of(table, (name,)) for name in ("Tumor", "tumor", "ca", "CA")] == [0, 1, 0, 1]
    for name in ("TUMOR", "Ca"):
        with pytest.raises(UserError, match=rf"'{name}' may be .* or .*--rename \"{name}=CLASS"):
            code_of(table, (name,))


def test_names_in_several_unicode_forms_are_one():
    table = class_table(Classes(("Tum\u00f6r",), ((0, 0, 0),), (0,)))
    assert code_of(table, ("Tumo\u0308r",)) == 0
    assert near_names(["Tum\u00f6r", "Tumo\u0308r"]) == []


@pytest.mark.parametrize("other", ["Tumour", "tumour ", "TUMOUR"])
def test_near_names_in_one_file_are_refused_until_they_are_renamed(tmp_path, other):
    path = write_qupath_geojson(tmp_path / "a.geojson", [("tumour", [SQUARE]), (other, [SMALL])])
    with pytest.raises(UserError, match=rf"a\.geojson: 'tumour' \(1 .* and '{other}' \(1 .*--rename"):
        read_annotations(path, class_table(TWO))
    found = read_annotations(path, class_table(TWO, synonyms={other: "stroma"}))
    assert [region.code for region in found.regions] == [1, 0]
    path = write_bach_xml(tmp_path / "b.xml", [("In situ", SQUARE), ("in_situ", SMALL)])
    assert len(read_annotations(path, bach_table()).regions) == 2  # free texts, by BACH's rule


def test_near_names_are_grouped():
    names = [
        "Tumor",
        "Stroma",
        "tumor",
        "Tumor+",
        "in-situ",
        "in situ",
        "Tumor",
        "Tumor: Positive",
        "Tumor:positive",
    ]
    assert near_names(names) == [
        ("Tumor", "tumor"),
        ("in-situ", "in situ"),
        ("Tumor: Positive", "Tumor:positive"),
    ]


def test_a_name_is_not_both_renamed_and_ignored():
    with pytest.raises(UserError, match="'pen' is both renamed and ignored"):
        class_table(TWO, synonyms={"pen": "tumour"}, ignored=["pen"])


def test_bach_rule_is_that_of_the_authors_in_their_order():
    table = bach_table()
    for name, code in (
        ("benign in situ", 1),
        ("in situ and invasive", 2),
        ("Normal", 0),
        ("DCIS", None),
        ("invasive", 3),
    ):
        assert code_of(table, (name,)) == code, name


def test_unknown_names_are_all_listed(tmp_path):
    regions = [("DCIS", SQUARE), ("LCIS", SQUARE), ("DCIS", SQUARE), ("benign", SQUARE)]
    path = write_bach_xml(tmp_path / "A01.xml", regions)
    with pytest.raises(UserError, match=r"A01\.xml: 3 region.*'DCIS' \(2\), 'LCIS' \(1\).*\*in situ\*"):
        read_annotations(path, bach_table())
    annotations = read_annotations(path, class_table(BACH_CLASSES, ignored=["dcis", "lcis"]))
    assert annotations.ignored == 3 and summary(annotations).startswith("1 regions, 3 ignored")
    assert [region.code for region in annotations.regions] == [IGNORE_PIXEL] * 3 + [1]


def test_tables_name_only_classes_that_exist():
    for wrong in ({"synonyms": {"a": "b"}}, {"contains": [("a", "b")]}, {"ids": {"1": "b"}}):
        with pytest.raises(UserError, match="'b' is none of the classes"):
            class_table(TWO, **wrong)


def test_what_is_ignored_is_painted_unknown(tmp_path):
    pen = [(50, 10), (90, 10), (90, 90), (50, 90)]
    regions = [("tumour", [SQUARE]), ("pen", [pen]), ("Ignore*", [SMALL])]
    path = write_qupath_geojson(tmp_path / "a.geojson", regions)
    annotations = read_annotations(path, class_table(TWO, ignored=["pen"]))
    mask = paint(annotations, (10, 10), (10, 10))
    expected = np.zeros((10, 10), np.uint8)
    expected[1:9, 1:9] = 1
    expected[1:9, 5:9] = expected[3:6, 3:6] = IGNORE_PIXEL
    np.testing.assert_array_equal(mask, expected)
    assert annotations.ignored == 2 and "2 ignored (unknown there)" in summary(annotations)
    write_geojson(tmp_path / "b.geojson", annotations, TWO)
    again = read_annotations(tmp_path / "b.geojson", class_table(TWO))
    np.testing.assert_array_equal(paint(again, (10, 10), (10, 10)), mask)
    with pytest.raises(UserError, match="3 ignored"):
        read_annotations(path, class_table(TWO, ignored=["pen", "tumour"]))
    with pytest.raises(UserError, match=r"'Ignore\*' \(1\)"):
        read_annotations(path, class_table(TWO, ignored=["pen"], ignore_star=False))


# Geometry


def rings(*lists):
    return tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in lists)


def test_outlines_that_cross_themselves_are_repaired_and_counted(tmp_path):
    path = write_bach_xml(tmp_path / "a.xml", [("benign", BOWTIE), ("invasive", SQUARE)])
    annotations = read_annotations(path, bach_table())
    assert codes_and_areas(annotations) == [(1, 400), (1, 400), (3, 6400)]
    assert annotations.repaired == 1
    assert all(region.polygon.is_valid for region in annotations.regions)


def test_repair_is_even_odd():
    """A pentagram's heart is a hole, as `paint` would leave it."""
    angle = np.arange(5) * 4 * np.pi / 5
    pentagram = np.stack([np.sin(angle), np.cos(angle)], axis=1) * 100
    polygons, repaired, *_ = polygons_from_rings((pentagram,))
    assert repaired and not any(polygon.contains(shapely.Point(0, 0)) for polygon in polygons)
    hole_out_of_shell, repaired, *_ = polygons_from_rings(
        rings(SQUARE, [(50, 50), (200, 50), (200, 60), (50, 60)])
    )
    assert repaired and sum(polygon.area for polygon in hole_out_of_shell) == 6400 - 400
    overlapping_holes = polygons_from_rings(rings(SQUARE, SMALL, [(x + 10, y) for x, y in SMALL])).polygons
    assert sum(polygon.area for polygon in overlapping_holes) == 6400 - 900 - 300


CIRCLE = [(100 + 50 * np.cos(a), 100 + 50 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 90)[:-1]]
WOBBLE = [
    (100 + 51 * np.cos(a + 0.01), 100 + 50 * np.sin(a + 0.01)) for a in np.linspace(0, 2 * np.pi, 97)[:-1]
]


@pytest.mark.parametrize(
    "outline",
    [
        SQUARE * 2,
        [*SQUARE, SQUARE[0]] * 2,
        SQUARE * 3,
        SQUARE * 2 + SQUARE[:1],
        CIRCLE * 2,
        [*CIRCLE, *WOBBLE],
    ],
)
def test_outlines_drawn_twice_round_are_filled(tmp_path, outline):
    once = outline if len(outline) < 20 else CIRCLE
    area = Polygon(once[:4] if len(outline) < 20 else CIRCLE).area
    mended = polygons_from_rings(rings(outline))
    assert sum(polygon.area for polygon in mended.polygons) == pytest.approx(area, rel=0.03)
    assert mended.rewound and not mended.repaired
    holed = polygons_from_rings(rings([(0, 0), (200, 0), (200, 200), (0, 200)], outline))
    assert sum(polygon.area for polygon in holed.polygons) == pytest.approx(200**2 - area, rel=0.03)
    annotations = read_annotations(write_bach_xml(tmp_path / "a.xml", [("benign", outline)]), bach_table())
    assert "1 drawn twice round, filled" in summary(annotations) and annotations.degenerate == 0


def test_what_lies_under_later_regions_is_counted(tmp_path):
    left, right = [(0, 0), (50, 0), (50, 100), (0, 100)], [(50, 0), (100, 0), (100, 100), (50, 100)]
    for regions, *expected in (
        ([("benign", SMALL), ("invasive", SQUARE)], 1, 0, 0),
        ([("invasive", SQUARE), ("benign", SMALL)], 0, 0, 0),
        ([("benign", SQUARE), ("invasive", left), ("in situ", right)], 1, 0, 0),
        ([("benign", SQUARE), ("invasive", left)], 0, 0, 0),
        ([("benign", SQUARE), ("benign", SQUARE[1:] + SQUARE[:1])], 0, 1, 0),
        ([("benign", SQUARE), ("invasive", SQUARE)], 1, 0, 0),
        # A hole that is written as an area (findings/tiatoolbox-qupath-outlines-have-no-holes.sh).
        ([("benign", SQUARE), ("benign", SMALL)], 0, 0, 1),
        ([("benign", SMALL), ("benign", SQUARE)], 1, 0, 0),
        # A benign island in an invasive one in a benign region: it is seen.
        ([("benign", SQUARE), ("invasive", left), ("benign", SMALL)], 0, 0, 0),
        ([("benign", SQUARE), ("invasive", RIM), ("benign", SMALL)], 0, 0, 1),
    ):
        annotations = read_annotations(write_bach_xml(tmp_path / "a.xml", regions), bach_table())
        assert [annotations.covered, annotations.doubled, annotations.within] == expected, regions
        assert ("wholly covered by later ones" in summary(annotations)) == bool(expected[0])
        assert ("within another of its own class" in summary(annotations)) == bool(expected[2])


@pytest.mark.parametrize("seed", range(20))
def test_counts_of_covered_regions_are_those_of_unions(seed):
    """Each region against the union of all later ones, one by one."""
    draw = np.random.default_rng(seed)
    corners = draw.integers(0, 12, (40, 2))
    sides = draw.integers(1, 8, (40, 2))
    boxes = [shapely.box(*corner, *(corner + side)) for corner, side in zip(corners, sides, strict=True)]
    boxes = [
        box.union(shapely.box(0, 0, 2, 2)).convex_hull if n % 5 == 0 else box for n, box in enumerate(boxes)
    ]
    regions = [Region(box, n) for n, box in enumerate(boxes)]
    expected = sum(
        box.difference(shapely.union_all(boxes[number + 1 :])).area < 1e-9 for number, box in enumerate(boxes)
    )
    assert expected > 3 and covering.count_hidden(regions) == (expected, 0, 0, ())


@pytest.mark.parametrize("seed", range(20))
def test_regions_within_their_own_class_are_those_that_paint_nothing(seed):
    """Painted one by one, boxes that keep apart or lie in one another: what changes no pixel is counted."""
    draw = np.random.default_rng(seed)
    painted, regions, expected = np.full((40, 40), -1), [], 0
    corners = [(0, 0, 40)] + [(8 * row + 1, 8 * col + 1, 6) for row in range(5) for col in range(5)]
    corners += [(row + 1, col + 1, 3) for row, col, _ in corners[1:]]
    for row, col, side in corners:
        code = int(draw.integers(0, 2))
        window = painted[row : row + side, col : col + side]
        expected += bool((window == code).all())
        window[:] = code
        regions.append(Region(shapely.box(col, row, col + side, row + side), code))
    assert expected > 3
    assert covering.count_hidden(regions).within == expected


def test_many_overlaps_do_not_take_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(covering, "MAX_PAIRS", 10)
    regions = [("benign", [(x, y + i) for x, y in SQUARE]) for i in range(20)]
    annotations = read_annotations(write_bach_xml(tmp_path / "a.xml", regions), bach_table())
    assert "too many overlaps" in summary(annotations) and len(annotations.regions) == 20


def test_regions_smaller_than_a_pixel_are_counted():
    boxes = [shapely.box(0, 0, 30, 30), shapely.box(11, 11, 14, 14), shapely.box(14, 14, 16, 16)]
    boxes += [shapely.box(0, 11, 100, 14), Polygon([(40, 40), (44, 40), (40, 44)])]
    annotations = Annotations(tuple(Region(box, 1) for box in boxes))
    assert count_unpainted(annotations, (10, 10)) == 3  # centres lie at 5, 15, 25, ...
    assert count_unpainted(annotations, (1, 1)) == 0


@pytest.mark.parametrize(
    "outline",
    [
        [],
        [(1, 1)],
        [(1, 1), (2, 2)],
        [(1, 1), (1, 1), (1, 1)],
        [(1, 1), (2, 2), (1, 1), (1, 1)],
        [(1, 1), (2, 2), (3, 3)],
        [(1, 1), (5, 5), (1, 1), (5, 5)],
    ],
)
def test_shapes_without_area(outline):
    assert polygons_from_rings(rings(outline))[0] == []


def test_degenerate_shapes_are_skipped_and_counted_whatever_their_name(tmp_path):
    path = write_bach_xml(
        tmp_path / "a.xml", [("?", [(1, 1)]), ("benign", [(1, 1), (2, 2)]), ("benign", SQUARE)]
    )
    annotations = read_annotations(path, bach_table())
    assert annotations.degenerate == 2 and len(annotations.regions) == 1
    text = path.read_text().replace('X="90"', 'X="10"')
    with pytest.raises(UserError, match="no region to use .3 without area"):
        read_annotations(write(path, text), bach_table())


def write_halo(path, regions):
    text = imagescope(*((f'Name="{name}" Id="{n}"', [("", ring)]) for n, (name, ring) in enumerate(regions)))
    return write(path, text.replace("<Vertex ", "<V "))


WRITERS = {
    "imagescope": write_bach_xml,
    "asap": write_asap_xml,
    "halo": write_halo,
    "geojson": lambda path, regions: write(
        path, json.dumps([feature(polygon(ring), {"name": name}) for name, ring in regions])
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong, said", [
    (float("nan"), "no number"), (float("-inf"), "no number"), (None, "no number"), ("ninety", "no number"),
    (1e300, r"1e\+300"), (-1e9, r"-1e\+09"),
])  # fmt: skip
@pytest.mark.parametrize("form", WRITERS)
def test_a_vertex_that_is_no_position_is_refused_in_every_format(tmp_path, form, wrong, said):
    """It was counted as an outline without area: a drawn region that vanished."""
    broken = [(10, 10), (90, 77), (90, 90), (10, 90)]
    regions = [("benign", SQUARE), ("in situ", broken), ("benign", broken)]
    path = WRITERS[form](tmp_path / f"a.{form}", regions)
    write(path, path.read_text().replace("77", json.dumps(wrong) if form == "geojson" else str(wrong)))
    message = rf"a\.{form}: region 2 of 3 \('in situ'.*\), vertex 2 is x 90, y {said}; .* 1 more region"
    with pytest.raises(UserError, match=message):
        read_annotations(path, bach_table())
    with pytest.raises(UserError, match=message):
        read_outlines(path)


@pytest.mark.parametrize(
    "coordinates, place",
    [
        ([SQUARE, [(30, 30), (60, 30), (60, None)]], "vertex 3 of its hole 1 is x 60, y no number"),
        ([SQUARE, [(30, 30), (60, 30), None]], "vertex 3 of its hole 1 is x no number, y no number"),
        ([[(1, 2), (3,), (5, 6)]], "vertex 2 is x no number"),
        ([[(1, 2), (3, 10**400), (5, 6)]], "vertex 2 is x 3, y no number"),
        ("all", "vertex 1 is x no number"),
        ([7], "vertex 1 is x no number"),
        ([1, 2, 3], "vertex 1 is x no number"),
        (None, "vertex 1 is x no number"),
    ],
)
def test_what_stands_in_the_place_of_a_vertex_is_refused_with_its_place(tmp_path, coordinates, place):
    broken = feature({"type": "Polygon", "coordinates": coordinates}) | {"id": "0a-1b"}
    path = write(
        tmp_path / "a.geojson", json.dumps([feature({"type": "Point"}), feature(polygon(SQUARE)), broken])
    )
    with pytest.raises(UserError, match=rf"region 2 of 2 \('tumour', id 0a-1b\), {place}"):
        read_annotations(path, class_table(TWO))
    broken["properties"] = {"objectType": "cell"}
    path.write_text(json.dumps([feature(polygon(SQUARE)), broken]))
    assert dict(read_annotations(path, class_table(TWO)).skipped) == {"cell": 1}


def test_an_order_that_is_no_number_is_refused(tmp_path):
    path = write_asap_xml(tmp_path / "a.xml", [("tumour", SQUARE), ("stroma", SMALL)])
    text = path.read_text()
    at = text.rindex('Order="1"')
    write(path, text[:at] + 'Order="one"' + text[at + 9 :])
    with pytest.raises(UserError, match=r"a\.xml: region 2 has a Coordinate whose Order"):
        read_annotations(path, class_table(TWO))


def test_a_broken_hole_does_not_take_its_shape_along():
    polygons, *_ = polygons_from_rings(rings(SQUARE, [(1, 1)], SMALL))
    assert [polygon.area for polygon in polygons] == [6400 - 900]


@pytest.mark.parametrize("seed", range(5))
def test_repair_gives_the_areas_of_make_valid(seed):
    outline = np.random.default_rng(seed).uniform(0, 1000, (30, 2))
    polygons, repaired, crossings, _ = polygons_from_rings((outline,))
    expected = shapely.make_valid(Polygon(outline))
    assert repaired and crossings > 50
    assert shapely.union_all(polygons).symmetric_difference(expected).area < 1e-6 * expected.area
    assert sum(polygon.area for polygon in polygons) == pytest.approx(expected.area)  # no overlaps
    assert all(polygon.is_valid for polygon in polygons)


def test_noise_is_not_repaired(tmp_path, monkeypatch):
    """White noise of n vertices crosses itself about n^2 / 6 times, a freehand outline a few times."""
    noise = np.random.default_rng(0).uniform(0, 1000, (4000, 2))
    with pytest.raises(UserError, match="of 4000 vertices crosses itself about"):
        polygons_from_rings((noise,))
    with pytest.raises(UserError, match="crosses itself about"):
        polygons_from_rings((noise[:600],))
    angle = np.linspace(0, 2 * np.pi, 5000)
    scribble = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1000 + np.sin(40 * angle)[:, None])
    scribble[[100, 103]] = scribble[[103, 100]]
    polygons, repaired, crossings, _ = polygons_from_rings((scribble,))
    assert repaired and 1 <= crossings <= 10
    assert sum(polygon.area for polygon in polygons) == pytest.approx(np.pi * 1e6, rel=1e-2)
    path = write_bach_xml(tmp_path / "a.xml", [("benign", BOWTIE)] * 20)
    monkeypatch.setattr(repair, "MAX_FILE_CROSSINGS", 10)
    with pytest.raises(UserError, match=r"a\.xml: its outlines cross themselves more than 10 times"):
        read_annotations(path, bach_table())


def test_areas_are_those_of_the_polygons_that_are_painted():
    """A bow-tie has one by its parts, none by its signed area; nor does a hole outside take any away."""
    inner = [(x + 5, y + 5) for x, y in SMALL]
    shapes = [
        rings(SQUARE), rings(SQUARE[::-1]), rings([*SQUARE, SQUARE[0]], SMALL), rings(BOWTIE),
        rings(SQUARE, [(200, 200), (260, 200), (260, 260)]), rings(SQUARE, SMALL, inner), rings(SQUARE * 2),
        rings(SQUARE[:3]), rings([*SQUARE[:2], SQUARE[0]]), rings(SQUARE, [(1, 1)]), rings([(1, 1)], SQUARE),
        (), rings([]), rings([(1, 1)] * 5), rings([(1, 1), (2, 2), (3, 3), (4, 4)]),
    ]  # fmt: skip
    draw = np.random.default_rng(0)
    shapes += [(draw.integers(0, 20, (draw.integers(3, 12), 2)).astype(float),) for _ in range(200)]
    expected = [sum(polygon.area for polygon in polygons_from_rings(shape).polygons) for shape in shapes]
    np.testing.assert_allclose(areas_of(shapes), expected, atol=1e-9)
    assert expected[:6] == [6400, 6400, 6400 - 900, 800, 6400, 6400 - 900 - 900 + 25 * 25]
    assert areas_of([]).shape == (0,)


def test_drawn_areas_are_without_the_holes_of_their_layer(tmp_path):
    layers = imagescope(
        ('Name="tumour"', [("", SQUARE), ('NegativeROA="1"', SMALL), ("", BOWTIE)]),
        ('Name="stroma"', [("", SQUARE)]),
    )
    path = write(tmp_path / "a.xml", layers)
    outlines = read_outlines(path).outlines
    areas = drawn_areas(path, outlines)
    painted = read_annotations(path, class_table(TWO))
    assert areas.tolist() == [6400 - 900, 0, pytest.approx(800 - 50), 6400]
    assert areas.sum() == pytest.approx(sum(region.polygon.area for region in painted.regions))


def test_noise_has_no_area_and_is_named(tmp_path):
    path = write_bach_xml(
        tmp_path / "a.xml", [("benign", np.random.default_rng(0).uniform(0, 999, (2000, 2)))]
    )
    with pytest.raises(UserError, match=r"a\.xml: an outline of 2000 vertices crosses itself about"):
        drawn_areas(path, read_outlines(path).outlines)


# Another slide's file


def test_files_of_another_slide_are_refused(tmp_path):
    path = write_bach_xml(
        tmp_path / "A02.xml", [("benign", SQUARE), ("benign", [(500, 500), (900, 500), (900, 900)])]
    )
    with pytest.raises(
        UserError, match=r"A02\.xml: 44% of the vertices lie outside.*1 shape.*rows 500 to 900.*200 rows"
    ):
        read_annotations(path, bach_table(), size_level0=(200, 200))
    assert len(read_annotations(path, bach_table()).regions) == 2


def test_a_stray_region_beyond_the_edge_is_left_out_and_counted(tmp_path):
    circle = [(5000 + 4990 * np.cos(a), 5000 + 4990 * np.sin(a)) for a in np.linspace(0, 6.2, 100)]
    over_the_edge = [(9900, 100), (10050, 100), (10050, 200), (9900, 200)]
    stray = [(12000, 100), (12100, 100), (12100, 200)]
    path = write_bach_xml(tmp_path / "a.xml", [("benign", s) for s in (circle, over_the_edge, stray)])
    annotations = read_annotations(path, bach_table(), size_level0=(10000, 10000))
    assert len(annotations.regions) == 2 and annotations.outside == 1 and annotations.clipped == 1
    assert annotations.regions[1].polygon.equals(shapely.box(9900, 100, 10000, 200))


def test_a_rectangle_beyond_the_corner_is_cut_and_said(tmp_path):
    path = write_bach_xml(tmp_path / "a.xml", [("benign", [(60, 60), (140, 60), (140, 140), (60, 140)])])
    annotations = read_annotations(path, bach_table(), size_level0=(100, 100))
    assert annotations.regions[0].polygon.equals(shapely.box(60, 60, 100, 100)) and annotations.clipped == 1
    assert "1 cut at the slide's edge; 75.0% of the drawn area lies beyond the slide's edge" in summary(
        annotations
    )
    path = write_bach_xml(tmp_path / "b.xml", [("benign", [(110, 60), (140, 60), (140, 140)])])
    with pytest.raises(UserError, match=r"b\.xml: 100% of the vertices.*another slide"):
        read_annotations(path, bach_table(), size_level0=(100, 100))


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not here (set L2S_DATA)")
def test_on_the_real_slide(tmp_path):
    slide = open_slide(REAL)
    region = [(500, 700), (1500, 700), (1500, 2000), (500, 2000)]
    path = write_bach_xml(tmp_path / "CMU.xml", [("invasive", region)], mpp=None)
    annotations = read_annotations(path, bach_table(), size_level0=slide.size_level0)
    assert annotations.mpp is None
    mask = paint(annotations, (2967, 2220), (1.0, 1.0))
    assert (mask == 3).sum() == 1000 * 1300 and mask[700:2000, 500:1500].all()
    exchanged = [(y + 900, x) for x, y in region]  # columns 1600 to 2900 of 2220
    path = write_bach_xml(tmp_path / "CMU.xml", [("invasive", exchanged)])
    found = read_annotations(path, bach_table(), size_level0=slide.size_level0)
    assert found.clipped == 1 and "52.3% of the drawn area lies beyond" in summary(found)
    path = write_bach_xml(tmp_path / "CMU.xml", [("invasive", [(x + 2220, y) for x, y in region])])
    with pytest.raises(UserError, match="lie outside the slide"):
        read_annotations(path, bach_table(), size_level0=slide.size_level0)


# Bad files


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"hello", "no annotation file"),
        (b"<Annotations>", "not well-formed XML"),
        (b"<Annotations/>", "no region to use"),
        (b"<html><body/></html>", "root element is <html>"),
        (b"{}", "no GeoJSON"),
        (b'{"type": "FeatureCollection"}', "no GeoJSON"),
        (b'{"type": "FeatureCollection", "features": []}', "no region to use"),
        (b"[1, 2]", "no GeoJSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'[{"type": "Feature"}, ', "not valid JSON"),
        (b"<Annotations>" + b"<a>" * 1000, "nested more than 64 deep"),
        (b'<Annotations a="' + b"x" * 3_000_000 + b'"/>', "without a tag"),
        (b'<?xml version="1.0" encoding="martian"?><Annotations/>', "not well-formed XML"),
        (b"\x89PNG\r\n\x1a\n junk", "damaged|no picture|cut short"),
        (b"<annotations><ndpviewstate/></annotations>", "ndpa by Hamamatsu.*export GeoJSON"),
        (b"<OME/>", "it is OME-XML"),
        (b"PK\3\4 junk", "ZIP archive.*unpack it"),
        (b"\xac\xed\0\5 junk", "qpdata.*Export objects as GeoJSON"),
        (b"\xff\xd8\xff\xe0 junk", "a JPEG, which changes the values of a mask"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "bad.xml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_annotations(tmp_path / "bad.xml", bach_table(), size_level0=(10, 10))
    assert "bad.xml" in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.xml"):
        read_annotations(tmp_path / "none.xml", bach_table())


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE Annotations ['
    '<!ENTITY a0 "benign">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    + ']><Annotations><Annotation Name="&a9;"/></Annotations>'
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE Annotations SYSTEM "file:///etc/passwd"><Annotations/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Annotations>&x;</Annotations>',
    ],
)
def test_xml_bombs_are_refused(tmp_path, text):
    with pytest.raises(UserError, match="document type or entities"):
        read_annotations(write(tmp_path / "a.xml", text), bach_table())


def test_files_beyond_the_limits_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.xml"
    with path.open("wb") as file:
        file.write(b"<Annotations>")
        file.truncate(types_module.MAX_FILE_BYTES + 1)
    with pytest.raises(UserError, match="has more than 2048 MB"):
        read_annotations(path, bach_table())
    from l2s_jax.slides.annotations import geojson_format, xml_formats

    monkeypatch.setattr(xml_formats, "MAX_VERTICES", 5)
    write_bach_xml(path, [("benign", SQUARE), ("benign", SQUARE)])
    with pytest.raises(UserError, match="more than 5 vertices"):
        read_annotations(path, bach_table())
    monkeypatch.setattr(geojson_format, "MAX_REGIONS", 1)
    write_qupath_geojson(path, [("benign", [SQUARE]), ("benign", [SQUARE])])
    with pytest.raises(UserError, match="more than 1 regions"):
        read_annotations(path, bach_table())


def test_empty_files_may_be_allowed(tmp_path):
    annotations = read_annotations(
        write(tmp_path / "a.xml", "<Annotations/>"), bach_table(), allow_empty=True
    )
    assert annotations.regions == () and summary(annotations) == "0 regions"


def test_byte_order_marks_and_other_encodings(tmp_path):
    text = imagescope(('Name="Tumour"', [("", SQUARE)])).replace('<?xml version="1.0"?>\n', "")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.xml").write_bytes(text.encode(encoding))
        assert len(read_annotations(tmp_path / "a.xml", class_table(TWO)).regions) == 1, encoding
    (tmp_path / "a.json").write_bytes(json.dumps(feature(polygon(SQUARE))).encode("utf-8-sig"))
    assert len(read_annotations(tmp_path / "a.json", class_table(TWO)).regions) == 1


def test_annotations_go_to_other_processes(tmp_path):
    path = write_bach_xml(tmp_path / "a.xml", [("benign", SQUARE)])
    annotations = read_annotations(path, bach_table())
    assert pickle.loads(pickle.dumps(annotations)) == annotations
