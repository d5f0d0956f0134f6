#!/usr/bin/env bash
# Guess: Keras's layers take `{"images": ..., "segmentation_masks": ...}`, so that both are changed by the same draw.
# What happens: rotation, shear and perspective do so. `RandomElasticTransform` hands on its generator instead of a draw, so image and
#   mask are bent each in its own way: the mask fits its image worse than if it had been left as it was. With `value_range=(0, 1)`, as
#   for images in 0 to 1, the mask is clipped as well: classes 2 and 3 become 1. `AugMix` gives the weighted mean of the masks'
#   class numbers, and `MixUp` of a batch of 8 masks of one channel gives masks of 8 channels. Masks of integers raise an error in
#   `RandomElasticTransform`, but those that come out of `RandomFlip` or `RandomCrop` are floats.
# Why it matters here: elastic bending is the augmentation of the U-Net paper. The rims of glands, which are what is learned, lie
#   beside the rims in the masks, and no figure of the training tells.
# Seen: 2026-12-02, keras 3.15.1, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'keras==3.15.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
RandomRotation: image and mask are equal True
RandomShear: image and mask are equal True
RandomPerspective: image and mask are equal True
RandomElasticTransform: image and mask are equal False
a square, bent: overlap of image and mask 0.6
  of the image and the mask as it was before 0.7
value_range=(0, 1): classes [0, 1, 2, 3] become [0, 1]
AugMix: all pixels of the mask are of a class False
MixUp: masks (8, 64, 64, 1) become (8, 64, 64, 8)
TEXT
observe <<'PYTHON'
import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

# The mask is its own picture, and all is done by nearest neighbour: after each layer the two must still be equal.
mask = np.zeros((8, 64, 64, 1), np.float32)
rng = np.random.default_rng(0)
for patch in mask:
    for row, column in rng.integers(0, 50, (10, 2)):
        patch[row : row + 14, column : column + 14] = rng.integers(1, 4)


def done(name, masks=mask, **options):
    keras.utils.set_random_seed(0)
    layer = getattr(keras.layers, name)(seed=0, **options)
    both = layer({"images": masks.copy(), "segmentation_masks": masks.copy()})
    return np.asarray(both["images"]), np.asarray(both["segmentation_masks"])


def overlap(one, other):
    return f"{((one > 0) & (other > 0)).sum() / ((one > 0) | (other > 0)).sum():.1f}"


for name, options in (
    ("RandomRotation", {"factor": 0.2}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.3}),
    ("RandomPerspective", {}),
    ("RandomElasticTransform", {}),
):
    image, out = done(name, interpolation="nearest", **options)
    print(f"{name}: image and mask are equal {np.array_equal(image, out)}")

square = np.zeros((64, 64, 64, 1), np.float32)
square[:, 24:40, 24:40] = 1
image, out = done("RandomElasticTransform", square, factor=(1.0, 1.0), scale=(1.0, 1.0), interpolation="nearest")
print("a square, bent: overlap of image and mask", overlap(image, out))
print("  of the image and the mask as it was before", overlap(image, square))
image, out = done("RandomElasticTransform", mask, value_range=(0, 1), interpolation="nearest")
print("value_range=(0, 1): classes", np.unique(mask).astype(int).tolist(), "become", np.unique(out).astype(int).tolist())
image, out = done("AugMix", interpolation="nearest")
print("AugMix: all pixels of the mask are of a class", bool(np.isin(out, np.unique(mask)).all()))
image, out = done("MixUp")
print("MixUp: masks", mask.shape, "become", out.shape)
PYTHON
