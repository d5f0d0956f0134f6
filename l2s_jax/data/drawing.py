"""Brushes for the phantom: smooth noise, scattered points and soft ellipses, on NumPy canvases.

Points are float[N,2] (row, col) in canvas pixels; angles are those of the long axis, from the row axis
towards the column axis.
"""

import numpy as np
from scipy import ndimage


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth Gaussian noise, float32[H,W] of mean 0 and variance about 1; `sigma` in pixels."""
    step = max(1, int(sigma / 3))  # drawn coarsely and enlarged: a wide filter at full size is slow
    coarse = [length // step + 3 for length in shape]
    noise = ndimage.gaussian_filter(
        rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap", truncate=3
    )
    noise *= 2 * np.sqrt(np.pi) * sigma / step  # the standard deviation that the filter left is its inverse
    if step == 1:
        return noise[: shape[0], : shape[1]]
    rows, cols = np.meshgrid(*(np.arange(length) / step for length in shape), indexing="ij")
    return ndimage.map_coordinates(noise, [rows, cols], order=1, output=np.float32)


def scattered_points(
    rng: np.random.Generator,
    shape: tuple[float, ...],
    spacing: float,
    jitter: float = 0.35,
    margin: float = 0,
) -> np.ndarray:
    """A hexagonal grid whose points are shifted at random: evenly spread, never in rows.

    Args:
      rng: drawn from.
      shape: (height, width) that is covered, in pixels.
      spacing: distance between neighbours, in pixels.
      jitter: standard deviation of the shift, in spacings.
      margin: how far beyond the canvas points may lie, in pixels.

    Returns:
      float32[N,2].
    """
    rows, cols = (
        np.arange(-margin, length + margin + step, step)
        for length, step in zip(shape, (spacing * 0.866, spacing), strict=True)
    )
    grid = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
    grid[1::2, :, 1] += spacing / 2
    points = grid.reshape(-1, 2) + rng.uniform(-spacing / 2, spacing / 2, 2)
    return (points + rng.normal(0, jitter * spacing, points.shape)).astype(np.float32)


def inside(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """bool[N]: which points lie on the canvas."""
    return np.all((points >= 0) & (points < np.array(shape) - 0.5), axis=1)


def at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of `field` ([H,W] or [H,W,K]) at the pixels nearest to `points`, clipped to the canvas."""
    rows, cols = np.rint(points).astype(int).T
    return field[rows.clip(0, field.shape[0] - 1), cols.clip(0, field.shape[1] - 1)]


def stamp_ellipses(
    canvas: np.ndarray,
    points: np.ndarray,
    half_lengths: np.ndarray,
    half_widths: np.ndarray,
    angles: np.ndarray,
    strengths: np.ndarray,
    softness: float = 1.0,
) -> None:
    """Draws soft ellipses into `canvas` (float32[H,W], changed in place); the largest value stays.

    Args:
      canvas: what is drawn into.
      points: float[N,2], centres.
      half_lengths: float[N], along `angles`, in pixels.
      half_widths: float[N], across, in pixels.
      angles: float[N], radians.
      strengths: float[N], the value inside.
      softness: width of the edge, in pixels.
    """
    if not len(points):
        return
    reach = int(np.ceil(max(half_lengths.max(), half_widths.max()) + softness))
    offsets = np.arange(-reach, reach + 1)
    nearest = np.rint(points).astype(int)
    shift = (nearest - points).astype(np.float32)
    rows = offsets[None, :, None] + shift[:, 0, None, None]  # [N,k,1], relative to the centres
    cols = offsets[None, None, :] + shift[:, 1, None, None]  # [N,1,k]
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    length, width = half_lengths[:, None, None], half_widths[:, None, None]
    radius = np.hypot((rows * cosine + cols * sine) / length, (cols * cosine - rows * sine) / width)
    values = ((1 - radius) * np.minimum(length, width) / softness + 0.5).clip(0, 1) * strengths[:, None, None]
    to_rows = nearest[:, 0, None, None] + offsets[None, :, None]
    to_cols = nearest[:, 1, None, None] + offsets[None, None, :]
    seen = (
        (values > 0)
        & ((to_rows >= 0) & (to_rows < canvas.shape[0]))
        & ((to_cols >= 0) & (to_cols < canvas.shape[1]))
    )
    index = (to_rows * canvas.shape[1] + to_cols)[seen]
    np.maximum.at(canvas.reshape(-1), index, values[seen].astype(np.float32))
