import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from l2s_jax.prepare.splits import largest_deviation, split_counts, split_groups, split_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import MOST
from l2s_jax.types import SPLITS

SPLIT_FRACTIONS = (0.5, 0.25, 0.25)
REPEATED = settings(deadline=None, max_examples=60)


@st.composite
def rows(draw):
    """Groups of 1 to 8 rows, each mostly of one class."""
    groups, labels = [], []
    for group in range(draw(st.integers(3, 25))):
        main = draw(st.integers(-1, 3))
        for other in draw(st.lists(st.sampled_from([None, None, None, 0, 1]), min_size=1, max_size=8)):
            groups.append(f"g{group}")
            labels.append(main if other is None else other)
    order = draw(st.permutations(range(len(groups))))
    return [groups[i] for i in order], [labels[i] for i in order]


fractions = st.sampled_from(
    [SPLIT_FRACTIONS, (0.6, 0.2, 0.2), (0.8, 0.2, 0.0), (1.0, 0.0, 0.0), (0.98, 0.01, 0.01)]
)


@REPEATED
@given(rows(), fractions, st.integers(0, MOST))
def test_groups_stay_whole_and_splits_are_used(table, shares, seed):
    groups, labels = table
    splits = split_groups(groups, labels, shares, seed)
    assert len(splits) == len(groups)
    of_group = collections.defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        of_group[group].add(split)
    assert all(len(found) == 1 for found in of_group.values())
    assert set(splits) == {split for split, share in zip(SPLITS, shares, strict=True) if share}
    assert splits == split_groups(groups, labels, shares, seed)


@REPEATED
@given(rows(), st.integers(0, 100))
def test_names_of_groups_and_classes_do_not_matter(table, seed):
    groups, labels = table
    renamed = split_groups(
        [hash(group) for group in groups], [label * 10 + 3 for label in labels], SPLIT_FRACTIONS, seed
    )
    assert renamed == split_groups(groups, labels, SPLIT_FRACTIONS, seed)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
@REPEATED
def test_targets_are_met_exactly_where_groups_allow(quarters, classes, seed):
    labels = np.repeat(range(classes), 4 * quarters).tolist()
    splits = split_groups(range(len(labels)), labels, SPLIT_FRACTIONS, seed)
    assert split_counts(labels, splits) == {c: (2 * quarters, quarters, quarters) for c in range(classes)}
    assert largest_deviation(labels, splits, SPLIT_FRACTIONS) == 0


def test_seeds_give_different_splits():
    labels = [0, 1] * 20
    assert len({tuple(split_groups(range(40), labels, SPLIT_FRACTIONS, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("seed", range(5))
def test_no_worse_than_scikit_learns_folds(seed):
    """Four of its folds as 2 + 1 + 1, measured by the shares of each class in the splits."""
    rng = np.random.default_rng(seed)
    sizes = rng.geometric(0.4, 80)
    groups = np.repeat(np.arange(80), sizes)
    labels = np.where(rng.random(len(groups)) < 0.2, rng.integers(0, 6, len(groups)), groups % 6)
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, groups)
    theirs = np.empty(len(groups), object)
    for name, (_, rows) in zip(("train", "train", "val", "test"), folds, strict=True):
        theirs[rows] = name
    ours = split_groups(groups.tolist(), labels.tolist(), SPLIT_FRACTIONS, seed)

    def distance(splits):
        counts = np.array(list(split_counts(labels.tolist(), list(splits)).values()))
        return ((counts / counts.sum(axis=1, keepdims=True) - SPLIT_FRACTIONS) ** 2).sum()

    assert distance(ours) <= distance(theirs)


@pytest.mark.parametrize(
    "shares, message",
    [
        ((0.5, 0.5), "three numbers"),
        ((0.5, 0.25, 0.5), "sum to 1.25"),
        ((1.5, -0.25, -0.25), "three numbers >= 0"),
        ((float("nan"), 0.5, 0.5), "three numbers"),
    ],
)
def test_fractions_must_be_shares(shares, message):
    with pytest.raises(UserError, match=message):
        split_groups([1, 2, 3], [0, 0, 0], shares, 0)


def test_fewer_groups_than_splits_is_an_error_that_says_so():
    with pytest.raises(UserError, match="2 group.* at least 3"):
        split_groups(["a", "a", "b"], [0, 1, 0], SPLIT_FRACTIONS, 0)
    assert set(split_groups(["a", "a", "b"], [0, 1, 0], (0.5, 0.5, 0), 0)) == {"train", "val"}


def test_the_text_says_how_far_off_it_ended():
    labels, splits = [0, 0, 0, 0, 1, 1, -1], ["train", "train", "train", "test", "train", "val", "test"]
    text = split_text(("first", "second"), labels, splits, SPLIT_FRACTIONS)
    assert "first         3  75.0%      0   0.0%      1  25.0%".split() in [
        line.split() for line in text.splitlines()
    ]
    assert "no label" in text
    assert "aimed at 50%/25%/25%; furthest from it by 75.0%" in text
