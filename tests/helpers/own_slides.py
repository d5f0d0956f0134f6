"""Slides as somebody has them, small: boxes under any names, as QuPath exports them."""

import gzip
import json
from pathlib import Path

import numpy as np

from helpers.dataset_generator import BACH_MPP, BLOCK, draw_tissue
from l2s_jax.phantom.slide_writing import write_pyramidal_slide

SIDE = 128
"""Pixels of a slide at 7.5 um/px; a pixel is `BLOCK` pixels of level 0."""

TUMOUR = ("Tumour", 8, 8, 40, 60)
STROMA = ("Stroma", 60, 10, 110, 70)
FRAME = ("Region*", 4, 76, 90, 124)
IN_FRAME = ("Tumour", 20, 90, 50, 110)
IGNORED = ("Ignore*", 100, 90, 120, 120)
REGIONS = (TUMOUR, STROMA, FRAME, IN_FRAME, IGNORED)
COLOURS = {"Tumour": [200, 30, 60], "Stroma": [150, 200, 150]}


def write_own_slide(folder: Path, name: str, seed: int, *, mpp: float | None = BACH_MPP) -> Path:
    """A slide of tissue of its own, in Aperio's form."""
    level0 = np.repeat(np.repeat(draw_tissue(SIDE, SIDE, seed), BLOCK, 0), BLOCK, 1)
    folder.mkdir(parents=True, exist_ok=True)
    return write_pyramidal_slide(folder / f"{name}.svs", level0, mpp=mpp, quality=95)


def feature(name: str, top: float, left: float, bottom: float, right: float) -> dict:
    """A box (pixels at 7.5 um/px) as QuPath exports it; without a class where the name is empty."""
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    properties: dict = {"objectType": "annotation"}
    if name:
        properties["classification"] = {"name": name, "color": COLOURS.get(name, [10, 20, 30])}
    corners = [[x * BLOCK, y * BLOCK] for x, y in ring]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": properties,
    }


def write_regions(path: Path, regions=REGIONS) -> Path:
    """The boxes as a FeatureCollection, packed where the name says so."""
    text = json.dumps({"type": "FeatureCollection", "features": [feature(*one) for one in regions]}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_own_slides(folder: Path, number: int = 4, regions=REGIONS, first: int = 1) -> Path:
    """s1.svs with s1.geojson and so on."""
    for seed in range(first, first + number):
        write_own_slide(folder, f"s{seed}", seed)
        write_regions(folder / f"s{seed}.geojson", regions)
    return folder


def painted(regions=REGIONS, codes=None, undrawn: int = 255) -> np.ndarray:
    """u8[SIDE,SIDE]: the truth, with frames of background 0 below all regions."""
    codes = codes or {"Stroma": 1, "Tumour": 2, "Ignore*": 255}
    mask = np.full((SIDE, SIDE), undrawn, np.uint8)
    for frames in (True, False):
        for name, top, left, bottom, right in regions:
            if (name == "Region*") == frames:
                mask[top:bottom, left:right] = 0 if frames else codes[name]
    return mask
