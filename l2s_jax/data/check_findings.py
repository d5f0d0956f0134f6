"""What a check finds by comparing the rows of a manifest with each other and with the classes."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from l2s_jax.data.check_rows import Seen, at, size_text
from l2s_jax.data.check_scales import more
from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import PATCHES, Classes, Manifest, PatchRow, straddling_groups
from l2s_jax.data.origins import slide_of
from l2s_jax.system.texts import alike, listed, told_apart
from l2s_jax.types import IGNORE_LABEL, PATCH_MULTIPLE, SPLITS, Split, fits_network

_WITHOUT = {
    "train": "nothing can be trained",
    "val": "no best checkpoint can be chosen",
    "test": "nothing can be evaluated with --split test",
}


def one_class(classes: Classes) -> list[str]:
    """That there is nothing to tell apart."""
    if len(classes) > 1:
        return []
    return [f"classes.toml has one class ({classes.names[0]}); at least two are needed to tell apart"]


def near_classes(classes: Classes) -> list[str]:
    """Classes that are easily taken for each other: names that differ in case only, equal colours."""
    lines = []
    for code, name in enumerate(classes.names):
        near = alike(name, classes.names[:code])
        if near is not None:
            lines.append(f"the classes {told_apart(near, name)} differ in case only: they stay two classes")
    for colour, count in Counter(classes.colours).items():
        if count > 1:
            same = [name for name, own in zip(classes.names, classes.colours, strict=True) if own == colour]
            lines.append(
                f"the classes {listed(map(repr, same))} have one colour, {list(colour)}: pictures of them "
                "cannot be told apart"
            )
    return lines


def absent_classes(classes: Classes, seen: Sequence[Seen]) -> tuple[list[str], list[str]]:
    """Classes with neither a mask pixel nor a label: (anywhere, in training)."""
    present: dict[str, set[int]] = {split: set() for split in SPLITS}
    for one in seen:
        here = present[one.row.split]
        here.add(one.row.label)
        if one.pixels is not None:
            here.update(np.flatnonzero(one.pixels).tolist())
    trains = any(one.row.split == "train" for one in seen)
    anywhere, in_training = [], []
    for code, name in enumerate(classes.names):
        found = [split for split in SPLITS if code in present[split]]
        if not found and code != classes.background and trains:
            anywhere.append(
                f"class {name!r} has no mask pixel and no label anywhere: add patches of it, or take it "
                "out of classes.toml"
            )
        elif "train" not in found:
            where = f"it occurs in {' and '.join(found)}" if found else "it occurs nowhere"
            in_training.append(
                f"class {name!r} has no mask pixel and no label in train ({where}): it cannot be learned"
            )
    return anywhere, in_training


def straddling(manifest: Manifest) -> list[str]:
    """Groups that stand in several splits: leaks."""
    problems = []
    leaking = straddling_groups(manifest.patches)
    first: dict[tuple[str, str], int] = {
        (row.group, row.split): row.line for row in reversed(manifest.patches) if row.group in leaking
    }
    for group, splits in leaking.items():
        where = " and ".join(f"{split} (from line {first[group, split]})" for split in splits)
        problems.append(
            f"group {group!r} stands in {where}: what is learned leaks into the score. Put all patches of a "
            "patient or slide into one split"
        )
    return problems


def shared_slides(manifest: Manifest) -> list[str]:
    """Slides of which patches of one group are in one split and patches of another in another one."""
    where: dict[str, dict[Split, str]] = defaultdict(dict)
    for row in manifest.patches:
        if slide := slide_of(row):
            where[slide].setdefault(row.split, row.group)
    shared = {slide: of for slide, of in where.items() if len(of) > 1 and len(set(of.values())) > 1}
    named = [
        f"{slide} ({', '.join(f'{group!r} in {split}' for split, group in of.items())})"
        for slide, of in shared.items()
    ]
    if not named:
        return []
    return [
        f"slides whose patches are of several groups and splits: {listed(named)}. If they are not different "
        "slides of one name, give their patches one group and one split: what is learned leaks into the score"
    ]


def near_groups(manifest: Manifest) -> list[str]:
    """Groups of two splits that may be one patient, one line for each two splits."""
    of_split = {split: {row.group for row in manifest.of_split(split)} for split in SPLITS}
    lines = []
    for one, other in combinations(SPLITS, 2):
        pairs = near_pairs(of_split[one], of_split[other])
        if pairs:
            named = listed(told_apart(*pair) for pair in pairs)
            lines.append(
                f"groups of {one} and {other} that may be the same patient or slide: {named}. If they are, "
                "give them one name and one split: what is learned leaks into the score"
            )
    return lines


def duplicates(seen: Sequence[Seen]) -> tuple[list[str], list[str]]:
    """Pictures with the same pixels: (across splits, within one split)."""
    same: dict[bytes, list[PatchRow]] = defaultdict(list)
    for one in seen:
        if one.image is not None and not one.image.blank:  # empty glass is the same everywhere
            same[one.image.digest].append(one.row)
    across, within = [], []
    for rows in same.values():
        splits = sorted({row.split for row in rows}, key=SPLITS.index)
        if len(splits) > 1:
            where = listed(f"{row.line} ({row.split})" for row in _shortened(rows))
            across.append(
                f"{PATCHES} lines {where}: the same picture in several splits. Keep it in one of them"
            )
        elif len(rows) > 1:
            where = listed(row.line for row in rows)
            within.append(f"{PATCHES} lines {where}: the same picture several times in {splits[0]}")
    return across, within


def shared_masks(seen: Sequence[Seen]) -> list[str]:
    """Mask files that are named for several pictures; one of a single class may be meant for all of them."""
    of_file: dict[Path, list[PatchRow]] = defaultdict(list)
    for one in seen:
        if one.row.mask is not None and one.pixels is not None and (one.pixels > 0).sum() > 1:
            of_file[one.row.mask].append(one.row)
    return [
        f"{PATCHES} lines {listed(row.line for row in rows)}: one mask for different pictures ({mask.name}): "
        "whose is it?"
        for mask, rows in of_file.items()
        if len({row.image for row in rows}) > 1
    ]


def _shortened(rows: Sequence[PatchRow]) -> list[PatchRow]:
    """The same rows; of more than are shown, one of each split first."""
    if len(rows) <= 10:
        return list(rows)
    first = {row.split: row for row in reversed(rows)}.values()
    return sorted(rows, key=lambda row: (row not in first, row.line))


def unequal_sizes(seen: Sequence[Seen]) -> list[str]:
    """One square size, a multiple of `PATCH_MULTIPLE`, for training; the most frequent is taken to be meant.

    Pictures of val and test may have any size: they are predicted by tiles.
    """
    lines_of: dict[tuple[int, int], list[int]] = defaultdict(list)
    for one in seen:
        if one.row.split == "train" and one.size is not None:
            lines_of[one.size].append(one.row.line)
    if not lines_of:
        return []
    meant, *others = sorted(lines_of, key=lambda size: -len(lines_of[size]))
    problems = []
    if meant[0] != meant[1] or not fits_network(meant[0]):
        problems.append(
            f"training patches are {size_text(meant)}; expected squares whose side is a multiple of "
            f"{PATCH_MULTIPLE}. Cut or resize images and masks (masks by nearest neighbour)"
        )
    for size in others:
        lines = lines_of[size]
        problems.append(
            f"{PATCHES} line(s) {listed(lines)}: {len(lines)} patch(es) of {size_text(size)} where most are "
            f"{size_text(meant)} (height x width); all training patches need one size"
        )
    return problems


def one_sided(patches: Sequence[PatchRow]) -> list[str]:
    """What a split lacks as a whole."""
    warnings = []
    for split in SPLITS:
        rows = [row for row in patches if row.split == split]
        if not rows:
            warnings.append(f"no patches in {split}: {_WITHOUT[split]}")
            continue
        if not any(row.mask for row in rows):
            lost = "segmentation is not learned" if split == "train" else "its F1 cannot be measured"
            warnings.append(f"no masks in {split}: {lost}")
        if split == "train" and all(row.label == IGNORE_LABEL and not row.allowed for row in rows):
            warnings.append("no labels in train: only setting S is possible, without a classification loss")
    return warnings


def conversions(seen: Sequence[Seen]) -> list[str]:
    """Pictures whose colours are not taken as they are, one line for each way."""
    lines = []
    converted = [(one.row, one.image.conversions) for one in seen if one.image]
    for how in sorted({how for _, conversions in converted for how in conversions}):
        rows = [row for row, conversions in converted if how in conversions]
        lines.append(f"{at(rows[0])}{more(rows)}: {rows[0].image} is {how}")
    return lines


def blank(seen: Sequence[Seen]) -> list[str]:
    """Pictures of one colour throughout: no leak where two splits have them, but nothing to learn from."""
    rows = [one.row for one in seen if one.image and one.image.blank]
    if not rows:
        return []
    return [f"{at(rows[0])}{more(rows)}: {rows[0].image} has one colour throughout. Is it meant?"]
