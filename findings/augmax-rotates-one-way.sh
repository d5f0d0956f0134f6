#!/usr/bin/env bash
# Guess: augmax's `Rotate((-30, 30), p=0.5)` turns half of the patches, to either side; `ColorJitter` with a hue or a
#   saturation changes it.
# What happens: whether to turn and how far are drawn with the same key, so that only angles of the lower half are ever
#   used: with p=0.5 no patch of 400 is turned the other way. With p=1 both sides occur. `ColorJitter` of saturation
#   alone leaves each pixel as it is, as does hue alone; brightness alone works.
# Why it matters here: augmax is a library of augmentations for JAX that takes image and mask together. A network
#   trained so meets half of the angles and none of the changes of stain that its settings name, and nothing says so.
# Seen: 2026-12-01, augmax 0.4.1, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'augmax==0.4.1' 'einops==0.8.2' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
Rotate(p=1.0): turned one way in 0.5 of 400 draws, the other way in 0.5
Rotate(p=0.5): turned one way in 0.0 of 400 draws, the other way in 0.5
ColorJitter of brightness alone: some pixels change
ColorJitter of saturation alone: no pixel changes
ColorJitter of hue alone: no pixel changes
TEXT
observe <<'PYTHON'
import augmax
import jax
import jax.numpy as jnp
import numpy as np

keys = jax.random.split(jax.random.key(0), 400)

# A bright point right of the middle: turned one way it comes to lie above the middle, turned the other below.
point = jnp.zeros((33, 33, 1)).at[16, 28].set(1.0)
rows = jnp.arange(33.0)[:, None, None]
for p in (1.0, 0.5):
    turn = augmax.Rotate((-30, 30), p=p)
    turned = jax.jit(jax.vmap(lambda key, turn=turn: turn(key, point)))(keys)
    places = np.asarray((turned * rows).sum((1, 2, 3)) / turned.sum((1, 2, 3))) - 16
    up, down = (places < -0.05).mean(), (places > 0.05).mean()
    print(f"Rotate(p={p}): turned one way in {up:.1f} of 400 draws, the other way in {down:.1f}")

picture = jax.random.uniform(jax.random.key(1), (16, 16, 3))
for kind in ("brightness", "saturation", "hue"):
    strengths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {kind: 0.5}
    jitter = augmax.ColorJitter(**strengths, p=1.0)
    pictures = jax.jit(jax.vmap(lambda key, jitter=jitter: jitter(key, picture)))(keys[:20])
    changed = float(jnp.abs(pictures - picture).max()) > 0.01
    print(f"ColorJitter of {kind} alone: {'some pixels change' if changed else 'no pixel changes'}")
PYTHON
