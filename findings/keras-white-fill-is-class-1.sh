#!/usr/bin/env bash
# Guess: `RandomRotation(fill_mode="constant", fill_value=1.0)` fills the corners of images in 0 to 1 with white, as of glass, and
#   those of the masks with background. A crop keeps the numbers of the classes.
# What happens: Keras fills the mask with the image's number: white corners are class 1, and in one-hot masks all classes at once;
#   so do `RandomTranslation` and `RandomZoom`. `RandomCrop` and `CenterCrop` resize patches that are smaller than the crop, as is
#   documented, but the mask bilinearly too: between classes 0 and 3 lie values that become classes 1 and 2 when rounded.
#   `Resizing` keeps classes.
# Why it matters here: glass is white, so white is what one fills with; and class 1 is often the tumour or the gland. Patches of
#   public sets differ in size, and each rim in those that are too small gets classes that are not there.
# Seen: 2026-12-02, keras 3.15.1, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'keras==3.15.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
masks without class 1, images filled with white, 1.0:
  RandomRotation: class 1 in a tenth of the mask or more True
  RandomTranslation: class 1 in a tenth of the mask or more True
  RandomZoom: class 1 in a tenth of the mask or more True
  RandomRotation, one-hot: a corner is of classes [1, 1, 1]
masks of classes 0 and 3, 48 x 80 pixels, to 64 x 64:
  RandomCrop: classes [0, 1, 2, 3] when rounded
  CenterCrop: classes [0, 1, 2, 3] when rounded
  Resizing: classes [0, 3] when rounded
TEXT
observe <<'PYTHON'
import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np


def masks_after(name, masks, **options):
    images = np.zeros((*masks.shape[:3], 3), np.float32)
    if name.startswith("Random"):
        options["seed"] = 0
    layer = getattr(keras.layers, name)(**options)
    both = layer({"images": images, "segmentation_masks": masks.copy()}, training=True)
    return np.asarray(both["segmentation_masks"])


background = np.zeros((4, 64, 64, 1), np.int32)
white = {"fill_mode": "constant", "fill_value": 1.0}
eighth_of_a_turn = {"factor": (0.125, 0.125)}
print("masks without class 1, images filled with white, 1.0:")
for name, options in (
    ("RandomRotation", eighth_of_a_turn),
    ("RandomTranslation", {"height_factor": (0.25, 0.25), "width_factor": 0.0}),
    ("RandomZoom", {"height_factor": (0.5, 0.5)}),
):
    out = masks_after(name, background, **white, **options)
    print(f"  {name}: class 1 in a tenth of the mask or more {(out == 1).mean() >= 0.1}")
one_hot = np.zeros((4, 64, 64, 3), np.float32)
one_hot[..., 0] = 1
out = masks_after("RandomRotation", one_hot, **white, **eighth_of_a_turn)
print("  RandomRotation, one-hot: a corner is of classes", out[0, 0, 0].astype(int).tolist())

squares = np.kron(np.indices((6, 10)).sum(0) % 2 * 3, np.ones((8, 8), int)).astype(np.int32)
squares = np.stack([squares] * 4)[..., None]
print("masks of classes 0 and 3, 48 x 80 pixels, to 64 x 64:")
for name in ("RandomCrop", "CenterCrop", "Resizing"):
    out = masks_after(name, squares, height=64, width=64)
    print(f"  {name}: classes {np.unique(np.rint(out)).astype(int).tolist()} when rounded")
PYTHON
