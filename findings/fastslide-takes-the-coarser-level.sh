#!/usr/bin/env bash
# Guess: fastslide, whose methods have OpenSlide's names, does what OpenSlide and TiffSlide do.
# What happens: `get_best_level_for_downsample` names the level nearest to the wanted scale, also where that is too
#   coarse: for 3 the level made by 4, for 11 that by 16. The usual steps, to read that level and scale it by the rest,
#   then enlarge a picture without its detail. `read_region` counts its place in pixels of the level, not of level 0;
#   over the right edge the picture is smaller than asked for; and a scale that the file does not tell is 0.0.
# Why it matters here: one import changed, patches lie elsewhere and are blurred, and 0.0 um/px is a number.
# Seen: 2026-12-01, fastslide 0.8.1, openslide-bin 4.0.1.2, TiffSlide 3.0.1, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'fastslide==0.8.1' 'tiffslide==3.0.1' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' \
    'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
OpenSlide: best level for 2 0, for 3 0, for 4 1, for 11 1, for 16 2
  stripes of 100 and 200, at a third: 100 to 200
  read at 512 in level 1: column 512 of level 0
  64 x 64 over the edge: (64, 64)
  um/px that is not told: None
TiffSlide: best level for 2 0, for 3 0, for 4 1, for 11 1, for 16 2
  stripes of 100 and 200, at a third: 100 to 200
  read at 512 in level 1: column 512 of level 0
  64 x 64 over the edge: (64, 64)
  um/px that is not told: None
fastslide: best level for 2 0, for 3 1, for 4 1, for 11 2, for 16 2
  stripes of 100 and 200, at a third: 125 to 175
  read at 512 in level 1: column 2048 of level 0
  64 x 64 over the edge: (64, 10)
  um/px that is not told: 0.0
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile
import tiffslide
from fastslide import FastSlide
from PIL import Image

SIZE = 4096
columns = np.arange(SIZE) // 16
pixels = np.repeat(np.repeat(columns[None, :, None], SIZE, 0), 3, 2).astype(np.uint8)  # brightness tells the place
stripes = pixels[:, :1024].copy()
stripes[:, :] = 200
stripes[:, np.arange(1024) % 6 < 3] = 100


def write(name, pixels, told=True):
    with tifffile.TiffWriter(name) as writer:
        for by in (1, 4, 16):
            height, width = (side // by for side in pixels.shape[:2])
            level = pixels.reshape(height, by, width, by, 3).mean((1, 3)).astype(np.uint8)
            scale = {"resolution": (40000 / by, 40000 / by), "resolutionunit": "CENTIMETER"} if told else {}
            writer.write(
                level, tile=(256, 256), photometric="rgb", compression="deflate", metadata=None,
                subfiletype=int(by > 1), **scale,
            )  # fmt: skip


def patch(slide, by, size):
    """The upper left corner at 1/by of level 0, by the usual steps: best level, then a resize."""
    level = slide.get_best_level_for_downsample(by)
    side = round(size * by / slide.level_downsamples[level])
    region = slide.read_region((0, 0), level, (side, side))
    picture = Image.fromarray(region.numpy()) if hasattr(region, "numpy") else region.convert("RGB")
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX))[:, :, 0]


write("place.tif", pixels)
write("stripes.tif", stripes)
write("untold.tif", stripes, told=False)
for name, open_slide in (
    ("OpenSlide", openslide.OpenSlide),
    ("TiffSlide", tiffslide.TiffSlide),
    ("fastslide", FastSlide.from_file_path),
):
    slide = open_slide("place.tif")
    best = {by: slide.get_best_level_for_downsample(by) for by in (2, 3, 4, 11, 16)}
    print(f"{name}: best level {', '.join(f'for {by} {level}' for by, level in best.items())}")
    fine = patch(open_slide("stripes.tif"), 3, 64)
    print(f"  stripes of 100 and 200, at a third: {fine.min()} to {fine.max()}")
    region = slide.read_region((512, 512), 1, (8, 8))
    value = np.asarray(region.numpy() if hasattr(region, "numpy") else region)[0, 0, 0]
    print(f"  read at 512 in level 1: column {16 * int(value)} of level 0")
    region = slide.read_region((SIZE - 10, 0), 0, (64, 64))
    print(f"  64 x 64 over the edge: {np.asarray(region.numpy() if hasattr(region, 'numpy') else region).shape[:2]}")
    untold = open_slide("untold.tif")
    mpp = untold.mpp[0] if name == "fastslide" else untold.properties.get(f"{name.lower()}.mpp-x")
    print(f"  um/px that is not told: {mpp}")
PYTHON
