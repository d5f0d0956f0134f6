#!/usr/bin/env bash
# Guess: for a reduction of 4, `get_best_level_for_downsample(4)` names the level that was made by a factor of 4.
# What happens: sizes are cut to whole pixels, so that level's downsample is 4.007, which is more than 4, and
#   the answer is level 0: sixteen times the pixels are read. `round` it or ask with some slack. The size of the
#   slide decides, so a script tried on one slide is slow on the next. tiffslide answers the same.
# Why it matters here: a scan of slides at a fixed um/px takes minutes for some slides and hours for others.
# Seen: 2026-11-29, openslide-bin 4.0.1.2, tiffslide 3.0.1.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
(1500, 1000) pixels, downsamples [1.0, 4.0]: level for 4 is 1 (OpenSlide), 1 (tiffslide)
(1501, 1003) pixels, downsamples [1.0, 4.0073]: level for 4 is 0 (OpenSlide), 0 (tiffslide)
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile
import tiffslide

for width, height in ((1500, 1000), (1501, 1003)):
    pixels = np.zeros((height, width, 3), np.uint8)
    with tifffile.TiffWriter("slide.tif") as file:
        file.write(pixels, tile=(128, 128), photometric="rgb")
        reduced = pixels[: height // 4 * 4 : 4, : width // 4 * 4 : 4]
        file.write(reduced, tile=(128, 128), photometric="rgb", subfiletype=1)
    left, right = openslide.OpenSlide("slide.tif"), tiffslide.TiffSlide("slide.tif")
    print(
        f"{left.dimensions} pixels, downsamples {[round(d, 4) for d in left.level_downsamples]}: level for 4 is "
        f"{left.get_best_level_for_downsample(4)} (OpenSlide), {right.get_best_level_for_downsample(4)} (tiffslide)"
    )
PYTHON
