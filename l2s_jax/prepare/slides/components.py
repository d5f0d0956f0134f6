"""Connected regions of a mask that is only ever seen a band of rows at a time.

What `centred_extraction.find_regions` finds in a whole mask, with the same areas, boxes and pixels.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l2s_jax.prepare.centred_extraction import EIGHT_NEIGHBOURS


class Band(NamedTuple):
    """Some rows of a mask, and of these the columns in which something is drawn."""

    top: int
    left: int
    mask: np.ndarray  # u8[h,w], class codes


Bands = Callable[[], Iterator[Band]]
"""The bands of a mask from top to bottom, painted anew at each call."""


class Component(NamedTuple):
    """A connected region, 8 neighbours, of one class."""

    code: int
    area: int  # pixels
    start: tuple[int, int]  # (row, col) of the first pixel of its box
    extent: tuple[int, int]  # (height, width) of its box


class Components(NamedTuple):
    """All of a mask's, and which one a band's piece belongs to."""

    found: list[Component]  # by class, then by first pixel in row order
    of_piece: np.ndarray  # int64[P], number in `found` of each piece, counted over all bands and codes


def find_components(bands: Bands, codes: tuple[int, ...]) -> Components:
    """Labels every band and joins what meets at the seams.

    Args:
      bands: of the mask; the same at each call.
      codes: classes whose regions are wanted.
    """
    parents: list[int] = []
    rows: list[tuple[int, ...]] = []
    above: dict[int, tuple[int, int, np.ndarray]] = {}  # code: (row after, left, last row's pieces)
    for band in bands():
        for code, labelled, number in _pieces(band, codes):
            base = len(parents)
            parents += range(base, base + number)
            rows += _measured(band, code, labelled, number)
            pieces = np.where(labelled > 0, labelled + base, 0)  # piece + 1
            if code in above and above[code][0] == band.top:
                _join(parents, above[code][1], above[code][2], band.left, pieces[0])
            above[code] = band.top + len(labelled), band.left, pieces[-1]
    return _joined(parents, rows)


def pixels_of(
    bands: Bands, codes: tuple[int, ...], components: Components, wanted: dict[int, np.ndarray | None]
) -> dict[int, np.ndarray]:
    """Pixels of some components, (row, col) from the first pixel of their boxes.

    Args:
      bands: those that the components were found in.
      codes: the same as there.
      components: from `find_components`.
      wanted: number of a component to which of its pixels, counted in row order (int64[K], in any order), or
        None for all.

    Returns:
      Number of a component to int64[K,2], in the order in which they are wanted.
    """
    points = {
        number: np.zeros((components.found[number].area if chosen is None else len(chosen), 2), np.int64)
        for number, chosen in wanted.items()
    }
    orders = {number: None if chosen is None else np.argsort(chosen) for number, chosen in wanted.items()}
    seen = dict.fromkeys(wanted, 0)
    base = 0
    for band in bands():
        for _, labelled, number in _pieces(band, codes):
            owners = components.of_piece[base : base + number]
            base += number
            boxes = ndimage.find_objects(labelled) if set(owners.tolist()) & wanted.keys() else []
            for owner in sorted(set(owners.tolist()) & wanted.keys()):
                (row, col), member = _member(labelled, boxes, np.flatnonzero(owners == owner))
                places = np.flatnonzero(member)
                first, last = seen[owner], seen[owner] + len(places)
                seen[owner] = last
                into, order, chosen = np.arange(first, last), orders[owner], wanted[owner]
                if order is not None and chosen is not None:
                    low, high = np.searchsorted(chosen[order], (first, last))
                    into = order[low:high]
                    places = places[chosen[into] - first]
                at = np.stack(np.unravel_index(places, member.shape), -1) + (band.top + row, band.left + col)
                points[owner][into] = at - components.found[owner].start
    return points


def _pieces(band: Band, codes: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray, int]]:
    """Each code's connected pieces in a band: int32[h,w] from 1 on, and how many."""
    there = np.bincount(band.mask.reshape(-1), minlength=256)
    for code in codes:
        if there[code]:
            labelled, number = ndimage.label(band.mask == code, EIGHT_NEIGHBOURS)
            yield code, labelled, number


