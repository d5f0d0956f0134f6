"""Which slide is trained on, which one validates and which one tests."""

from collections.abc import Mapping, Sequence

import numpy as np

from l2s_jax.prepare.slides.inputs import SlideInput
from l2s_jax.prepare.splits import FREE, assigned, shares_of
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import SPLITS, Split


def assign_slides(
    slides: Sequence[SlideInput],
    content: Mapping[str, Mapping[str, float]],
    percents: Sequence[float],
    seed: int,
    earlier: Mapping[str, Split],
) -> dict[str, Split]:
    """The split of each group: the table's, else the one that it had before, else by what is drawn.

    New groups go to where they bring the drawn area of each class, and the number of slides, nearest to their
    shares. Groups whose slides have labels only are trained on.

    Args:
      slides: all of them.
      content: name of a slide: mm2 of each class.
      percents: of train, val and test.
      seed: which of the many equally good splits.
      earlier: group: its split when the data set was made before.

    Raises:
      UserError: percents that are none, or too few groups.
    """
    share = shares_of(percents)
    chosen: dict[str, Split] = {}
    for one in slides:
        if one.split is not None:
            chosen[one.group] = one.split
    with_masks = dict.fromkeys(one.group for one in slides if one.annotation is not None)
    for group in dict.fromkeys(one.group for one in slides):
        if group not in chosen and group not in with_masks:
            chosen[group] = "train"
        elif group not in chosen and group in earlier:
            chosen[group] = earlier[group]
    groups = list(with_masks)
    free = [group for group in groups if group not in chosen]
    if not free:
        return chosen
    used = np.flatnonzero(share)
    empty = [number for number in used if SPLITS[number] not in {chosen.get(group) for group in groups}]
    if len(free) < len(empty):
        raise _too_few(groups, [SPLITS[number] for number in used])
    counts = _counts(slides, groups, content)
    places = {SPLITS[number]: place for place, number in enumerate(used)}
    fixed = np.array([FREE if group in free else places.get(chosen[group], FREE) for group in groups])
    seen = [number for number, group in enumerate(groups) if group in free or fixed[number] != FREE]
    where = assigned(counts[seen], share[used], np.random.default_rng(seed), fixed[seen])
    for number, place in zip(seen, where, strict=True):
        chosen.setdefault(groups[number], SPLITS[used[place]])
    return chosen


def describe_splits(
    slides: Sequence[SlideInput], content: Mapping[str, Mapping[str, float]], splits: Mapping[str, Split]
) -> list[str]:
    """Slides and the share of each class's drawn area in each split."""
    names = dict.fromkeys(name for areas in content.values() for name in areas)
    width = max(len("drawn area"), *map(len, names)) if names else len("slides")
    lines = [f"{'':{width}}  " + "".join(f"{split:>8}" for split in SPLITS)]
    counts = [sum(splits[one.group] == split for one in slides) for split in SPLITS]
    lines.append(f"{'slides':{width}}  " + "".join(f"{count:8d}" for count in counts))
    for name in names:
        held = [
            sum(content.get(one.name, {}).get(name, 0.0) for one in slides if splits[one.group] == split)
            for split in SPLITS
        ]
        lines.append(f"{name:{width}}  " + "".join(f"{part / (sum(held) or 1):8.0%}" for part in held))
    for split in SPLITS:
        of = [one.name for one in slides if splits[one.group] == split]
        lines.append(f"{split}: {listed(of, 20) or 'none'}")
    return lines


def _counts(
    slides: Sequence[SlideInput], groups: Sequence[str], content: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
    """f64[G,K]: each class's area, each column of one weight, then the number of slides."""
    names = sorted({name for areas in content.values() for name in areas})
    counts = np.zeros((len(groups), len(names) + 1))
    for one in slides:
        if one.group not in groups:
            continue
        row = groups.index(one.group)
        counts[row, -1] += 1
        for name, area in content.get(one.name, {}).items():
            counts[row, names.index(name)] += area
    total = counts[:, :-1].sum(0)
    counts[:, :-1] *= len(groups) / np.where(total > 0, total, 1)
    return counts


def _too_few(groups: Sequence[str], used: Sequence[Split]) -> UserError:
    return UserError(
        f"{len(groups)} group(s) ({listed(groups)}) cannot be split into {', '.join(used)}: each split "
        "needs a patient or slide of its own. Annotate more slides; or train on all of them with --split "
        "100 0 0 and measure on others (l2s evaluate-slides); or set one split to 0, such as --split 50 0 "
        "50"
    )
