#!/usr/bin/env bash
# Guess: a colour slide stored as one page a channel (an OME-TIFF of red, green, blue) opens in colour, or is refused.
# What happens: OpenSlide shows the first page as a grey slide and says nothing of the others. tifffile and
#   tiffslide join the three. The same three planes inside one page (planar configuration 2)
#   come out right in OpenSlide, and tiffslide refuses them when they are read.
# Why it matters here: Bio-Formats and ImageJ write channels as pages; the red channel of H&E as grey has good
#   contrast, so thumbnails look like a slide that was scanned without colour.
# Seen: 2026-11-29, openslide-bin 4.0.1.2, tiffslide 3.0.1.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'tiffslide==3.0.1' 'tifffile==2026.3.3' \
    'numpy==2.4.6'
seen <<'TEXT'
one page a channel: tifffile (3, 256, 256), OpenSlide [200, 200, 200], tiffslide [200, 90, 160]
one page of three planes: tifffile (3, 256, 256), OpenSlide [200, 90, 160], tiffslide NotImplementedError
TEXT
observe <<'PYTHON'
import numpy as np
import openslide
import tifffile
import tiffslide

planes = np.stack([np.full((256, 256), value, np.uint8) for value in (200, 90, 160)])


def look(name):
    pixel = np.asarray(openslide.OpenSlide("slide.tif").read_region((9, 9), 0, (1, 1)))[0, 0, :3]
    try:
        other = np.asarray(tiffslide.TiffSlide("slide.tif").read_region((9, 9), 0, (1, 1)))
        other = other.ravel().tolist()
    except NotImplementedError as error:
        other = type(error).__name__
    shape = tifffile.imread("slide.tif").shape
    print(f"{name}: tifffile {shape}, OpenSlide {pixel.tolist()}, tiffslide {other}")


tifffile.imwrite(
    "slide.tif", planes, tile=(128, 128), photometric="minisblack", ome=True, metadata={"axes": "CYX"}
)
look("one page a channel")
tifffile.imwrite("slide.tif", planes, tile=(128, 128), photometric="rgb", planarconfig="separate")
look("one page of three planes")
PYTHON
