"""What can be suggested: patches of a manifest that have a label only, and what is drawn already."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.windows import Window
from l2s_jax.prediction.stains import stains_of_manifest
from l2s_jax.prediction.suggest.looks import Look, looks_at
from l2s_jax.prediction.suggest.scores import allowed_classes
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL


class Candidate(NamedTuple):
    """What can be drawn next."""

    group: str
    stratum: int  # class that it counts for; `IGNORE_LABEL` where several are possible
    allowed: np.ndarray  # bool[C], classes that it can hold
    place: PatchRow | Window


Seen = tuple[int, np.ndarray, Look | None]
"""Which candidate, its picture u8[H,W,3], and what networks say of it; None where none was asked."""


class Candidates(NamedTuple):
    """What can be drawn next, and how to look at it."""

    each: Sequence[Candidate]
    look: Callable[[Sequence[int]], Iterator[Seen]]  # at some of them; those that cannot be read are left out


def patch_candidates(contents: Manifest, predictor: Predictor | None) -> Candidates:
    """The patches of the split train that have no mask; patches of other splits are never looked at.

    Args:
      contents: the manifest.
      predictor: from `looks.load_lookers`.

    Raises:
      UserError: none is left.
    """
    classes, train = contents.classes, contents.of_split("train")
    rows = [row for row in train if row.mask is None]
    if not rows:
        raise UserError(
            f"{contents.folder}: no patch of the split train is without a mask ({len(train)} have one): "
            "there is nothing left to draw. Add patches that have a label only, or name slides with --slides"
        )
    each = [Candidate(row.group, _stratum(row, allowed, classes), allowed, row)
            for row in rows for allowed in [_allowed(row, classes)]]  # fmt: skip

    def look(indices: Sequence[int]) -> Iterator[Seen]:
        if predictor is None:
            yield from ((index, read_image(rows[index].image), None) for index in indices)
            return
        asked = [each[index] for index in indices]
        found = look_at_rows(
            predictor, contents, [rows[index] for index in indices], [one.allowed for one in asked]
        )
        yield from ((index, image, one) for index, (image, one) in zip(indices, found, strict=True))

    return Candidates(each, look)


def look_at_rows(
    predictor: Predictor, contents: Manifest, rows: Sequence[PatchRow], allowed: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, Look]]:
    """Patches of a manifest in the stains of the runs; u8[H,W,3] as they are, and what networks say."""
    treat, images = stains_of_manifest(predictor, contents.folder).treat, list[np.ndarray]()

    def treated() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for row, own in zip(rows, allowed, strict=True):
            images.append(read_image(row.image))
            yield treat(images[-1]), own

    for look in looks_at(predictor, predictor.forward, treated()):
        yield images.pop(0), look


def drawn_rows(contents: Manifest) -> list[PatchRow]:
    """The patches of the split train that have a mask."""
    return [row for row in contents.of_split("train") if row.mask is not None]


def drawn_stratum(row: PatchRow, classes: Classes) -> int:
    """The class that a patch with a mask counts for, as in `data.patch_set.strata`.

    It is its label, else what most of its mask is beside background.
    """
    if row.label != IGNORE_LABEL or row.mask is None:
        return row.label
    codes = read_mask(row.mask, classes)
    counts = np.bincount(codes[codes != IGNORE_PIXEL], minlength=len(classes))
    return dominant(counts, classes.background) if counts.any() else IGNORE_LABEL


def dominant(counts: np.ndarray, background: int | None) -> int:
    """The class with the most pixels [C]; the background only where nothing else is there."""
    others = counts.copy()
    if background is not None and counts.sum() > counts[background]:
        others[background] = 0
    return int(others.argmax())


def _allowed(row: PatchRow, classes: Classes) -> np.ndarray:
    return allowed_classes(row.label, row.allowed, classes.background, len(classes))


def _stratum(row: PatchRow, allowed: np.ndarray, classes: Classes) -> int:
    """Its label, or the only class beside the background that it can hold."""
    if row.label != IGNORE_LABEL:
        return row.label
    codes = [int(code) for code in np.flatnonzero(allowed) if code != classes.background]
    return codes[0] if len(codes) == 1 else IGNORE_LABEL
