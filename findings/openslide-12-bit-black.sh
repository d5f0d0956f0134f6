#!/usr/bin/env bash
# Guess: a colour TIFF of more than 8 bits a channel is scaled to 8 bits, or refused.
# What happens: OpenSlide keeps the upper 8 of 16 bits, whatever the file states as its real depth. Cameras of
#   12 bits fill 0 to 4095, so the slide comes out nearly black (white is 16 of 255), without an error; a 10-bit
#   one has five grey levels left.
# Why it matters here: tissue detection finds all of it to be dark, a stain fit fails late or not at all.
# Seen: 2026-11-29, openslide-bin 4.0.1.2.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
16 bits, brightest stored value 65535: OpenSlide shows white as 255, 256 levels of grey
12 bits, brightest stored value 4095: OpenSlide shows white as 16, 17 levels of grey
10 bits, brightest stored value 1023: OpenSlide shows white as 4, 5 levels of grey
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile

for bits in (16, 12, 10):
    ramp = np.linspace(0, 2**bits - 1, 256 * 256).round().astype(np.uint16).reshape(256, 256)
    # MaxSampleValue (281) states the real depth, as the TIFF standard has it.
    tifffile.imwrite(
        "slide.tif",
        np.stack([ramp] * 3, -1),
        tile=(128, 128),
        photometric="rgb",
        extratags=[(281, "H", 3, (2**bits - 1,) * 3, True)],
    )
    slide = openslide.OpenSlide("slide.tif")
    read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., 0]
    print(
        f"{bits} bits, brightest stored value {ramp.max()}: OpenSlide shows white as {read.max()}, "
        f"{len(np.unique(read))} levels of grey"
    )
PYTHON
