"""Phantom glands as stain concentrations; their class is in their architecture.

The three gland classes are prototypes on a scale of `grade` 0, 1 and 2. Every picture draws its own grade
around that of its class and every trait its own around that, so that the classes overlap. Lengths are in
canvas pixels; the canvas is twice as fine as the picture.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage, spatial

from l2s_jax.phantom.brushes import (
    Concentrations,
    at,
    enlarged,
    scattered_points,
    smooth_noise,
    stamp_ellipses,
    warped_axes,
)


class Architecture(NamedTuple):
    """What the glands of one picture look like."""

    radius: float  # half the width of a gland
    elongation: float  # length over width
    gap: float  # stroma between neighbours; negative where glands fuse
    irregularity: float  # how far the outline strays from a smooth one
    keep: float  # share of the sites that carry a gland
    wall: float  # thickness of the epithelium around the lumen
    layers: float  # 0: nuclei in one basal row, 1: at any height of the wall
    nucleus_length: float  # half the long axis
    nucleus_width: float  # half the short axis
    pleomorphism: float  # spread of nuclear size, shape and direction
    spacing: float  # between nuclei
    goblet: float  # share of the cells that hold a mucin vacuole
    basophilia: float  # haematoxylin in the cytoplasm
    holes: float  # share of sites with a small extra lumen (cribriform growth)


# One column a grade: normal crypt, adenoma, carcinoma.
PROTOTYPES = Architecture(*np.array([
    (36.0, 31.0, 34.0),
    (1.15, 2.2, 1.6),
    (15.0, 6.0, 0.0),
    (1.5, 3.0, 8.0),
    (0.95, 0.93, 0.82),
    (28.0, 23.0, 25.0),
    (0.06, 0.5, 0.9),
    (4.6, 6.8, 6.0),
    (2.8, 2.5, 4.3),
    (0.14, 0.2, 0.42),
    (7.0, 8.0, 11.5),
    (0.9, 0.3, 0.03),
    (0.2, 0.32, 0.34),
    (0.0, 0.05, 0.3),
]))  # fmt: skip


def draw_architecture(rng: np.random.Generator, grade: float, overlap: float) -> Architecture:
    """Draws the traits of one picture's glands.

    Args:
      rng: drawn from.
      grade: 0 normal, 1 adenoma, 2 carcinoma.
      overlap: standard deviation of the grade between pictures of a class; traits stray by as much again.
    """
    grade = grade + rng.normal(0, overlap)
    traits = [
        np.interp(grade + rng.normal(0, overlap), (0, 1, 2), prototype) * rng.lognormal(0, 0.06)
        for prototype in PROTOTYPES
    ]
    return Architecture(*map(float, traits))


def gland_sites(
    rng: np.random.Generator, shape: tuple[int, ...], build: Architecture
) -> tuple[np.ndarray, np.ndarray]:
    """Lays out glands: each pixel of one gland is nearest to its centre in a warped, stretched plane.

    Returns:
      glands: bool[H,W].
      site: int32[H,W], the number of the nearest centre, for choosing whole glands.
    """
    direction = rng.uniform(0, np.pi)
    along, across = warped_axes(rng, shape, direction, sigma=45, strength=9)
    plane = (along / build.elongation, across)
    spacing = 2 * build.radius + build.gap
    low = np.array([axis.min() for axis in plane])
    extent = tuple(float(axis.max() - axis.min()) for axis in plane)
    centres = scattered_points(rng, extent, spacing, jitter=0.11, margin=spacing) + low
    radius = build.radius * rng.lognormal(0, 0.12, len(centres))
    radius[rng.random(len(centres)) > build.keep] = -build.radius / 2
    reach, gap, site = _depth_in_sites(centres, radius, np.stack(plane, axis=-1))
    rough = smooth_noise(rng, shape, 10) + 0.4 * smooth_noise(rng, shape, 4)
    depth = np.minimum(reach, (gap - build.gap) / 2) + build.irregularity * rough * 0.6
    glands = ndimage.binary_opening(depth > 0, iterations=3)
    gaps, _ = ndimage.label(~glands)
    small = np.bincount(gaps.ravel()) <= 80
    return glands | small[gaps], site


def _depth_in_sites(
    centres: np.ndarray, radius: np.ndarray, plane: np.ndarray, step: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At every pixel: radius of the nearest site less its distance, lead over the second site, number."""
    shape = plane.shape[:2]
    sampled = np.pad(plane[::step, ::step], ((0, 1), (0, 1), (0, 0)), mode="edge")
    distances, numbers = spatial.cKDTree(centres).query(sampled, k=2)
    reach = enlarged((radius[numbers[..., 0]] - distances[..., 0]).astype(np.float32), step, shape)
    gap = enlarged((distances[..., 1] - distances[..., 0]).astype(np.float32), step, shape)
    site = numbers[..., 0].repeat(step, axis=0).repeat(step, axis=1)[: shape[0], : shape[1]]
    return reach, gap, site


