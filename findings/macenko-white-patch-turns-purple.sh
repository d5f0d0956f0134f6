#!/usr/bin/env bash
# Guess: stain normalisation leaves a nearly empty patch nearly empty, or fails on it.
# What happens: torchstain's Macenko fits the stains on the pixels that are dark enough, but scales them by the
#   99th percentile of *all* pixels. Where less than 1% of a patch is tissue that percentile belongs to the glass,
#   is negative, and the whole white patch comes out deep purple, as uint8 and without a word. An all-white patch
#   raises LinAlgError. So a tile is changed by what else lies in it.
# Why it matters here: patches at the rim of the tissue become the darkest of the data set and get a class.
# Seen: 2026-11-29, torchstain 1.4.1 (NumPy backend).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'torchstain==1.4.1' 'numpy==2.4.6'
seen <<'TEXT'
25% tissue: glass [250, 250, 250] becomes [255, 255, 247], tissue of mean 140 becomes 120
5% tissue: glass [250, 250, 250] becomes [255, 255, 252], tissue of mean 139 becomes 83
0.4% tissue: glass [250, 250, 250] becomes [40, 3, 88], tissue of mean 145 becomes 85
no tissue: LinAlgError
TEXT
observe <<'PYTHON'
import numpy as np
import torchstain

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def tissue(size, seed):
    amounts = np.random.default_rng(seed).gamma(2, 0.35, (size, size, 2))
    return np.clip(np.round(240 * np.exp(-amounts @ STAINS)), 0, 255).astype(np.uint8)


normalizer = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
normalizer.fit(tissue(128, 0))
for name, side in (("25%", 64), ("5%", 28), ("0.4%", 8), ("no", 0)):
    patch = np.full((128, 128, 3), 250, np.uint8)
    patch[:side, :side] = tissue(side, 1)
    try:
        changed = normalizer.normalize(patch, stains=False)[0]
    except np.linalg.LinAlgError as error:
        print(f"{name} tissue: {type(error).__name__}")
        continue
    print(
        f"{name} tissue: glass {patch[-1, -1].tolist()} becomes {changed[-1, -1].tolist()}, "
        f"tissue of mean {patch[:side, :side].mean():.0f} becomes {changed[:side, :side].mean():.0f}"
    )
PYTHON
