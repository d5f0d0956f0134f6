"""Names that are one slip of the keyboard apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax.system.texts import one_letter_apart


@pytest.mark.parametrize(
    "one, other, slip",
    [
        ("Tumour", "tumor", True),
        ("Tumour", "Tumuor", True),
        ("adenoma", "adenomas", True),
        ("Stroma", "Strona", True),
        ("Stroma", "stroma", False),  # said by case, elsewhere
        ("Grade 3", "Grade 4", False),
        ("Stroma", "Stroma 2", False),
        ("Tumour", "Tumour-", False),
        ("benign", "malign", False),
        ("fat", "fit", False),
        ("naevus", "na\u00ebvus", True),
    ],
)
def test_slips_of_the_keyboard(one, other, slip):
    assert one_letter_apart(one, other) is one_letter_apart(other, one) is slip


def edits(word):
    """All words that are one edit from it: by brute force."""
    letters = "abc"
    for at in range(len(word) + 1):
        head, tail = word[:at], word[at:]
        yield from (head + letter + tail for letter in letters)
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in letters)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]


@settings(deadline=None)
@given(st.text("abc", min_size=5, max_size=8), st.text("abc", min_size=5, max_size=8))
def test_it_is_one_edit_by_brute_force(one, other):
    near = set(edits(one)) - {one}
    assert one_letter_apart(one, other) is (other in near)
    assert all(one_letter_apart(one, word) for word in near if len(word) >= 5)
