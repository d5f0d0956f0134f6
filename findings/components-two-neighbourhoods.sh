#!/usr/bin/env bash
# Guess: "connected components" of a mask are the same in scipy, scikit-image and OpenCV, and inside one library.
# What happens: scipy.ndimage.label joins pixels by their sides only, scikit-image's label and OpenCV also by
#   their corners. scikit-image's remove_small_objects works by sides on a mask, so it deletes whole what its own
#   label counts as one object of 12 pixels; given the labels instead of the mask it keeps it.
# Why it matters here: glands and nuclei are counted so, and small predicted regions are dropped so. Thin, slanting
#   structures fall apart and go.
# Seen: 2026-11-29, scipy 1.17.1, scikit-image 0.26.0, OpenCV 5.0.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
three blocks of 2 x 2 that touch at corners: scipy 3 objects, scikit-image 1, OpenCV 1
objects of at most 5 pixels removed: 0 pixels left of the mask, 12 of the labelled mask
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import remove_small_objects

mask = np.zeros((12, 12), bool)
for corner in (2, 4, 6):
    mask[corner : corner + 2, corner : corner + 2] = True
print(
    f"three blocks of 2 x 2 that touch at corners: scipy {ndimage.label(mask)[1]} objects, "
    f"scikit-image {label(mask).max()}, OpenCV {cv2.connectedComponents(mask.astype(np.uint8))[0] - 1}"
)
print(
    f"objects of at most 5 pixels removed: {remove_small_objects(mask, max_size=5).sum()} pixels left of the mask, "
    f"{(remove_small_objects(label(mask), max_size=5) > 0).sum()} of the labelled mask"
)
PYTHON
