"""The runs whose opinion is asked, each on the patients and slides only that it has not learned from."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.prediction.judging import Picture, read_pictures
from l2s_jax.prediction.predictor import Predictor, load_predictor
from l2s_jax.prediction.review.suspicion import probabilities_of
from l2s_jax.prediction.scales import require_run_scale
from l2s_jax.prediction.split import check_comparable
from l2s_jax.prediction.stains import stains_of_manifest
from l2s_jax.prediction.tiles import Answer, Weighting, enlarge, predict_pictures
from l2s_jax.runs.folder import learned_from, without_classifier
from l2s_jax.runs.leaks import LISTED, warn_of_near
from l2s_jax.system.errors import UserError

Say = Callable[[str], None]
Treat = Callable[[np.ndarray], np.ndarray]


class Member(NamedTuple):
    """A run whose opinion is asked."""

    run: Path
    predictor: Predictor
    learned: frozenset[str]  # patients and slides that it, or a run before it, has learned from
    treat: Treat  # a picture u8[H,W,3] as the network is to see it: in its stains
    knows_labels: bool  # its classifier has learned from labels


class Opinion(NamedTuple):
    """What the networks say of a patch that have not learned from its group: the mean over them."""

    probabilities: np.ndarray  # f32[h,w,C] of the cells
    cell: int  # pixels a side of a cell; see `tiles.Answer`
    classifier: np.ndarray | None  # f64[C], of the classifiers; None where none has learned from labels
    members: int  # how many networks

    def of_pixels(self) -> np.ndarray:
        """f32[H,W,C]."""
        return self.probabilities if self.cell == 1 else enlarge(self.probabilities, self.cell)


def load_members(
    runs: Sequence[Path],
    contents: Manifest,
    rows: Sequence[PatchRow],
    slide_groups: Collection[str] = (),
    *,
    stride: int | None,
    weighting: Weighting,
    batch_size: int,
    any_scale: bool,
    say: Say,
) -> list[Member]:
    """Reads the runs, and holds each against the manifest as `evaluate` does.

    Args:
      runs: run folders.
      contents: the manifest.
      rows: those of its rows that are looked at.
      slide_groups: patients of slides that are looked at too, of which some networks may have learned; those
        that the manifest does not know are the names of the slides themselves.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch.
      any_scale: accept patches of another scale than a run's.
      say: receives messages.

    Raises:
      UserError: a folder is no run or was named twice, its classes are others, its scale is another one, or a
        patch's group has taught all of them.
    """
    if not runs:
        raise UserError("no run named: l2s review MANIFEST --runs RUN... --out FOLDER, a run of each fold")
    members: list[Member] = []
    of_rows = {row.group for row in rows}
    groups = of_rows.union(slide_groups)
    unknown = set(slide_groups).difference(row.group for row in contents.patches)
    for run in runs:
        predictor = load_predictor(run, stride, weighting, batch_size)
        same = [one.run for one in members if one.predictor.network_sha256 == predictor.network_sha256]
        if same:
            raise UserError(f"--runs: {same[0]} and {run} are one network. Name it once")
        if predictor.unfinished:
            say(f"warning: {predictor.unfinished}")
        check_comparable(contents, predictor.classes, contents.folder, run)
        own = learned_from(run)
        learned = own.groups.union(own.slides.intersection(unknown))
        unseen = [row for row in rows if row.group not in learned]
        if unseen:
            _require_scale(run, unseen, predictor, any_scale, say)
        warn_of_near(near_pairs(learned, groups - learned), run, say)
        treat = stains_of_manifest(predictor, contents.folder).treat
        members.append(Member(run, predictor, learned, treat, not without_classifier(run)))
    _require_out_of_fold(members, of_rows, contents.folder)
    for one in members:
        others = len(groups - one.learned)
        idle = "" if others else ": it takes no part"
        say(f"{one.run} has not learned from {others} of {len(groups)} patients or slides{idle}")
    return members


def _require_scale(
    run: Path, rows: Sequence[PatchRow], predictor: Predictor, any_scale: bool, say: Say
) -> None:
    try:
        require_run_scale(rows, predictor.mpp, any_scale, lambda line: say(f"{run}: {line}"))
    except UserError as error:
        raise UserError(f"{run}: {error}") from error


def _require_out_of_fold(members: Sequence[Member], groups: set[str], manifest: Path) -> None:
    """Refuses groups of which every network has seen labels: it would only repeat what it was told."""
    seen = sorted(groups.intersection(*(one.learned for one in members)))
    if not seen:
        return
    shown = ", ".join(seen[:LISTED]) + (f" and {len(seen) - LISTED} more" if len(seen) > LISTED else "")
    who = "the run has" if len(members) == 1 else f"each of the {len(members)} runs has"
    raise UserError(
        f"{who} learned from {len(seen)} of the {len(groups)} patients or slides in {manifest}, and would "
        f"only repeat what it was told of them: {shown}. Labels are judged by networks that have not "
        f"learned from their patient: l2s prepare folds {manifest} FOLDS, train a run on each fold, and name "
        "all of them after --runs. Or leave those patches out with --split"
    )


def opinions(
    members: Sequence[Member], rows: Sequence[PatchRow], contents: Manifest
) -> Iterator[tuple[Picture, Opinion]]:
    """Every row, decoded once, with what is said of it; rows of the same networks come together.

    Args:
      members: from `load_members`.
      rows: of the manifest.
      contents: the manifest.
    """
    of_networks: dict[tuple[int, ...], list[PatchRow]] = {}
    for row in rows:
        asked = tuple(k for k, one in enumerate(members) if row.group not in one.learned)
        of_networks.setdefault(asked, []).append(row)
    for asked, same in of_networks.items():
        yield from _asked([members[k] for k in asked], read_pictures(same, contents.classes))


def _asked(members: Sequence[Member], pictures: Iterable[Picture]) -> Iterator[tuple[Picture, Opinion]]:
    """The networks take turns batch by batch, so that no more pictures are kept than a batch has."""
    decoded, *copies = itertools.tee(pictures, len(members) + 1)
    answers = [_answers(one, own) for one, own in zip(members, copies, strict=True)]
    for picture, *said in zip(decoded, *answers, strict=True):
        yield picture, mean_opinion(members, said)


def _answers(member: Member, pictures: Iterable[Picture]) -> Iterator[Answer]:
    predictor = member.predictor
    images = (member.treat(one.image) for one in pictures)
    return predict_pictures(predictor.forward, images, predictor.tiling)


def mean_opinion(members: Sequence[Member], answers: Sequence[Answer]) -> Opinion:
    """Mean of the networks' probabilities, each at its own temperature, and of their classifiers'."""
    finest = min(answer.cell for answer in answers)
    chances = []
    for member, answer in zip(members, answers, strict=True):
        fitted = member.predictor.calibration
        one = probabilities_of(answer.logits, 1.0 if fitted is None else fitted.temperature)
        chances.append(one if answer.cell == finest else enlarge(one, answer.cell // finest))
    labels = [
        probabilities_of(answer.class_logits.astype(np.float64))
        for member, answer in zip(members, answers, strict=True)
        if member.knows_labels
    ]
    classifier = np.stack(labels).mean(0, dtype=np.float64) if labels else None
    return Opinion(np.mean(chances, axis=0), finest, classifier, len(members))
