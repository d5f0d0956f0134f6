"""Windows of slides without labels: where networks disagree that never saw the slide's patient."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from l2s_jax.data.manifest import Manifest
from l2s_jax.data.marks import WINDOW
from l2s_jax.data.origins import groups_of, rows_of_slides
from l2s_jax.prediction.ensemble import together
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.review.disagreement import Disagreement, disagreement
from l2s_jax.prediction.review.members import Member
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import warn_of_scale, working_mpp
from l2s_jax.prediction.slides.windows import (
    Sheet,
    Window,
    look_through,
    open_sheets,
    rectangle,
    require_slides_named,
    require_tissue,
    tissue_in,
    window_side,
)
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.texts import listed
from l2s_jax.types import IGNORE_LABEL

Say = Callable[[str], None]

NUMBER = 10
"""So many windows are listed, where there are as many and nobody has said another number."""


class SlidesAsked(NamedTuple):
    """Which slides are looked at, and how."""

    paths: Sequence[Path]
    number: int | None  # of windows that are listed; None: `NUMBER`, or all where there are fewer
    window: int | None  # side in pixels of the working scale; None: the runs' patch size
    options: SlideOptions


class Looked(NamedTuple):
    """Slides that are open, and who is asked about them."""

    sheets: Sequence[Sheet]
    splits: Sequence[str]  # of each in the manifest; "" where it is not there
    side: int  # of a window
    number: int  # of windows that are listed


class WindowDoubt(NamedTuple):
    """A window about which networks disagree."""

    rank: int  # from 1
    window: Window
    slide: str  # its file's name
    group: str
    split: str  # "" where the manifest does not have the slide
    rectangle: tuple[float, float, float, float]  # see `windows.rectangle`
    disagreement: float  # mutual information, mean over the window's tissue, in nats
    likeliest: int  # the class that is most likely by the mean over networks and tissue
    likeliest_probability: float
    members: int  # networks that were asked
    kind: Literal["window"] = WINDOW

    @property
    def name(self) -> str:
        """What it is called: the slide, and the place in pixels of the working scale."""
        row, column = self.window.origin
        return f"{self.slide} at row {row}, col {column}"


def require_slides(asked: SlidesAsked, runs: Sequence[Path]) -> None:
    """Raises `UserError` for what cannot be, before anything is read."""
    if not asked.paths:
        require_slides_named({"windows": asked.number, "window": asked.window}, asked.options)
        return
    if len(runs) == 1:
        raise UserError(
            f"--slides needs two runs or more, and {runs[0]} is one: it takes two to disagree. Name a run of "
            "each fold, or other seeds, with --runs"
        )
    if asked.number is not None and asked.number < 1:
        raise UserError(f"--windows {asked.number} must be at least 1")
    require_tissue(asked.options)


def open_unlabelled(asked: SlidesAsked, contents: Manifest, members: Sequence[Member], say: Say) -> Looked:
    """Opens the slides and finds their windows, none of which meets a patch with a label or a mask.

    Raises:
      UserError: a slide of which fewer than two networks have seen nothing, one that cannot be read or whose
        scale is not known, networks that cannot be taken together, no tissue, or too few windows.
    """
    every = together([one.predictor for one in members])
    rows = rows_of_slides(asked.paths, contents)
    groups = groups_of(asked.paths, rows)
    predictors = _asked_of_each(asked.paths, groups, members, every)
    side, mpp = window_side(asked.window, every.tiling.tile), working_mpp(every, asked.options)
    warn_of_scale(every, mpp, say)
    judged = [row for row in contents.patches if row.label != IGNORE_LABEL or row.mask is not None]
    nothing = "no patch with a label or a mask in it"
    sheets = open_sheets(asked.paths, groups, predictors, judged, nothing, asked.options, mpp, side, say)
    there = sum(len(one.places) for one in sheets)
    if asked.number is not None and asked.number > there:
        raise UserError(f"--windows {asked.number}: only {there} are there. Ask for fewer")
    number = min(NUMBER, there) if asked.number is None else asked.number
    return Looked(sheets, ["" if row is None else row.split for row in rows], side, number)


def _asked_of_each(
    paths: Sequence[Path], groups: Sequence[str], members: Sequence[Member], every: Predictor
) -> list[Predictor]:
    """For each slide those networks together that have not learned from its patient."""
    asked = [tuple(k for k, one in enumerate(members) if group not in one.learned) for group in groups]
    few = [f"{path} ({len(own)})" for path, own in zip(paths, asked, strict=True) if len(own) < 2]
    if few:
        raise UserError(
            f"of the {len(members)} runs fewer than two have not learned from the patient or slide of "
            f"{len(few)} of the slides: {listed(few)}. It takes two to disagree, and those that have learned "
            "from it would only repeat what they were told: name runs of other folds, or leave these out"
        )
    found = {tuple(range(len(members))): every}
    for own in asked:
        if own not in found:
            found[own] = together([members[k].predictor for k in own])
    return [found[own] for own in asked]


def windows_in_doubt(looked: Looked, say: Say) -> list[WindowDoubt]:
    """The windows about which networks disagree most, the most contested first; of equal ones as they lie.

    Raises:
      UserError: none can be read.
    """
    every = [Window(number, place) for number, one in enumerate(looked.sheets) for place in one.places]
    seen = track(look_at_windows(looked, every), "looking", len(every), "windows")
    found = [_doubt(window, said, looked) for window, _, said in seen]
    if len(found) < len(every):
        say(f"warning: {len(every) - len(found)} of {len(every)} windows cannot be read and are passed over")
    if not found:
        raise UserError("none of the windows can be read: copy or download the slides again")
    found.sort(key=lambda one: (-one.disagreement, one.window))
    return [one._replace(rank=rank) for rank, one in enumerate(found[: looked.number], 1)]


def look_at_windows(
    looked: Looked, chosen: Sequence[Window]
) -> Iterator[tuple[Window, np.ndarray, Disagreement]]:
    """Windows that can be read, slide by slide: which, its picture u8[side,side,3], what is said of it."""
    for number, sheet in enumerate(looked.sheets):
        places = [one.origin for one in chosen if one.slide == number]
        for which, image, answer in look_through(sheet, places, looked.side):
            assert sheet.job.area is not None
            tissue = tissue_in(sheet.job.area, places[which], looked.side)
            yield Window(number, places[which]), image, disagreement(answer, sheet.job.temperatures, tissue)


def _doubt(window: Window, said: Disagreement, looked: Looked) -> WindowDoubt:
    sheet, likeliest = looked.sheets[window.slide], int(said.chances.argmax())
    return WindowDoubt(
        0,
        window,
        sheet.slide.path.name,
        sheet.group,
        looked.splits[window.slide],
        rectangle(sheet, window.origin, looked.side),
        said.mutual_information,
        likeliest,
        float(said.chances[likeliest]),
        sheet.job.networks,
    )
