"""Which slides are found, what belongs to what, and what is refused with which words."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.dicom_slides import write_dicom
from helpers.own_slides import (
    FRAME,
    REGIONS,
    STROMA,
    TUMOUR,
    write_own_slide,
    write_own_slides,
    write_regions,
)
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.inputs import find_inputs
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.prepare.slides.table import read_groups, read_slide_table
from l2s_jax.system.errors import UserError

SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A slide to make others of."""
    return write_own_slide(tmp_path_factory.mktemp("one"), "one", 1)


@pytest.fixture
def named(one, tmp_path):
    """Slides of given names, all the same, in a folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).hardlink_to(one)
        return tmp_path

    return make


def pairs(found):
    return {slide.name: slide.annotation and slide.annotation.name for slide in found.slides}


@pytest.mark.parametrize(
    "name", ["a.geojson", "A.json", "a.svs.geojson", "a.geojson.gz", "a.xml", "a_mask.png", "a_MASK.tif"]
)
def test_annotations_are_found_by_name(named, name, tmp_path_factory):
    folder = named("a.svs")
    write_regions(folder / name)
    assert pairs(find_inputs(folder, None, {})) == {"a": name}
    elsewhere = tmp_path_factory.mktemp("annotations")
    shutil.move(folder / name, elsewhere / name)
    assert pairs(find_inputs(folder, elsewhere, {})) == {"a": name}


def test_what_is_left_over_is_named(named):
    folder = named("a.svs", "b.svs")
    write_regions(folder / "a.geojson")
    write_regions(folder / "c.geojson")
    (folder / "d.json").write_text('{"mpp": 1}')
    text = "\n".join(find_inputs(folder, None, {}).found)
    assert "a.svs: a.geojson" in text and "b.svs" in text and "c.geojson" in text and "d.json" in text


def test_what_predict_records_is_no_second_annotation(named):
    folder = named("a.svs")
    write_regions(folder / "a.geojson")
    (folder / "a.json").write_text(json.dumps({"network": "x", "mpp": 7.5}))
    assert pairs(find_inputs(folder, None, {})) == {"a": "a.geojson"}


def test_two_annotations_for_one_slide_are_refused(named):
    folder = named("a.svs")
    write_regions(folder / "a.geojson")
    write_regions(folder / "a.xml")
    with pytest.raises(UserError, match=r"a\.svs.*a\.geojson.*a\.xml"):
        find_inputs(folder, None, {})


def test_no_annotation_for_any_is_refused(named):
    folder = named("a.svs")
    write_regions(folder / "other.geojson")
    with pytest.raises(UserError, match=r"a\.geojson.*other\.geojson"):
        find_inputs(folder, None, {})


def test_no_slide_at_all_is_refused(tmp_path):
    with pytest.raises(UserError, match="no slide"):
        find_inputs(tmp_path, None, {})
    with pytest.raises(UserError, match="not found"):
        find_inputs(tmp_path / "missing", None, {})


def test_slides_of_one_name_are_told_apart_by_their_folders(named):
    folder = named("p1/a.svs", "p2/a.svs", "p2/b.svs")
    for place in ("p1/a", "p2/a", "p2/b"):
        write_regions(folder / f"{place}.geojson")
    assert pairs(find_inputs(folder, None, {})) == {
        "p1_a": "a.geojson", "p2_a": "a.geojson", "b": "b.geojson",
    }  # fmt: skip


def test_a_slide_under_two_names_is_refused(named, tmp_path):
    folder = named("a.svs", "b.svs")
    write_regions(folder / "a.geojson")
    write_regions(folder / "b.geojson")
    with pytest.raises(UserError, match=r"a\.svs.*b\.svs.*same slide"):
        prepare_slides(folder, tmp_path / "out", SMALL, HERE)


def test_dicom_folders_are_slides(named):
    folder = named("a.svs")
    write_regions(folder / "a.geojson")
    picture = np.full((300, 300, 3), 150, np.uint8)
    write_dicom(folder / "one" / "1.dcm", picture, series="1.2.3.1")
    write_dicom(folder / "one" / "2.dcm", picture[:100, :100], kind="LABEL", series="1.2.3.1")
    write_regions(folder / "one.geojson")
    write_dicom(folder / "study" / "x.dcm", picture, series="1.2.3.2")
    write_dicom(folder / "study" / "y.dcm", picture, series="1.2.3.3")
    write_regions(folder / "study" / "x.geojson")
    write_regions(folder / "study" / "y.geojson")
    assert pairs(find_inputs(folder, None, {})) == {
        "a": "a.geojson", "one": "one.geojson", "x": "x.geojson", "y": "y.geojson",
    }  # fmt: skip
    write_dicom(folder / "only" / "l.dcm", picture[:100, :100], kind="LABEL", series="1.2.3.4")
    failures = find_inputs(folder, None, {}).failures
    assert len(failures) == 1 and "only" in failures[0] and "label" in failures[0]


@pytest.mark.parametrize(
    "text",
    [
        "slide,annotation,label,group,split,mpp\na.svs,x.geojson,,P 1,train,0.5\n",
        "\ufeffslide;annotation;label;group;split;mpp\r\na.svs;x.geojson;;P 1;train;0,5\r\n",
        'sep=;\r\n"slide";"annotation";"label";"group";"split";"mpp"\r\n'
        '"a.svs";"x.geojson";"";"P 1";"Train";"0.5"\r\n;;;;;\r\n',
        "Slide\tannotation\tlabel\tgroup\tsplit\tmpp\na.svs\tx.geojson\t\tP 1\ttrain\t0.5\n",
    ],
)
def test_tables_as_spreadsheets_write_them(named, text):
    folder = named("a.svs")
    write_regions(folder / "x.geojson")
    (folder / "slides.csv").write_text(text, encoding="utf-8", newline="")
    (row,) = read_slide_table(folder / "slides.csv")
    assert row == (folder / "a.svs", folder / "x.geojson", "", "P 1", "train", 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slides\na.svs\n", ["slide", "slides"]),
        ("slide,colour\na.svs,red\n", ["colour"]),
        ("slide\nb.svs\n", ["line 2", "b.svs", "not found"]),
        ("slide,split\na.svs,learn\n", ["line 2", "learn", "train, val, test"]),
        ("slide,mpp\na.svs,fine\n", ["line 2", "fine", "um/px"]),
        ("slide\na.svs\na.svs\n", ["line 3", "line 2"]),
        ("slide,group\na.svs,p,q\n", ["line 2", "more fields"]),
        ("slide\n", ["no rows"]),
        ("", ["slide"]),
    ],
)
def test_faulty_tables_are_refused_by_line(named, text, words):
    folder = named("a.svs")
    (folder / "slides.csv").write_text(text)
    with pytest.raises(UserError) as error:
        read_slide_table(folder / "slides.csv")
    assert all(word in str(error.value) for word in words)


def test_a_group_in_two_splits_is_refused(named):
    folder = named("a.svs", "b.svs")
    for name in ("a", "b"):
        write_regions(folder / f"{name}.geojson")
    (folder / "slides.csv").write_text("slide,group,split\na.svs,p,train\nb.svs,p,test\n")
    with pytest.raises(UserError, match=r"'p'.*a\.svs in train.*b\.svs in test"):
        find_inputs(folder / "slides.csv", None, {})


def test_groups_of_a_file(named):
    folder = named("a.svs", "b.svs")
    for name in ("a", "b"):
        write_regions(folder / f"{name}.geojson")
    (folder / "groups.csv").write_text("slide;group\na.svs;p\nb;p\n")
    groups = read_groups(folder / "groups.csv")
    assert {one.group for one in find_inputs(folder, None, groups).slides} == {"p"}


def refused(tmp_path, regions, options=SMALL):
    folder = write_own_slides(tmp_path / "slides", 2, regions)
    with pytest.raises(UserError) as error:
        prepare_slides(folder, tmp_path / "out", options, HERE)
    return str(error.value)


def test_near_names_are_refused_until_they_are_renamed(tmp_path):
    regions = [TUMOUR, STROMA, ("tumour ", 20, 90, 50, 110), FRAME]
    text = refused(tmp_path, regions)
    assert "'Tumour'" in text and "'tumour '" in text and '--rename "tumour =Tumour"' in text
    options = replace(SMALL, rename={"tumour ": "Tumour"}, split=(50, 50, 0))
    made = prepare_slides(tmp_path / "slides", tmp_path / "out", options, replace(HERE, overwrite=True))
    assert made.manifest.classes.names == ("background", "Stroma", "Tumour")


def test_near_names_of_two_slides_are_refused_too(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 1, [TUMOUR, STROMA])
    write_own_slides(folder, 1, [("tumour", *TUMOUR[1:]), STROMA], first=2)
    with pytest.raises(UserError, match=r"'Tumour' \(in s1\).*'tumour' \(in s2\)"):
        prepare_slides(folder, tmp_path / "out", SMALL, HERE)


def test_one_class_alone_is_refused(tmp_path):
    text = refused(tmp_path, [TUMOUR])
    assert (
        "'Tumour'" in text and "everything" in text and "--undrawn background" in text and "--frame" in text
    )


def test_that_no_background_is_drawn_is_said(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 2, [TUMOUR, STROMA])
    said = []
    prepare_slides(folder, tmp_path / "out", replace(SMALL, split=(50, 50, 0)), HERE, say=said.append)
    assert any("no background" in line and "Tumour" in line for line in said)


def test_regions_without_a_class_are_refused(tmp_path):
    text = refused(tmp_path, [*REGIONS, ("", 50, 50, 55, 55)])
    assert "1 in s1" in text and "--ignore ''" in text


def test_names_that_are_none_of_the_given_classes_are_refused(tmp_path):
    file = tmp_path / "classes.toml"
    file.write_text('class = [{ name = "Tumour", colour = [1, 2, 3] }, { name = "x", colour = [1, 2, 4] }]\n')
    text = refused(tmp_path, [TUMOUR, STROMA], replace(SMALL, classes=file))
    assert "'Stroma'" in text and "s1" in text and "--rename" in text and "--ignore" in text


def test_what_covers_nothing_is_refused(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 3, [TUMOUR, STROMA])
    write_own_slides(folder, 1, [("Tumour", 8.6, 8.6, 9.4, 9.4)], first=4)
    made = prepare_slides(folder, tmp_path / "out", replace(SMALL, split=(50, 50, 0)), HERE)
    assert len(made.failures) == 1
    assert "s4.geojson" in made.failures[0] and "7.5 um/px" in made.failures[0]


def test_a_slide_without_scale_says_what_to_give(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 2)
    write_own_slide(folder, "s9", 9, mpp=None)
    write_regions(folder / "s9.geojson")
    options = replace(SMALL, split=(50, 50, 0))
    made = prepare_slides(folder, tmp_path / "out", options, HERE)
    assert len(made.failures) == 1 and "s9.svs" in made.failures[0] and "--slide-mpp" in made.failures[0]
    (folder / "t.csv").write_text("slide,mpp\n" + "".join(f"s{n}.svs,0.46875\n" for n in (1, 2, 9)))
    assert prepare_slides(folder / "t.csv", tmp_path / "b", options, HERE).failures == ()


def test_groups_that_name_nothing_are_refused(named, tmp_path):
    folder = named("a.svs")
    write_regions(folder / "a.geojson")
    (folder / "groups.csv").write_text("slide,group\nother,p\n")
    with pytest.raises(UserError, match=r"groups\.csv names none.*a\.svs.*other"):
        prepare_slides(folder, tmp_path / "out", replace(SMALL, groups=folder / "groups.csv"), HERE)


@pytest.mark.parametrize(
    "options",
    [{"mpp": 0.0001}, {"mpp": 0.0}, {"patch_size": 30}, {"split": (50, 20, 20)}],
)
def test_options_that_cannot_be_leave_the_folder_free(tmp_path, options):
    folder = write_own_slides(tmp_path / "slides", 2)
    with pytest.raises(UserError, match=r"mpp = .* must be 0\.05 to 100$|multiple|expected"):
        prepare_slides(folder, tmp_path / "out", replace(SMALL, **{"split": (50, 50, 0), **options}), HERE)
    assert not (tmp_path / "out").exists()


def test_where_no_slide_can_be_cut_the_folder_is_free(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 2)
    for name in ("s1", "s2"):
        write_regions(folder / f"{name}.geojson", [("Tumour", 900, 900, 950, 950), STROMA])
    with pytest.raises(UserError, match=r"2 failure.*"):
        prepare_slides(folder, tmp_path / "out", replace(SMALL, split=(50, 50, 0)), HERE)
    assert not (tmp_path / "out").exists()
