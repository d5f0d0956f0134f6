#!/usr/bin/env bash
# Guess: surface-distance (DeepMind's) works with NumPy 2, since it installs beside it and its first results are right.
# What happens: it works until a mask is empty in the truth or in the prediction. Only that path names `np.Inf` or
#   `np.NaN`, which NumPy 2 took away: AttributeError, where NumPy 1 gave infinity and "not a number".
# Why it matters here: a class that is absent from one picture is the rule, and it ends an evaluation of hours.
# Seen: 2026-11-29, surface-distance 0.1 with NumPy 2.4.6.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'medpy==0.5.2' 'surface-distance==0.1' 'scikit-image==0.26.0' 'scipy==1.17.1' 'numpy==2.4.6'
seen <<'TEXT'
both drawn: HD95 3.0, Dice 0.93
truth empty: AttributeError
prediction empty: AttributeError
both empty: AttributeError, Dice AttributeError
TEXT
observe <<'PYTHON'
import numpy as np
import surface_distance

empty = np.zeros((60, 60), bool)
drawn = empty.copy()
drawn[10:50, 10:50] = True


def distance(truth, found):
    try:
        distances = surface_distance.compute_surface_distances(truth, found, (1, 1))
        return f"{surface_distance.compute_robust_hausdorff(distances, 95):.1f}"
    except AttributeError as error:
        return type(error).__name__


def dice(truth, found):
    try:
        return f"{surface_distance.compute_dice_coefficient(truth, found):.2f}"
    except AttributeError as error:
        return type(error).__name__


shifted = np.roll(drawn, 3, 1)
print(f"both drawn: HD95 {distance(drawn, shifted)}, Dice {dice(drawn, shifted)}")
print(f"truth empty: {distance(empty, drawn)}")
print(f"prediction empty: {distance(drawn, empty)}")
print(f"both empty: {distance(empty, empty)}, Dice {dice(empty, empty)}")
PYTHON
