#!/usr/bin/env bash
# Guess: roifile's `coordinates()` of an ImageJ region gives its outline; for a region with a hole, the outer one or all.
# What happens: of the paths of a composite region it gives the one with the most points. A square of four corners with
#   a round hole of 60 points comes back as the hole, 3% of the region's area and all of it outside the region.
#   `coordinates(multi=True)` gives both paths. And the box of a polygon right of column 65535 wraps around (`left`, `top`
#   and so on, of `frompoints` and of the file), while its points are right.
# Why it matters here: outlines of tissue are few long edges, their holes small round ones, and a slide may be
#   wider than 65535 pixels. A mask filled from it marks exactly what was left out.
# Seen: 2026-12-01, roifile 2026.2.10, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'roifile==2026.2.10' 'numpy==2.4.6'
seen <<'TEXT'
region: 1000 x 1000 with a round hole, area 968600
  coordinates(): 60 corners, from 400 to 600, area 31400
  coordinates(multi=True): areas [1000000, 31400]
polygon at 70000, 80000: first point [70000, 80000], box from [4464, 14464]
TEXT
observe <<'PYTHON'
import numpy as np
from roifile import ROI_TYPE, ImagejRoi


def path(points):
    """Move to the first, lines to the others, close: as ImageJ stores a composite region."""
    moves = [value for i, (x, y) in enumerate(points) for value in (min(i, 1), x, y)]
    return [*moves, 4]


def area(points):
    x, y = points.astype(float).T
    return 100 * round(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 200)


turn = np.arange(60) * 2 * np.pi / 60
hole = np.stack([500 + 100 * np.cos(turn), 500 + 100 * np.sin(turn)], 1)
stored = path([(0, 0), (1000, 0), (1000, 1000), (0, 1000)]) + path(hole)
region = ImagejRoi(
    roitype=ROI_TYPE.RECT, left=0, top=0, right=1000, bottom=1000,
    shape_roi_size=len(stored), multi_coordinates=np.array(stored, np.float32),
)  # fmt: skip
region = ImagejRoi.frombytes(region.tobytes())
paths = region.coordinates(multi=True)
given = region.coordinates()
print("region: 1000 x 1000 with a round hole, area", area(paths[0]) - area(paths[1]))
corners = len(np.unique(given, axis=0))
print(f"  coordinates(): {corners} corners, from {given.min():.0f} to {given.max():.0f}, area {area(given)}")
print("  coordinates(multi=True): areas", [area(points) for points in paths])
far = np.array([(70000, 80000), (70100, 80000), (70100, 80200), (70000, 80200)])
far = ImagejRoi.frombytes(ImagejRoi.frompoints(far).tobytes())
first = [round(value) for value in far.coordinates()[0].tolist()]
print(f"polygon at 70000, 80000: first point {first}, box from {[far.left, far.top]}")
PYTHON
