"""Looking at what can be drawn, as far as a way of choosing asks for it, and taking one after the other."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from l2s_jax.data.manifest import Manifest
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.windows import Window
from l2s_jax.prediction.suggest.candidates import (
    Candidates,
    dominant,
    drawn_rows,
    drawn_stratum,
    look_at_rows,
)
from l2s_jax.prediction.suggest.choice import Pick, Pool, by_chance, by_class, by_worth
from l2s_jax.prediction.suggest.listing import Suggestion
from l2s_jax.prediction.suggest.looks import Look
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.types import IGNORE_LABEL

By = Literal["stratified", "random", "disagreement", "change", "coverage"]

NUMBER = 10
"""So many are listed, where there are as many and nobody has said another number."""

RUNS_NEEDED: dict[By, int] = {"stratified": 0, "random": 0, "disagreement": 2, "change": 1, "coverage": 1}


class Asked(NamedTuple):
    """How many are to be suggested, and how they are chosen."""

    by: By
    number: int | None  # None: `NUMBER`, or all where there are fewer
    spread: bool
    seed: int


class Figures(NamedTuple):
    """What is kept of a look: of thousands of windows there is no room for more."""

    disagreement: float
    change: float
    pixels: np.ndarray  # i64[C], cells by pseudo-label
    features: np.ndarray  # f32[D]


def choose(
    candidates: Candidates, contents: Manifest, predictor: Predictor | None, asked: Asked
) -> list[Suggestion]:
    """Takes as many as are asked for, what to draw first in front.

    Args:
      candidates: patches or windows.
      contents: the manifest, which says what is drawn already.
      predictor: from `looks.load_lookers`, of as many runs as `RUNS_NEEDED` says.
      asked: how many, and how.

    Raises:
      UserError: there are fewer, or fewer that can be read.
    """
    each, classes = candidates.each, contents.classes
    require_enough(asked, len(each))
    by_networks, of_slides = RUNS_NEEDED[asked.by] > 0, isinstance(each[0].place, Window)
    seen: dict[int, Figures] = {}
    if predictor is not None and (by_networks or (of_slides and asked.by == "stratified")):
        looks = track(candidates.look(range(len(each))), "looking", len(each), "pictures")
        seen = {index: _figures(look, len(classes)) for index, _, look in looks if look is not None}
    kept = sorted(seen) or list(range(len(each)))
    require_enough(asked, len(kept))
    number = min(NUMBER, len(kept)) if asked.number is None else asked.number
    drawn = drawn_rows(contents)

    def stratum(index: int) -> int:
        """Of a window nothing is known but what is predicted of it."""
        if of_slides and index in seen:
            return dominant(seen[index].pixels, classes.background)
        return each[index].stratum

    features = [seen[index].features for index in kept] if by_networks else []
    pool = Pool(
        [each[index].group for index in kept],
        np.array([stratum(index) for index in kept], np.int32),
        np.stack(features) if features else np.zeros((len(kept), 0), np.float32),
        [row.group for row in drawn],
        np.array([drawn_stratum(row, classes) for row in drawn], np.int32),
        _features_of_drawn(predictor, contents) if predictor is not None and by_networks else None,
    )
    picks = _pick(pool, number, asked, [seen[index] for index in kept] if by_networks else [])
    chosen = [kept[pick.patch] for pick in picks]
    if predictor is not None and not seen:
        of_chosen = candidates.look(chosen)
        seen = {index: _figures(look, len(classes)) for index, _, look in of_chosen if look is not None}
    several = predictor is not None and len(predictor.each) > 1
    found: list[Suggestion] = []
    for rank, (index, pick) in enumerate(zip(chosen, picks, strict=True), 1):
        own = seen.get(index)
        found.append(
            Suggestion(
                rank,
                each[index],
                stratum(index),
                pick.worth,
                own.disagreement if own is not None and several else np.nan,
                own.change if own is not None else np.nan,
                pick.distance,
                _why(asked.by, pool, picks[:rank], contents),
            )
        )
    return found


def require_enough(asked: Asked, there: int) -> None:
    """Raises `UserError` where more is asked for than is there."""
    if asked.number is not None and asked.number > there:
        raise UserError(f"--number {asked.number}: only {there} are there to choose from. Ask for fewer")


def _figures(look: Look, classes: int) -> Figures:
    pixels = np.bincount(look.scores.codes.ravel(), minlength=classes)
    return Figures(look.scores.disagreement, look.scores.change, pixels, look.features)


def _features_of_drawn(predictor: Predictor, contents: Manifest) -> np.ndarray | None:
    rows = drawn_rows(contents)
    every = [np.ones(len(contents.classes), bool)] * len(rows)
    found = [look.features for _, look in look_at_rows(predictor, contents, rows, every)]
    return np.stack(found) if found else None


def _pick(pool: Pool, number: int, asked: Asked, seen: Sequence[Figures]) -> list[Pick]:
    if asked.by == "stratified":
        return by_class(pool, number, asked.seed, spread=asked.spread)
    if asked.by == "random":
        return by_chance(pool, number, asked.seed)
    worth = None if asked.by == "coverage" else np.array([getattr(one, asked.by) for one in seen])
    return by_worth(pool, number, worth, spread=asked.spread)


def _why(by: By, pool: Pool, picks: Sequence[Pick], contents: Manifest) -> str:
    """Why the last of some picks was taken."""
    pick, before = picks[-1], [one.patch for one in picks[:-1]]
    stratum, group = int(pool.strata[pick.patch]), pool.groups[pick.patch]
    of_group = [*pool.drawn_groups, *(pool.groups[index] for index in before)].count(group)
    known = f"{group}: {of_group or 'none'} drawn or listed before it"
    if by == "random":
        return "by chance"
    if by == "stratified":
        done = [*pool.drawn_strata.tolist(), *(int(pool.strata[index]) for index in before)].count(stratum)
        total = int((pool.strata == stratum).sum() + (pool.drawn_strata == stratum).sum())
        name = "several classes" if stratum == IGNORE_LABEL else contents.classes.names[stratum]
        return f"{name}: {done} of {total} drawn or listed before it; {known}"
    unlike = "" if np.isnan(pick.distance) else f"{pick.distance:.2f} unlike what is drawn or listed; "
    if by == "coverage":
        return f"{unlike}{known}"
    what = "of its pixels contested" if by == "change" else "of the greatest disagreement"
    return f"{pick.worth:.1%} {what}; {unlike}{known}"
