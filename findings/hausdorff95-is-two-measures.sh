#!/usr/bin/env bash
# Guess: HD95, the measure of segmentation challenges, is one number for two masks, whichever library computes it.
# What happens: MedPy takes the 95th percentile of the distances of *both* directions put together,
#   surface-distance the larger of the 95th percentiles of each direction. A prediction with one small false
#   island far away has HD95 0.0 in the former and 29.0 in the latter; both call it the robust (95%) Hausdorff
#   distance. scikit-image's `method="modified"` is a mean, not a percentile.
# Why it matters here: papers' tables are compared by this number without the library's name.
# Seen: 2026-11-29, MedPy 0.5.2, surface-distance 0.1, scikit-image 0.26.0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'medpy==0.5.2' 'surface-distance==0.1' 'scikit-image==0.26.0' 'scipy==1.17.1' 'numpy==2.4.6'
seen <<'TEXT'
shifted by 3 pixels: MedPy 3.0, surface-distance 3.0, scikit-image modified 0.15
with a far island of 3 x 3 pixels: MedPy 0.0, surface-distance 29.0, scikit-image modified 0.17
TEXT
observe <<'PYTHON'
import numpy as np
import surface_distance
from medpy.metric.binary import hd95
from skimage.metrics import hausdorff_distance

truth = np.zeros((100, 100), bool)
truth[20:60, 20:60] = True
island = truth.copy()
island[80:83, 80:83] = True
for name, found in (
    ("shifted by 3 pixels", np.roll(truth, 3, 1)),
    ("with a far island of 3 x 3 pixels", island),
):
    distances = surface_distance.compute_surface_distances(truth, found, (1, 1))
    print(
        f"{name}: MedPy {hd95(found, truth):.1f}, "
        f"surface-distance {surface_distance.compute_robust_hausdorff(distances, 95):.1f}, "
        f"scikit-image modified {hausdorff_distance(truth, found, method='modified'):.2g}"
    )
PYTHON
