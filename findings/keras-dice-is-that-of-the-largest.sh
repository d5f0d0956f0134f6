#!/usr/bin/env bash
# Guess: `keras.losses.Dice` (and `Tversky`) of one-hot masks is one minus the mean of the classes' Dice coefficients.
# What happens: numerators and denominators are summed over batch, pixels and classes before they are divided. Of a
#   patch that is 98% background, a network that calls all of it background has a loss of 0.02, where the mean over
#   classes is 0.67 and only `axis=(0, 1, 2)` says so. With all classes counted, it is the share of wrong pixels.
# Why it matters here: Dice is taken where classes are rare, so that they count as much as the rest; here they do not.
# Seen: 2026-12-02, keras 3.15.1 with its JAX backend, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'keras==3.15.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
all called background: Dice loss 0.02, Tversky loss 0.02, share of wrong pixels 0.02
one of two rare classes found: Dice loss 0.01, Tversky loss 0.01, share of wrong pixels 0.01
all called background, axis=(0, 1, 2): 0.67
one of two rare classes found, axis=(0, 1, 2): 0.34
TEXT
observe <<'PYTHON'
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np

truth = np.zeros((1, 100, 100), int)  # two glands, each 1% of the patch
truth[:, :10, :10], truth[:, 10:20, :10] = 1, 2
background = np.zeros_like(truth)
half = np.where(truth == 1, 1, 0)


def one_hot(mask):
    return np.eye(3, dtype="float32")[mask]


found = {"all called background": background, "one of two rare classes found": half}
for name, mask in found.items():
    dice, tversky = (
        float(loss(one_hot(truth), one_hot(mask))) for loss in (keras.losses.Dice(), keras.losses.Tversky())
    )
    wrong = (mask != truth).mean()
    print(f"{name}: Dice loss {dice:.2f}, Tversky loss {tversky:.2f}, share of wrong pixels {wrong:.2f}")
for name, mask in found.items():
    loss = keras.losses.Dice(axis=(0, 1, 2))(one_hot(truth), one_hot(mask))
    print(f"{name}, axis=(0, 1, 2): {float(loss):.2f}")
PYTHON
