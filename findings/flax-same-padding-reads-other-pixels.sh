#!/usr/bin/env bash
# Guess: flax's `Conv(strides=2, padding="SAME")` is torch's `Conv2d(stride=2, padding=1)`, and `ConvTranspose` of
#   both do the same with the same weights.
# What happens: "SAME" with stride 2 on an even size pads only at the far side, so each output looks one pixel
#   further right and down; `padding=1` is what torch does. ConvTranspose lays its kernel down turned by 180
#   degrees where torch lays it as it is (transpose_kernel=True is the way, with channels exchanged). Shapes are
#   equal, so weights load and run.
# Why it matters here: a ported encoder loses some accuracy, which looks like a matter of training.
# Seen: 2026-11-29, flax 0.12.8, jax 0.10.2; torch's rule written out in NumPy.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'jax==0.10.2' 'jaxlib==0.10.2' 'flax==0.12.8' 'optax==0.2.8' 'numpy==2.4.6'
seen <<'TEXT'
torch's rule, padding 1, first output: centre of the kernel on pixel (0, 0)
flax SAME, first output: centre of the kernel on pixel (1, 1)
flax padding=1, first output: centre of the kernel on pixel (0, 0)
torch's rule, transposed kernel [[1, 2], [3, 4]] on one pixel: [[1, 2], [3, 4]]
flax ConvTranspose: [[4, 3], [2, 1]]
TEXT
observe <<'PYTHON'
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

# A kernel that is 1 in its centre copies the pixel that the centre lies on.
centre = np.zeros((3, 3))
centre[1, 1] = 1
pixels = np.arange(64.0).reshape(8, 8)


def where(value):
    return f"({int(value) // 8}, {int(value) % 8})"


padded = np.pad(pixels, 1)
print(
    "torch's rule, padding 1, first output: centre of the kernel on pixel",
    where((padded[:3, :3] * centre).sum()),
)
for name, padding in (("SAME", "SAME"), ("padding=1", 1)):
    layer = nn.Conv(1, (3, 3), strides=(2, 2), padding=padding, use_bias=False)
    found = layer.apply(
        {"params": {"kernel": jnp.asarray(centre.reshape(3, 3, 1, 1), jnp.float32)}},
        jnp.asarray(pixels.reshape(1, 8, 8, 1), jnp.float32),
    )
    print(f"flax {name}, first output: centre of the kernel on pixel {where(found[0, 0, 0, 0])}")
kernel = np.arange(1, 5).reshape(2, 2)
print(f"torch's rule, transposed kernel {kernel.tolist()} on one pixel: {(kernel * 1).tolist()}")
layer = nn.ConvTranspose(1, (2, 2), strides=(2, 2), use_bias=False)
found = layer.apply(
    {"params": {"kernel": jnp.asarray(kernel.reshape(2, 2, 1, 1), jnp.float32)}}, jnp.ones((1, 1, 1, 1))
)
print(f"flax ConvTranspose: {np.asarray(found)[0, :, :, 0].astype(int).tolist()}")
PYTHON
