"""Whether the patches of a manifest show the tissue at one scale, and what their files say of it."""

from collections import defaultdict
from collections.abc import Sequence

from l2s_jax.data.check_rows import Seen, at
from l2s_jax.data.manifest import PATCHES, Classes, PatchRow
from l2s_jax.system.texts import listed

SAME_SCALE = 1.05
"""Scales within this ratio count as one: scanners of one kind differ by so much."""


def scale_findings(classes: Classes, seen: Sequence[Seen]) -> tuple[list[str], list[str]]:
    """What is wrong with the patches' scales: (problems, warnings)."""
    problems, warnings = [], []
    given: dict[float, list[PatchRow]] = defaultdict(list)
    for one in seen:
        if one.row.mpp is not None:
            given[float(f"{one.row.mpp:.3g}")].append(one.row)
    n_given = sum(map(len, given.values()))
    if given and max(given) > SAME_SCALE * min(given) and not classes.mixed_scales:
        named = listed(
            f"{mpp:g} ({len(given[mpp])}, from line {given[mpp][0].line})" for mpp in sorted(given)
        )
        problems.append(
            f"patches of several scales, um/px: {named}. A network sees one scale: resample them to one, or "
            "write mixed_scales = true at the top of classes.toml where this is meant"
        )
    if 0 < n_given < len(seen):
        without = next(one.row for one in seen if one.row.mpp is None)
        warnings.append(f"mpp is given for {n_given} of {len(seen)} patches (not in line {without.line})")
    stated = [(one.row, one.image.mpp) for one in seen if one.image and one.image.mpp]
    other = [(row, mpp) for row, mpp in stated if row.mpp and not _same_scale(row.mpp, *mpp)]
    if other:
        row, mpp = other[0]
        warnings.append(
            f"{at(row)}{more(other)}: {row.image} states {_mpp_text(mpp)} um/px where {PATCHES} says "
            f"{row.mpp:g}. One of them is wrong, or the picture was resampled and kept its old tags"
        )
    silent = [mpp for row, mpp in stated if row.mpp is None]
    sides = [side for mpp in silent for side in mpp]
    if sides and max(sides) > SAME_SCALE * min(sides):
        warnings.append(
            f"{len(silent)} pictures without mpp in {PATCHES} state {min(sides):.3g} to {max(sides):.3g} "
            "um/px themselves: a network sees one scale"
        )
    return problems, warnings


def _same_scale(mpp: float, *others: float) -> bool:
    return max(mpp, *others) <= SAME_SCALE * min(mpp, *others)


def _mpp_text(mpp: tuple[float, float]) -> str:
    return f"{mpp[0]:.3g}" if _same_scale(*mpp) else f"{mpp[0]:.3g} x {mpp[1]:.3g} (row, col)"


def more(rows: Sequence[object]) -> str:
    """How many rows there are beside the one that is named."""
    return f" and {len(rows) - 1} more" if len(rows) > 1 else ""
