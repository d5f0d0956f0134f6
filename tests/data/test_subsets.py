import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax.data.subsets import choose, stratified_order
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

PERCENTS = (0, 1, 2.5, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100)


def separate(n_seg, n_cls, classes=4, seed=0):
    """A BACH-like pool: mask patches first, then label patches."""
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, classes, n_seg + n_cls).astype(np.int32)
    can_mask = np.arange(n_seg + n_cls) < n_seg
    return {"can_mask": can_mask, "label": np.where(can_mask, IGNORE_LABEL, stratum), "stratum": stratum}


@pytest.mark.parametrize("n_seg, n_cls", [(615, 400), (1274, 1774), (1630, 1764)])
def test_counts_follow_fig_5(n_seg, n_cls):
    pool = separate(n_seg, n_cls)
    for percent in PERCENTS:
        masks = int(percent * n_seg * 10) // 1000  # floor in whole numbers
        labels = n_cls - int(percent * n_cls * 10) // 1000
        if masks:
            assert choose("S", percent, 0, **pool).has_mask.sum() == masks
        both = choose("S+C", percent, 0, **pool)
        assert (both.has_mask.sum(), both.has_label.sum()) == (masks, labels)
        star = choose("S+C*", percent, 0, **pool)
        assert (star.has_mask.sum(), star.has_label.sum()) == (masks, n_cls)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5), st.sampled_from(PERCENTS), st.booleans())
def test_nested_over_percent_and_equal_across_settings(n_seg, n_cls, draw, percent, both):
    pool = separate(n_seg, n_cls)
    if both:
        pool |= {"can_mask": np.ones(n_seg + n_cls, bool), "label": pool["stratum"]}
    try:
        masks = {s: choose(s, percent, draw, **pool).has_mask for s in ("S", "S+C", "S+C*")}
    except UserError:
        return
    np.testing.assert_array_equal(masks["S"], masks["S+C"])
    np.testing.assert_array_equal(masks["S"], masks["S+C*"])
    full = choose("S+C*", 100, draw, **pool)
    np.testing.assert_array_equal(full.has_mask, pool["can_mask"])
    for more in PERCENTS:
        if more > percent:
            assert (choose("S+C*", more, draw, **pool).has_mask | ~masks["S"]).all()


def test_pictures_with_both_give_a_label_or_a_mask_in_s_plus_c():
    stratum = np.arange(40, dtype=np.int32) % 4
    pool = {"can_mask": np.ones(40, bool), "label": stratum, "stratum": stratum}
    subset = choose("S+C", 25, 1, **pool)
    np.testing.assert_array_equal(subset.has_label, ~subset.has_mask)
    assert np.ptp(np.bincount(stratum[subset.has_mask], minlength=4)) <= 1
    assert choose("S+C*", 25, 1, **pool).has_label.all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 100))
def test_every_prefix_is_stratified(strata, draw):
    strata = np.array(strata)
    order = stratified_order(strata, (draw, 0))
    assert sorted(order) == list(range(len(strata)))
    for size in range(1, len(strata) + 1):
        counts = np.bincount(strata[order[:size]], minlength=4)
        # Each class is within one patch of its share of the prefix, plus rounding of the others.
        share = size * np.bincount(strata, minlength=4) / len(strata)
        assert (np.abs(counts - share) <= 2).all()


def test_draws_differ():
    pool = separate(100, 100)
    chosen = {tuple(np.flatnonzero(choose("S", 10, draw, **pool).has_mask)) for draw in range(5)}
    assert len(chosen) == 5


def test_release_keeps_one_of_each_class():
    pool = separate(100, 100)
    subset = choose("S+C", 0, 0, **pool, min_per_class=1)
    assert np.bincount(pool["stratum"][subset.has_mask], minlength=4).tolist() == [1, 1, 1, 1]
    subset = choose("S+C", 100, 0, **pool, min_per_class=1)
    assert np.bincount(pool["stratum"][subset.has_label], minlength=4).tolist() == [1, 1, 1, 1]


def test_release_counts_floor_both_kinds_class_by_class():
    """BACH's 400 label patches at 2.5%: 388, where the paper has 390 (spec: difference 36)."""
    stratum = np.concatenate([np.arange(160), np.arange(400)]).astype(np.int32) % 4
    can_mask = np.arange(560) < 160
    pool = {"can_mask": can_mask, "label": np.where(can_mask, IGNORE_LABEL, stratum), "stratum": stratum}
    subset = choose("S+C", 2.5, 0, **pool, counts="release")
    assert np.bincount(stratum[subset.has_label]).tolist() == [97] * 4
    assert np.bincount(stratum[subset.has_mask]).tolist() == [1] * 4
    assert choose("S+C", 2.5, 0, **pool).has_label.sum() == 390
    assert choose("S+C*", 2.5, 0, **pool, counts="release").has_label.sum() == 400


def test_release_counts_without_strata_are_those_of_gleason():
    """1,774 label patches at 1%: 1,756, where the paper has 1,757 (spec: difference 36)."""
    pool = separate(1274, 1774)
    subset = choose("S+C", 1, 0, **pool, counts="release", stratified=False)
    assert (subset.has_mask.sum(), subset.has_label.sum()) == (12, 1756)
    assert choose("S+C", 1, 0, **pool, stratified=False).has_label.sum() == 1757
    least = choose("S+C", 0, 0, **pool, counts="release", stratified=False, min_per_class=1)
    assert least.has_mask.sum() == 1  # one patch in all


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 5), st.sampled_from(PERCENTS), st.booleans(),
    st.booleans(), st.integers(0, 1),
)  # fmt: skip
def test_release_counts_are_nested_and_never_both_of_a_picture(
    n_seg, n_cls, draw, percent, both, stratified, least
):
    pool = separate(n_seg, n_cls)
    if both:
        pool |= {"can_mask": np.ones(n_seg + n_cls, bool), "label": pool["stratum"]}
    rules = {"counts": "release", "stratified": stratified, "min_per_class": least}
    try:
        here = choose("S+C", percent, draw, **pool, **rules)
    except UserError:
        return
    assert not (here.has_mask & here.has_label).any()
    classes = pool["stratum"] if stratified else np.zeros_like(pool["stratum"])
    for of_class in np.unique(classes):
        masks, labels = (
            (classes == of_class) & flags for flags in (pool["can_mask"], pool["label"] != IGNORE_LABEL)
        )
        n, m = masks.sum(), labels.sum()
        picked = (here.has_mask & masks).sum()
        assert picked == min(n, max(least, int(percent * n * 10) // 1000))
        free = (labels & ~here.has_mask).sum()
        wanted = max(least, int((100 - percent) * m * 10) // 1000)
        assert (here.has_label & labels).sum() == min(free, wanted)
    for more in PERCENTS:
        if more > percent and here.has_mask.any():
            there = choose("S+C", more, draw, **pool, **rules)
            assert (there.has_mask | ~here.has_mask).all()


def test_nothing_left_is_said():
    with pytest.raises(UserError, match="leaves nothing to learn from"):
        choose("S", 1, 0, **separate(10, 10))
