#!/usr/bin/env bash
# Guess: `read_region` of a lower level returns pixels of that level; a location between two of them is rounded.
# What happens: OpenSlide's location is in pixels of level 0, and one that is no multiple of the level's
#   downsample is taken literally: the level is shifted by a fraction of a pixel and neighbours are blended.
#   In a pyramid of class codes, codes 1 and 3 become 2. tiffslide, with the same call, rounds down.
# Why it matters here: masks of challenges come as such pyramids, and random patches start anywhere.
# Seen: 2026-11-29, openslide-bin 4.0.1.2, tiffslide 3.0.1.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
level 1 (downsample 4) stores [1, 3, 1, 3, 1, 3, 1, 3] in its first row
from x = 0: OpenSlide [1, 3, 1, 3], tiffslide [1, 3, 1, 3]
from x = 1: OpenSlide [1, 2, 1, 2], tiffslide [1, 3, 1, 3]
from x = 2: OpenSlide [2, 2, 2, 2], tiffslide [1, 3, 1, 3]
from x = 3: OpenSlide [2, 1, 2, 1], tiffslide [1, 3, 1, 3]
from x = 4: OpenSlide [3, 1, 3, 1], tiffslide [3, 1, 3, 1]
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile
import tiffslide

codes = np.ones((256, 256), np.uint8)
codes[:, 1::2] = 3
with tifffile.TiffWriter("mask.tif") as file:
    file.write(codes.repeat(4, 0).repeat(4, 1), tile=(128, 128), photometric="minisblack")
    file.write(codes, tile=(128, 128), photometric="minisblack", subfiletype=1)
left, right = openslide.OpenSlide("mask.tif"), tiffslide.TiffSlide("mask.tif")
print(f"level 1 (downsample {left.level_downsamples[1]:g}) stores {codes[0, :8].tolist()} in its first row")
for x in range(5):
    rows = []
    for slide in (left, right):
        pixels = np.asarray(slide.read_region((x, 0), 1, (4, 1)))
        rows.append(pixels.reshape(4, -1)[:, 0].tolist())
    print(f"from x = {x}: OpenSlide {rows[0]}, tiffslide {rows[1]}")
PYTHON
