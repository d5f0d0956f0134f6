#!/usr/bin/env bash
# Guess: whatever opens an Aperio SVS gives red, green and blue.
# What happens: Aperio has two codes for JPEG 2000 tiles. Under 33005 they hold RGB; under 33003 they hold YCbCr that
#   no decoder turns into RGB by itself, and the tag PhotometricInterpretation says RGB in both. OpenSlide converts.
#   tifffile and TiffSlide, which offers OpenSlide's interface upon it, return the luma and chroma as if they were
#   red, green and blue: purple comes out blue. slideio converts with other factors, up to 17 of 255 off.
# Why it matters here: a slide looks plausible and all of its colours are wrong, in training or in prediction alone
#   if the two use different readers; normalising the stain hides it.
# Seen: 2026-12-01, tifffile 2026.3.3, TiffSlide 3.0.1, slideio 2.10.0, openslide-bin 4.0.1.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tifffile==2026.3.3' 'tiffslide==3.0.1' 'slideio==2.10.0' 'imagecodecs==2026.3.6' \
    'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
33005, stored as RGB (200, 60, 120):
  OpenSlide (200, 60, 120), tifffile (200, 60, 120), TiffSlide (200, 60, 120), slideio (200, 60, 120)
33003, stored as YCbCr of the same:
  OpenSlide (200, 61, 120), tifffile (109, 134, 193), TiffSlide (109, 134, 193), slideio (183, 69, 121)
TEXT
observe <<'PYTHON'
import imagecodecs
import numpy as np
import openslide
import slideio
import tifffile
import tiffslide

RGB = np.full((512, 512, 3), (200, 60, 120), np.uint8)
# ITU-R BT.601, full range, as in JPEG
YCBCR = np.full((512, 512, 3), (109, 134, 193), np.uint8)


def tiles(pixels):
    for row in (0, 256):
        for col in (0, 256):
            tile = np.ascontiguousarray(pixels[row : row + 256, col : col + 256])
            yield imagecodecs.jpeg2k_encode(tile, codecformat="j2k", mct=False, level=0, reversible=True)


def middle(pixels):
    return tuple(int(value) for value in np.asarray(pixels)[100, 100, :3])


for code, what, pixels in (
    (33005, "stored as RGB (200, 60, 120)", RGB),
    (33003, "stored as YCbCr of the same", YCBCR),
):
    tifffile.imwrite(
        "slide.svs", tiles(pixels), shape=RGB.shape, dtype=np.uint8, tile=(256, 256), compression=code,
        photometric="rgb", metadata=None,
        description="Aperio Image Library v10.2.24\r\n512x512 (256x256) J2K Q=30|AppMag = 20|MPP = 0.5",
    )  # fmt: skip
    read = {
        "OpenSlide": openslide.OpenSlide("slide.svs").read_region((0, 0), 0, (512, 512)),
        "tifffile": tifffile.imread("slide.svs"),
        "TiffSlide": tiffslide.TiffSlide("slide.svs").read_region((0, 0), 0, (512, 512)),
        "slideio": slideio.open_slide("slide.svs", "SVS").get_scene(0).read_block(),
    }
    print(f"{code}, {what}:")
    print("  " + ", ".join(f"{name} {middle(pixels)}" for name, pixels in read.items()))
PYTHON
