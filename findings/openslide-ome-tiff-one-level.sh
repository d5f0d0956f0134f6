#!/usr/bin/env bash
# Guess: an OME-TIFF with a pyramid and a pixel size, as Bio-Formats, QuPath and tifffile write it, opens in
#   OpenSlide with its levels and its scale.
# What happens: OpenSlide takes it for a generic TIFF. The levels lie in SubIFDs, which it does not follow: one
#   level is left, and a thumbnail reads every pixel of the slide. PhysicalSizeX of the OME-XML is not read:
#   `openslide.mpp-x` is missing. tiffslide finds the levels and no scale either; tifffile has both.
# Why it matters here: reading at a fixed um/px falls back to "no scale", and a scan is some hundred times slower.
# Seen: 2026-11-29, openslide-bin 4.0.1.2, tiffslide 3.0.1.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
tifffile: levels [(1024, 1024), (512, 512), (256, 256)], PhysicalSizeX 0.25
OpenSlide: generic-tiff, levels [(1024, 1024)], mpp-x None
tiffslide: levels [(1024, 1024), (512, 512), (256, 256)], mpp-x None
TEXT
observe <<'PYTHON'
import re

import numpy as np
import openslide
import tifffile
import tiffslide

slide = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
scale = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
with tifffile.TiffWriter("slide.ome.tif", ome=True) as file:
    file.write(slide, subifds=2, tile=(256, 256), photometric="rgb", metadata={"axes": "YXS", **scale})
    file.write(slide[::2, ::2], tile=(256, 256), photometric="rgb", subfiletype=1)
    file.write(slide[::4, ::4], tile=(256, 256), photometric="rgb", subfiletype=1)
with tifffile.TiffFile("slide.ome.tif") as file:
    levels = [level.shape[:2] for level in file.series[0].levels]
    stated = re.search('PhysicalSizeX="([^"]+)"', file.ome_metadata).group(1)
print(f"tifffile: levels {levels}, PhysicalSizeX {stated}")
left, right = openslide.OpenSlide("slide.ome.tif"), tiffslide.TiffSlide("slide.ome.tif")
print(
    f"OpenSlide: {left.properties['openslide.vendor']}, levels {list(left.level_dimensions)}, "
    f"mpp-x {left.properties.get('openslide.mpp-x')}"
)
print(f"tiffslide: levels {list(right.level_dimensions)}, mpp-x {right.properties.get('tiffslide.mpp-x')}")
PYTHON
