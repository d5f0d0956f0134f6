"""Augmentation on the device: each row's key comes from the seed, its epoch and its index alone.

So a patch is augmented alike whatever batch it falls into and however many threads load it.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.25, 0.75, 0.25, 0.04
"""The released code's ColorJitter(0.25, 0.75, 0.25, 0.04)."""

# Transpose, flip rows, flip columns: the four rotations come first, so that `rotate` draws from those.
DIHEDRAL = (
    (0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0),
    (0, 1, 0), (0, 0, 1), (1, 0, 0), (1, 1, 1),
)  # fmt: skip

GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow and torchvision convert


def row_keys(key: jax.Array, epoch: Int[Array, " b"], index: Int[Array, " b"]) -> jax.Array:
    """One key a row, from the run's key, the row's epoch and its index."""
    return jax.vmap(lambda e, i: jax.random.fold_in(jax.random.fold_in(key, e), i))(epoch, index)


def random_dihedral(
    keys: jax.Array,
    image: UInt8[Array, "b s s 3"],
    mask: UInt8[Array, "b s s"],
    group: Literal["rotate", "dihedral"],
) -> tuple[UInt8[Array, "b s s 3"], UInt8[Array, "b s s"]]:
    """Turns (and flips) image and mask together; patches must be square."""
    n = 4 if group == "rotate" else 8
    choice = jax.vmap(lambda key: jax.random.randint(key, (), 0, n))(keys)
    transpose, rows, columns = (jnp.asarray(DIHEDRAL, bool)[choice]).T
    stacked = jnp.concatenate([image, mask[..., None]], axis=-1)

    def where(flag: Array, yes: Array, no: Array) -> Array:
        return jnp.where(flag[:, None, None, None], yes, no)

    stacked = where(transpose, stacked.swapaxes(1, 2), stacked)
    stacked = where(rows, stacked[:, ::-1], stacked)
    stacked = where(columns, stacked[:, :, ::-1], stacked)
    return stacked[..., :3], stacked[..., 3]


def random_shift(
    keys: jax.Array, image: UInt8[Array, "b s s 3"], mask: UInt8[Array, "b s s"], most: int
) -> tuple[UInt8[Array, "b s s 3"], UInt8[Array, "b s s"]]:
    """Shifts image and mask together by up to `most` pixels each way, less than a side; the edge mirrors.

    The network pads with zeros, so it can tell where in a patch a pixel is, and with few masks it learns
    where in those the background lay. After a shift that helps it no more. Not in the paper or its release.
    """
    side = image.shape[1]
    stacked = jnp.concatenate([image, mask[..., None]], axis=-1)
    wide = jnp.pad(stacked, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")

    def cut(key: Array, patch: Array) -> Array:
        row, column = jax.random.randint(key, (2,), 0, 2 * most + 1)
        return jax.lax.dynamic_slice(patch, (row, column, 0), (side, side, 4))

    stacked = jax.vmap(cut)(keys, wide)
    return stacked[..., :3], stacked[..., 3]


def colour_jitter(keys: jax.Array, image: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Random brightness, contrast, saturation and hue of RGB in 0..1, a draw each a row.

    The factors' ranges are the released code's. torchvision applies the four in random order; here the order
    is fixed, brightness first, which is four operations instead of sixteen under `vmap`.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0))(keys)
    brightness, contrast, saturation, hue = draws.T[:, :, None, None]  # each [B,1,1]
    image = jnp.clip(image * (1 + BRIGHTNESS * brightness)[..., None], 0, 1)
    mean = _grey(image).mean((1, 2), keepdims=True)
    image = _blend(image, mean[..., None], 1 + CONTRAST * contrast)
    image = _blend(image, _grey(image)[..., None], 1 + SATURATION * saturation)
    return shift_hue(image, HUE * hue)


def _grey(image: Float[Array, "b h w 3"]) -> Float[Array, "b h w"]:
    return GREY[0] * image[..., 0] + GREY[1] * image[..., 1] + GREY[2] * image[..., 2]


def _blend(image: Array, other: Array, factor: Array) -> Array:
    factor = factor[..., None]
    return jnp.clip(factor * image + (1 - factor) * other, 0, 1)


def shift_hue(image: Float[Array, "b h w 3"], turns: Float[Array, "b 1 1"]) -> Float[Array, "b h w 3"]:
    """Adds `turns` (1 is once round the circle) to the hue in HSV; saturation and value stay."""
    r, g, b = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(r, g), b)
    span = value - jnp.minimum(jnp.minimum(r, g), b)
    divisor = jnp.where(span > 0, span, 1.0)
    sector = jnp.where(
        value == r, (g - b) / divisor, jnp.where(value == g, 2 + (b - r) / divisor, 4 + (r - g) / divisor)
    )
    hue = sector + 6 * turns

    def channel(n: int) -> Array:
        # The closed form of HSV to RGB: value - span * clip(min(k, 4 - k), 0, 1), k = (n + hue) mod 6.
        k = n + hue
        k = k - 6 * jnp.floor(k / 6)  # XLA:CPU calls a function for each pixel of jnp.mod
        return value - span * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)

    return jnp.stack([channel(5), channel(3), channel(1)], axis=-1)
