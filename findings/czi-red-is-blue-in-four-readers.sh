#!/usr/bin/env bash
# Guess: readers of Zeiss CZI give a brightfield scan as RGB; where nothing was scanned all give the same; and the scale
#   that pylibCZIrw is given "in units of µm" is one in um.
# What happens: such a scan is stored blue first (Bgr24), and only czifile turns it. pylibCZIrw, aicspylibczi, slideio
#   and bioio-czi in both of its modes hand on blue, green, red: eosin's pink becomes violet. The gap of a mosaic is
#   black in three, white in slideio, and in czifile whatever the memory held, as its array is not cleared. And
#   pylibCZIrw writes the number it is given as metres: 0.25, as its docstring asks, is 250,000 um/px for bioio-czi and
#   slideio.
# Why it matters here: colours are what a network for H&E sees; red and blue turned still look like a stain. A black gap
#   is tissue for a mask that looks for darkness.
# Seen: 2026-12-01, pylibCZIrw 6.1.0, czifile 2019.7.2.3, aicspylibczi 4.0.1, bioio-czi 3.0.1, slideio 2.10.0,
#   Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'pylibCZIrw==6.1.0' 'czifile==2019.7.2.3' 'aicspylibczi==4.0.1' 'bioio-czi==3.0.1' 'slideio==2.10.0' \
    'tifffile==2026.3.3' 'numpy==2.4.6'
seen <<'TEXT'
stored as Bgr24; pink is (230, 120, 160)
  pylibCZIrw: blue first, the gap is black
  czifile: red first, the gap is whatever memory held
  aicspylibczi: blue first, the gap is black
  bioio-czi, use_aicspylibczi=False: blue first, the gap is black
  bioio-czi, use_aicspylibczi=True: blue first, single fields
  slideio: blue first, the gap is white
scale_x=2.5e-07: bioio-czi 0.25 um, slideio 0.25 um
scale_x=0.25: bioio-czi 250000 um, slideio 250000 um
TEXT
observe <<'PYTHON'
import logging
from unittest import mock

import aicspylibczi
import czifile
import numpy as np
import slideio
from bioio_czi import Reader
from pylibCZIrw import czi

logging.disable(logging.CRITICAL)
PINK = (230, 120, 160)  # red, green, blue
UNSET = 77


def write(name, scale):
    """Two fields of pink with a gap between them; pylibCZIrw's arrays are blue first, as the file is."""
    field = np.full((128, 128, 3), PINK[::-1], np.uint8)
    with czi.create_czi(name) as writer:
        writer.write(field, location=(0, 0))
        writer.write(field, location=(256, 0))
        writer.write_metadata("slide", scale_x=scale, scale_y=scale)


def fill(array):
    array[...] = UNSET
    return array


write("slide.czi", 0.25e-6)
found = {}
with czi.open_czi("slide.czi") as document:
    stored = document.pixel_types[0]
    found["pylibCZIrw"] = document.read()
# What is left in czifile's array shows if NumPy's unset arrays are told apart.
unset = np.empty
with czifile.CziFile("slide.czi") as file, mock.patch("numpy.empty", lambda *a, **k: fill(unset(*a, **k))):
    found["czifile"] = file.asarray()
found["aicspylibczi"] = aicspylibczi.CziFile("slide.czi").read_mosaic(C=0, scale_factor=1.0)
for mode in (False, True):
    reader = Reader("slide.czi", use_aicspylibczi=mode)
    found[f"bioio-czi, use_aicspylibczi={mode}"] = reader.get_image_data("YXS")
found["slideio"] = slideio.open_slide("slide.czi").get_scene(0).read_block()
print(f"stored as {stored}; pink is {PINK}")
for reader, pixels in found.items():
    row = pixels.reshape(-1, *pixels.shape[-2:])[10]
    order = {PINK: "red first", PINK[::-1]: "blue first"}[tuple(row[10].tolist())]
    gap = "single fields"
    if len(row) == 384:
        gap = "the gap is " + {0: "black", 255: "white", UNSET: "whatever memory held"}[int(row[200, 0])]
    print(f"  {reader}: {order}, {gap}")
for scale in (0.25e-6, 0.25):
    name = f"{scale}.czi"
    write(name, scale)
    bioio = Reader(name).physical_pixel_sizes.X
    print(f"scale_x={scale}: bioio-czi {bioio:g} um,", end=" ")
    print(f"slideio {slideio.open_slide(name).get_scene(0).resolution[0] * 1e6:g} um")
PYTHON
