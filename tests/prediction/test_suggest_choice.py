"""What a patch is worth, and which are taken: held against the same by hand, patch by patch."""

import itertools

import numpy as np
import pytest

from helpers.ensembles import plain_joint, softmax
from l2s_jax.data.subsets import stratified_order
from l2s_jax.prediction.suggest.choice import Pool, by_chance, by_class, by_worth, unit_rows
from l2s_jax.prediction.suggest.scores import allowed_classes, patch_scores
from l2s_jax.types import IGNORE_LABEL


def plain_scores(logits, temperatures, allowed):
    """As they are defined, place by place."""
    networks, classes, places = logits.shape
    disagreement, contested, codes = [], [], []
    for place in range(places):
        chances = [softmax(own[:, place] / t) for own, t in zip(logits, temperatures, strict=True)]
        kept = [[p if ok else 0 for p, ok in zip(one, allowed, strict=True)] for one in chances]
        kept = np.array([np.array(one) / sum(one) for one in kept])
        mean, _, information = plain_joint(kept)
        codes.append(int(mean.argmax()))
        disagreement.append(information / np.log(classes))
        contested.append(np.mean([int(own[:, place].argmax()) != codes[-1] for own in logits]))
    return np.mean(disagreement), np.mean(contested), codes, contested


@pytest.mark.parametrize("allowed", [(1, 1, 1, 1), (1, 0, 1, 0), (0, 1, 1, 1), (0, 0, 1, 0)])
@pytest.mark.parametrize("networks", [1, 2, 5])
def test_scores_are_as_defined(rng, allowed, networks):
    logits = rng.normal(0, 3, (networks, 4, 30)).astype(np.float32)
    temperatures = rng.uniform(0.5, 3, networks).tolist()
    found = patch_scores(logits, temperatures, np.array(allowed, bool))
    disagreement, change, codes, contested = plain_scores(logits, temperatures, allowed)
    assert found.disagreement == pytest.approx(disagreement, abs=1e-6)
    assert found.change == pytest.approx(change) and found.codes.tolist() == codes
    np.testing.assert_allclose(found.contested, contested)
    assert (found.disagreement > 0.01) == (networks > 1 and sum(allowed) > 1)


def test_what_a_label_forbids_is_no_question(rng):
    """Networks that differ about forbidden classes alone do not disagree, but are at odds with the label."""
    logits = np.zeros((2, 4, 6), np.float32)
    logits[0, 2], logits[1, 3] = 9, 9
    free = patch_scores(logits, (1, 1), np.ones(4, bool))
    told = patch_scores(logits, (1, 1), np.array([True, True, False, False]))
    assert free.disagreement > 0.4 and told.disagreement == pytest.approx(0, abs=1e-6)
    assert told.change == 1 and set(told.codes) <= {0, 1}


def test_what_a_patch_can_hold():
    assert allowed_classes(2, (), 0, 4).tolist() == [True, False, True, False]
    assert allowed_classes(2, (), None, 4).tolist() == [False, False, True, False]
    assert allowed_classes(0, (), 0, 4).tolist() == [True, False, False, False]
    assert allowed_classes(2, (1, 2), 0, 4).tolist() == [False, True, True, False]
    assert allowed_classes(IGNORE_LABEL, (0, 3), 0, 4).tolist() == [True, False, False, True]
    assert allowed_classes(IGNORE_LABEL, (), 0, 4).all()


def pool_of(rng, patches=14, drawn=3, groups=5, classes=3):
    return Pool(
        [f"g{n}" for n in rng.integers(0, groups, patches)],
        rng.integers(0, classes, patches).astype(np.int32),
        unit_rows(rng.normal(size=(patches, 6)).astype(np.float32)),
        [f"g{n}" for n in rng.integers(0, groups, drawn)],
        rng.integers(0, classes, drawn).astype(np.int32),
        unit_rows(rng.normal(size=(drawn, 6)).astype(np.float32)) if drawn else None,
    )


def plain_by_worth(pool, number, worth, spread):
    """One after the other, every patch looked at anew."""
    chosen = []
    drawn = [] if pool.drawn_features is None else [*pool.drawn_features.astype(float)]
    for _ in range(number):
        counts = {g: [*pool.drawn_groups, *(pool.groups[k] for k in chosen)].count(g) for g in pool.groups}
        left = [k for k in range(len(pool.groups)) if k not in chosen]
        if spread:
            fewest = min(counts[pool.groups[k]] for k in left)
            left = [k for k in left if counts[pool.groups[k]] == fewest]
        centres = [*drawn, *(pool.features[k].astype(float) for k in chosen)]

        def value(k, centres=centres):
            near = min((np.linalg.norm(pool.features[k] - c) for c in centres), default=1)
            return (near if spread or worth is None else 1) * (1 if worth is None else worth[k])

        chosen.append(max(left, key=value))
    return chosen


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("with_worth", [True, False])
def test_the_choice_is_the_plain_one(rng, spread, with_worth):
    for _ in range(20):
        pool = pool_of(rng)
        worth = rng.random(14) if with_worth else None
        found = by_worth(pool, 9, worth, spread=spread)
        assert [one.patch for one in found] == plain_by_worth(pool, 9, worth, spread)
        near = np.linalg.norm(pool.features[found[0].patch] - pool.drawn_features, axis=1).min()
        assert found[0].distance == pytest.approx(near, abs=1e-6)


