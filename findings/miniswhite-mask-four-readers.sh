#!/usr/bin/env bash
# Guess: all readers give the same numbers for a TIFF mask whose photometric is MinIsWhite (ImageJ and old
#   scanners' software write binary masks so); or all turn it.
# What happens: tifffile returns what is stored. Pillow inverts 1 and 8 bits but not 16. OpenCV inverts all that
#   it reduces to 8 bits, and with IMREAD_UNCHANGED 1 and 8 bits but not 16. libvips inverts all. Class code 4 of
#   an 8-bit mask becomes 251, and background 255, which many tools take for "ignore".
# Why it matters here: the mask of a tumour becomes the mask of everything else, and the score is merely bad.
# Seen: 2026-11-29, tifffile 2026.3.3, Pillow 13.0.0, OpenCV 5.0.0, pyvips-binary 8.18.7.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' \
    'pyvips-binary==8.18.7' 'pyvips==3.2.0' 'tifffile==2026.3.3' 'pillow==13.0.0' 'numpy==2.4.6'
seen <<'TEXT'
stored 1, 0 in 1 bit: tifffile [1, 0], Pillow [0, 1], OpenCV grey [0, 255], unchanged [0, 255], libvips [0, 255]
stored 4, 0 in 8 bit: tifffile [4, 0], Pillow [251, 255], OpenCV grey [251, 255], unchanged [251, 255], libvips [251, 255]
stored 4, 0 in 16 bit: tifffile [4, 0], Pillow [4, 0], OpenCV grey [255, 255], unchanged [4, 0], libvips [65531, 65535]
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
import pyvips
import tifffile
from PIL import Image

pyvips.cache_set_max(0)
for bits, kind, code in ((1, bool, 1), (8, np.uint8, 4), (16, np.uint16, 4)):
    mask = np.zeros((32, 32), kind)
    mask[:, :16] = code
    tifffile.imwrite("mask.tif", mask, photometric="miniswhite")
    read = {
        "tifffile": tifffile.imread("mask.tif"),
        "Pillow": np.asarray(Image.open("mask.tif")),
        "OpenCV grey": cv2.imread("mask.tif", cv2.IMREAD_GRAYSCALE),
        "unchanged": cv2.imread("mask.tif", cv2.IMREAD_UNCHANGED),
        "libvips": np.ndarray((32, 32), kind if bits > 1 else np.uint8, pyvips.Image.new_from_file("mask.tif").write_to_memory()),
    }
    values = ", ".join(f"{name} {[int(a[0, 0]), int(a[0, -1])]}" for name, a in read.items())
    print(f"stored {code}, 0 in {bits} bit: {values}")
PYTHON
