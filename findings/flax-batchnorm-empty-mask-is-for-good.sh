#!/usr/bin/env bash
# Guess: a batch of which `mask` counts no row leaves flax's `BatchNorm` as it was.
# What happens: the mean of nothing is NaN. So are the output of all rows and the running mean and variance, and these
#   stay NaN in every batch after it, whole ones too: training goes on well, since it uses each batch's own statistics,
#   and evaluation gives NaN for every picture. `flax.linen` and `flax.nnx` do the same.
# Why it matters here: rows are masked where a batch holds patches that a layer must not learn from. With few masks some
#   batch has none, and nothing shows until the network is used.
# Seen: 2026-12-02, flax 0.12.8, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'jax==0.10.2' 'jaxlib==0.10.2' 'flax==0.12.8' 'optax==0.2.8' 'numpy==2.4.6'
seen <<'TEXT'
flax.linen, two rows of four: output is finite, running statistics are finite
flax.linen, no row of four: output is NaN, running statistics are NaN
flax.linen, all rows: output is finite, running statistics are NaN
flax.linen, in evaluation: output is NaN
flax.nnx, two rows of four: output is finite, running statistics are finite
flax.nnx, no row of four: output is NaN, running statistics are NaN
flax.nnx, all rows: output is finite, running statistics are NaN
flax.nnx, in evaluation: output is NaN
TEXT
observe <<'PYTHON'
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

maps = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
MASKS = {"two rows of four": [1, 1, 0, 0], "no row of four": [0, 0, 0, 0], "all rows": [1, 1, 1, 1]}


def said(values):
    return "finite" if all(bool(jnp.isfinite(value).all()) for value in jax.tree.leaves(values)) else "NaN"


def mask_of(rows):
    return jnp.array(rows, bool).reshape(4, 1, 1, 1)


layer = nn.BatchNorm(momentum=0.9)
state = layer.init(jax.random.key(0), maps, use_running_average=False)
for name, rows in MASKS.items():
    found, changed = layer.apply(
        state, maps, use_running_average=False, mask=mask_of(rows), mutable=["batch_stats"]
    )
    state = {**state, **changed}
    print(f"flax.linen, {name}: output is {said(found)}, running statistics are {said(changed)}")
print(f"flax.linen, in evaluation: output is {said(layer.apply(state, maps, use_running_average=True))}")

layer = nnx.BatchNorm(3, momentum=0.9, rngs=nnx.Rngs(0))
for name, rows in MASKS.items():
    found = layer(maps, mask=mask_of(rows))
    statistics = (layer.mean[...], layer.var[...])
    print(f"flax.nnx, {name}: output is {said(found)}, running statistics are {said(statistics)}")
print(f"flax.nnx, in evaluation: output is {said(layer(maps, use_running_average=True))}")
PYTHON
