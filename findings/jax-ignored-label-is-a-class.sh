#!/usr/bin/env bash
# Guess: an "ignore" label in a mask (255, or -1 as in many loaders) outside the classes raises in a JAX loss, as
#   it does elsewhere, or counts for nothing.
# What happens: -1 is the *last* class: cross-entropy trains it, silently, and class weights are taken from it.
#   255 gives NaN in optax's cross-entropy, but the last class's weight by indexing, is dropped by `.at[].add` and
#   `bincount`; `bincount` counts -1 as class 0. Four functions, four answers.
# Why it matters here: undrawn tissue is coded so. With -1 everything unknown becomes tumour, if tumour is last.
# Seen: 2026-11-29, jax 0.10.2, optax 0.2.8.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'jax==0.10.2' 'jaxlib==0.10.2' 'flax==0.12.8' 'optax==0.2.8' 'numpy==2.4.6'
seen <<'TEXT'
label                0     2    -1   255
cross-entropy     0.41  2.41  2.41   nan
one-hot           0.41  2.41 -0.00 -0.00
weights[label]    1.00  3.00  3.00  3.00
bincount counts it as class      0, 2, 0, none
zeros.at[label].add counts it as 0, 2, 2, none
TEXT
observe <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import optax

labels = jnp.array([0, 2, -1, 255])
logits = jnp.tile(jnp.array([2.0, 1.0, 0.0]), (4, 1))


def row(name, values):
    print(f"{name:16}" + "".join(f"{value:6.2f}" for value in np.asarray(values)))


def counted(counts):
    return str(int(counts.argmax())) if counts.sum() else "none"


print(f"{'label':16}" + "".join(f"{int(label):6}" for label in labels))
row("cross-entropy", optax.softmax_cross_entropy_with_integer_labels(logits, labels))
row("one-hot", optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, 3)))
row("weights[label]", jnp.array([1.0, 2.0, 3.0])[labels])
single = [labels[i : i + 1] for i in range(4)]
print("bincount counts it as class     ", ", ".join(counted(jnp.bincount(one, length=3)) for one in single))
print(
    "zeros.at[label].add counts it as",
    ", ".join(counted(jnp.zeros(3).at[one].add(1)) for one in single),
)
PYTHON
