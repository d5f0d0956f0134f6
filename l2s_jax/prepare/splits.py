"""Splitting by patient or slide, so that no group is seen in training and scored in test."""

from collections.abc import Hashable, Sequence

import numpy as np

from l2s_jax.system.chance import generator
from l2s_jax.system.errors import UserError
from l2s_jax.types import SPLITS, Split

FREE = -1
"""Stands for the split of a group that has none yet."""

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
      UserError: the fractions are no shares, the seed is none, or there are fewer groups than splits.
    """
    share = checked_shares(fractions)
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
    rng = generator(seed)
    where = assigned(counts, share[used], rng, np.full(len(counts), FREE))
    splits = [SPLITS[used[where[row]]] for row in rows]
    _assert_whole(groups, splits)
    return splits


def shares_of(percents: Sequence[float]) -> np.ndarray:
    """f64[3]: shares of train, val and test, from `--split`, in percent or as shares of 1.

    Raises:
      UserError: they sum to neither 100 nor 1.
    """
    total = sum(percents)
    if abs(total - 100) > 1e-6 and abs(total - 1) > 1e-6:
        given = " ".join(f"{one:g}" for one in percents)
        raise UserError(f"--split {given} sums to {total:g}; expected 100, such as 60 20 20")
    return checked_shares([one / total for one in percents])


def checked_shares(fractions: Sequence[float]) -> np.ndarray:
    """f64[3]: fractions of train, val and test. Raises `UserError` where they are none."""
    share = np.asarray(fractions, float)
    if share.shape != (len(SPLITS),) or not np.isfinite(share).all() or share.min() < 0:
        raise UserError(f"split fractions {tuple(fractions)}: expected three numbers >= 0 (train, val, test)")
    if abs(share.sum() - 1) > 1e-6:
        raise UserError(f"split fractions {tuple(fractions)} sum to {share.sum():g}; expected 1")
    return share


def assigned(
    counts: np.ndarray, share: np.ndarray, rng: np.random.Generator, fixed: np.ndarray
) -> np.ndarray:
    """The split of each group, so that each split has its share of each column.

    Args:
      counts: f64[G,K], what the groups hold; the last column is their size and is above 0.
      share: f64[S], of the splits, each above 0.
      rng: which of the many equally good splits.
      fixed: int[G], the split that a group has already, or `FREE`.

    Returns:
      int[G].
    """
    return _refined(_greedy(counts, share, rng, fixed), counts, share, rng, fixed == FREE)


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


def _greedy(counts: np.ndarray, share: np.ndarray, rng: np.random.Generator, fixed: np.ndarray) -> np.ndarray:
    """Split number of each group: largest groups first, each to where it helps most. No split stays empty."""
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    order = order[fixed[order] == FREE]
    where = fixed.copy()
    held = np.stack([counts[fixed == number].sum(0) for number in range(len(share))])
    unit = np.eye(len(share))[:, :, None]
    for taken, group in enumerate(order):
        empty = np.flatnonzero(held[:, -1] == 0)
        cost = _distance(held + unit * counts[group], counts, share)
        if 0 < len(order) - taken <= len(empty):  # one group left for each empty split
            cost[held[:, -1] > 0] = np.inf
        where[group] = np.argmin(cost)
        held[where[group]] += counts[group]
    return where


def _refined(
    where: np.ndarray, counts: np.ndarray, share: np.ndarray, rng: np.random.Generator, free: np.ndarray
) -> np.ndarray:
    """Moves and exchanges free groups while the distance falls."""
    where = where.copy()
    for _ in range(100):
        before = where.copy()
        for group in rng.permutation(len(counts)):
            if free[group]:
                _improve(where, int(group), counts, share, free)
        if (where == before).all():
            break
    return where


def _improve(where: np.ndarray, group: int, counts: np.ndarray, share: np.ndarray, free: np.ndarray) -> None:
    """Applies to `where` the best move of `group`, alone or in exchange for a free group of another split."""
    one_hot = np.eye(len(share))
    held = one_hot[where].T @ counts
    home = where[group]
    moved = held + (one_hot - one_hot[home])[:, :, None] * counts[group]  # [S,S,K] by destination
    alone = _distance(moved, counts, share)
    if (where == home).sum() == 1:
        alone[np.arange(len(share)) != home] = np.inf
    back = (one_hot[home] - one_hot[where])[:, :, None] * counts[:, None, :]  # [G,S,K] by partner
    exchanged = _distance(moved[where] + back, counts, share)
    exchanged[(where == home) | ~free] = np.inf
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