def draw_epithelium(rng: np.random.Generator, glands: np.ndarray, build: Architecture) -> Concentrations:
    """Fills glands: lumen, cytoplasm, mucin and nuclei, placed by their depth below the outline.

    Args:
      rng: drawn from.
      glands: bool[H,W].
      build: the traits.

    Returns:
      concentrations, meaningful where `glands` is true.
    """
    shape = glands.shape
    depth = _depth(glands)
    normals = np.stack(np.gradient(ndimage.gaussian_filter(depth, 2)), axis=-1)
    radial = np.arctan2(normals[..., 1], normals[..., 0])
    lumen = _draw_lumen(rng, depth, build)
    mucin = _draw_mucin(rng, depth, radial, lumen, build)
    nuclei = _draw_epithelial_nuclei(rng, depth, normals, radial, lumen, build)
    grain = smooth_noise(rng, shape, 2.2)
    haematoxylin = build.basophilia + 0.05 * grain + 0.04 * smooth_noise(rng, shape, 15)
    eosin = 0.36 + 0.05 * grain
    apical = np.exp(-(((depth - build.wall) / 2.5) ** 2)) * (1 - lumen)
    eosin = eosin + 0.12 * apical
    haematoxylin = haematoxylin * (1 - 0.62 * mucin)
    eosin = eosin * (1 - 0.75 * mucin)
    secretion = (0.12 * smooth_noise(rng, shape, 4)).clip(0)
    haematoxylin = haematoxylin * (1 - lumen) + lumen * secretion * 0.7
    eosin = eosin * (1 - lumen) + lumen * (0.03 + secretion)
    return Concentrations(
        np.maximum(haematoxylin, nuclei).clip(0).astype(np.float32),
        (eosin * (1 - 0.35 * nuclei.clip(0, 1))).clip(0).astype(np.float32),
    )


def _depth(glands: np.ndarray) -> np.ndarray:
    """Distance to the outline inside glands, float32[H,W] in pixels; the canvas's rim is no outline."""
    if glands.all():
        return np.full(glands.shape, max(glands.shape), np.float32)
    return ndimage.distance_transform_edt(glands).astype(np.float32)


def _draw_lumen(rng: np.random.Generator, depth: np.ndarray, build: Architecture) -> np.ndarray:
    """Where the gland is hollow, 0..1: below the wall, and in the small holes of cribriform growth."""
    ragged = depth - build.wall + 2.5 * smooth_noise(rng, depth.shape, 4)
    lumen = (ragged / 2).clip(0, 1)
    points = scattered_points(rng, depth.shape, 30)
    points = points[(rng.random(len(points)) < build.holes) & (at(depth, points) > 9)]
    size = rng.uniform(3, 7, len(points))
    stamp_ellipses(
        lumen,
        points,
        size * rng.uniform(1, 1.8, len(points)),
        size,
        rng.uniform(0, np.pi, len(points)),
        np.full(len(points), 0.95),
        softness=2,
    )
    return lumen


def _draw_mucin(
    rng: np.random.Generator, depth: np.ndarray, radial: np.ndarray, lumen: np.ndarray, build: Architecture
) -> np.ndarray:
    """Goblet vacuoles, 0..1: drops that point to the lumen, above the basal nuclei."""
    mucin = np.zeros(depth.shape, np.float32)
    points = scattered_points(rng, depth.shape, 9.5, jitter=0.2)
    here = at(depth, points)
    chosen = (here > 9) & (at(lumen, points) < 0.3) & (rng.random(len(points)) < build.goblet)
    points = points[chosen]
    stamp_ellipses(
        mucin,
        points,
        rng.uniform(5, 8, len(points)),
        rng.uniform(3.0, 4.6, len(points)),
        at(radial, points),
        rng.uniform(0.7, 1, len(points)),
        softness=2.0,
    )
    return mucin


def _draw_epithelial_nuclei(
    rng: np.random.Generator,
    depth: np.ndarray,
    normals: np.ndarray,
    radial: np.ndarray,
    lumen: np.ndarray,
    build: Architecture,
) -> np.ndarray:
    """Nuclei, 0 to about 1.1: basal and upright in a crypt, piled up in an adenoma, astray in a carcinoma."""
    shape = depth.shape
    points = scattered_points(rng, shape, build.spacing, jitter=0.22)
    here = at(depth, points)
    basal = build.nucleus_length + 1.0
    top = basal + build.layers * (build.wall - basal)
    chosen = (here > 0.5) & (here < np.maximum(top, basal + build.spacing * 0.75)) & (at(lumen, points) < 0.2)
    points, here = points[chosen], here[chosen]
    to_basal = (1 - min(1.0, build.layers * 1.6)) * (basal - here) + rng.normal(0, 0.7, len(points))
    points = points + at(normals, points) * to_basal[:, None].astype(np.float32)
    points = points[at(depth, points) > 0.5]
    count = len(points)
    spread = build.pleomorphism
    size = rng.lognormal(0, spread * 0.55, count)
    stretch = rng.lognormal(0, spread * 0.4, count)
    nuclei = np.zeros(shape, np.float32)
    length, width = build.nucleus_length * size * stretch, build.nucleus_width * size / np.sqrt(stretch)
    angles = at(radial, points) + rng.normal(0, 0.12 + 1.6 * spread**2, count)
    strength = rng.uniform(0.55, 1.0, count) * rng.lognormal(0, 0.3 * spread, count)
    stamp_ellipses(nuclei, points, length.clip(2, 14), width.clip(1.6, 9), angles, strength)
    chromatin = 1 - 0.16 * spread * 2.5 * smooth_noise(rng, shape, 1.4).clip(-1, 2)
    return nuclei * chromatin.clip(0.4, 1.3)
