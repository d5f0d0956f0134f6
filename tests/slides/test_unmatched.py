"""A name of an option that no region has is said, with the names that there are."""

import pytest

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.class_names import class_table
from l2s_jax.slides.annotations.unmatched import unmatched_ids, unmatched_names

CLASSES = Classes(("Gland", "Tumour"), ((0, 0, 0), (9, 9, 9)), (0, 1))


def lines(*ignored, names=("Gland", "Tumour", "Pen mark")):
    return unmatched_names({"--ignore": ignored}, names, class_table(CLASSES, ignored=ignored))


def test_a_misspelled_name_is_said_with_what_there_is():
    (line,) = lines("Glnd", "Tumour")
    assert line.startswith("--ignore 'Glnd': ") and line.endswith("there are 'Gland', 'Tumour', 'Pen mark'")


def test_a_name_written_otherwise_fits_as_regions_are_looked_up():
    assert lines("pen_mark") == []
    # Beside a class that is written exactly so, it would never be looked up.
    assert len(lines("gland")) == 1


@pytest.mark.parametrize("name", ["", "Ignore*", "Region*"])
def test_what_is_so_anyhow_may_be_said(name):
    assert lines(name) == []


def test_without_any_name_it_is_said():
    (line,) = lines("Pen", names=())
    assert "none has a name" in line


def test_ids():
    assert unmatched_ids(["1", "2"], ["2", "", "1"]) == []
    (line,) = unmatched_ids(["3"], ["2", ""])
    assert line.startswith("--class-ids '3'") and line.endswith("there are 2")
