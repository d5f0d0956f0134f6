#!/usr/bin/env bash
# Guess: flax's `nnx.metrics.Accuracy` of pixels, updated batch by batch, is the share of pixels that are right.
# What happens: values are counted in 32 bits with a sign. At 2^31 pixels, 8192 patches of 512 x 512, the accuracy turns
#   from 0.75 to -0.75; then it is -2.25, infinite at 16384 patches, and 3.75 at 20480: positive again.
# Why it matters here: that is one pass over a training set, or the tissue of one large slide at 0.25 um/px. A "best"
#   checkpoint that is chosen by the figure is then chosen by the number of patches.
# Seen: 2026-12-01, flax 0.12.8, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'jax==0.10.2' 'jaxlib==0.10.2' 'flax==0.12.8' 'optax==0.2.8' 'numpy==2.4.6'
seen <<'TEXT'
after  4096 patches: accuracy 0.75
after  8192 patches: accuracy -0.75
after 12288 patches: accuracy -2.25
after 16384 patches: accuracy inf
after 20480 patches: accuracy 3.75
TEXT
observe <<'PYTHON'
import jax.numpy as jnp
from flax import nnx

BATCH, SIZE = 128, 512
labels = jnp.ones((BATCH, SIZE, SIZE), jnp.int32)
probabilities = jnp.ones((BATCH, SIZE, SIZE)).at[:, :, : SIZE // 4].set(0.0)  # a quarter is wrong
accuracy = nnx.metrics.Accuracy(threshold=0.5)
for batch in range(1, 161):
    accuracy.update(logits=probabilities, labels=labels)
    if batch % 32 == 0:
        print(f"after {batch * BATCH:5} patches: accuracy {float(accuracy.compute()):.2f}")
PYTHON
