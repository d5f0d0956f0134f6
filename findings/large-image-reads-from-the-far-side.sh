#!/usr/bin/env bash
# Guess: large-image's `getRegion` gives a region that begins left of the slide as other readers do, filled or cut; and
#   it raises at a magnification or um/px that it cannot know.
# What happens: a negative left or top counts from the opposite edge, as in a Python slice. A tile with a margin of 64
#   pixels at the slide's left edge becomes the 64 pixels of the far right; written as left and right it is empty.
#   And for a slide without a scale the wanted one is dropped: 20x, 5x and 10 um/px are the same full resolution.
# Why it matters here: both return pictures of tissue. Margins are what segmentation by tiles needs, and a network that
#   was trained at 5x sees four times the magnification.
# Seen: 2026-12-01, large-image 1.35.6, openslide-bin 4.0.1.2, TiffSlide 3.0.1, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'large-image==1.35.6' 'large-image-source-tiff==1.35.6' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'imagecodecs==2026.3.6' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
128 pixels from column -64 of a slide that goes from 20 to 219:
  OpenSlide: 128 wide, from 0 over 20 to 32
  TiffSlide: 128 wide, from 0 over 20 to 32
  large-image, left and width: 64 wide, from 207 over 213 to 219
  large-image, left and right: nothing
scale.tif, 400 pixels at 20x, 5x and 10 um/px: [400, 100, 20] pixels
none.tif, 400 pixels at 20x, 5x and 10 um/px: [400, 400, 400] pixels
TEXT
observe <<'PYTHON'
import logging

import numpy as np
import openslide
import tifffile
import tiffslide
from large_image_source_tiff import TiffFileTileSource

logging.disable(logging.CRITICAL)
WIDTH, SIDE = 1000, 128
columns = np.arange(WIDTH) // 5 + 20  # 20 to 219 from left to right
pixels = np.repeat(np.repeat(columns[None, :, None], WIDTH, 0), 3, 2).astype(np.uint8)
common = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "metadata": None}
tifffile.imwrite("scale.tif", pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER", **common)
tifffile.imwrite("none.tif", pixels, **common)


def told(picture):
    picture = np.asarray(picture)
    if not picture.size:
        return "nothing"
    row = picture[0, :, 0].tolist()
    return f"{picture.shape[1]} wide, from {row[0]} over {row[len(row) // 2]} to {row[-1]}"


source = TiffFileTileSource("scale.tif")
print("128 pixels from column -64 of a slide that goes from 20 to 219:")
print("  OpenSlide:", told(openslide.OpenSlide("scale.tif").read_region((-64, 400), 0, (SIDE, SIDE))))
print("  TiffSlide:", told(tiffslide.TiffSlide("scale.tif").read_region((-64, 400), 0, (SIDE, SIDE))))
for name, box in (
    ("left and width", {"left": -64, "top": 400, "width": SIDE, "height": SIDE}),
    ("left and right", {"left": -64, "top": 400, "right": SIDE - 64, "bottom": 400 + SIDE}),
):
    print(f"  large-image, {name}:", told(source.getRegion(region=box, format="numpy")[0]))
box = {"left": 0, "top": 0, "width": 400, "height": 400}
for name in ("scale.tif", "none.tif"):
    source = TiffFileTileSource(name)
    widths = [
        source.getRegion(region=box, scale=scale, format="numpy")[0].shape[1]
        for scale in ({"magnification": 20}, {"magnification": 5}, {"mm_x": 0.01, "mm_y": 0.01})
    ]
    print(f"{name}, 400 pixels at 20x, 5x and 10 um/px: {widths} pixels")
PYTHON
