#!/usr/bin/env bash
# Guess: cuCIM, which reads Aperio's description, gives a slide's um/px as its spacing.
# What happens: the spacing comes from TIFF's resolution tags alone. Aperio states MPP in the description. Without such
#   tags (so is the public slide CMU-1) or without their unit it is 1.0 with an empty unit, as of a picture without any
#   scale; software that writes 72 dots an inch makes it 353 micrometres. Regions are asked for by level only.
# Why it matters here: 1.0 um/px is a likely figure for a slide of 0.499, and patches are taken at twice the size.
# Seen: 2026-12-02, cuCIM 26.10.0 (it runs without a GPU), OpenSlide 4.0.1, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'cucim-cu12==26.10.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6' \
    'openslide-bin==4.0.1.2' 'openslide-python==1.4.7'
seen <<'TEXT'
MPP 0.4990, resolution without a unit: OpenSlide 0.499 um/px; cuCIM 1.0 ''
MPP 0.4990, tags of 72 dots an inch: OpenSlide 0.499 um/px; cuCIM 352.8 'micrometer'
MPP 0.4990, tags that say the same: OpenSlide 0.499 um/px; cuCIM 0.499 'micrometer'
no MPP, resolution without a unit: OpenSlide None um/px; cuCIM 1.0 ''
what cuCIM keeps of the description: MPP 0.4990
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile
from cucim import CuImage

HEAD = "Aperio Image Library v11.2.1\r\n300x300 [0,0 300x300] (256x256) JPEG/RGB Q=70|AppMag = 20"
NONE = {"resolution": (1, 1), "resolutionunit": "NONE"}
INCH = {"resolution": (72, 72), "resolutionunit": "INCH"}
SAME = {"resolution": (1e4 / 0.499, 1e4 / 0.499), "resolutionunit": "CENTIMETER"}
kept = None
for name, mpp, tags in (
    ("MPP 0.4990, resolution without a unit", "|MPP = 0.4990", NONE),
    ("MPP 0.4990, tags of 72 dots an inch", "|MPP = 0.4990", INCH),
    ("MPP 0.4990, tags that say the same", "|MPP = 0.4990", SAME),
    ("no MPP, resolution without a unit", "", NONE),
):
    pixels = np.full((300, 300, 3), 200, np.uint8)
    told = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "description": HEAD + mpp}
    tifffile.imwrite("slide.svs", pixels, tile=(256, 256), **told, **tags)
    image = CuImage("slide.svs")
    kept = kept or image.metadata["aperio"].get("MPP")
    theirs = openslide.OpenSlide("slide.svs").properties.get("openslide.mpp-x")
    spacing, unit = image.spacing()[0], image.spacing_units()[0]
    print(f"{name}: OpenSlide {theirs} um/px; cuCIM {spacing:.4g} {unit!r}".replace("cuCIM 1 ", "cuCIM 1.0 "))
print(f"what cuCIM keeps of the description: MPP {kept}")
PYTHON
