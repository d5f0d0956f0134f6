"""Phantom connective tissue as stain concentrations: what lies between glands, and what resembles them."""

import numpy as np
from scipy import ndimage

from l2s_jax.phantom.brushes import (
    Concentrations,
    at,
    inside,
    scattered_points,
    smooth_noise,
    stamp_ellipses,
    warped_axes,
)


def draw_stroma(rng: np.random.Generator, shape: tuple[int, ...]) -> Concentrations:
    """Connective tissue: wavy fibres, fibroblasts, clusters of lymphocytes, vessels that look like glands."""
    along, across = warped_axes(rng, shape, rng.uniform(0, np.pi), sigma=30, strength=14)
    fibres = _fibres(rng, along, across)
    eosin = rng.uniform(0.24, 0.36) + rng.uniform(0.05, 0.12) * fibres + 0.06 * smooth_noise(rng, shape, 12)
    haematoxylin = 0.09 + 0.025 * fibres
    clefts = (smooth_noise(rng, shape, 5) + 0.9 * fibres < -2.0 + rng.uniform(-0.3, 0.3)).astype(np.float32)
    nuclei = np.zeros(shape, np.float32)
    _draw_fibroblasts(rng, nuclei, across)
    _draw_lymphocytes(rng, nuclei)
    holes = np.zeros(shape, np.float32)
    cells = np.zeros(shape, np.float32)
    _draw_vessels(rng, holes, cells, nuclei)
    empty = np.maximum(ndimage.gaussian_filter(clefts, 0.8), holes)
    eosin = eosin.clip(0.03) * (1 - 0.93 * empty)
    haematoxylin = haematoxylin.clip(0) * (1 - 0.9 * empty)
    eosin = np.maximum(eosin, 0.95 * cells)
    return Concentrations(np.maximum(haematoxylin, nuclei), eosin * (1 - 0.3 * nuclei))


def _fibres(rng: np.random.Generator, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Streaks that follow the warped axes: one stretched noise tile, looked up along them."""
    tile = ndimage.gaussian_filter(rng.standard_normal((256, 256), dtype=np.float32), (9, 1.3), mode="wrap")
    tile /= tile.std()
    return ndimage.map_coordinates(tile, [along, across], order=1, mode="grid-wrap", output=np.float32)


def _draw_fibroblasts(rng: np.random.Generator, nuclei: np.ndarray, across: np.ndarray) -> None:
    points = scattered_points(rng, nuclei.shape, rng.uniform(17, 26))
    points = points[inside(points, nuclei.shape)]
    by_row, by_col = np.gradient(across)
    angles = np.arctan2(at(by_col, points), at(by_row, points)) + np.pi / 2 + rng.normal(0, 0.2, len(points))
    stamp_ellipses(
        nuclei,
        points,
        rng.uniform(4, 8, len(points)),
        rng.uniform(1.3, 2.2, len(points)),
        angles,
        rng.uniform(0.6, 0.95, len(points)),
    )


def _draw_lymphocytes(rng: np.random.Generator, nuclei: np.ndarray) -> None:
    points = scattered_points(rng, nuclei.shape, 9.5, jitter=0.3)
    density = smooth_noise(rng, nuclei.shape, 26) * 0.55 + rng.normal(-0.75, 0.4)
    points = points[at(density, points) + rng.normal(0, 0.45, len(points)) > 0]
    size = rng.uniform(2.6, 3.7, len(points))
    stamp_ellipses(
        nuclei,
        points,
        size,
        size * rng.uniform(0.8, 1, len(points)),
        rng.uniform(0, np.pi, len(points)),
        rng.uniform(0.85, 1.1, len(points)),
    )


def _draw_vessels(rng: np.random.Generator, holes: np.ndarray, cells: np.ndarray, nuclei: np.ndarray) -> None:
    """Capillaries and fat: round, empty or full of red cells, ringed by nuclei. Background all the same."""
    points = scattered_points(rng, holes.shape, 95, jitter=0.3)
    points = points[rng.random(len(points)) < 0.5]
    count = len(points)
    radius, stretch, angles = (
        rng.uniform(5, 15, count),
        rng.uniform(1, 2, count),
        rng.uniform(0, np.pi, count),
    )
    stamp_ellipses(holes, points, radius * stretch, radius, angles, np.ones(count), softness=2)
    red = scattered_points(rng, holes.shape, 7)
    full = smooth_noise(rng, holes.shape, 30) > 0
    red = red[(at(holes, red) > 0.9) & at(full, red)]
    round_cells = np.full(len(red), 3.1)
    stamp_ellipses(cells, red, round_cells, round_cells, 0 * round_cells, rng.uniform(0.75, 1.1, len(red)))
    turn = rng.uniform(0, 2 * np.pi, (count, 8))  # of the nuclei around each vessel
    along, over = (radius * stretch + 2)[:, None] * np.cos(turn), (radius + 2)[:, None] * np.sin(turn)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    offsets = np.stack([along * cosine - over * sine, along * sine + over * cosine], axis=-1)
    slope = np.arctan2((radius + 2)[:, None] * np.cos(turn), -(radius * stretch + 2)[:, None] * np.sin(turn))
    number = turn.size
    stamp_ellipses(
        nuclei,
        (points[:, None] + offsets).reshape(-1, 2),
        rng.uniform(3.5, 6, number),
        np.full(number, 1.7),
        (angles[:, None] + slope).ravel(),
        np.full(number, 0.85),
    )
