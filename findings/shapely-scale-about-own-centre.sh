#!/usr/bin/env bash
# Guess: `shapely.affinity.scale(region, 1/8, 1/8)` takes outlines of level 0 to a level that is 8 times coarser.
# What happens: each region shrinks about the middle of its own box and stays where it was. Regions near the
#   slide's origin still land inside the small mask, so some of a slide's annotation is painted, in the wrong place.
#   `origin=(0, 0)` is needed, or `shapely.transform`.
# Why it matters here: the masks are not empty, so the mistake shows as poor scores only.
# Seen: 2026-11-29, shapely 2.2.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
(800, 800) to (1600, 1600), scaled by 1/8
default: (1150.0, 1150.0, 1250.0, 1250.0)
origin=(0, 0): (100.0, 100.0, 200.0, 200.0)
TEXT
observe <<'PYTHON'
import shapely
from shapely import affinity

region = shapely.box(800, 800, 1600, 1600)
print("(800, 800) to (1600, 1600), scaled by 1/8")
print("default:", affinity.scale(region, 1 / 8, 1 / 8).bounds)
print("origin=(0, 0):", affinity.scale(region, 1 / 8, 1 / 8, origin=(0, 0)).bounds)
PYTHON
