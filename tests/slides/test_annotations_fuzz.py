"""Mutated files of every format: a result or a `UserError`, in bounded time and memory, and nothing else."""

import gzip
import json
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.slide_generator import write_asap_xml, write_qupath_geojson
from l2s_jax.phantom.slide_writing import write_bach_xml
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table, class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.annotations.writing import write_geojson, write_imagescope_xml
from l2s_jax.system.errors import UserError

SQUARE = [(10, 10), (90, 10.5), (90, 90), (10, 90)]
REGIONS = [("benign", SQUARE), ("In situ", [(30, 30), (60, 30), (60, 60)]), ("Invasive carcinoma", SQUARE)]

TOKENS = [
    *(b"nan", b"inf", b"-inf", b"1e999", b"-1e308", b"9" * 400, b"0x10", b"1,5", b"", b"null", b"true"),
    *(
        b'"',
        b"'",
        b"<",
        b">",
        b"/>",
        b"</Region>",
        b"</Annotations>",
        b"<Region>",
        b"<Vertex/>",
        b"<Vertices>",
    ),
    *(
        b"<Annotation>",
        b"<Regions>",
        b'NegativeROA="1"',
        b'Type="2"',
        b'Type="4"',
        b"&lt;",
        b"&x;",
        b"<![CDATA[",
    ),
    *(b"<!DOCTYPE a>", b"<?xml?>", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b"[]", b"{}"),
    *(
        b",",
        b":",
        b'"type"',
        b'"MultiPolygon"',
        b'"Point"',
        b'"coordinates"',
        b"[[[]]]",
        b"1e7",
        b"-50",
        b"NaN",
        b'"objectType": "cell"',
        b'"features"',
        b'"childObjects"',
        b'"parentClass"',
        b"\x1f\x8b",
    ),
]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    rings = [(name, [outline]) for name, outline in REGIONS]
    files = [
        write_bach_xml(folder / "bach.xml", REGIONS),
        write_bach_xml(folder / "text.xml", REGIONS, label_in="text"),
        write_asap_xml(folder / "asap.xml", REGIONS),
        write_qupath_geojson(folder / "list.geojson", rings, bare_list=True),
        write_qupath_geojson(folder / "collection.geojson", [("benign", [SQUARE, REGIONS[1][1]]), *rings]),
        folder / "own.xml",
        folder / "own.geojson",
        folder / "halo.annotations",
        folder / "old.geojson",
        folder / "packed.gz",
    ]
    drawn = read_annotations(files[4], bach_table())
    write_imagescope_xml(files[5], drawn, BACH_CLASSES, mpp=0.5)
    write_geojson(files[6], drawn, BACH_CLASSES)
    halo = files[5].read_text().replace("Vertex", "V").replace('Type="0"', 'Type="Polygon"')
    files[7].write_text(halo)
    old = files[3].read_text().replace('"type": "Feature"', '"id": "PathAnnotationObject", "type": "Feature"')
    files[8].write_text(
        old.replace('"color": [200, 0, 0]', '"colorRGB": -1, "parentClass": {"name": "benign"}')
    )
    files[9].write_bytes(gzip.compress(files[4].read_bytes()))
    return [file.read_bytes() for file in files]


@st.composite
def mutations(draw):
    """Up to six edits: where (a share of the file), how much, and what."""
    return draw(
        st.lists(
            st.tuples(
                st.floats(0, 1),
                st.sampled_from([0, 1, 2, 5, 20, 100, 1000]),
                st.sampled_from(["token", "bytes", "delete", "double", "cut", "swap"]),
                st.sampled_from(TOKENS),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=6,
        )
    )


def mutated(content, edits):
    for share, length, kind, token, junk in edits:
        at = int(share * len(content))
        before, piece, after = content[:at], content[at : at + length], content[at + length :]
        content = {
            "token": before + token + after,
            "bytes": before + junk + after,
            "delete": before + after,
            "double": before + piece * 3 + after,
            "cut": before,
            "swap": after + piece + before,
        }[kind]
    return content


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 9), edits=mutations(), ids=st.booleans())
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_mutated_files(seeds, tmp_path_factory, seed, edits, ids):
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    path.write_bytes(mutated(seeds[seed], edits))
    table = bach_table(ids={"1": "benign"}) if ids else class_table(BACH_CLASSES, ignored=["", "in situ"])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        annotations = read_annotations(path, table, size_level0=(100, 100))
    except UserError as error:
        assert "fuzz.bin" in str(error)
    else:
        assert all(region.polygon.is_valid and region.polygon.area > 0 for region in annotations.regions)
        paint(annotations, (20, 20), (5.0, 5.0))
    # Files of a few kB: far below a second, and no more memory than Python itself moves by.
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"<", b"<Annotations>", b"[", b"{", b"\x89PNG\r\n\x1a\n", b"II*\0"]),
)
@pytest.mark.filterwarnings("ignore")
def test_random_bytes(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "random.bin"
    path.write_bytes(start + content)
    with pytest.raises(UserError, match=r"random\.bin"):
        read_annotations(path, bach_table(), size_level0=(100, 100))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "geometry", "coordinates", "properties", "classification", "name", "features"]
            ),
            children | st.sampled_from(["Feature", "FeatureCollection", "Polygon", "MultiPolygon", "benign"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=120, deadline=None)
@given(json_values)
def test_json_of_the_wrong_shape(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "shape.geojson"
    for value in (content, [content], {"type": "FeatureCollection", "features": content}):
        path.write_text(json.dumps(value))
        try:
            read_annotations(path, bach_table(), allow_empty=True)
        except UserError as error:
            assert "shape.geojson" in str(error)


def test_large_files_stay_within_memory_and_time(tmp_path):
    """4 MB of elements: streamed, not held."""
    path = tmp_path / "long.xml"
    path.write_text("<Annotations>" + "<Annotation/>" * 300_000 + "</Annotations>")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match="no region to use"):
        read_annotations(path, bach_table())
    assert time.process_time() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
