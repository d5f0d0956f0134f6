"""Leakage: no figures of a run on patients or slides that it has learned from."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.origins import slides_of
from l2s_jax.runs.folder import training_groups, training_slides
from l2s_jax.system.errors import UserError
from l2s_jax.types import Split

HELD_OUT: tuple[Split, ...] = ("val", "test")
"""Splits that no run may learn from, nor a run that it takes weights or pseudo-masks from."""

LISTED = 10
"""So many groups are named in the message."""


class Leak(UserError):
    """A run or pretrained encoder has learned from what it, or one that takes from it, is to be judged on.

    Attributes:
      run: its folder, or the encoder's file.
      groups: those patients and slides, sorted.
      splits: of the manifest that they stand in; none where slides were named one by one.
      role: what the run is to the one that is judged, `weights` or `teacher`; "" where it is judged itself.
    """

    def __init__(
        self, run: Path, groups: Sequence[str], splits: Sequence[str] = (), role: str = "", more: str = ""
    ):
        self.run, self.groups, self.splits, self.role = run, tuple(groups), tuple(splits), role
        kind = "encoder" if run.is_file() else "run"
        of_splits = f" of the split {' and '.join(splits)}" if splits else ""
        others = f" and {len(groups) - LISTED} more" if len(groups) > LISTED else ""
        super().__init__(
            f"{f'{role} = ' if role else ''}{run}: this {kind} has learned from {len(groups)} patient(s) or "
            f"slide(s){of_splits}, so figures on them would be optimistic: "
            f"{', '.join(groups[:LISTED])}{others}{more}"
        )


def seen_by(run: Path, groups: Collection[str], slides: Collection[str]) -> list[str]:
    """Patients and slides that a run has learned from, or a run that it takes from has; sorted.

    A slide that it knows under another patient's name is found by its own.

    Args:
      run: its folder.
      groups: on which figures are to be made.
      slides: names of the slides (see `slide_name`) on which they are.
    """
    return sorted(training_groups(run).intersection(groups) | training_slides(run).intersection(slides))


def require_unseen(
    run: Path, groups: Collection[str], slides: Collection[str], splits: Sequence[Split] = (), role: str = ""
) -> None:
    """Refuses patients and slides that a run has learned from, or a run that it takes from has.

    Args:
      run: its folder.
      groups: on which figures are to be made.
      slides: names of the slides on which they are.
      splits: of the manifest that they stand in, for the message.
      role: see `Leak`.

    Raises:
      Leak: it has learned from some of them.
    """
    seen = seen_by(run, groups, slides)
    if seen:
        raise Leak(run, seen, splits, role)


def require_unseen_by_all(
    runs: Sequence[Path], groups: Collection[str], slides: Collection[str], splits: Sequence[Split] = ()
) -> None:
    """`require_unseen` for several runs that are taken together, of which none may have learned from them.

    Raises:
      Leak: of the first that has; with several runs, which others have and have not.
    """
    seen = {run: seen_by(run, groups, slides) for run in runs}
    leaking = [run for run in runs if seen[run]]
    if not leaking:
        return
    more = ""
    if len(runs) > 1:
        clean = [str(run) for run in runs if not seen[run]]
        more = (
            f". Of the {len(runs)} runs {len(leaking)} have learned from such groups"
            + (f"; not {', '.join(clean)}, which can be taken here" if clean else "")
            + ". Leave out those that have, or take groups that none has seen: runs of a cross-validation "
            "are judged on their own fold each (l2s report pools these), together on a test set outside it"
        )
    raise Leak(leaking[0], seen[leaking[0]], splits, more=more)


def near_groups(run: Path, groups: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of a patient or slide that a run has learned from, and one of `groups` that may be the same.

    Their names differ, so it is for people to say whether they are; see `data.groups.near_names`.
    """
    return near_pairs(training_groups(run) | training_slides(run), groups)


def near_any(
    runs: Sequence[Path], groups: Collection[str], say: Callable[[str], None]
) -> list[tuple[str, str]]:
    """`near_groups` of several runs, each pair once; says which there are."""
    pairs: dict[tuple[str, str], None] = {}
    for run in runs:
        found = near_groups(run, groups)
        warn_of_near(found, run, say)
        pairs |= dict.fromkeys(found)
    return list(pairs)


def warn_of_near(pairs: Sequence[tuple[str, str]], run: Path, say: Callable[[str], None]) -> None:
    """Says which groups may be some that a run has learned from."""
    if pairs:
        shown = "; ".join(f"{learned!r} (learned from) and {other!r}" for learned, other in pairs[:LISTED])
        more = f"; and {len(pairs) - LISTED} more" if len(pairs) > LISTED else ""
        say(
            f"warning: {run} has learned from patients or slides whose names are nearly those of what it is "
            f"judged on: {shown}{more}. If these are the same, the figures are optimistic: leave them out"
        )


def held_out_groups(manifest: Manifest) -> set[str]:
    """Groups of the splits that no run may learn from."""
    return {row.group for split in HELD_OUT for row in manifest.of_split(split)}


def held_out_slides(manifest: Manifest) -> set[str]:
    """Names of the slides of these splits, as far as patches tell."""
    return slides_of(row for split in HELD_OUT for row in manifest.of_split(split))
