"""Windows of slides that could be drawn next: none of val and test, and none in which something is drawn."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.origins import groups_of, rows_of_slides
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.windows import Sheet, Window, look_through
from l2s_jax.prediction.suggest.candidates import Candidate, Candidates, Seen
from l2s_jax.prediction.suggest.looks import look_of
from l2s_jax.runs.leaks import HELD_OUT, LISTED
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

Say = Callable[[str], None]


def window_candidates(sheets: Sequence[Sheet], predictor: Predictor, side: int) -> Candidates:
    """All windows of all slides. Nothing is known of them, so each can hold every class."""
    every = np.ones(len(predictor.classes), bool)
    windows = [Window(number, place) for number, sheet in enumerate(sheets) for place in sheet.places]
    each = [Candidate(sheets[one.slide].group, IGNORE_LABEL, every, one) for one in windows]

    def look(indices: Sequence[int]) -> Iterator[Seen]:
        for number, sheet in enumerate(sheets):
            own = [index for index in indices if windows[index].slide == number]
            places = [windows[index].origin for index in own]
            for which, image, answer in look_through(sheet, places, side):
                yield own[which], image, look_of(answer, predictor.temperatures, every)

    return Candidates(each, look)


def groups_to_draw(paths: Sequence[Path], contents: Manifest, say: Say) -> list[str]:
    """The patient of each slide.

    Raises:
      UserError: slides of val or test.
    """
    rows = rows_of_slides(paths, contents)
    held = [
        f"{path} ({row.split})"
        for path, row in zip(paths, rows, strict=True)
        if row and row.split in HELD_OUT
    ]
    if held:
        raise UserError(
            f"{len(held)} of the slides are of the splits val and test of {contents.folder}, which no "
            f"network may learn from: {', '.join(held[:LISTED])}. Leave them out"
        )
    groups = groups_of(paths, rows)
    others = {row.group for row in contents.patches if row.split in HELD_OUT}
    near = near_pairs(others, {group for group, row in zip(groups, rows, strict=True) if row is None})
    if near:
        shown = "; ".join(f"{other!r} and {group!r}" for other, group in near[:LISTED])
        say(
            f"warning: patients of val and test have nearly the names of slides: {shown}. If they are the "
            "same, leave these slides out"
        )
    return groups
