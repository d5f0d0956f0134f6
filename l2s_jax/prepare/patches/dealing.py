"""Which picture is trained on, which one validates and which one tests."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.prepare.patches.looking import Seen
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.splits import FREE, assigned, shares_of
from l2s_jax.system.chance import generator
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import SPLITS, Split


def deal(seen: Sequence[Seen], classes: Classes, options: OwnPatchesOptions) -> list[Seen]:
    """Pictures with their splits: those that are said, else by patient.

    Patients without any mask are trained on. The others go to where they bring the drawn pixels and the
    labels of each class, and the number of pictures, nearest to their shares.

    Raises:
      UserError: a patient in two splits; percents that are none; too few patients with masks.
    """
    share = shares_of(options.split)
    said: dict[str, Split] = {}
    torn: dict[str, None] = {}
    for one in seen:
        if (
            one.picture.split is not None
            and said.setdefault(one.picture.group, one.picture.split) != one.picture.split
        ):
            torn[one.picture.group] = None
    if torn:
        raise UserError(
            f"{len(torn)} patient(s) are in two splits: {listed(torn)}. What is learned of one would be "
            "tested on it: move them, or leave the split to the program"
        )
    with_masks = dict.fromkeys(one.picture.group for one in seen if one.picture.mask is not None)
    chosen = {one.picture.group: said.get(one.picture.group) for one in seen}
    chosen = {group: split if split or group in with_masks else "train" for group, split in chosen.items()}
    if None in chosen.values():
        _assign(seen, classes, chosen, list(with_masks), share, options.seed)
    return [one._replace(picture=replace(one.picture, split=chosen[one.picture.group])) for one in seen]


def _assign(
    seen: Sequence[Seen],
    classes: Classes,
    chosen: dict[str, Split | None],
    groups: Sequence[str],
    share: np.ndarray,
    seed: int,
) -> None:
    """Chooses a split for each of `groups`, which have masks, that has none yet."""
    used = np.flatnonzero(share)
    free = [group for group in groups if chosen[group] is None]
    held = {chosen[group] for group in groups}
    lacking = [SPLITS[number] for number in used if SPLITS[number] not in held]
    if len(free) < len(lacking):
        raise UserError(
            f"{len(free)} patient(s) with masks cannot be split into {', '.join(lacking)}: each split needs "
            "one. Add some, or leave a split out with --split, such as 75 25 0"
        )
    places = {SPLITS[number]: place for place, number in enumerate(used)}
    fixed = np.array(
        [FREE if (split := chosen[group]) is None else places.get(split, FREE) for group in groups]
    )
    counted = np.flatnonzero([chosen[group] is None for group in groups] | (fixed != FREE))
    where = assigned(_counts(seen, classes, groups)[counted], share[used], generator(seed), fixed[counted])
    for number, place in zip(counted.tolist(), where, strict=True):
        chosen[groups[number]] = chosen[groups[number]] or SPLITS[used[place]]


def _counts(seen: Sequence[Seen], classes: Classes, groups: Sequence[str]) -> np.ndarray:
    """f64[G,2C+1]: drawn pixels and labels of each class, each column of one weight; then pictures."""
    row_of = {group: number for number, group in enumerate(groups)}
    several = len(classes)
    counts = np.zeros((len(groups), 2 * several + 1))
    for one in seen:
        if one.picture.group not in row_of:
            continue
        row = counts[row_of[one.picture.group]]
        row[:several] += one.pixels
        if one.picture.label:
            row[several + classes.names.index(one.picture.label)] += 1
        row[-1] += 1
    total = counts[:, :-1].sum(0)
    counts[:, :-1] *= len(groups) / np.where(total > 0, total, 1)
    return counts
