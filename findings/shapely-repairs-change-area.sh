#!/usr/bin/env bash
# Guess: an outline that crosses itself is mended by `buffer(0)` or `make_valid`, and one is as good as the other.
# What happens: a figure of eight loses half of itself by `buffer(0)`, and its plain `.area` is the difference
#   of the halves, 0 here. For a stroke that comes back over itself, `make_valid` cuts the doubled part out as a
#   hole, `buffer(0)` and method="structure" keep it: three areas for one outline, none with a warning.
# Why it matters here: freehand outlines cross themselves at their ends by the hundred; regions vanish or get holes.
# Seen: 2026-11-29, shapely 2.2.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
figure of eight: area 0, buffer(0) 25, make_valid 50, structure 50
stroke over itself: area 650, buffer(0) 550, make_valid 450, structure 550
TEXT
observe <<'PYTHON'
import shapely

for name, points in (
    ("figure of eight", [(0, 0), (10, 10), (10, 0), (0, 10)]),
    ("stroke over itself", [(0, 0), (20, 0), (20, 20), (5, 20), (5, 10), (15, 10), (15, 30), (0, 30)]),
):
    outline = shapely.Polygon(points)
    print(
        f"{name}: area {outline.area:.0f}, buffer(0) {outline.buffer(0).area:.0f}, "
        f"make_valid {shapely.make_valid(outline).area:.0f}, "
        f"structure {shapely.make_valid(outline, method='structure').area:.0f}"
    )
PYTHON
