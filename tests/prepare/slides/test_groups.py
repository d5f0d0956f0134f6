"""A patient whose slides are named in part, or wrongly, is refused before it can straddle splits."""

from dataclasses import replace

import pytest

from helpers.own_slides import write_own_slide, write_regions
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.groups import require_groups
from l2s_jax.prepare.slides.inputs import find_inputs
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.prepare.slides.table import read_groups
from l2s_jax.system.errors import UserError


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A slide to make others of."""
    return write_own_slide(tmp_path_factory.mktemp("one"), "one", 1)


@pytest.fixture
def folder(one, tmp_path):
    """s1 to s3 with annotations, s4 without."""
    for number in range(1, 5):
        (tmp_path / f"s{number}.svs").hardlink_to(one)
        if number < 4:
            write_regions(tmp_path / f"s{number}.geojson")
    return tmp_path


def asked(folder, rows, pictures=()):
    """The warnings of a table of such rows."""
    table = folder / "groups.csv"
    table.write_text("slide,group\n" + "\n".join(rows))
    groups = read_groups(table)
    return require_groups(find_inputs(folder, None, groups), pictures, groups, folder, table)


def listed(folder, rows):
    """The warnings of a CSV list of such rows."""
    (folder / "t.csv").write_text("slide,group\n" + "\n".join(rows))
    return require_groups(find_inputs(folder / "t.csv", None, {}), (), {}, folder / "t.csv", None)


def test_slides_in_no_row_are_refused_by_name(folder):
    with pytest.raises(UserError, match=r"groups\.csv: 2 of 3 slides have no group \(s2\.svs, s3\.svs\)"):
        asked(folder, ["s1,p"])
    assert asked(folder, ["s1,p", "s2.svs,p", "s3,s3"]) == []


@pytest.mark.parametrize("row", ["S3", "s3.tif", "s_3", "s 3.SVS", "slides/s3.svs", "slides\\s3.svs"])
def test_the_row_that_may_be_meant_is_named(folder, row):
    with pytest.raises(UserError, match=r"1 of 3 slides.*\. '.*3.*' may mean s3\.svs") as error:
        asked(folder, ["s1,p", "s2,p", f"{row},p"])
    assert repr(row) in str(error.value)


def test_no_row_is_guessed_for_a_slide_that_is_like_none(folder):
    with pytest.raises(UserError, match=r"s3\.svs") as error:
        asked(folder, ["s1,p", "s2,p", "s33,p", "s1.svs,p"])
    assert "may mean" not in str(error.value)


def test_a_table_of_which_no_row_fits_says_which_may_be_meant(folder):
    with pytest.raises(UserError, match=r"names none.*'S1' may mean s1\.svs"):
        asked(folder, ["S1,p", "S2,p"])


def test_rows_of_slides_that_are_not_there_are_warned_of(folder):
    (line,) = asked(folder, ["s1,p", "s2,p", "s3,q", "s9,q"])
    assert line.startswith("warning: 1 name") and "groups.csv" in line and line.endswith(": s9")


def test_rows_of_slides_without_annotation_are_no_slip(folder):
    assert asked(folder, ["s1,p", "s2,p", "s3,q", "s4,q"]) == []


def test_a_table_of_pictures_alone_leaves_the_slides_patients_open(folder):
    (line,) = asked(folder, ["Tumour/0.png,p"], [folder / "Tumour" / "0.png"])
    assert line.startswith("warning:") and "no slide" in line


def test_an_empty_group_beside_filled_ones_is_refused_in_a_list(folder):
    with pytest.raises(UserError, match=r"t\.csv, column group: 1 of 3 slides have no group \(s2\.svs\)"):
        listed(folder, ["s1.svs,p", "s2.svs,", "s3.svs,p"])
    assert listed(folder, ["s1.svs,p", "s2.svs,s2", "s3.svs,p"]) == []


def test_a_list_without_groups_is_taken(folder):
    assert listed(folder, ["s1.svs,", "s2.svs,", "s3.svs,"]) == []


def test_preparing_refuses_before_anything_is_made(folder):
    (folder / "groups.csv").write_text("slide,group\ns1,p\ns2,p\n")
    options = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
    with pytest.raises(UserError, match=r"s3\.svs"):
        prepare_slides(
            folder,
            folder / "out",
            replace(options, groups=folder / "groups.csv"),
            WorkOptions(workers=1),
        )
    assert not (folder / "out").exists()
