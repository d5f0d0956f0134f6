"""What a person has made of predicted outlines: corrected, left as they were, deleted, or drawn beside them.

A prediction that nobody has touched says nothing new: it is what a network thinks, and not what is true.

QuPath (0.4 and later) keeps the id of an object whose outline or class is changed and gives new ids to new
ones; 0.2 and 0.3 keep no ids. All keep the measurements. Coordinates are exported with two decimals.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import shapely

from l2s_jax.slides.annotations.choices import Untouched
from l2s_jax.slides.annotations.class_names import first_name
from l2s_jax.slides.annotations.repair import polygons_from_rings
from l2s_jax.slides.annotations.types import Outline
from l2s_jax.system.errors import UserError

MOVED = 0.05
"""Level-0 pixels by which an outline may differ on average and still be the same: what rounding does."""


class Told(NamedTuple):
    """Outlines with `unseen` set where they are unknown, and how many objects are which."""

    outlines: tuple[Outline, ...]  # the unseen ones first, so that all that is drawn lies over them
    counts: "Counts"


class Counts(NamedTuple):
    """Of objects."""

    predicted: int = 0  # in the predictions
    corrected: int = 0  # have another outline or class than was predicted
    accepted: int = 0  # are as they were predicted, and taken for true
    unseen: int = 0  # are as they were predicted, and unknown
    deleted: int = 0  # were predicted and are not there
    drawn: int = 0  # were never predicted


def tell(predicted: Sequence[Outline], found: Sequence[Outline], untouched: Untouched = "unknown") -> Told:
    """Tells what a person has corrected and drawn from predictions that nobody has touched.

    Args:
      predicted: from `read_predictions`; of one file or of several.
      found: from `read_outlines` of what a person has exported. Objects of the same id, and objects without
        one or with another that have the outline and class of a prediction, are what that was predicted as.
      untouched: what predictions are that were left as they were.

    Raises:
      UserError: objects that a network has predicted, but none of `predicted`, and `untouched` is not
        `truth`: nobody can tell whether they were corrected.
    """
    before = _Predictions(predicted)
    seen: set[str] = set()
    kept: list[Outline] = []
    unseen: list[Outline] = []
    counts = dict.fromkeys(("corrected", "accepted", "unseen", "drawn", "foreign"), 0)
    for parts in _objects(found):
        equal = before.equal_to(parts[0]) if len(parts) == 1 else None
        was = equal or before.of_id.get(parts[0].uid)
        if was is not None:
            seen.add(was.uid)
        if equal is not None:
            true = untouched == "truth" or (untouched == "locked" and parts[0].locked)
            counts["accepted" if true else "unseen"] += 1
            (kept if true else unseen).extend(part._replace(unseen=not true) for part in parts)
            continue
        if was is None and parts[0].predicted and not parts[0].uid:
            kind = "corrected"  # what QuPath 0.2 and 0.3 export: no ids, but what was measured
        elif was is None:
            kind = "foreign" if parts[0].predicted else "drawn"
        else:
            kind = "corrected"
        counts[kind] += 1
        kept += parts
    foreign = counts.pop("foreign")
    if foreign and untouched != "truth":
        raise UserError(_not_known(foreign, bool(predicted)))
    nameless = sum(not one.uid for one in predicted)
    deleted = len(before.of_id) + nameless - len(seen)
    return Told(
        (*unseen, *kept),
        Counts(len(before.of_id) + nameless, deleted=max(0, deleted), **counts)._replace(
            accepted=counts["accepted"] + foreign
        ),
    )


def _not_known(number: int, some: bool) -> str:
    where = "are in none of the files under --corrected-from" if some else "are a network's predictions"
    return (
        f"{number} object(s) {where}: by their ids or measurements l2s predict wrote them, and nobody can "
        "tell which of them were corrected. Name the folder(s) that predict wrote them into with "
        "--corrected-from (predict again into another folder where they are lost); or say --untouched truth "
        "where somebody has looked at all of them"
    )


class _Predictions:
    """Predicted outlines, to be found by their ids or by where they lie."""

    def __init__(self, outlines: Sequence[Outline]):
        self.outlines = outlines
        self.of_id = {one.uid: one for one in outlines if one.uid}

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree([_box(one) for one in self.outlines])

    def equal_to(self, outline: Outline) -> Outline | None:
        """The prediction of the same id, or else of the same place, whose outline and class this one has."""
        same = self.of_id.get(outline.uid)
        if same is not None:
            return same if _is_same(same, outline) else None
        if not self.outlines:
            return None
        box = _box(outline)
        near = (self.outlines[number] for number in np.sort(self.tree.query(box)))
        return next((one for one in near if _is_near(_box(one), box) and _is_same(one, outline)), None)


def _is_same(one: Outline, other: Outline) -> bool:
    """Whether an outline has the class of another, and its shape but for what rounding does."""
    if first_name(one.names) != first_name(other.names):
        return False
    if len(one.rings) == len(other.rings) and all(map(np.array_equal, one.rings, other.rings)):
        return True
    if not _is_near(_box(one), _box(other)):
        return False
    first, second = (shapely.union_all(polygons_from_rings(part.rings).polygons) for part in (one, other))
    return bool(first.symmetric_difference(second).area <= MOVED * first.length)


def _is_near(one: shapely.Polygon, other: shapely.Polygon) -> bool:
    """Whether two boxes are the same but for what rounding does."""
    return bool(np.allclose(one.bounds, other.bounds, rtol=0, atol=1, equal_nan=True))


def _box(outline: Outline) -> shapely.Polygon:
    """The box around an outline; an empty one where its vertices are no numbers."""
    ring = outline.rings[0] if outline.rings else np.empty((0, 2))
    if len(ring) == 0 or not np.isfinite(ring).all():
        return shapely.Polygon()
    return shapely.box(*ring.min(0), *ring.max(0))


def _objects(outlines: Iterable[Outline]) -> Iterator[list[Outline]]:
    """The outlines of each object, in the order of their first ones; without an id each is one."""
    of_id: dict[object, list[Outline]] = {}
    for number, outline in enumerate(outlines):
        of_id.setdefault(outline.uid or number, []).append(outline)
    yield from of_id.values()


def unseen_in_held_out(number: int) -> list[str]:
    """What untouched predictions on slides that are measured on do to the figures."""
    if not number:
        return []
    return [
        f"warning: on slides of val and test {number} untouched predictions are unknown, so that a network "
        "is not scored where the one that drew them may have erred: figures come out too good. Leave these "
        "slides as they were drawn by hand, or delete or lock the predictions on them"
    ]


def describe_told(counts: Iterable[Counts], untouched: Untouched) -> list[str]:
    """What became of the predictions of all slides, and what that means; nothing without predictions."""
    total = Counts(*map(sum, zip(*counts, strict=True)))
    if not total.predicted and not total.accepted:
        return []
    lines = []
    if total.predicted:
        lines.append(
            f"{total.predicted} predicted outlines: {total.corrected} corrected, {total.deleted} deleted, "
            f"{total.unseen + total.accepted} untouched; {total.drawn} were drawn by hand"
        )
    if total.unseen:
        lines.append(
            f"{total.unseen} untouched predictions are unknown, neither learned nor scored: nobody has said "
            "that they are right. --untouched locked takes those for true that were locked in QuPath, truth "
            "all of them"
        )
    if total.accepted:
        why = "they were locked" if untouched == "locked" else "--untouched truth says so"
        lines.append(
            f"warning: {total.accepted} predictions are taken for true as they are, since {why}. Where "
            "nobody has looked at them, a network learns its own errors"
        )
    return lines