def test_farthest_first_is_within_twice_of_the_best_cover(rng):
    """Gonzalez' bound, against every choice there is."""
    for _ in range(10):
        pool = pool_of(rng, patches=9)
        centres = [one.patch for one in by_worth(pool, 3, None, spread=False)]

        def radius(chosen, pool=pool):
            near = np.concatenate([pool.drawn_features, pool.features[list(chosen)]])
            return np.linalg.norm(pool.features[:, None] - near[None], axis=-1).min(1).max()

        assert radius(centres) <= 2 * min(map(radius, itertools.combinations(range(9), 3))) + 1e-6


def test_nobody_has_two_before_everybody_has_one(rng):
    for number in range(20):
        pool = pool_of(rng, patches=20, groups=8)
        for picks in (by_worth(pool, 12, rng.random(20)), by_worth(pool, 12, None)):
            counts = {group: pool.drawn_groups.count(group) for group in pool.groups}
            for place, pick in enumerate(picks):
                left = {pool.groups[k] for k in range(20) if k not in {one.patch for one in picks[:place]}}
                assert counts[pool.groups[pick.patch]] == min(counts[group] for group in left), number
                counts[pool.groups[pick.patch]] += 1


def test_without_anything_drawn_the_most_typical_is_first(rng):
    pool = pool_of(rng, drawn=0)
    found = by_worth(pool, 2, None, spread=False)
    mean = pool.features.mean(0) / np.linalg.norm(pool.features.mean(0))
    distance = np.linalg.norm(pool.features - mean, axis=1)
    assert found[0].patch == distance.argmin() and np.isnan(found[0].distance)
    assert found[1].patch == np.linalg.norm(pool.features - pool.features[found[0].patch], axis=1).argmax()


def test_classes_stay_as_even_as_in_the_committed_draws(rng):
    """From nothing on, every beginning holds as much of each class as that of `stratified_order`."""
    strata = np.repeat([0, 1, 2], [58, 60, 30]).astype(np.int32)
    names = [f"g{n}" for n in rng.integers(0, 68, len(strata))]
    picks = by_class(Pool(names, strata, np.zeros((148, 0), np.float32)), 148, 3)
    order = stratified_order(strata, (3, 0))
    assert sorted(one.patch for one in picks) == list(range(148))
    for count in range(1, 149):
        mine = np.bincount(strata[[one.patch for one in picks[:count]]], minlength=3)
        theirs = np.bincount(strata[order[:count]], minlength=3)
        assert abs(mine - theirs).max() <= 1, count


def test_the_class_that_has_least_is_next_and_a_new_patient_within_it(rng):
    for seed in range(30):
        pool = pool_of(rng, patches=30, drawn=5, groups=9)
        done, groups, taken = [*pool.drawn_strata], [*pool.drawn_groups], []
        for pick in by_class(pool, 20, seed):
            left = [k for k in range(30) if k not in taken]
            totals = {c: sum(np.concatenate([pool.strata, pool.drawn_strata]) == c) for c in set(pool.strata)}
            shares = {c: (done.count(c) + 0.5) / totals[c] for c in set(pool.strata[left])}
            code = pool.strata[pick.patch]
            assert shares[code] == pytest.approx(min(shares.values()))
            of_class = [groups.count(pool.groups[k]) for k in left if pool.strata[k] == code]
            assert groups.count(pool.groups[pick.patch]) == min(of_class)
            done.append(code)
            groups.append(pool.groups[pick.patch])
            taken.append(pick.patch)
    loose = by_class(pool_of(np.random.default_rng(1)), 9, 0, spread=False)
    assert len({one.patch for one in loose}) == 9


def test_chance_is_chance(rng):
    pool = pool_of(rng)
    assert [one.patch for one in by_chance(pool, 5, 0)] == [one.patch for one in by_chance(pool, 14, 0)][:5]
    counts = np.zeros(14)
    for seed in range(2000):
        counts[[one.patch for one in by_chance(pool, 3, seed)]] += 1
    assert (abs(counts / 2000 - 3 / 14) < 0.05).all()
