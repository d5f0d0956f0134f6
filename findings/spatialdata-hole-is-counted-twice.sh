#!/usr/bin/env bash
# Guess: SpatialData's `to_polygons` turns a mask of tissue into outlines that cover it: holes stay holes, and the outlines lie where
#   the mask lies.
# What happens: each ring becomes an area of its own. A gland with a lumen is an invalid multipolygon of gland and lumen: its area counts
#   the lumen twice, a cell in the lumen is said to lie in the gland, and the two are filled where it is drawn as a mask again.
#   Where another class fills the lumen, both claim it. All outlines lie half a pixel to the upper left of the mask's own extent,
#   and a class of single pixels has half its area.
# Why it matters here: class maps go into SpatialData to count cells by the region that they are in, and to measure areas.
# Seen: 2026-12-02, spatialdata 0.7.3, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'spatialdata==0.7.3' 'shapely==2.2.0' 'geopandas==1.2.0' 'scikit-image==0.26.0' 'numpy==2.4.6' 'xarray==2026.9.0' \
    'dask==2026.1.1' 'zarr==3.1.6'
seen <<'TEXT'
a gland of 800 pixels with a lumen of 100: MultiPolygon, area 999.0, valid False
  the lumen's middle lies in it: True
  as a mask again: class 1 in the lumen's middle
with another class in the lumen: gland 999.0, lumen 99.5
mask from 0.0 to 60.0, its outline from -0.5 to 59.5
100 single pixels: area 50.0
TEXT
observe <<'PYTHON'
import numpy as np
import spatialdata
from shapely import Point
from spatialdata.models import Labels2DModel


def outlines(mask):
    table = spatialdata.to_polygons(Labels2DModel.parse(mask, dims=("y", "x")))
    return table, dict(zip(table["label"].tolist(), table.geometry, strict=True))


gland = np.zeros((60, 60), np.uint16)
gland[5:35, 5:35] = 1
gland[15:25, 15:25] = 0
table, found = outlines(gland)
print(
    f"a gland of {(gland == 1).sum()} pixels with a lumen of 100: {found[1].geom_type}, area {found[1].area:.1f}, "
    f"valid {found[1].is_valid}"
)
print(f"  the lumen's middle lies in it: {found[1].contains(Point(20, 20))}")
again = np.asarray(
    spatialdata.rasterize(
        table,
        ["x", "y"],
        min_coordinate=[0, 0],
        max_coordinate=[60, 60],
        target_coordinate_system="global",
        target_width=60,
        return_regions_as_labels=True,
    )
)
print(f"  as a mask again: class {again[20, 20]} in the lumen's middle")

both = gland.copy()
both[15:25, 15:25] = 2
found = outlines(both)[1]
print(f"with another class in the lumen: gland {found[1].area:.1f}, lumen {found[2].area:.1f}")

whole = np.ones((60, 60), np.uint16)
extent = spatialdata.get_extent(Labels2DModel.parse(whole, dims=("y", "x")))["x"]
left, _, right, _ = outlines(whole)[1][1].bounds
print(f"mask from {extent[0]:.1f} to {extent[1]:.1f}, its outline from {left} to {right}")

dots = np.zeros((60, 60), np.uint16)
dots[1:40:4, 1:40:4] = 3
print(f"{(dots == 3).sum()} single pixels: area {outlines(dots)[1][3].area:.1f}")
PYTHON
