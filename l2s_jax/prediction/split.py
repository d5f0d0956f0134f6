"""A split of a manifest on which a run is judged: comparable, not learned from, in the run's stains."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.manifest import Classes, Manifest, PatchRow
from l2s_jax.prediction.judging import Picture, read_pictures
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.scales import require_run_scale
from l2s_jax.prediction.stains import stains_of_manifest
from l2s_jax.runs.folder import learned_from
from l2s_jax.runs.leaks import near_any, require_unseen_by_all, slides_of
from l2s_jax.system.errors import UserError
from l2s_jax.types import Split

Say = Callable[[str], None]


class OpenedSplit(NamedTuple):
    """What a run is judged on."""

    contents: Manifest
    rows: Sequence[PatchRow]
    pictures: Iterable[Picture]  # of the rows, decoded one by one
    near: Sequence[tuple[str, str]]  # groups learned from, and groups of the rows with nearly their names
    stain: str  # what is done about stains, in words


def open_split(
    runs: Sequence[Path],
    predictor: Predictor,
    manifest: str | Path,
    split: Split,
    *,
    any_scale: bool,
    allow_outside: bool,
    say: Say,
) -> OpenedSplit:
    """Checks a manifest and opens one split of it.

    Where the run was trained on normalised stains, pictures of another reference or of none are normalised
    to it; those of a manifest with the run's own reference are so already and are left as they are.

    Args:
      runs: run folders, of which none may have learned from the rows.
      predictor: theirs.
      manifest: folder with `patches.csv` and `classes.toml`.
      split: which rows; groups of `train` may be those that the run has learned from.
      any_scale: accept patches of another scale than the run's.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives messages.

    Raises:
      UserError: other classes, an empty split, or patches of another scale than the run's (see `scales`).
      Leak: patients and slides that the run has learned from.
    """
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    contents = report.manifest
    rows = contents.of_split(split)
    check_comparable(contents, predictor.classes, manifest)
    if not rows:
        raise UserError(f"{manifest} has no patches in the split {split}")
    groups = {row.group for row in rows}
    leaked = groups.intersection(group for run in runs for group in learned_from(run).groups)
    near: list[tuple[str, str]] = []
    if split != "train":
        require_unseen_by_all(runs, groups, (split,))
        near = near_any(runs, groups, say, slides_of(contents, groups))
    say(f"{len(leaked)} of {len(groups)} groups of the split {split} were trained on")
    require_run_scale(rows, predictor.mpp, any_scale, say)
    pictures: Iterable[Picture] = read_pictures(rows, contents.classes)
    stain = stains_of_manifest(predictor, contents.folder)
    say(f"stains: {stain.text}")
    pictures = (one._replace(image=stain.treat(one.image)) for one in pictures)
    return OpenedSplit(contents, rows, pictures, near, stain.text)


def check_comparable(
    contents: Manifest, classes: Classes, manifest: str | Path, run: str | Path = "the run"
) -> None:
    """Refuses a manifest whose classes are not the run's, in the run's order."""
    if contents.classes.names != classes.names:
        raise UserError(
            f"{manifest} has the classes {', '.join(contents.classes.names)}; {run} was trained on "
            f"{', '.join(classes.names)}. They must be the same, in the same order."
        )
