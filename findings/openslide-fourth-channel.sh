#!/usr/bin/env bash
# Guess: a TIFF of red, green, blue and a fourth channel that its tags do not call alpha shows the first three.
# What happens: OpenSlide takes the fourth for the alpha of premultiplied colours. Where it is smaller than a
#   colour, the colour wraps around 256 on its way to RGBA; where it is 0 the pixel is transparent black. Dropping
#   alpha (`[..., :3]`, `convert("RGB")`) gives plausible but wrong colours, without an error.
# Why it matters here: an infrared or fluorescence channel beside RGB is what some scanners and registrations
#   save; the first three channels are what people train on.
# Seen: 2026-11-29, openslide-bin 4.0.1.2 on ExtraSamples 0 (unspecified).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
stored RGB [150, 100, 200], fourth channel 255: shown as [150, 100, 200, 255]
stored RGB [150, 100, 200], fourth channel 120: shown as [62, 212, 169, 120]
stored RGB [150, 100, 200], fourth channel 0: shown as [0, 0, 0, 0]
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile

colour = [150, 100, 200]
for fourth in (255, 120, 0):
    pixels = np.full((256, 256, 4), [*colour, fourth], np.uint8)
    tifffile.imwrite(
        "slide.tif", pixels, tile=(128, 128), photometric="rgb", extrasamples=["unspecified"]
    )
    pixel = np.asarray(openslide.OpenSlide("slide.tif").read_region((5, 5), 0, (1, 1)))[0, 0]
    print(f"stored RGB {colour}, fourth channel {fourth}: shown as {pixel.tolist()}")
PYTHON
