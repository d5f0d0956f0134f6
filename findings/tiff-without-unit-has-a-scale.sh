#!/usr/bin/env bash
# Guess: a TIFF whose resolution has no unit (ResolutionUnit 1, "no absolute unit") has no um/px in any reader.
# What happens: OpenSlide, TiffSlide and large-image say nothing. libvips takes the number for pixels in a millimetre,
#   bioio-tifffile inverts it as if it were pixels in a micrometre, and slideio hands the number itself on as metres in
#   a pixel: for one file 0.05 um, 0.00005 um and 20,000 m. With a unit all agree on 0.5 um.
# Why it matters here: scale decides at which magnification a network sees a slide, and such a number is used unseen.
# Seen: 2026-12-01, pyvips-binary 8.18.7, bioio 3.6.0 with bioio-tifffile 1.3.1, slideio 2.10.0, TiffSlide 3.0.1,
#   large-image 1.35.6, openslide-bin 4.0.1.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tifffile==2026.3.3' 'tiffslide==3.0.1' 'slideio==2.10.0' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' \
    'bioio==3.6.0' 'bioio-tifffile==1.3.1' 'large-image==1.35.6' 'large-image-source-tiff==1.35.6' \
    'imagecodecs==2026.3.6' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'numpy==2.4.6'
seen <<'TEXT'
20,000 a centimetre, um/px:
  OpenSlide 0.5, TiffSlide 0.5, large-image 0.5, libvips 0.5, bioio 0.5, slideio 0.5
20,000 without a unit, um/px:
  OpenSlide none, TiffSlide none, large-image none, libvips 0.05, bioio 5e-05, slideio 2e+10
TEXT
observe <<'PYTHON'
import logging

import numpy as np
import openslide
import pyvips
import slideio
import tifffile
import tiffslide
from bioio import BioImage
from bioio_tifffile import Reader
from large_image_source_tiff import TiffFileTileSource

logging.disable(logging.CRITICAL)


def number(value, factor=1.0):
    return "none" if value is None else f"{float(value) * factor:.3g}"


for unit, what in (("CENTIMETER", "a centimetre"), ("NONE", "without a unit")):
    name = f"{unit}.tif"
    common = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "resolutionunit": unit}
    with tifffile.TiffWriter(name) as writer:
        for by in (1, 2):
            pixels = np.full((1024 // by, 2048 // by, 3), 200, np.uint8)
            resolution = (20000 / by, 20000 / by)
            writer.write(pixels, resolution=resolution, metadata=None, subfiletype=int(by > 1), **common)
    found = {
        "OpenSlide": number(openslide.OpenSlide(name).properties.get("openslide.mpp-x")),
        "TiffSlide": number(tiffslide.TiffSlide(name).properties.get("tiffslide.mpp-x")),
        "large-image": number(TiffFileTileSource(name).getMetadata().get("mm_x"), 1000),
        "libvips": number(1 / pyvips.Image.new_from_file(name).xres, 1000),
        "bioio": number(BioImage(name, reader=Reader).physical_pixel_sizes.X),
        "slideio": number(slideio.open_slide(name).get_scene(0).resolution[0], 1e6),
    }
    print(f"20,000 {what}, um/px:")
    print("  " + ", ".join(f"{reader} {value}" for reader, value in found.items()))
PYTHON
