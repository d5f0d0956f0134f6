#!/usr/bin/env bash
# Guess: TIAToolbox's segmentations for QuPath (`output_type="qupath"`) are outlines of each class, with holes where the class has some.
# What happens: no outline has a hole. The rim of each lumen is one more annotation of the gland's class, on top of the gland, so that a gland
#   of 800 pixels has 960, and all inside counts as gland, also what is of another class. Outlines run through the pixels'
#   middles: a line of 40 pixels has an area of 1, single pixels are gone.
# Why it matters here: areas, and cells by region, are measured on these outlines in QuPath.
# Seen: 2026-12-02, tiatoolbox 2.1.3 with opencv-python 4.14.0.94, Python 3.11. It brings some 6 GB, torch among them.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tiatoolbox==2.1.3' 'opencv-python==4.14.0.94' 'shapely==2.1.2' 'numpy==2.4.3' 'dask==2026.7.0' 'torch==2.12.1'
seen <<'TEXT'
a gland of 800 pixels around a lumen of 100: gland 841 (0 holes), gland 119 (0 holes)
  areas that hold the lumen's middle: ['gland', 'gland']
mucus in the lumen: gland 841 (0 holes), gland 119 (0 holes), mucus 81 (0 holes)
  areas that hold its middle: ['gland', 'gland', 'mucus']
a line of 40 pixels: gland 1 (0 holes)
100 single pixels: none
TEXT
observe <<'PYTHON'
import numpy as np
from shapely import Point
from shapely.geometry import shape
from tiatoolbox.utils.misc import dict_to_store_semantic_segmentor

NAMES = {0: "background", 1: "gland", 2: "mucus"}


def outlines(predicted):
    written = dict_to_store_semantic_segmentor(
        {"predictions": predicted}, (1.0, 1.0), "qupath", NAMES, ignore_index=0, verbose=False
    )
    return [(one["properties"]["classification"]["name"], shape(one["geometry"])) for one in written["features"]]


def described(found):
    return ", ".join(f"{name} {area.area:.0f} ({len(area.interiors)} holes)" for name, area in found) or "none"


gland = np.zeros((60, 60), np.uint8)
gland[5:35, 5:35] = 1
gland[15:25, 15:25] = 0
found = outlines(gland)
print(f"a gland of {gland.sum()} pixels around a lumen of 100: {described(found)}")
print(f"  areas that hold the lumen's middle: {[name for name, area in found if area.contains(Point(20, 20))]}")

filled = gland.copy()
filled[15:25, 15:25] = 2
found = outlines(filled)
print(f"mucus in the lumen: {described(found)}")
print(f"  areas that hold its middle: {[name for name, area in found if area.contains(Point(20, 20))]}")

line = np.zeros((60, 60), np.uint8)
line[30, 10:50] = 1
print(f"a line of {line.sum()} pixels: {described(outlines(line))}")

dots = np.zeros((60, 60), np.uint8)
dots[1:40:4, 1:40:4] = 1
print(f"{dots.sum()} single pixels: {described(outlines(dots))}")
PYTHON
