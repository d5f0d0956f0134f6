"""Brushes for the phantom: smooth noise, scattered points and soft ellipses, on NumPy canvases.

Points are float[N,2] (row, col) in canvas pixels; angles are those of the long axis, from the row axis
towards the column axis.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

OVERSAMPLING = 2
"""Canvas pixels along each side of a picture's pixel."""


class Concentrations(NamedTuple):
    """Amounts of the two stains, float32[H,W] >= 0; 1 is a well stained nucleus or red cell."""

    haematoxylin: np.ndarray
    eosin: np.ndarray


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth Gaussian noise, float32[H,W] of mean 0 and variance about 1; `sigma` in pixels."""
    step = max(1, int(sigma / 1.1))  # drawn coarsely and enlarged: a wide filter at full size is slow
    coarse = [length // step + 3 for length in shape]
    noise = ndimage.gaussian_filter(
        rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap", truncate=3
    )
    noise *= 2 * np.sqrt(np.pi) * sigma / step  # the standard deviation that the filter left is its inverse
    return enlarged(noise, step, shape)


def enlarged(field: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolates float32 samples taken `step` pixels apart, from the first pixel on, to `shape`."""
    height, width = shape[:2]
    if step == 1:
        return field[:height, :width]
    box = (0.5 - 0.5 / step, 0.5 - 0.5 / step, 0.5 + (width - 0.5) / step, 0.5 + (height - 0.5) / step)
    return np.array(Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR, box=box))


def warped_axes(
    rng: np.random.Generator, shape: tuple[int, ...], direction: float, sigma: float, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction, bent by smooth noise of `strength` pixels."""
    rows, cols = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    rows += strength * smooth_noise(rng, shape, sigma)
    cols += strength * smooth_noise(rng, shape, sigma)
    cosine, sine = np.cos(direction), np.sin(direction)
    return rows * cosine + cols * sine, cols * cosine - rows * sine


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
    size = np.ceil((np.maximum(half_lengths, half_widths) + softness) / 3).astype(int)
    for reach in np.unique(size):  # small ones in small windows
        one = size == reach
        traits = np.stack([half_lengths, half_widths, angles, strengths])[:, one].astype(np.float32)
        _stamp(canvas, points[one], 3 * int(reach), traits, softness)


def _stamp(canvas: np.ndarray, points: np.ndarray, reach: int, traits: np.ndarray, softness: float) -> None:
    """Draws ellipses that fit into windows of `reach` pixels around their centres."""
    length, width, angles, strengths = traits[:, :, None, None]
    height, breadth = canvas.shape
    offsets = np.arange(-reach, reach + 1)
    nearest = np.rint(points).astype(int)
    shift = (nearest - points).astype(np.float32)
    rows = offsets.astype(np.float32)[None, :, None] + shift[:, 0, None, None]  # [N,k,1], from the centres
    cols = offsets.astype(np.float32)[None, None, :] + shift[:, 1, None, None]  # [N,1,k]
    cosine, sine = np.cos(angles), np.sin(angles)
    along = (rows * cosine + cols * sine) / length
    across = (cols * cosine - rows * sine) / width
    inner = 1 - np.sqrt(along * along + across * across)
    values = (inner * (np.minimum(length, width) / softness) + 0.5).clip(0, 1) * strengths
    to_rows = nearest[:, 0, None, None] + offsets[None, :, None]
    to_cols = nearest[:, 1, None, None] + offsets[None, None, :]
    seen = (values > 0) & (to_rows >= 0) & (to_rows < height) & (to_cols >= 0) & (to_cols < breadth)
    np.maximum.at(canvas.reshape(-1), (to_rows * breadth + to_cols)[seen], values[seen])
