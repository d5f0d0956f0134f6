#!/usr/bin/env bash
# Guess: the outline of a mask by `cv2.findContours`, written as a polygon, has the area of the mask.
# What happens: the outline runs through the middles of the border pixels: 10 x 10 pixels give an area of 81, a
#   region one pixel wide gives a polygon without area, a single pixel a point. Painting it again with OpenCV
#   hides it, since fillPoly adds the rim (see polygon-fill-covers-more); QuPath, shapely and every other reader
#   of the GeoJSON get the smaller region. scikit-image's find_contours runs between pixels (99.5), but a region
#   that touches the picture's border comes back open and, closed as it is, with half its area.
# Why it matters here: predictions at a coarse scale are some pixels wide; areas and counts are what is reported.
# Seen: 2026-11-29, OpenCV 5.0.0, scikit-image 0.26.0, shapely 2.2.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
10 x 10 pixels: OpenCV 4 corners, area 81.0; scikit-image area 99.5
4 x 1 pixels: OpenCV 2 corners, area 0.0; scikit-image area 3.5
1 x 1 pixels: OpenCV 1 corners, area 0.0; scikit-image area 0.5
10 x 10 pixels in the picture's corner: OpenCV 4 corners, area 81.0; scikit-image area 45.0
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
import shapely
from skimage.measure import find_contours

for name, rows, cols in (
    ("10 x 10 pixels", slice(10, 20), slice(10, 20)),
    ("4 x 1 pixels", slice(10, 11), slice(10, 14)),
    ("1 x 1 pixels", slice(10, 11), slice(10, 11)),
    ("10 x 10 pixels in the picture's corner", slice(0, 10), slice(0, 10)),
):
    mask = np.zeros((40, 40), np.uint8)
    mask[rows, cols] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    between = shapely.Polygon(find_contours(mask, 0.5)[0])
    print(
        f"{name}: OpenCV {len(contours[0])} corners, area {cv2.contourArea(contours[0])}; "
        f"scikit-image area {between.area}"
    )
PYTHON
