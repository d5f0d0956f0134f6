#!/usr/bin/env bash
# Guess: class codes of a 16-bit mask (the depth in which label editors save) survive a read as grey in OpenCV.
# What happens: IMREAD_GRAYSCALE divides by 256: codes up to 128 are all 0, an empty mask without a word.
#   Pillow's way to 8 bits is the other one: `convert("L")` cuts at 255, so instance 300 becomes instance 255.
#   A palette mask is turned into the brightness of its colours: code 4, painted pure red, is 76.
# Why it matters here: "no tumour in this picture" is a valid mask, so nothing notices.
# Seen: 2026-11-29, OpenCV 5.0.0, Pillow 13.0.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
stored in 16 bits [0, 4, 127, 128, 300]
OpenCV, grey [0, 0, 0, 0, 1]
OpenCV, unchanged [0, 4, 127, 128, 300]
Pillow, L [0, 4, 127, 128, 255]
palette mask of code 4: Pillow 4, OpenCV grey 76
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
from PIL import Image

codes = np.array([[0, 4, 127, 128, 300]], np.uint16)
Image.fromarray(codes).save("mask.png")
print("stored in 16 bits", codes[0].tolist())
print("OpenCV, grey", cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE)[0].tolist())
print("OpenCV, unchanged", cv2.imread("mask.png", cv2.IMREAD_UNCHANGED)[0].tolist())
print("Pillow, L", np.asarray(Image.open("mask.png").convert("L"))[0].tolist())
palette = Image.fromarray(np.full((8, 8), 4, np.uint8), "P")
palette.putpalette([0, 0, 0] * 4 + [255, 0, 0] + [0, 0, 0] * 251)
palette.save("palette.png")
print(
    "palette mask of code 4: Pillow",
    str(int(np.asarray(Image.open("palette.png"))[0, 0])) + ",",
    "OpenCV grey",
    int(cv2.imread("palette.png", cv2.IMREAD_GRAYSCALE)[0, 0]),
)
PYTHON