def _member(
    labelled: np.ndarray, boxes: list[tuple[slice, slice]], pieces: np.ndarray
) -> tuple[tuple[int, int], np.ndarray]:
    """Some pieces' common box: its (row, col) in the band, and bool[h,w], where they are in it."""
    sides = [[boxes[piece][axis] for piece in pieces] for axis in (0, 1)]
    rows, cols = (slice(min(one.start for one in some), max(one.stop for one in some)) for some in sides)
    return (rows.start, cols.start), np.isin(labelled[rows, cols], pieces + 1)


def _measured(band: Band, code: int, labelled: np.ndarray, number: int) -> Iterator[tuple[int, ...]]:
    """(code, area, top, left, bottom, right, row and column of the first pixel) of each piece."""
    areas = np.bincount(labelled.reshape(-1), minlength=number + 1)
    for label, (rows, cols) in enumerate(ndimage.find_objects(labelled), 1):
        first = cols.start + int(np.argmax(labelled[rows.start, cols] == label))
        yield (
            code,
            int(areas[label]),
            band.top + rows.start,
            band.left + cols.start,
            band.top + rows.stop,
            band.left + cols.stop,
            band.top + rows.start,
            band.left + first,
        )


def _join(parents: list[int], left: int, last: np.ndarray, new_left: int, first: np.ndarray) -> None:
    """Makes pieces one that touch across a seam, 8 neighbours; rows are given with their first columns."""
    start, stop = min(left, new_left), max(left + len(last), new_left + len(first))
    upper, lower = np.zeros(stop - start + 2, np.int64), np.zeros(stop - start + 2, np.int64)
    upper[left - start + 1 :][: len(last)] = last
    lower[new_left - start + 1 :][: len(first)] = first
    for shift in (-1, 0, 1):
        pairs = np.stack([np.roll(upper, shift), lower], 1)
        for one, other in np.unique(pairs[(pairs > 0).all(1)], axis=0).tolist():
            low, high = sorted((_root(parents, one - 1), _root(parents, other - 1)))
            parents[high] = low


def _root(parents: list[int], piece: int) -> int:
    while parents[piece] != piece:
        parents[piece] = parents[parents[piece]]
        piece = parents[piece]
    return piece


def _joined(parents: list[int], rows: list[tuple[int, ...]]) -> Components:
    """Components of pieces, in the order of a whole mask's."""
    if not rows:
        return Components([], np.zeros(0, np.int64))
    table = np.array(rows, np.int64)
    roots, group = np.unique([_root(parents, piece) for piece in range(len(parents))], return_inverse=True)
    areas = np.zeros(len(roots), np.int64)
    np.add.at(areas, group, table[:, 1])
    low = np.full((len(roots), 2), np.iinfo(np.int64).max)
    high = np.zeros((len(roots), 2), np.int64)
    np.minimum.at(low, group, table[:, 2:4])
    np.maximum.at(high, group, table[:, 4:6])
    codes = table[roots, 0]
    # The first piece in row order holds the first pixel of all.
    first = np.full(len(roots), len(table))
    by_pixel = np.lexsort((table[:, 7], table[:, 6]))
    rank = np.empty(len(table), np.int64)
    rank[by_pixel] = np.arange(len(table))
    np.minimum.at(first, group, rank)
    order = np.lexsort((first, codes))
    place = np.empty(len(roots), np.int64)
    place[order] = np.arange(len(roots))
    found = [
        Component(int(codes[k]), int(areas[k]), tuple(low[k].tolist()), tuple((high[k] - low[k]).tolist()))
        for k in order
    ]
    return Components(found, place[group])
