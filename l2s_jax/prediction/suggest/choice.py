"""Which of many patches to draw next, one after the other. Pure; touches no files.

Two patches that look alike, or that are of one patient, teach little more than one of them. So of what is
left that patch is taken which is worth most times the distance of its looks from all that is drawn or taken
already, and no patient gets a second patch before every other has one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.system.chance import generator


class Pool(NamedTuple):
    """Patches that can be taken, and what is known of those that are drawn already."""

    groups: Sequence[str]  # N, patient or slide of each
    strata: np.ndarray  # i32[N], class that each counts for, of any codes
    features: np.ndarray  # f32[N,D], rows of length 1; D may be 0
    drawn_groups: Sequence[str] = ()  # K, of those with a mask
    drawn_strata: np.ndarray = np.zeros(0, np.int32)  # i32[K]
    drawn_features: np.ndarray | None = None  # f32[K,D]; None: none are there


class Pick(NamedTuple):
    """A patch that was taken."""

    patch: int  # which of them, 0..N-1
    worth: float  # by what it was taken; NaN where by chance
    distance: float  # of its looks from those drawn or taken before, 0..2; NaN where nothing is


def unit_rows(features: np.ndarray) -> np.ndarray:
    """The rows of f32[N,D] scaled to length 1; a row of zeros stays one."""
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)


def distances(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Euclidean distance f64[N] of each row of [N,D] from a row [D], both of length 1: 0..2."""
    return np.linalg.norm(features.astype(np.float64) - centre, axis=-1)


def nearest_drawn(pool: Pool) -> np.ndarray:
    """f64[N]: the distance of each patch's looks from the nearest that is drawn; infinite where none is."""
    nearest = np.full(len(pool.groups), np.inf)
    for centre in () if pool.drawn_features is None else pool.drawn_features:
        nearest = np.minimum(nearest, distances(pool.features, centre))
    return nearest


def least_served(pool: Pool, taken: Sequence[int], among: np.ndarray) -> np.ndarray:
    """bool[N]: of some patches those of the groups that have the fewest masks and taken patches.

    Args:
      pool: all patches.
      taken: indices of those that are taken.
      among: bool[N], at least one.
    """
    counts = Counter([*pool.drawn_groups, *(pool.groups[index] for index in taken)])
    own = np.array([counts[group] for group in pool.groups])
    return among & (own == own[among].min())


def by_worth(pool: Pool, number: int, worth: np.ndarray | None, *, spread: bool = True) -> list[Pick]:
    """Takes patches one after the other by what they are worth times how new they look.

    Without `worth` all are worth the same, which is k-centre by the farthest first (Gonzalez 1985; as a
    choice of what to annotate: Sener and Savarese 2018, https://arxiv.org/abs/1708.00489). Where nothing is
    drawn, the first is the one worth most; of equal worth, the one nearest to the mean of all looks.

    Args:
      pool: N patches.
      number: how many, at most N.
      worth: f64[N], 0 or more; None: all the same.
      spread: over groups and looks. Without it, `worth` alone counts, and looks alone where there is none.
    """
    nearest, picks = nearest_drawn(pool), list[Pick]()
    typical = -distances(pool.features, unit_rows(pool.features.mean(0)))
    for _ in range(number):
        taken = [one.patch for one in picks]
        left = np.isin(np.arange(len(pool.groups)), taken, invert=True)
        open_ = least_served(pool, taken, left) if spread else left
        new = np.where(np.isinf(nearest), 1.0, nearest) if spread or worth is None else 1.0
        value = new * (1.0 if worth is None else worth)
        # The last key counts first; what is equal goes by the order of the patches.
        order = np.lexsort((-typical, -np.broadcast_to(value, left.shape), ~open_))
        index = int(order[0])
        own = 1.0 if worth is None else float(worth[index])
        picks.append(Pick(index, own, float(nearest[index]) if np.isfinite(nearest[index]) else np.nan))
        nearest = np.minimum(nearest, distances(pool.features, pool.features[index]))
    return picks


def by_class(pool: Pool, number: int, seed: int, *, spread: bool = True) -> list[Pick]:
    """Takes patches at random, so that each class has about the same share of its patches drawn.

    As `data.subsets.stratified_order`, which goes on from what is drawn: of the classes that are left, the
    next is that of which the smallest share is drawn or taken, half a patch added.

    Args:
      pool: N patches; features are not used.
      number: how many, at most N.
      seed: of the chances.
      spread: over groups, within each class.
    """
    rng, picks = generator(seed, 0), list[Pick]()
    chance, strata = rng.random(len(pool.groups)), np.asarray(pool.strata)
    codes, totals = np.unique(np.concatenate([strata, pool.drawn_strata]), return_counts=True)
    first = rng.permutation(len(codes))
    for _ in range(number):
        taken = [one.patch for one in picks]
        left = np.isin(np.arange(len(strata)), taken, invert=True)
        done = np.concatenate([pool.drawn_strata, strata[taken]])
        shares = [((done == code).sum() + 0.5) / total for code, total in zip(codes, totals, strict=True)]
        there = np.isin(codes, strata[left])
        of_class = left & (strata == codes[np.lexsort((first, shares, ~there))[0]])
        open_ = least_served(pool, taken, of_class) if spread else of_class
        picks.append(Pick(int(np.where(open_, chance, np.inf).argmin()), np.nan, np.nan))
    return picks


def by_chance(pool: Pool, number: int, seed: int) -> list[Pick]:
    """Takes patches at random, without regard to anything: as `l2s train --no-stratified` draws masks."""
    order = generator(seed, 1).permutation(len(pool.groups))
    return [Pick(int(index), np.nan, np.nan) for index in order[:number]]
