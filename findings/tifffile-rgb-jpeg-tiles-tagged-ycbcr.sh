#!/usr/bin/env bash
# Guess: tiles of JPEG that are copied into a TIFF with photometric="rgb" are tagged as RGB.
# What happens: tifffile tags every JPEG picture of three channels YCbCr, since it would encode it so itself, and leaves
#   tiles that it is given as they are. RGB JPEG tiles, as Aperio's scanners write them, then contradict their tag, and
#   readers choose: tifffile goes by the JPEG and is right; OpenSlide goes by the tag, and purple is lime green.
#   The writer's own check, reading back, sees nothing.
# Why it matters here: copying tiles is how slides are cut, anonymised and converted without loss.
# Seen: 2026-12-01, tifffile 2026.3.3, openslide-bin 4.0.1.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'openslide-bin==4.0.1.2' \
    'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
RGB JPEG tiles of (200, 60, 120), photometric="rgb": tagged YCBCR
  tifffile (200, 60, 120), OpenSlide (189, 229, 80)
TEXT
observe <<'PYTHON'
import imagecodecs
import numpy as np
import openslide
import tifffile

tile = np.full((256, 256, 3), (200, 60, 120), np.uint8)
content = imagecodecs.jpeg8_encode(tile, level=95, colorspace="RGB", outcolorspace="RGB")
tifffile.imwrite(
    "slide.tif", iter([content] * 4), shape=(512, 512, 3), dtype=np.uint8, tile=(256, 256), compression="jpeg",
    photometric="rgb", metadata=None,
)  # fmt: skip
with tifffile.TiffFile("slide.tif") as file:
    tag = file.pages[0].photometric.name
read = {
    "tifffile": tifffile.imread("slide.tif")[100, 100],
    "OpenSlide": openslide.OpenSlide("slide.tif").read_region((100, 100), 0, (1, 1)).getpixel((0, 0)),
}
print(f'RGB JPEG tiles of (200, 60, 120), photometric="rgb": tagged {tag}')
print("  " + ", ".join(f"{name} {tuple(int(value) for value in pixel[:3])}" for name, pixel in read.items()))
PYTHON
