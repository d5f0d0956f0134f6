#!/usr/bin/env bash
# Guess: a region read at the very scale of a level is that level's pixels; at other scales each detail is in its place.
# What happens: dlup 0.9.4 passes each region through its Lanczos kernel (the default), also where nothing is to be
#   scaled, and the kernel lies half a pixel off: a black line of one pixel becomes two grey ones half a pixel further
#   right, and one-pixel stripes become plain grey. Made twice as fine, the line lies 0.75 pixels off; at half
#   the scale, where it should, and MAGIC2021 does the same as Lanczos. Only with NEAREST are the pixels the slide's.
# Why it matters here: patches at a slide's own um/px, the commonest case, are softer than what OpenSlide gives for
#   the same place, and outlines lie off by half a pixel. A network trained on one sees the other.
# Seen: 2026-12-01, dlup 0.9.4 with fimage-python 0.1.2, openslide-bin 4.0.1.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'dlup==0.9.4' 'fastslide==0.8.1' 'fimage-python==0.1.2' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' \
    'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
level 0, a black line of one pixel on 240:
  OpenSlide: darkest 0, at +0.0 px
  dlup, nearest: darkest 0, at +0.0 px
  dlup, lanczos: darkest 90, at +0.5 px
  dlup, magic2021: darkest 100, at +0.5 px
level 1, a black line of one pixel on 240:
  OpenSlide: darkest 0, at +0.0 px
  dlup, nearest: darkest 0, at +0.0 px
  dlup, lanczos: darkest 90, at +0.5 px
  dlup, magic2021: darkest 100, at +0.5 px
level 0, stripes of one pixel: OpenSlide 40 to 240, dlup 140 to 140
level 0 times 0.5: the line at +0.00 px of level 0
level 0 times 2.0: the line at +0.75 px of level 0
TEXT
observe <<'PYTHON'
import dlup
import numpy as np
import openslide
import tifffile

SIZE, LINE = 2048, 1000
pixels = np.full((SIZE, SIZE, 3), 240, np.uint8)
pixels[:, LINE : LINE + 4] = 0  # level 1: one pixel wide
pixels[:, LINE + 400] = 0  # level 0: one pixel wide
pixels[:, 200:600:2] = 40
levels = {1: pixels, 4: pixels.reshape(SIZE // 4, 4, SIZE // 4, 4, 3).mean((1, 3)).astype(np.uint8)}
with tifffile.TiffWriter("slide.tif") as writer:
    for by, level in levels.items():
        common = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "metadata": None}
        resolution = {"resolution": (40000 / by, 40000 / by), "resolutionunit": "CENTIMETER"}
        writer.write(level, subfiletype=int(by > 1), **common, **resolution)
slide = openslide.OpenSlide("slide.tif")


def place(row):
    """Where the row's darkness within 8 pixels of its middle lies, counted from the middle pixel."""
    darkness = 240 - row.astype(float)
    offsets = np.arange(len(row)) - len(row) // 2
    darkness[np.abs(offsets) > 8] = 0
    return (darkness * offsets).sum() / darkness.sum()


def described(row):
    return f"darkest {10 * round(row.min() / 10)}, at {place(row) + 0.0:+.1f} px"


def read(x, scaling, size, kernel="LANCZOS"):
    region = dlup.SlideImage.from_file_path("slide.tif", interpolator=kernel).read_region((x, 0), scaling, (size, size))
    return region.to_numpy()[20, :, 0]


for level, (by, start) in enumerate(((1, LINE + 400), (4, LINE // 4))):
    region = slide.read_region(((start - 32) * by, 0), level, (64, 64))
    print(f"level {level}, a black line of one pixel on 240:")
    print("  OpenSlide:", described(np.asarray(region)[20, :, 0]))
    for kernel in dlup.Resampling:
        print(f"  dlup, {kernel.value.lower()}:", described(read(start - 32, 1 / by, 64, kernel)))
stored = np.asarray(slide.read_region((300, 0), 0, (64, 64)))[20, :, 0]
row = read(300, 1.0, 64)[8:-8]
print(f"level 0, stripes of one pixel: OpenSlide {stored.min()} to {stored.max()}, dlup {row.min()} to {row.max()}")
for scaling in (0.5, 2.0):
    row = read(round((LINE + 400 - 32) * scaling), scaling, round(64 * scaling))
    offset = (place(row) + 0.5) / scaling - 0.5
    print(f"level 0 times {scaling}: the line at {round(offset * 4) / 4:+.2f} px of level 0")
PYTHON
