#!/usr/bin/env bash
# Guess: `cv2.fillPoly(mask, [a, b], 1)` fills both regions, like two calls with one region each.
# What happens: the regions of one call are taken for one shape with the even-odd rule: where two overlap, the
#   mask stays empty. `drawContours` does the same. An outline that runs twice round itself (a double click in an
#   annotation tool closes some so) keeps its rim only; in pycocotools it is empty.
# Why it matters here: neighbouring annotations overlap by a little nearly always; each overlap becomes background.
# Seen: 2026-11-29, OpenCV 5.0.0, pycocotools 2.0.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
two overlapping squares, one call: 680 pixels, in the overlap 0
two overlapping squares, two calls: 761 pixels, in the overlap 1
drawContours of both: 680 pixels
one square drawn once round: OpenCV 441 pixels, pycocotools 400
one square drawn twice round: OpenCV 80 pixels, pycocotools 0
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
from pycocotools import mask as coco

first = np.array([(5, 5), (25, 5), (25, 25), (5, 25)], np.int32)
second = first + 10


def paint(*calls):
    mask = np.zeros((60, 60), np.uint8)
    for regions in calls:
        cv2.fillPoly(mask, list(regions), 1)
    return mask


together, apart = paint([first, second]), paint([first], [second])
print(f"two overlapping squares, one call: {together.sum()} pixels, in the overlap {together[20, 20]}")
print(f"two overlapping squares, two calls: {apart.sum()} pixels, in the overlap {apart[20, 20]}")
contours = np.zeros((60, 60), np.uint8)
cv2.drawContours(contours, [first, second], -1, 1, cv2.FILLED)
print(f"drawContours of both: {contours.sum()} pixels")
for name, ring in (("once", first), ("twice", np.concatenate([first, first]))):
    encoded = coco.frPyObjects([ring.ravel().astype(float).tolist()], 60, 60)
    print(
        f"one square drawn {name} round: OpenCV {paint([ring]).sum()} pixels, "
        f"pycocotools {coco.decode(encoded).sum()}"
    )
PYTHON
