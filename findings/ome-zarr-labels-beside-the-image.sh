#!/usr/bin/env bash
# Guess: the levels that ome-zarr makes of an image and of its labels lie on each other, as their metadata says.
# What happens: an image's pixel is made of all of its block, a label's is the block's last one, right and below, though
#   both state the block's middle as their place. So labels lie half a pixel of the level too far left and up, 8 pixels of
#   the slide at a sixteenth. Discs of 60 pixels that are labelled exactly overlap by 0.62 of their union there.
# Why it matters here: viewers draw coarse levels first, and tissue, glands or regions are measured on them. A
#   registration that is right looks wrong, and thin regions are lost or kept by where they lie.
# Seen: 2026-12-01, ome-zarr 0.18.0, zarr 3.1.6, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'ome-zarr==0.18.0' 'zarr==3.1.6' 'dask==2026.8.0' 'scikit-image==0.26.0' 'numpy==2.4.6'
seen <<'TEXT'
1/1, first pixel stated at 0.0: labels lie 0.0 pixels of the slide left of the image, overlap 1.00
1/2, first pixel stated at 0.5: labels lie 0.4 pixels of the slide left of the image, overlap 0.98
1/4, first pixel stated at 1.5: labels lie 1.8 pixels of the slide left of the image, overlap 0.90
1/8, first pixel stated at 3.5: labels lie 4.0 pixels of the slide left of the image, overlap 0.78
1/16, first pixel stated at 7.5: labels lie 8.0 pixels of the slide left of the image, overlap 0.62
TEXT
observe <<'PYTHON'
import numpy as np
import zarr
from ome_zarr.writer import write_image, write_labels

SIDE, RADIUS = 1024, 30
y, x = np.ogrid[:SIDE, :SIDE]
labels = np.zeros((SIDE, SIDE), np.uint8)
for row in range(64, SIDE, 128):
    for column in range(64, SIDE, 128):
        labels[(y - row + 0.5) ** 2 + (x - column + 0.5) ** 2 < RADIUS**2] = 1
root = zarr.open_group("slide.zarr", mode="w")
um = {"y": 0.25, "x": 0.25}
write_image(200 * labels, root, axes="yx", scale=um)
write_labels(labels, root, name="discs", axes="yx", scale=um)
held = root["labels/discs"]


def levels(group):
    """Pixels and, in pixels of the slide, step and place of the first, of each level."""
    for level in group.attrs["ome"]["multiscales"][0]["datasets"]:
        step, place = (list(part.values())[-1][-1] / 0.25 for part in level["coordinateTransformations"])
        yield group[level["path"]][:], step, place


for (image, step, place), (codes, *same) in zip(levels(root), levels(held), strict=True):
    assert [step, place] == same
    seen, told = image > 100, codes == 1
    apart = [step * (np.argwhere(one).mean(0)[1]) for one in (seen, told)]
    overlap = (seen & told).sum() / (seen | told).sum()
    print(f"1/{step:.0f}, first pixel stated at {place:.1f}: labels lie {apart[0] - apart[1]:.1f} pixels of the slide", end=" ")
    print(f"left of the image, overlap {overlap:.2f}")
PYTHON
