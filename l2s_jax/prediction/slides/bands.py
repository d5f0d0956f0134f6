"""Pictures too large for memory: tiles over tissue, a weighted mean of logits, finished rows handed out.

Tiles go from top to bottom, so only the rows of one tile are open at a time; the rows above are final. Very
wide pictures are cut into strips of columns, so that the open rows stay within `MAX_OPEN_BYTES` whatever the
picture's size. Pixels that tissue covers get exactly the tiles that they would get without regard to tissue.

Works on arrays and a function that reads them; touches no files.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np

from l2s_jax.prediction.slides.finishing import finish
from l2s_jax.prediction.slides.job import Area, Band, SlideJob
from l2s_jax.prediction.tiles import (
    Tiling,
    add_tile,
    batched,
    enlarge,
    reflect_to,
    tile_origins,
    tile_weights,
)

MAX_OPEN_BYTES = 2**27
"""Memory of the sums of logits of the open rows."""

FINISHED_BYTES = 2**24
"""Of these sums, how much is turned into classes at once; that takes a few copies."""

TILES_A_READ = 8
"""Neighbouring tiles that are read at once, since they overlap."""


class Tile(NamedTuple):
    """A tile as read."""

    row: int
    column: int
    image: np.ndarray | None  # u8[t,t,3]


class Neighbours(NamedTuple):
    """Neighbouring tiles that are read together."""

    row: int
    columns: tuple[int, ...]


def tiles_over(
    size: tuple[int, int], tiling: Tiling, area: Area | None, columns: tuple[int, int]
) -> Iterator[Neighbours]:
    """Yields the tiles of `tiles.predict_picture` that hold a pixel of the area, from top to bottom.

    Args:
      size: (height, width) of the picture; a side shorter than a tile counts as one.
      tiling: how it is covered.
      area: what is to be predicted.
      columns: [first, last) column of the strip that the tiles must touch.
    """
    tile = tiling.tile
    rows, starts = (tile_origins(max(side, tile), tile, tiling.stride) for side in size)
    inside = [start for start in starts if start < columns[1] and start + tile > columns[0]]
    for row in rows:
        kept = inside if area is None else _touching(area, row, inside, tile)
        yield from (Neighbours(row, part) for part in _neighbours(kept, tile))


def _touching(area: Area, row: int, columns: list[int], tile: int) -> list[int]:
    """The columns whose tiles in this row hold a pixel of the area."""
    last = min(row + tile, len(area.rows)) - 1
    touched = area.mask[area.rows[row] : area.rows[last] + 1].any(0)
    before = np.concatenate([[0], touched.cumsum()])
    starts = np.array(columns)
    ends = np.minimum(starts + tile, len(area.columns)) - 1
    found = before[area.columns[ends] + 1] > before[area.columns[starts]]
    return starts[found].tolist()


def _neighbours(columns: list[int], tile: int) -> Iterator[tuple[int, ...]]:
    """Parts of at most `TILES_A_READ` tiles that touch or overlap each other."""
    part: list[int] = []
    for column in columns:
        if part and (column > part[-1] + tile or len(part) == TILES_A_READ):
            yield tuple(part)
            part = []
        part.append(column)
    if part:
        yield tuple(part)


def read_ahead(job: SlideJob, runs: Iterable[Neighbours]) -> Iterator[Tile]:
    """Tiles in the order of `runs`, read by `job.readers` threads a few runs ahead."""
    waiting: deque[Future[list[Tile]]] = deque()
    with ThreadPoolExecutor(job.readers) as pool:
        try:
            for run in runs:
                waiting.append(pool.submit(_read_run, job, run))
                if len(waiting) > 2 * job.readers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_run(job: SlideJob, run: Neighbours) -> list[Tile]:
    """Reads a run at once, or tile by tile where a part of it cannot be read."""
    tile, first = job.tiling.tile, run.columns[0]
    whole = _read_inside(job, run.row, first, run.columns[-1] + tile - first)
    if whole is not None:
        return [Tile(run.row, c, whole[:, c - first : c - first + tile]) for c in run.columns]
    return [Tile(run.row, column, _read_inside(job, run.row, column, tile)) for column in run.columns]


def _read_inside(job: SlideJob, row: int, column: int, width: int) -> np.ndarray | None:
    """Reads what lies inside the picture; one that is smaller than a tile is reflected up to it."""
    tile = job.tiling.tile
    height, width = min(tile, job.size[0] - row), min(width, job.size[1] - column)
    image = job.read((row, column), (height, width))
    return None if image is None else reflect_to(image, tile)


def predict_bands(
    job: SlideJob, progress: Callable[[Iterable[Tile], int], Iterable[Tile]] = lambda tiles, total: tiles
) -> Iterator[Band]:
    """Predicts a picture of any size in memory that depends only on the tile's size and the classes.

    Where everything is area, the codes are those of `tiles.predict_picture` up to the order of float32
    sums: they can differ only where two classes are equal to within about 1e-6 of their logits.

    Args:
      job: what is predicted.
      progress: is given the tiles and their number, and passes them on.
    """
    for columns in column_strips(job.size[1], job.tiling.tile, job.channels):
        # Gone through twice, not kept: a large slide has millions of tiles.
        total = sum(len(run.columns) for run in tiles_over(job.size, job.tiling, job.area, columns))
        runs = tiles_over(job.size, job.tiling, job.area, columns)
        yield from _predict_strip(job, columns, progress(read_ahead(job, runs), total))


def column_strips(width: int, tile: int, channels: int) -> list[tuple[int, int]]:
    """[first, last) columns of strips whose open rows fit into `MAX_OPEN_BYTES`; at least a tile wide."""
    widest = max(tile, MAX_OPEN_BYTES // (4 * tile * channels))
    return [(start, min(start + widest, width)) for start in range(0, width, widest)]


def _predict_strip(job: SlideJob, columns: tuple[int, int], tiles: Iterable[Tile]) -> Iterator[Band]:
    """The bands of one strip. `total` and `weight` hold the rows from `first` on, a tile's height of them."""
    tile, width = job.tiling.tile, columns[1] - columns[0]
    total = np.zeros((job.networks, tile, width, job.classes), np.float32)
    weight = np.zeros((tile, width), np.float32)
    weights = tile_weights(tile, job.tiling.weighting)
    wide = weights.repeat(job.classes, axis=1)
    first = unread = 0
    end = (job.size[0], 0, None)
    for row, column, coarse in chain(_with_logits(job, tiles), [end]):
        while first < row:
            number = min(job.tiling.stride, row - first)
            for part in _parts(number, width * job.channels):
                yield finish(job, columns, first + part.start, total[:, part], weight[part], unread)
                unread = 0
            for rows in (*total, weight):  # finished rows make way for new ones
                rows[:-number] = rows[number:]
                rows[-number:] = 0
            first += number
        if coarse is None:
            unread += 1
        else:
            each, cell = np.split(coarse, job.networks, -1), tile // len(coarse)
            if job.enlargement != "nearest":
                each = [enlarge(one, cell, job.enlargement) for one in each]
            start = column - columns[0]
            for sums, one in zip(total, each, strict=True):
                add_tile(sums, one, wide, start)
            low, high = max(start, 0), min(start + tile, width)
            weight[:, low:high] += weights[:, low - start : high - start]


def _parts(rows: int, logits: int) -> Iterator[slice]:
    """Parts of so many rows, each with so many logits, that hold at most `FINISHED_BYTES`, or are one row."""
    step = max(1, FINISHED_BYTES // (4 * logits))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _with_logits(job: SlideJob, tiles: Iterable[Tile]) -> Iterator[tuple[int, int, np.ndarray | None]]:
    """(row, column, f32[h,h,M*C] of its cells) of each tile, in order; None where it could not be read."""
    for chunk in batched(tiles, job.tiling.batch_size):
        images = [one.image for one in chunk if one.image is not None]
        logits = iter(job.forward(np.stack(images)).coarse_logits if images else ())
        for one in chunk:
            yield one.row, one.column, None if one.image is None else next(logits)
