#!/usr/bin/env bash
# Guess: a TIFF of 16 bits that cuCIM opens is read where it is asked for, or refused.
# What happens: it says that the picture has 8 bits and gives 8, which may do; but a region that begins at column x is
#   read from column x / 2. Grey and colour alike; where x is odd, red, green and blue change places in colour. The first
#   column is right, so the whole picture and a first tile look well. The one warning is of a fourth channel.
# Why it matters here: patches cut from a slide of 16 bits are of other tissue than the masks beside them.
# Seen: 2026-12-02, cuCIM 26.10.0 (it runs without a GPU), tifffile 2026.3.3, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'cucim-cu12==26.10.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6' \
    'openslide-bin==4.0.1.2' 'openslide-python==1.4.7'
seen <<'TEXT'
8 bits, colour: the whole as written True
  asked for column 0, read column 0; 100, read 100; 200, read 200
16 bits, grey: the whole as written True
  asked for column 0, read column 0; 100, read 50; 200, read 100
16 bits, colour: the whole as written True
  asked for column 0, read column 0; 100, read 50; 200, read 100
  at column 101: red 0, where it is 101; green 51, where it is 0
TEXT
observe <<'PYTHON'
import numpy as np
import tifffile
from cucim import CuImage

SIDE = 256
columns = np.arange(SIDE, dtype=np.uint8)[None].repeat(SIDE, 0)  # brightness tells the column
colour = np.stack([columns, np.zeros_like(columns), np.zeros_like(columns)], -1)


def read(image, column, width=32):
    return np.asarray(image.read_region((column, 0), (width, SIDE), 0))


for name, pixels, photometric in (
    ("8 bits, colour", colour, "rgb"),
    ("16 bits, grey", columns.astype(np.uint16) * 257, "minisblack"),
    ("16 bits, colour", colour.astype(np.uint16) * 257, "rgb"),
):
    tifffile.imwrite("slide.tif", pixels, tile=(256, 256), photometric=photometric, metadata=None)
    image = CuImage("slide.tif")
    whole = bool((read(image, 0, SIDE)[..., 0] == columns).all())
    print(f"{name}: the whole as written {whole}")
    found = [f"{column}, read {read(image, column)[0, 0, 0]}" for column in (100, 200)]
    print(f"  asked for column 0, read column {read(image, 0)[0, 0, 0]}; {'; '.join(found)}")
red, green = read(image, 101)[0, 0, :2]
print(f"  at column 101: red {red}, where it is 101; green {green}, where it is 0")
PYTHON
