#!/usr/bin/env bash
# Guess: a square of 10 x 10 pixels, drawn into a mask, covers 100 pixels, whichever library draws it.
# What happens: OpenCV, Pillow and scikit-image count a corner as the middle of a pixel and fill the far edge
#   too: 121 pixels (+21%). pycocotools and shapely take coordinates for edges: 100. Moved by half a pixel,
#   scikit-image goes to 100 and Pillow and OpenCV stay. Two regions that share an edge overlap in the former,
#   and which class wins there is decided by the order.
# Why it matters here: outlines of a slide drawn at a reduced scale are small; a circle of 5 pixels' radius gains
#   a quarter of its area, and cell-sized classes are over-represented.
# Seen: 2026-11-29, versions below.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
square 10..20: shapely 100.0, pycocotools 100, scikit-image 121, Pillow 121, OpenCV 121
square 10.5..20.5: shapely 100.0, pycocotools 100, scikit-image 100, Pillow 121, OpenCV 121
circle of radius 5: shapely 78.3, pycocotools 79, scikit-image 79, Pillow 96, OpenCV 98
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
import shapely
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from skimage.draw import polygon2mask

SIZE = 40


def areas(name, points):
    points = np.asarray(points, float)
    encoded = coco.frPyObjects([points.ravel().tolist()], SIZE, SIZE)
    picture = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in points], fill=1)
    painted = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(painted, [np.round(points).astype(np.int32)], 1)
    print(
        f"{name}: shapely {shapely.Polygon(points).area:.1f}, pycocotools {coco.decode(encoded).sum()}, "
        f"scikit-image {polygon2mask((SIZE, SIZE), points[:, ::-1]).sum()}, "
        f"Pillow {np.asarray(picture).sum()}, OpenCV {painted.sum()}"
    )


areas("square 10..20", [(10, 10), (20, 10), (20, 20), (10, 20)])
areas("square 10.5..20.5", [(10.5, 10.5), (20.5, 10.5), (20.5, 20.5), (10.5, 20.5)])
turn = np.linspace(0, 2 * np.pi, 49, endpoint=False)
areas("circle of radius 5", np.stack([20.2 + 5 * np.cos(turn), 20.3 + 5 * np.sin(turn)], -1))
PYTHON
