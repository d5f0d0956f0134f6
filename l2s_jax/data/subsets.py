"""Which patches a run learns from: the settings of section 3.3, stratified and nested."""

from typing import Literal, NamedTuple

import numpy as np

from l2s_jax.system.errors import UserError
from l2s_jax.types import CLASSIFICATION_SETTINGS, IGNORE_LABEL, Setting


class Subset(NamedTuple):
    """Rows of the training split that a run uses, as flags over those rows."""

    has_mask: np.ndarray  # bool[N], the mask is used
    has_label: np.ndarray  # bool[N], the image-level label is used


def stratified_order(strata: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    """A random order of rows in which every prefix holds the strata about as the whole does.

    Args:
      strata: i32[N], class of each row.
      key: what the randomness depends on, and nothing else.

    Returns:
      i64[N], a permutation. Prefixes of it are nested by construction.
    """
    rng = np.random.default_rng(key)
    rank = np.empty(len(strata))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        rank[rng.permutation(rows)] = (np.arange(len(rows)) + 0.5) / len(rows)
    tie_break = rng.permutation(len(strata))
    return np.lexsort((tie_break, rank))


def choose(
    setting: Setting,
    percent: float,
    draw: int,
    *,
    can_mask: np.ndarray,
    label: np.ndarray,
    stratum: np.ndarray,
    min_per_class: int = 0,
    counts: Literal["paper", "release"] = "paper",
    stratified: bool = True,
) -> Subset:
    """Picks the rows of a setting; counts by the rule of Fig. 5: floor(s N_seg) and N_cls - floor(s N_cls).

    Mask patches are the rows with a mask. Label patches are the rows with a label and no mask; where there
    are none of those (every picture has both, as in EBHI-Seg), every labelled row may be either: S+C then
    uses the labels of the pictures whose masks it does not use, S+C* those of all.

    In the classification study c counts percent of all labels, half of which are the test's: S2+C2 uses
    100-2c% of the masks and 2c% of the training split's labels (where every picture has both, the labels of
    the other pictures), S2+C2* 100-2c% of the masks and all its labels, S2*+C2 all masks and 2c% of its
    labels.

    Args:
      setting: one of `types.Setting`.
      percent: s, 0 to 100; in the classification study c, 0 to 50.
      draw: which random subset; equal across settings and nested over `percent`.
      can_mask: bool[N], the row has a mask.
      label: i32[N], class or IGNORE_LABEL.
      stratum: i32[N], class that the row counts for when strata are kept even.
      min_per_class: at least so many mask patches, and label patches in S+C, of each class (release: 1).
      counts: "paper" as above; "release" floor(s n) masks and floor((1-s) n) labels of each class of n, in
        S, S+C and S+C*.
      stratified: whether classes are kept even; the release does so on BACH only. Without, all patches are
        of one class for `min_per_class` and `counts`.

    Raises:
      UserError: nothing is left to learn from, or c is above 50.
    """
    if setting in CLASSIFICATION_SETTINGS and percent > 50:
        raise UserError(f"setting {setting}: percent is c, 0 to 50, and not {percent:g}")
    stratum = stratum if stratified else np.zeros_like(stratum)
    both = not (~can_mask & (label != IGNORE_LABEL)).any()
    labelled = label != IGNORE_LABEL if both else ~can_mask & (label != IGNORE_LABEL)
    of_masks = {"S2*+C2": 100.0, "S2+C2": 100 - 2 * percent, "S2+C2*": 100 - 2 * percent}.get(
        setting, percent
    )
    release = counts == "release" and setting not in CLASSIFICATION_SETTINGS
    has_mask = _first(can_mask, stratum, of_masks, (draw, 0), min_per_class, release)
    if setting == "S2+C2" and both:
        has_label = labelled & ~has_mask
    elif setting in CLASSIFICATION_SETTINGS:
        has_label = _first(labelled, stratum, 100 if setting == "S2+C2*" else 2 * percent, (draw, 1), 0)
    elif setting == "S":
        has_label = np.zeros_like(has_mask)
    elif setting == "S+C*":
        has_label = labelled
    elif release:
        key = (draw, 0 if both else 1)
        has_label = _last(labelled, ~has_mask, stratum, 100 - percent, key, min_per_class)
    elif both:
        has_label = labelled & ~has_mask
    else:
        has_label = labelled & ~_first(labelled, stratum, percent, (draw, 1), 0)
        has_label |= _first(labelled, stratum, 0, (draw, 2), min_per_class)
    if not (has_mask | has_label).any():
        raise UserError(
            f"setting {setting} at {percent:g}% leaves nothing to learn from: {int(can_mask.sum())} training "
            f"patches have a mask and {int(labelled.sum())} are label patches. Raise --percent or add labels."
        )
    return Subset(has_mask, has_label)


def _first(
    pool: np.ndarray,
    stratum: np.ndarray,
    percent: float,
    key: tuple[int, int],
    min_per_class: int,
    by_class: bool = False,
) -> np.ndarray:
    """Flags the first floor(percent) of the pool's stratified order, and at least so many of each class.

    With `by_class` it is the first floor(percent) of each class.
    """
    ordered = _ordered(pool, stratum, key)
    chosen = np.zeros(len(pool), bool)
    if not by_class:
        chosen[ordered[: _floor(percent, len(ordered))]] = True
    for rows in _of_classes(ordered, stratum):
        chosen[rows[: max(min_per_class, _floor(percent, len(rows)) if by_class else 0)]] = True
    return chosen


def _last(
    pool: np.ndarray,
    free: np.ndarray,
    stratum: np.ndarray,
    percent: float,
    key: tuple[int, int],
    min_per_class: int,
) -> np.ndarray:
    """Flags the last floor(percent) of each class in the pool's stratified order, of those that are free."""
    chosen = np.zeros(len(pool), bool)
    for rows in _of_classes(_ordered(pool, stratum, key), stratum):
        count = max(min_per_class, _floor(percent, len(rows)))
        rows = rows[free[rows]]
        chosen[rows[max(len(rows) - count, 0) :]] = True
    return chosen


def _ordered(pool: np.ndarray, stratum: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    rows = np.flatnonzero(pool)
    return rows[stratified_order(stratum[rows], key)]


def _of_classes(rows: np.ndarray, stratum: np.ndarray) -> list[np.ndarray]:
    """The rows of each class, in their order."""
    return [rows[stratum[rows] == of_class] for of_class in np.unique(stratum[rows])]


def _floor(percent: float, count: int) -> int:
    # Rounding first: 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    return int(np.floor(round(percent * count / 100, 9)))
