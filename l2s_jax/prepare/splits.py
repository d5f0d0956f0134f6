"""Splitting by patient or slide, so that no group is seen in training and scored in test."""

from collections.abc import Hashable, Sequence

import numpy as np

from l2s_jax.system.errors import UserError
from l2s_jax.types import SPLITS, Split

SPLIT_FRACTIONS = (0.5, 0.25, 0.25)
"""Shares of train, val and test that `prepare` aims at."""


def split_groups(
    groups: Sequence[Hashable], labels: Sequence[int], fractions: Sequence[float], seed: int
) -> list[Split]:
    """Assigns whole groups to train, val and test, stratified by class as well as groups allow.

    Groups go, largest first, to the split that lacks their classes most; then single groups are moved and
    pairs exchanged for as long as that brings the counts nearer to their targets (chi-squared over classes
    and the total).

    Args:
      groups: N group names, one a row.
      labels: N class codes, one a row; any integers.
      fractions: shares of train, val and test; they sum to 1, a split of share 0 stays empty.
      seed: which of the many equally good splits.

    Returns:
      N split names.

    Raises:
      UserError: the fractions are no shares, or there are fewer groups than splits.
    """
    share = np.asarray(fractions, float)
    if share.shape != (len(SPLITS),) or not np.isfinite(share).all() or share.min() < 0:
        raise UserError(f"split fractions {tuple(fractions)}: expected three numbers >= 0 (train, val, test)")
    if abs(share.sum() - 1) > 1e-6:
        raise UserError(f"split fractions {tuple(fractions)} sum to {share.sum():g}; expected 1")
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    used = np.flatnonzero(share)
    if len(names) < len(used):
        raise UserError(
            f"{len(names)} group(s) cannot be split into {', '.join(SPLITS[s] for s in used)}: expected at "
            f"least {len(used)} patients or slides. Set the fraction of a split to 0, or add slides"
        )
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    rows = np.array([names[group] for group in groups])
    counts = np.zeros((len(names), classes.max() + 2))
    np.add.at(counts, (rows, classes), 1)
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    where = balanced(counts, share[used], seed)
    splits = [SPLITS[used[where[row]]] for row in rows]
    _assert_whole(groups, splits)
    return splits


def balanced(counts: np.ndarray, share: np.ndarray, seed: int) -> np.ndarray:
    """Assigns groups to parts, each of which gets its share of everything as well as whole groups allow.

    Args:
      counts: f64[G,K], what each group holds of K kinds, the last being the total, above 0 for every group.
      share: f64[S], shares of the parts, above 0; they sum to 1. No part stays empty where G >= S.
      seed: which of the many equally good assignments.

    Returns:
      i64[G], the part of each group.
    """
    rng = np.random.default_rng(seed)
    return _refined(_greedy(counts, share, rng), counts, share, rng)


def split_counts(labels: Sequence[int], splits: Sequence[str]) -> dict[int, tuple[int, int, int]]:
    """Rows of each label in train, val and test."""
    pairs = list(zip(labels, splits, strict=True))
    return {
        label: tuple(pairs.count((label, split)) for split in SPLITS)  # type: ignore[misc]
        for label in sorted(set(labels))
    }


def largest_deviation(labels: Sequence[int], splits: Sequence[str], fractions: Sequence[float]) -> float:
    """How far the split ended from its target: the largest |share - fraction| over labels and splits."""
    return max(
        abs(count / sum(counts) - fraction)
        for counts in split_counts(labels, splits).values()
        for count, fraction in zip(counts, fractions, strict=True)
    )


def split_text(
    names: Sequence[str], labels: Sequence[int], splits: Sequence[str], fractions: Sequence[float]
) -> str:
    """Lines that say what each class got, and how far the split ended from its target."""
    width = max(map(len, names))
    lines = [f"  {'class':{width}s}  " + "  ".join(f"{split:>12s}" for split in SPLITS)]
    for label, counts in split_counts(labels, splits).items():
        shares = "  ".join(f"{n:5d} {n / sum(counts):6.1%}" for n in counts)
        lines.append(f"  {names[label] if label >= 0 else 'no label':{width}s}  {shares}")
    aim = "/".join(f"{fraction:.0%}" for fraction in fractions)
    off = largest_deviation(labels, splits, fractions)
    return "\n".join([*lines, f"  aimed at {aim}; furthest from it by {off:.1%} (whole groups only)"])


def _distance(held: np.ndarray, counts: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Chi-squared distance of what splits hold ([..., S, K]) from their share of all counts ([G, K])."""
    target = share[:, None] * counts.sum(axis=0)
    return ((held - target) ** 2 / np.maximum(target, 1e-9)).sum(axis=(-2, -1))


def _greedy(counts: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split number of each group: largest groups first, each to where it helps most. No split stays empty."""
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    where = np.zeros(len(counts), int)
    held = np.zeros((len(share), counts.shape[1]))
    unit = np.eye(len(share))[:, :, None]
    for taken, group in enumerate(order):
        empty = np.flatnonzero(held[:, -1] == 0)
        cost = _distance(held + unit * counts[group], counts, share)
        if len(order) - taken == len(empty):  # one group left for each empty split
            cost[held[:, -1] > 0] = np.inf
        where[group] = np.argmin(cost)
        held[where[group]] += counts[group]
    return where


def _refined(
    where: np.ndarray, counts: np.ndarray, share: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Moves and exchanges groups while the distance falls."""
    where = where.copy()
    for _ in range(100):
        before = where.copy()
        for group in rng.permutation(len(counts)):
            _improve(where, int(group), counts, share)
        if (where == before).all():
            break
    return where


def _improve(where: np.ndarray, group: int, counts: np.ndarray, share: np.ndarray) -> None:
    """Applies to `where` the best move of `group`, alone or in exchange for a group of another split."""
    one_hot = np.eye(len(share))
    held = one_hot[where].T @ counts
    home = where[group]
    moved = held + (one_hot - one_hot[home])[:, :, None] * counts[group]  # [S,S,K] by destination
    alone = _distance(moved, counts, share)
    if (where == home).sum() == 1:
        alone[np.arange(len(share)) != home] = np.inf
    back = (one_hot[home] - one_hot[where])[:, :, None] * counts[:, None, :]  # [G,S,K] by partner
    exchanged = _distance(moved[where] + back, counts, share)
    exchanged[where == home] = np.inf
    best = alone[home] * (1 - 1e-9) - 1e-12
    if alone.min() <= exchanged.min() and alone.min() < best:
        where[group] = np.argmin(alone)
    elif exchanged.min() < best:
        partner = np.argmin(exchanged)
        where[group], where[partner] = where[partner], home


def _assert_whole(groups: Sequence[Hashable], splits: Sequence[str]) -> None:
    """A group in two splits would be a leak: never returned, whatever the search above did."""
    pairs = set(zip(groups, splits, strict=True))
    if len(pairs) != len(set(groups)):
        raise AssertionError("a group was split")
