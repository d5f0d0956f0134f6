"""Options that have nothing to act on."""

from collections.abc import Sequence
from pathlib import Path

from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture


def idle(
    told: Sequence[Picture], pictures: Sequence[Picture], source: Path, options: OwnPatchesOptions
) -> list[str]:
    """Warnings of options that do nothing.

    Args:
      told: pictures as the table, or folders, say.
      pictures: the same with their masks and patients.
      source: the folder or table.
      options: what is asked.
    """
    default, table, found = OwnPatchesOptions(), source.is_file(), []
    masks = [one.mask for one in pictures if one.mask is not None]
    if table and all(one.group for one in told):
        found += [
            name
            for name, value in (("--group-from", options.group_from), ("--groups", options.groups))
            if value
        ]
    if all(one.split is not None for one in told):
        found += ["--split"] if options.split != default.split else []
        found += ["--seed"] if options.seed != default.seed else []
    if options.mpp is not None and table and all(one.mpp is not None for one in told):
        found.append("--mpp")
    ending = options.mask_ending.casefold()
    if options.mask_ending != default.mask_ending and not any(
        one.stem.casefold().endswith(ending) for one in masks
    ):
        found.append("--mask-ending")
    if options.mask_threshold is not None and not masks:
        found.append("--mask-threshold")
    return [f"warning: {', '.join(found)}: nothing here is decided by it"] if found else []
