"""The change of stains that an exported network needs of each slide or picture. Needs NumPy alone.

A network that learned from normalised stains (Macenko et al. 2009) has to see others in those stains too. The
change is a 3x3 map between optical densities, one for a whole slide, and an input of the exported program:

    python stain_map.py PIXELS.npy MAP.npy

PIXELS.npy holds RGB pixels u8[..., 3] of the slide's tissue at the network's scale, some 100,000 or more;
glass among them is told by itself, pen marks are not. `stain.json`, the stains of the network, stands beside
this file. Where two stains cannot be told apart, the map is the identity, which leaves pictures as they are.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

INTENSITY, BETA, ALPHA, TOP = 240.0, 0.15, 1.0, 99.0
MIN_PIXELS, MIN_TISSUE_SHARE, MIN_VARIANCE = 100, 0.1, 1e-5
MIN_ANGLE, MIN_CONCENTRATION = 0.05, 0.05
"""Those of l2s_jax, by which it fits slides itself."""


def stain_map(pixels: np.ndarray, reference: dict[str, list]) -> np.ndarray:
    """The map f32[3,3] from a slide's optical densities to those in the stains of the reference.

    Args:
      pixels: u8[...,3], RGB.
      reference: `stain_matrix` [3,2] and `max_concentration` [2], as `stain.json` has them.
    """
    found = fit(pixels)
    if found is None:
        return np.eye(3, dtype=np.float32)
    return change(*found, np.array(reference["stain_matrix"]), np.array(reference["max_concentration"]))


def change(
    stains: np.ndarray, largest: np.ndarray, to_stains: np.ndarray, to_largest: np.ndarray
) -> np.ndarray:
    """Unmixes, scales each stain and mixes again: f32[3,3].

    Args:
      stains: f64[3,2], two stain vectors of optical density, in columns.
      largest: f64[2], their maximum concentrations.
      to_stains: f64[3,2], the vectors to give.
      to_largest: f64[2], the concentrations to give.
    """
    scaled = np.asarray(to_stains, float) * (np.asarray(to_largest, float) / np.asarray(largest, float))
    return (scaled @ np.linalg.pinv(np.asarray(stains, float))).astype(np.float32)


def changed(pixels: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Pixels u8[...,3] in other stains, u8[...,3], as the exported program changes them."""
    density = np.log((np.asarray(pixels).astype(float) + 1) / INTENSITY)
    light = INTENSITY * np.exp(density @ np.asarray(by, float).T)
    return np.floor(np.minimum(light, 255)).astype(np.uint8)


def fit(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Two stain vectors f64[3,2], haematoxylin first, and their maximum concentrations f64[2]; or None."""
    density = -np.log((np.asarray(pixels).reshape(-1, 3).astype(float) + 1) / INTENSITY)
    tissue = density[(density >= BETA).all(1)]
    if len(tissue) < max(MIN_PIXELS, MIN_TISSUE_SHARE * len(density)):
        return None
    variances, axes = np.linalg.eigh(np.cov(tissue.T))
    first, second = axes[:, 2], axes[:, 1]
    first = -first if first @ tissue.mean(0) < 0 else first
    angles = np.arctan2(tissue @ second, tissue @ first)
    low, high = np.percentile(angles, (ALPHA, 100 - ALPHA))
    stains = np.stack([first * math.cos(angle) + second * math.sin(angle) for angle in (low, high)], 1)
    if stains[0, 0] <= stains[0, 1]:  # haematoxylin takes more of the red than eosin does
        stains = stains[:, ::-1]
    largest = np.percentile(density @ np.linalg.pinv(stains).T, TOP, axis=0)
    usable = variances[1] >= MIN_VARIANCE and high - low >= MIN_ANGLE and (largest >= MIN_CONCENTRATION).all()
    return (stains, largest) if usable else None


def main(arguments: list[str]) -> int:
    """Reads pixels, writes the map."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        pixels = np.load(arguments[0])
        reference = json.loads((Path(__file__).parent / "stain.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"cannot read {arguments[0]} or stain.json: {error}", file=sys.stderr)
        return 2
    if pixels.dtype != np.uint8 or pixels.ndim < 2 or pixels.shape[-1] != 3:
        print(
            f"{arguments[0]} holds {pixels.dtype}{list(pixels.shape)}: expected RGB pixels, uint8 [..., 3]",
            file=sys.stderr,
        )
        return 2
    found = stain_map(pixels, reference)
    if (found == np.eye(3)).all():
        print("no two stains were found: the map leaves pictures as they are", file=sys.stderr)
    np.save(arguments[1], found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
