#!/usr/bin/env bash
# Guess: "nearest" is nearest: a mask made smaller is the same whichever library does it.
# What happens: OpenCV's INTER_NEAREST takes the upper left pixel of each block, Pillow, scikit-image and
#   libvips the middle one (INTER_NEAREST_EXACT does too), and scipy.ndimage.zoom lays the outermost pixels on each
#   other, so that its step is not even constant. Reduced 4 times, masks lie up to 2 pixels of the fine
#   grid apart.
# Why it matters here: picture by one library and mask by another are shifted against each other in every patch;
#   the boundary that is learned is shifted as well.
# Seen: 2026-11-29, versions below.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'opencv-python-headless==5.0.0.93' 'pillow==13.0.0' 'scikit-image==0.26.0' 'scipy==1.17.1' \
    'shapely==2.2.0' 'pycocotools==2.0.11' 'numpy==2.4.6'
seen <<'TEXT'
columns kept of 0 to 15, reduced to 4
OpenCV nearest        [0, 4, 8, 12]
OpenCV nearest exact  [2, 6, 10, 14]
Pillow                [2, 6, 10, 14]
scikit-image          [2, 6, 10, 14]
scipy zoom            [0, 5, 10, 15]
scipy zoom, grid_mode [2, 6, 10, 14]
TEXT
observe <<'PYTHON'
import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

mask = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
found = {
    "OpenCV nearest": cv2.resize(mask, (4, 4), interpolation=cv2.INTER_NEAREST),
    "OpenCV nearest exact": cv2.resize(mask, (4, 4), interpolation=cv2.INTER_NEAREST_EXACT),
    "Pillow": np.asarray(Image.fromarray(mask).resize((4, 4), Image.Resampling.NEAREST)),
    "scikit-image": resize(mask, (4, 4), order=0, preserve_range=True, anti_aliasing=False),
    "scipy zoom": ndimage.zoom(mask, 0.25, order=0),
    "scipy zoom, grid_mode": ndimage.zoom(mask, 0.25, order=0, mode="grid-constant", grid_mode=True),
}
print("columns kept of 0 to 15, reduced to 4")
for name, kept in found.items():
    print(f"{name:21} {kept[0].astype(int).tolist()}")
PYTHON
