#!/usr/bin/env bash
# Guess: optax's `multiclass_generalized_dice_loss` is lower where the masks are drawn better.
# What happens: classes weigh by the inverse square of their pixels in the batch, so that one that the batch does not
#   hold has next to all the weight, and the loss only asks that it be nowhere. A perfect prediction and one in
#   which the two classes that are there are exchanged have the same loss, next to 0, and a classifier of pixels that
#   learns with it stays at chance. With `dice_loss`, or where the batch holds all classes, it learns.
# Why it matters here: patches of tissue seldom hold every class, so that most batches of a small size are such.
# Seen: 2026-12-01, optax 0.2.8, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'optax==0.2.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
a mask of classes 0 and 1 of three:
  generalised dice: perfect 0.00, exchanged 0.00; learned 0.5 of the pixels
  dice: perfect 0.00, exchanged 0.67; learned 1.0 of the pixels
a mask of all three classes:
  generalised dice: perfect 0.00, exchanged 1.00; learned 1.0 of the pixels
  dice: perfect 0.00, exchanged 1.00; learned 1.0 of the pixels
TEXT
observe <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZE = 32
halves = np.zeros((1, SIZE, SIZE), int)
halves[:, :, SIZE // 2 :] = 1
thirds = np.zeros((1, SIZE, SIZE), int)
thirds[:, :, SIZE // 3 : 2 * SIZE // 3] = 1
thirds[:, :, 2 * SIZE // 3 :] = 2
losses = {
    "generalised dice": optax.losses.multiclass_generalized_dice_loss,
    "dice": optax.losses.dice_loss,
}


def learned(loss, masks):
    """The share of pixels that a linear classifier of three noisy brightnesses gets right, 300 steps on."""
    noise = np.random.default_rng(0).normal(0, 0.3, (1, SIZE, SIZE, 3))
    features = jnp.asarray(np.eye(3)[masks] + noise, jnp.float32)
    targets = jax.nn.one_hot(masks, 3)
    optimizer = optax.adam(0.05)
    weights = jnp.zeros((3, 3))
    state = optimizer.init(weights)
    gradient = jax.jit(jax.grad(lambda weights: loss(features @ weights, targets).mean()))
    for _ in range(300):
        updates, state = optimizer.update(gradient(weights), state)
        weights = optax.apply_updates(weights, updates)
    return (np.asarray((features @ weights).argmax(-1)) == masks).mean()


for what, masks, wrong in (
    ("classes 0 and 1 of three", halves, 1 - halves),
    ("all three classes", thirds, (thirds + 1) % 3),
):
    print(f"a mask of {what}:")
    for name, loss in losses.items():
        right, exchanged = (
            float(loss(20 * jax.nn.one_hot(drawn, 3), jax.nn.one_hot(masks, 3)).mean()) for drawn in (masks, wrong)
        )
        share = learned(loss, masks)
        print(f"  {name}: perfect {right:.2f}, exchanged {exchanged:.2f}; learned {share:.1f} of the pixels")
PYTHON
