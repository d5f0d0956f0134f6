#!/usr/bin/env bash
# Guess: Orbax's new API holds a checkpoint against the template that one gives it: another shape or type is an error.
# What happens: a template of JAX arrays is held to the stored shape, and raises. One of NumPy arrays is held to none:
#   what was stored comes back, in its own shape. And both are of the type that the template has, converted without a
#   word: 300.0 asked for as int8 is 44, as bool True. The description that can be asked for first tells both.
# Why it matters here: a network of four classes is read into a template of three, or one trained in float32 into
#   bfloat16, and nothing says so until a product fails, or never.
# Seen: 2026-12-02, orbax-checkpoint 0.12.8, jax 0.10.2, NumPy 2.4.6, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'orbax-checkpoint==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
stored: float32 (2, 3), 300 the greatest
JAX template float32 (2, 2): ValueError
JAX template float32 (3, 3): ValueError
NumPy template float32 (2, 2): float32 (2, 3)
NumPy template float32 (3, 3): float32 (2, 3)
JAX template int8 (2, 3): int8 (2, 3), the greatest 44
JAX template float16 (2, 3): float16 (2, 3), the greatest 300
JAX template bool (2, 3): bool (2, 3), the greatest True
NumPy template int8 (2, 3): int8 (2, 3), the greatest 44
NumPy template float16 (2, 3): float16 (2, 3), the greatest 300
NumPy template bool (2, 3): bool (2, 3), the greatest True
description: float32 (2, 3)
TEXT
observe <<'PYTHON'
import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

place = os.path.abspath("checkpoint")
stored = np.array([[0, 1, 2], [3, 4, 300]], np.float32)
ocp.save(place, {"kernel": stored})
print(f"stored: {stored.dtype} {stored.shape}, {stored.max():g} the greatest")


def read(kind, zeros, dtype, shape):
    asked = f"{kind} template {np.dtype(dtype)} {shape}"
    try:
        found = np.asarray(ocp.load(place, {"kernel": zeros(shape, dtype)})["kernel"])
    except ValueError as error:
        print(f"{asked}: {type(error).__name__}")
        return
    greatest = f", the greatest {found.max() if found.dtype == bool else format(found[1, 2], 'g')}"
    print(f"{asked}: {found.dtype} {found.shape}{greatest if shape == stored.shape else ''}")


for kind, zeros in (("JAX", jnp.zeros), ("NumPy", np.zeros)):
    for shape in ((2, 2), (3, 3)):
        read(kind, zeros, np.float32, shape)
for kind, zeros in (("JAX", jnp.zeros), ("NumPy", np.zeros)):
    for dtype in (np.int8, np.float16, bool):
        read(kind, zeros, dtype, stored.shape)
described = ocp.metadata(place).metadata["kernel"]
print(f"description: {described.dtype} {described.shape}")
PYTHON
