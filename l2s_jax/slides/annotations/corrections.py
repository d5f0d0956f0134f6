"""What somebody has corrected takes the place of what was predicted: objects are told by their ids.

QuPath keeps the id of an object whose outline, class or place is changed, and gives new ids to new ones.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from l2s_jax.slides.annotations.types import Outline


class Corrected(NamedTuple):
    """Predicted outlines with their corrections, and how many objects are which."""

    outlines: tuple[Outline, ...]
    replaced: int  # predicted objects in whose place a corrected one stands
    kept: int  # predicted objects that nobody touched
    added: int  # objects that were not predicted, or have no id
    removed: int = 0  # predicted objects that were deleted


def with_corrections(
    predicted: Sequence[Outline], corrected: Sequence[Outline], *, complete: bool = False
) -> Corrected:
    """Puts corrected objects where those of the same id stood; what is new comes last, and so lies on top.

    Args:
      predicted: from `read_outlines` of what `predict` wrote.
      corrected: the same of what a person has exported.
      complete: the export holds everything that is to stay, so that predicted objects that it lacks were
        deleted. Without it they are kept: an export may hold what somebody looked at only.
    """
    known = _ids(predicted)
    of_id: dict[str, list[Outline]] = {one: [] for one in known}
    new: list[Outline] = []
    for outline in corrected:
        (of_id[outline.uid] if outline.uid in known else new).append(outline)
    outlines: list[Outline] = []
    done: set[str] = set()
    for outline in predicted:
        if not of_id.get(outline.uid):
            outlines += [] if complete else [outline]
        elif outline.uid not in done:  # the parts of an object stand together
            done.add(outline.uid)
            outlines += of_id[outline.uid]
    nameless = sum(not outline.uid for outline in predicted)
    left = len(known) - len(done) + nameless
    added = len(_ids(new)) + sum(not outline.uid for outline in new)
    return Corrected(
        tuple(outlines + new), len(done), 0 if complete else left, added, left if complete else 0
    )


def _ids(outlines: Iterable[Outline]) -> dict[str, None]:
    """The ids of objects, each once, in their order."""
    return dict.fromkeys(outline.uid for outline in outlines if outline.uid)
