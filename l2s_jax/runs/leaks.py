"""Leakage: no figures of a run on patients or slides that it has learned from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.origins import group_of_slide, slide_of
from l2s_jax.runs.folder import learned_from
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


def require_unseen(run: Path, groups: Collection[str], splits: Sequence[Split] = (), role: str = "") -> None:
    """Refuses patients and slides that a run has learned from, or a run that it takes from has.

    Args:
      run: its folder.
      groups: on which figures are to be made.
      splits: of the manifest that they stand in, for the message.
      role: see `Leak`.

    Raises:
      Leak: it has learned from some of them.
    """
    seen = sorted(learned_from(run).groups.intersection(groups))
    if seen:
        raise Leak(run, seen, splits, role)


def require_unseen_by_all(
    runs: Sequence[Path],
    groups: Collection[str],
    splits: Sequence[Split] = (),
    slides: Collection[str] = (),
) -> None:
    """`require_unseen` for several runs that are taken together, of which none may have learned from them.

    Args:
      runs: their folders.
      groups: see `require_unseen`.
      splits: see `require_unseen`.
      slides: names of slides whose patient is not known: they are refused by their own name too.

    Raises:
      Leak: of the first that has; with several runs, which others have and have not.
    """
    seen: dict[Path, list[str]] = {}
    for run in runs:
        learned = learned_from(run)
        seen[run] = sorted(learned.groups.intersection(groups) | learned.slides.intersection(slides))
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


def near_groups(
    run: Path, groups: Collection[str], slides: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Pairs of a patient or slide that a run has learned from, and one of `groups` that may be the same.

    Their names differ, see `data.groups.near_names`, or a slide has the name of one that is another patient's
    there. So it is for people to say whether they are.

    Args:
      run: its folder.
      groups: on which figures are to be made.
      slides: the group of each of their slides, by its name.
    """
    learned, slides = learned_from(run), slides or {}
    same = (slide for slide in learned.slides.intersection(slides) if slides[slide] not in learned.groups)
    named = [(slide, f"{slides[slide]} (slide {slide})") for slide in sorted(same)]
    return near_pairs(learned.groups | learned.slides, groups) + named


def near_any(
    runs: Sequence[Path],
    groups: Collection[str],
    say: Callable[[str], None],
    slides: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """`near_groups` of several runs, each pair once; says which there are."""
    pairs: dict[tuple[str, str], None] = {}
    for run in runs:
        found = near_groups(run, groups, slides)
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


def held_out_slides(manifest: Manifest) -> dict[str, str]:
    """The group of each slide of these splits, by its name, as far as patches tell."""
    return slides_of(manifest, held_out_groups(manifest))


def slides_of(manifest: Manifest, groups: Collection[str]) -> dict[str, str]:
    """The group of each slide of some groups of a manifest, by its name, as far as patches tell."""
    every = group_of_slide((slide_of(row), row.group) for row in manifest.patches)
    return {slide: group for slide, group in every.items() if group in groups}
