"""Options that name what nobody drew are said: a misspelled --ignore would let the region be learned."""

from dataclasses import replace

import pytest

from l2s_jax.prepare.slides.drawn import Drawn, DrawnName
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.prepare.slides.unmatched import describe_unmatched

DRAWN = [
    Drawn("s1", "1", "geojson", (DrawnName(("Gland",), "", 2, 1.0, None),), "k"),
    Drawn(
        "s2",
        "2",
        "imagescope",
        (DrawnName((), "7", 1, 1.0, None), DrawnName(("Fold",), "", 1, 1.0, None)),
        "k",
    ),
]


@pytest.mark.parametrize(
    "options",
    [
        {"ignore": ("fold", "Gland")},
        {"rename": {"GLAND": "Tumour"}},
        {"frame": ("Fold",), "label_regions": {"gland ": "Tumour"}, "class_ids": {"7": "Tumour"}},
        {"rename": {"Benign": "Gland"}},  # of a label
    ],
)
def test_names_of_any_slide_or_label_are_not_said(options):
    assert describe_unmatched(DRAWN, ["Benign"], replace(AnnotationOptions(), **options)) == []


def test_a_name_that_is_near_to_a_class_is_said():
    """The class that is written as it is drawn wins, so that the region would be learned."""
    for names, lines in (("gland",), 1), (("Gland",), 0), (("fold",), 0):
        options = replace(AnnotationOptions(), ignore=names)
        assert len(describe_unmatched(DRAWN, [], options, ("Gland",))) == lines, names


@pytest.mark.parametrize(
    "options, said",
    [
        ({"ignore": ("Fold", "Glnd")}, "--ignore Glnd"),
        ({"frame": ("Fram",)}, "--frame Fram"),
        ({"rename": {"Glnd": "Gland"}}, "--rename Glnd"),
        ({"label_regions": {"BOX": "Gland"}}, "--label-regions BOX"),
        ({"class_ids": {"8": "Gland"}}, "--class-ids 8"),
    ],
)
def test_names_that_nothing_has_are_said_with_those_that_are_there(options, said):
    (line,) = describe_unmatched(DRAWN, [], replace(AnnotationOptions(), **options))
    assert line.startswith(f"warning: {said} changes nothing") and "Gland" in line and "Fold" in line
