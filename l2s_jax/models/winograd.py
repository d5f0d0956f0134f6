"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4,3x3) for CPUs.

Lavin & Gray, "Fast algorithms for convolutional neural networks" (2016). A 4x4 tile of the output needs a 6x6
tile of the input. Seen as polynomials, tile and kernel are evaluated at six points in each direction,
multiplied point by point (36 matrix products over the channels) and interpolated back. Polynomials are
evaluated by fixed 6x6, 6x3 and 4x6 matrices. The points 0, +-3/4, +-3/2 and infinity keep float32's
error at 2e-6 of the largest value; the textbook's 0, +-1, +-2 give 7e-6.

Input tiles overlap by two pixels, output tiles do not. All maps are linear, so the gradient uses their
transposes, and the evaluated input and kernel of the forward pass. Gains: benchmarks/README.md.

Tiles are lists: element `b` holds column point (or pixel) `b`, with row points on its leading axis.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float

from l2s_jax.models.shift import shift

TILE = 4
_POINTS = np.array([0, 0.75, -0.75, 1.5, -1.5])


def _matrices(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evaluation of kernel [6,3] and input [6,6], interpolation of the output [4,6]; infinity comes last.

    One dimension: output = interpolate @ ((of_kernel @ kernel) * (of_input @ input)).
    """
    others = [np.delete(points, i) for i in range(5)]
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    infinity = np.eye(6)[5:]
    of_kernel = np.vstack([np.vander(points, 3, increasing=True) / scale[:, None], infinity[:, 3:]])
    rows = [np.append(np.poly(rest)[::-1], 0) for rest in others]
    of_input = np.vstack([*rows, np.poly(points)[::-1]])
    interpolate = np.hstack([np.vander(points, TILE, increasing=True).T, infinity[:, 2:].T])
    return of_kernel, of_input, interpolate


_OF_KERNEL, _OF_INPUT, _INTERPOLATE = _matrices(_POINTS)


def _combine(factors: np.ndarray, terms: Sequence[jax.Array]) -> jax.Array:
    """The sum of factor times term; sparse and unrolled, which XLA:CPU runs faster than a 6x6 matmul."""
    used = [
        term if factor == 1 else float(factor) * term
        for factor, term in zip(factors, terms, strict=True)
        if factor
    ]
    return sum(used[1:], start=used[0])


def _overlap(pixels: Sequence[jax.Array], axis: int) -> list[jax.Array]:
    """The four pixels of each tile, and the last of the tile before and the first of the tile behind."""
    return [shift(pixels[3], axis, 1), *pixels, shift(pixels[0], axis, -1)]


def _overlap_transposed(six: Sequence[jax.Array], axis: int) -> list[jax.Array]:
    return [six[1] + shift(six[5], axis, 1), six[2], six[3], six[4] + shift(six[0], axis, -1)]


def _split(x: Float[Array, "B H W C"], matrix: np.ndarray, overlap: bool) -> list[Float[Array, "6 P C"]]:
    """Cuts into tiles and applies `matrix` [6, 4 or 6] along rows, then along columns; P = B H/4 W/4."""
    batch, height, width, channels = x.shape
    h, w = height // TILE, width // TILE
    tiles = x.reshape(batch, h, TILE, width, channels)
    rows = [tiles[:, :, i] for i in range(TILE)]
    rows = _overlap(rows, 1) if overlap else rows
    tiles = jnp.stack([_combine(line, rows) for line in matrix]).reshape(6, batch, h, w, TILE, channels)
    columns = [tiles[:, :, :, :, j] for j in range(TILE)]
    columns = _overlap(columns, 3) if overlap else columns
    return [_combine(line, columns).reshape(6, batch * h * w, channels) for line in matrix]


def _join(
    tiles: Sequence[Float[Array, "6 P C"]], shape: tuple[Any, ...], matrix: np.ndarray, overlap: bool
) -> Float[Array, "B H W C"]:
    """Applies `matrix` [4 or 6, 6] along columns, then rows, and lays the tiles out: transposes `_split`.

    The batch in `shape` is a symbol where a network is exported for any number of patches.
    """
    batch, height, width, channels = shape
    h, w = height // TILE, width // TILE
    tiles = [tile.reshape(6, batch, h, w, channels) for tile in tiles]
    columns = [_combine(line, tiles) for line in matrix]
    columns = _overlap_transposed(columns, 3) if overlap else columns
    by_row = list(jnp.stack(columns, axis=4).reshape(6, batch, h, width, channels))
    rows = [_combine(line, by_row) for line in matrix]
    rows = _overlap_transposed(rows, 1) if overlap else rows
    return jnp.stack(rows, axis=2).reshape(batch, height, width, channels)


def _evaluate_kernel(kernel: Float[Array, "3 3 I O"]) -> list[Float[Array, "6 I O"]]:
    rows = jnp.stack([_combine(line, list(kernel)) for line in _OF_KERNEL])
    return [_combine(line, [rows[:, j] for j in range(3)]) for line in _OF_KERNEL]


def _evaluate_kernel_transposed(points: Sequence[Float[Array, "6 I O"]]) -> Float[Array, "3 3 I O"]:
    columns = [_combine(line, points) for line in _OF_KERNEL.T]
    rows = [[_combine(line, list(column)) for column in columns] for line in _OF_KERNEL.T]
    return jnp.stack([jnp.stack(row) for row in rows])


def _products(
    left: Sequence[jax.Array], right: Sequence[jax.Array], contract: tuple[int, int]
) -> list[jax.Array]:
    """At each point a matrix product, summing over axis `contract` of [6,?,?] left and right."""
    dimensions = (((contract[0],), (contract[1],)), ((0,), (0,)))
    return [lax.dot_general(a, b, dimensions) for a, b in zip(left, right, strict=True)]


@jax.custom_vjp
def _conv_tiled(x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"]) -> Float[Array, "B H W O"]:
    return _forward(x, kernel)[0]


@jax.jit  # here and below: so that convolutions of equal shape are traced once
def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[list[jax.Array], list[jax.Array]]]:
    # Here and below the barriers let XLA simplify this by itself, which compiles in a tenth less time.
    x_points = _split(lax.optimization_barrier(x), _OF_INPUT, overlap=True)
    kernel_points = _evaluate_kernel(kernel)
    points = _products(x_points, kernel_points, (2, 1))
    y = _join(points, (*x.shape[:3], kernel.shape[3]), _INTERPOLATE, overlap=False)
    return lax.optimization_barrier(y), (x_points, kernel_points)


@jax.jit
def _backward(
    residuals: tuple[list[jax.Array], list[jax.Array]], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x_points, kernel_points = residuals
    dy_points = _split(lax.optimization_barrier(dy), _INTERPOLATE.T, overlap=False)
    dx_points = _products(dy_points, kernel_points, (2, 2))
    shape = (*dy.shape[:3], kernel_points[0].shape[1])
    dx = _join(dx_points, shape, _OF_INPUT.T, overlap=True)
    return lax.optimization_barrier(dx), _evaluate_kernel_transposed(_products(x_points, dy_points, (1, 1)))


_conv_tiled.defvjp(_forward, _backward)


def conv3x3(x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"]) -> Float[Array, "B H W O"]:
    """Convolves with stride 1 and one pixel of zero padding; reverse-mode differentiable once.

    Args:
      x: feature map of any height and width; filled up to multiples of 4 inside.
      kernel: weights.
    """
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0)))
    return _conv_tiled(x, kernel)[:, :height, :width]
