#!/usr/bin/env bash
# Guess: a TIFF that says it is to be turned (Orientation 3, 6, 8) is either turned or shown as it is stored.
# What happens: OpenSlide does neither where tiles are deflate (LZW, uncompressed): each tile is turned or
#   mirrored where it stands, so the picture is a scrambled mosaic of the right size. With JPEG tiles the same
#   picture comes out as it is stored. No error, no property that says so.
# Why it matters here: libvips hands a camera's or scanner's Orientation on to the tiled TIFF that it makes, and
#   tissue scrambled tile by tile still looks like tissue: no mask drawn elsewhere fits it.
# Seen: 2026-11-29, openslide-bin 4.0.1.2 on tiles that pyvips-binary 8.18.7 wrote.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' \
    'pyvips-binary==8.18.7' 'pyvips==3.2.0' 'tifffile==2026.3.3' 'pillow==13.0.0' 'numpy==2.4.6'
seen <<'TEXT'
deflate tiles
  orientation 1, written as 1: as stored
  orientation 2, written as 2: mirrored within each tile
  orientation 3, written as 3: turned by 180 degrees within each tile
  orientation 6, written as 6: mirrored within each tile
  orientation 8, written as 8: flipped within each tile
jpeg tiles
  orientation 1, written as 1: as stored
  orientation 2, written as 2: as stored
  orientation 3, written as 3: as stored
  orientation 6, written as 6: as stored
  orientation 8, written as 8: as stored
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import pyvips
from PIL import Image

TILE = 128
rows, cols = np.mgrid[:256, :384]
stored = np.stack([rows // 2, cols // 2, (rows // 32 + cols // 32) % 2 * 200], -1).astype(np.uint8)
tiles = stored.reshape(2, TILE, 3, TILE, 3)
KNOWN = {
    "as stored": stored,
    "turned by 180 degrees within each tile": tiles[:, ::-1, :, ::-1].reshape(stored.shape),
    "mirrored within each tile": tiles[:, :, :, ::-1].reshape(stored.shape),
    "flipped within each tile": tiles[:, ::-1].reshape(stored.shape),
    "turned as a whole by 180 degrees": stored[::-1, ::-1],
    "turned as a whole by 90 degrees": np.rot90(stored, -1),
    "turned as a whole by 270 degrees": np.rot90(stored),
}


def look(read):
    for name, value in KNOWN.items():
        if read.shape == value.shape and np.abs(read.astype(int) - value).mean() < 5:
            return name
    return "something else"


pyvips.cache_set_max(0)
for compression in ("deflate", "jpeg"):
    print(compression, "tiles")
    for orientation in (1, 2, 3, 6, 8):
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(stored).save("camera.png", exif=exif)
        pyvips.Image.new_from_file("camera.png").tiffsave(
            "slide.tif",
            tile=True,
            pyramid=True,
            tile_width=TILE,
            tile_height=TILE,
            compression=compression,
        )
        with Image.open("slide.tif") as made:
            written = made.tag_v2[274]
        slide = openslide.OpenSlide("slide.tif")
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
        print(f"  orientation {orientation}, written as {written}: {look(read)}")
PYTHON
