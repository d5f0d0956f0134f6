import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from l2s_jax.data.groups import near_names, near_pairs

NEAR = [
    ("TCGA-XX-0001", "TCGA-XX-0001-01Z-00-DX1"),
    ("TCGA-XX-0001", "tcga_xx_0001-01Z-00-DX1"),
    ("TCGA-XX-0001", "TCGA-XX-1"),
    ("020", "20"),
    ("000", "0"),
    ("Case_7", "case 7"),
    ("Case 07", "CASE7"),
    ("Müller", unicodedata.normalize("NFD", "MÜLLER")),
    ("ab", "a-b"),
    ("A.svs", "A"),
    ("１２", "12"),
    ("p1-s2", "P01"),
    ("Straße 3", "STRASSE 03"),
    ("a\u200bb", "ab"),
]
FAR = [
    ("12", "123"),
    ("1-1", "11"),
    ("TCGA-XX-0001", "TCGA-XX-00010"),
    ("TCGA-XX-0001", "TCGA-XX-0002"),
    ("a-1", "a-10"),
    ("20", "200"),
    ("A+", "A"),
    ("p1a", "p1b"),
    ("कि", "का"),
    ("", "a"),
    ("-", "a"),
    ("a", "a"),
]


@pytest.mark.parametrize(("a", "b"), NEAR)
def test_names_that_may_mean_one_patient(a, b):
    assert near_names(a, b) and near_names(b, a)


@pytest.mark.parametrize(("a", "b"), FAR)
def test_names_that_mean_two(a, b):
    assert not near_names(a, b) and not near_names(b, a)


NAMES = st.text("aAbBäÄ019- _.+", max_size=6)


@given(NAMES, NAMES)
@example("", "-")
def test_nearness_is_mutual_and_never_of_a_name_with_itself(a, b):
    assert near_names(a, b) == near_names(b, a)
    assert not near_names(a, a)


@given(st.text(max_size=12), st.sampled_from("-_ ./"), st.text("xyz", min_size=1, max_size=3))
def test_the_beginning_up_to_a_separator_is_near(name, separator, more):
    whole = f"{name}{separator}{more}"
    has_letters = any(letter.isalnum() for letter in name)
    assert near_names(name, whole) or not has_letters


@given(st.from_regex(r"[a-z]{1,4}[1-9][0-9]{0,3}", fullmatch=True), st.sampled_from(["", "-", "_", " "]))
def test_case_zeros_and_separators_do_not_tell_names_apart(name, separator):
    letters, digits = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
    other = f"{letters.upper()}{separator}00{digits}"
    assert near_names(name, other)
    assert not near_names(name, f"{other}1")


@given(st.lists(NAMES, max_size=8), st.lists(NAMES, max_size=8))
def test_pairs_are_those_that_are_near(these, those):
    expected = sorted({(a, b) for a in these for b in those if near_names(a, b)})
    assert near_pairs(these, those) == expected
