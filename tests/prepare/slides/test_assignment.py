"""Groups are never split, keep their splits, and spread what is drawn."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax.prepare.slides.assignment import assign_slides, describe_splits
from l2s_jax.prepare.slides.inputs import SlideInput
from l2s_jax.system.errors import UserError
from l2s_jax.types import SPLITS


def slides_of(groups, split=None):
    return [
        SlideInput(f"s{n}", Path(f"s{n}.svs"), Path(f"s{n}.xml"), group=group, split=split)
        for n, group in enumerate(groups)
    ]


@given(
    st.lists(st.integers(0, 8), min_size=3, max_size=20).filter(lambda groups: len(set(groups)) >= 3),
    st.dictionaries(st.integers(0, 8), st.sampled_from(SPLITS), max_size=4),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_groups_stay_whole_and_where_they_were(groups, earlier, seed):
    names = [f"p{group}" for group in groups]
    before = {f"p{group}": split for group, split in earlier.items()}
    slides = slides_of(names)
    content = {one.name: {"a": 1.0 + n % 3} for n, one in enumerate(slides)}
    try:
        splits = assign_slides(slides, content, (60, 20, 20), seed, before)
    except UserError:
        free = set(names) - before.keys()
        assert len(free) < len(set(SPLITS) - {before[name] for name in set(names) & before.keys()})
        return
    assert set(splits) == set(names)
    assert all(splits[name] == before[name] for name in set(names) & before.keys())
    if set(names) - before.keys():
        assert set(splits.values()) == set(SPLITS)


def test_each_split_has_its_share_of_each_class():
    slides = slides_of([f"p{n}" for n in range(20)])
    content = {one.name: {"a": 1.0} if n < 10 else {"b": 5.0} for n, one in enumerate(slides)}
    splits = assign_slides(slides, content, (60, 20, 20), 0, {})
    for first in (0, 10):
        held = [splits[f"p{n}"] for n in range(first, first + 10)]
        assert [held.count(split) for split in SPLITS] == [6, 2, 2]
    assert "60%" in "\n".join(describe_splits(slides, content, splits))


def test_the_tables_split_comes_first():
    slides = [*slides_of(["p0", "p1"], "test"), *slides_of(["p2", "p3", "p4"])]
    splits = assign_slides(slides, {}, (60, 20, 20), 0, {"p0": "train"})
    assert splits["p0"] == splits["p1"] == "test" and {splits[f"p{n}"] for n in (2, 3, 4)} >= {"train", "val"}


def test_slides_with_labels_only_are_trained_on():
    slides = [*slides_of(["p0", "p1", "p2"]), SlideInput("l", Path("l.svs"), label="a", group="q")]
    assert assign_slides(slides, {}, (60, 20, 20), 0, {"q": "test"})["q"] == "train"


@pytest.mark.parametrize("percents", [(60, 20), (60, 20, 30), (-10, 60, 50), (float("nan"), 50, 50)])
def test_shares_that_are_none_are_refused(percents):
    with pytest.raises(UserError, match="expected"):
        assign_slides(slides_of(["a", "b", "c"]), {}, percents, 0, {})


def test_shares_are_percent_or_parts_of_one_and_sum_to_all():
    slides = slides_of([f"p{n}" for n in range(10)])
    content = {one.name: {"a": 1.0} for one in slides}
    assert assign_slides(slides, content, (60, 20, 20), 0, {}) == assign_slides(
        slides, content, (0.6, 0.2, 0.2), 0, {}
    )
    with pytest.raises(UserError, match="--split 50 25 20 sums to 95; expected 100"):
        assign_slides(slides, content, (50, 25, 20), 0, {})
