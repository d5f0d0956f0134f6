#!/usr/bin/env bash
# Guess: `skimage.color.rgb2hed` gives the amounts of stain as ImageJ and QuPath do: optical densities, -log10(I / 255).
# What happens: scikit-image divides logarithms by that of its smallest value, 1e-6, so that its amounts are exactly a
#   sixth of the optical density, with the same stain vectors. Amounts below 0 are cut off, too, so that the way back
#   (`hed2rgb`) does not return the picture: a pale pink loses 2 to 4 of 255.
# Why it matters here: thresholds of DAB or haematoxylin that are copied from QuPath (0.2, say) find next to nothing, and an
#   augmentation that shifts stains by 0.05 shifts them by a density of 0.3.
# Seen: 2026-12-01, scikit-image 0.26.0, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'scikit-image==0.26.0' 'scipy==1.17.1' 'numpy==2.4.6'
seen <<'TEXT'
haematoxylin of density 0.3: rgb2hed 0.0500, times six 0.3000
haematoxylin of density 0.6: rgb2hed 0.1000, times six 0.6000
haematoxylin of density 1.2: rgb2hed 0.2000, times six 1.2000
pink (240, 180, 210) there and back: (236, 177, 208)
TEXT
observe <<'PYTHON'
import numpy as np
from skimage.color import hed2rgb, rgb2hed, rgb_from_hed

for density in (0.3, 0.6, 1.2):
    colour = 10 ** (-density * rgb_from_hed[0])  # Beer and Lambert, with scikit-image's own vector
    amount = rgb2hed(colour[None, None])[0, 0, 0]
    print(f"haematoxylin of density {density}: rgb2hed {amount:.4f}, times six {6 * amount:.4f}")
pink = np.array([[[240, 180, 210]]], np.uint8)
back = np.round(255 * hed2rgb(rgb2hed(pink))).astype(int)[0, 0]
print(f"pink (240, 180, 210) there and back: {tuple(back.tolist())}")
PYTHON
