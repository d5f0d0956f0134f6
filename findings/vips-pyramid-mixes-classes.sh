#!/usr/bin/env bash
# Guess: `vips tiffsave --pyramid` of a mask makes lower levels of the codes that the mask has.
# What happens: every lower level is the mean of 2 x 2 pixels. A mask of classes 0 and 4 has a rim of class 2 at
#   one level and of class 3 at another. `region_shrink="nearest"` (or "mode") keeps to the codes; it must be asked
#   for.
# Why it matters here: it is the usual way to make a slide-sized mask that viewers open, and levels are what
#   patches at a coarse um/px are cut from. The new classes lie exactly where the boundary is judged.
# Seen: 2026-11-29, pyvips-binary 8.18.7.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' \
    'pyvips-binary==8.18.7' 'pyvips==3.2.0' 'tifffile==2026.3.3' 'pillow==13.0.0' 'numpy==2.4.6'
seen <<'TEXT'
default: codes by level [[0, 4], [0, 2, 4], [0, 3, 4], [0, 2, 4]]
region_shrink=nearest: codes by level [[0, 4], [0, 4], [0, 4], [0, 4]]
region_shrink=mode: codes by level [[0, 4], [0, 4], [0, 4], [0, 4]]
TEXT
observe <<'PYTHON'
import numpy as np
import pyvips
import tifffile

mask = np.zeros((1024, 1024), np.uint8)
mask[:, 333:] = 4
image = pyvips.Image.new_from_memory(mask.tobytes(), 1024, 1024, 1, "uchar")
for name, options in (
    ("default", {}),
    ("region_shrink=nearest", {"region_shrink": "nearest"}),
    ("region_shrink=mode", {"region_shrink": "mode"}),
):
    image.tiffsave(
        "mask.tif",
        tile=True,
        pyramid=True,
        tile_width=128,
        tile_height=128,
        compression="deflate",
        **options,
    )
    with tifffile.TiffFile("mask.tif") as file:
        codes = [np.unique(page.asarray()).tolist() for page in file.pages]
    print(f"{name}: codes by level {codes}")
PYTHON
