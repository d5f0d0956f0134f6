"""Stain normalisation after Macenko et al. 2009, for batches of patches on any JAX device (section 2.3).

M. Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
Steps and constants (`fit.py`) are those of torchstain's NumPy version, which the tests compare with: Io
240, beta 0.15, alpha 1, and a result that is cut, not rounded, to whole grey levels.

No patch makes it fail. A patch whose own stains cannot be found (too little tissue, one colour only, white,
black) takes the fit of its slide, and where that is missing too it is left as it is: `OWN_FIT`, `SLIDE_FIT`
and `UNCHANGED` say which. Ink cannot be told from stain by its optical density: keep it out with `mask`.

In shapes, `B` is the batch, `H W` the height and width, `N = H W` the pixels of a patch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l2s_jax.stain.fit import (
    ALPHA,
    BETA,
    CONCENTRATION_PERCENTILE,
    INTENSITY,
    MIN_ANGLE,
    MIN_CONCENTRATION,
    MIN_PIXELS,
    MIN_TISSUE_SHARE,
    MIN_VARIANCE,
    OWN_FIT,
    SLIDE_FIT,
    UNCHANGED,
    StainFit,
)
from l2s_jax.stain.percentiles import masked_percentiles


@jax.jit
def fit_stain(images: Array, mask: Array | None = None) -> StainFit:
    """Finds the two stains of each picture and their maximum concentrations.

    Args:
      images: u8[B,H,W,3], RGB.
      mask: bool[B,H,W], the pixels to look at (tissue without ink), or None for all. Glass is left out of
        the stain vectors either way (`BETA`). A slide is fitted to `tissue.sample_tissue_pixels` of it,
        which has one shape for all slides.

    Returns:
      A `StainFit` with batch axis B. It is unusable where `MIN_PIXELS`, `MIN_TISSUE_SHARE`, `MIN_VARIANCE`,
      `MIN_ANGLE` or `MIN_CONCENTRATION` is not met.
    """
    return _fit(_optical_density(images), _flat_mask(mask))


@jax.jit
def normalise_stain(images: Array, fit: StainFit, reference: StainFit) -> Array:
    """Gives pictures with stains `fit` the stains of `reference`.

    Args:
      images: u8[B,H,W,3], RGB.
      fit: the pictures' stains, with batch axis B or none. A picture whose fit is not usable is unchanged.
      reference: the stains to give, without batch axis.

    Returns:
      u8[B,H,W,3], RGB.
    """
    return _apply(images, _optical_density(images), fit, reference)


@jax.jit
def macenko(
    images: Array, reference: StainFit, slide: StainFit | None = None, mask: Array | None = None
) -> tuple[Array, Array]:
    """Fits each patch and normalises it: `fit_stain`, then `normalise_stain`, in one program.

    Args:
      images: u8[B,H,W,3], RGB.
      reference: the stains to give, without batch axis.
      slide: the stains of the patches' slides, with batch axis B or none, for patches that have no usable
        fit of their own. None: such patches are left unchanged.
      mask: bool[B,H,W], the pixels to fit on, or None for all.

    Returns:
      The patches, u8[B,H,W,3], and for each patch `OWN_FIT`, `SLIDE_FIT` or `UNCHANGED`, i32[B].
    """
    density = _optical_density(images)
    fit, status = with_fallback(_fit(density, _flat_mask(mask)), slide)
    return _apply(images, density, fit, reference), status


def with_fallback(own: StainFit, slide: StainFit | None) -> tuple[StainFit, Array]:
    """Replaces unusable fits by those of the slides.

    Args:
      own: fits of patches, batch axis B.
      slide: fits of their slides, with batch axis B or none, or None where there is none.

    Returns:
      The fits, and for each patch `OWN_FIT`, `SLIDE_FIT` or `UNCHANGED` (then its fit is unusable), i32[B].
    """
    if slide is None:
        return own, jnp.where(own.usable, OWN_FIT, UNCHANGED).astype(jnp.int32)
    slide = jax.tree.map(lambda one, batch: jnp.broadcast_to(one, batch.shape), slide, own)
    fit = StainFit(
        jnp.where(own.usable[:, None, None], own.stain_matrix, slide.stain_matrix),
        jnp.where(own.usable[:, None], own.max_concentration, slide.max_concentration),
        own.usable | slide.usable,
    )
    status = jnp.where(own.usable, OWN_FIT, jnp.where(slide.usable, SLIDE_FIT, UNCHANGED))
    return fit, status.astype(jnp.int32)


def _planes(images: Array) -> Array:
    """u8[B,H,W,3] as u8[3,B,N]: channels apart, so that everything after runs along pixels."""
    return jnp.moveaxis(images, -1, 0).reshape(3, images.shape[0], -1)


def _optical_density(images: Array) -> Array:
    """f32[3,B,N]: -ln((I + 1) / Io), looked up, since there are only 256 intensities."""
    table = -np.log((np.arange(256) + 1) / INTENSITY)
    return jnp.asarray(table, jnp.float32)[_planes(images)]


def _along(density: Array, direction: Array) -> Array:
    """f32[B,N]: the optical densities f32[3,B,N] projected on a direction a picture, f32[B,3]."""
    red, green, blue = (density[c] * direction[:, c, None] for c in range(3))
    return red + green + blue


def _flat_mask(mask: Array | None) -> Array | None:
    return None if mask is None else mask.reshape(mask.shape[0], -1).astype(bool)


def _fit(density: Array, mask: Array | None) -> StainFit:
    """The stains from f32[3,B,N] optical densities, looking at the pixels of bool[B,N] masks."""
    tissue = (density >= BETA).all(0)
    tissue = tissue if mask is None else tissue & mask
    count = tissue.sum(-1, dtype=jnp.int32)
    axes, variance = _principal_axes(density, tissue, count)
    stain_matrix, angle = _stain_vectors(density, tissue, axes)
    seen = jnp.ones_like(tissue) if mask is None else mask
    max_concentration = _max_concentration(density, seen, _unmixing(stain_matrix))
    usable = (
        (count >= MIN_PIXELS)
        & (count >= MIN_TISSUE_SHARE * seen.sum(-1))
        & (variance >= MIN_VARIANCE)
        & (angle >= MIN_ANGLE)
        & (max_concentration >= MIN_CONCENTRATION).all(-1)
        & jnp.isfinite(max_concentration).all(-1)
    )
    return StainFit(stain_matrix, max_concentration, usable)


def _principal_axes(density: Array, tissue: Array, count: Array) -> tuple[Array, Array]:
    """The plane of the stains: f32[B,3,2], first and second axis, and f32[B], the variance along the second.

    The first axis points to where the tissue lies, so that angles from it do not wrap.
    """
    members = jnp.maximum(count, 2).astype(jnp.float32)
    mean = jnp.where(tissue[None], density, 0).sum(-1) / members[None]  # [3,B]
    centred = jnp.where(tissue[None], density - mean[..., None], 0)
    scatter = [jnp.stack([(centred[i] * centred[j]).sum(-1) for j in range(3)], -1) for i in range(3)]
    variances, vectors = jnp.linalg.eigh(jnp.stack(scatter, -1) / (members - 1)[:, None, None])
    first, second = vectors[..., 2], vectors[..., 1]
    along = (first * mean.T).sum(-1, keepdims=True)
    return jnp.stack([jnp.where(along < 0, -first, first), second], -1), variances[:, 1]


def _stain_vectors(density: Array, tissue: Array, axes: Array) -> tuple[Array, Array]:
    """f32[B,3,2], the extreme directions in the plane, haematoxylin first; f32[B], the angle between them."""
    x, y = _along(density, axes[..., 0]), _along(density, axes[..., 1])
    # A pixel's place on the unit diamond grows with its angle in (-pi, pi] and is much cheaper than atan2.
    place = y / jnp.maximum(jnp.abs(x) + jnp.abs(y), 1e-12)
    place = jnp.where(x >= 0, place, jnp.where(y >= 0, 2 - place, -2 - place))
    low, high = _angle(masked_percentiles(place, tissue, (ALPHA, 100 - ALPHA))).T
    first, second = (
        axes[..., 0] * jnp.cos(angle)[:, None] + axes[..., 1] * jnp.sin(angle)[:, None]
        for angle in (low, high)
    )
    swap = (first[:, :1] <= second[:, :1])[..., None]  # haematoxylin takes more of the red than eosin does
    stain_matrix = jnp.stack([first, second], -1)
    return jnp.where(swap, stain_matrix[..., ::-1], stain_matrix), high - low


def _angle(place: Array) -> Array:
    """The angle in radians of a place on the unit diamond, -2..2."""
    y = jnp.where(jnp.abs(place) <= 1, place, jnp.sign(place) * (2 - jnp.abs(place)))
    return jnp.arctan2(y, 1 - jnp.abs(place))


def _unmixing(stain_matrix: Array) -> Array:
    """f32[...,2,3], the pseudo-inverse of f32[...,3,2]: least-squares concentrations from optical density.

    Parallel stain vectors have none; what comes back then is finite and belongs to a fit that is not usable.
    """
    first, second = stain_matrix[..., 0], stain_matrix[..., 1]
    product = (first * second).sum(-1, keepdims=True)
    determinant = jnp.maximum(1 - product**2, 1e-12)
    return jnp.stack([first - product * second, second - product * first], -2) / determinant[..., None]


def _max_concentration(density: Array, seen: Array, unmixing: Array) -> Array:
    """f32[B,2], the upper percentile of each stain's concentration over all pixels seen, glass included."""
    stains = jnp.concatenate([_along(density, unmixing[:, 0]), _along(density, unmixing[:, 1])])
    tops = masked_percentiles(stains, jnp.concatenate([seen, seen]), (CONCENTRATION_PERCENTILE,))
    return tops.reshape(2, -1).T


def _apply(images: Array, density: Array, fit: StainFit, reference: StainFit) -> Array:
    """Unmixes, scales each stain and mixes with the reference's stains: one 3x3 matrix a picture."""
    change = jnp.einsum(
        "ck,k,...k,...kd->...cd",
        reference.stain_matrix,
        reference.max_concentration,
        1 / jnp.where(fit.usable[..., None], fit.max_concentration, 1),
        _unmixing(fit.stain_matrix),
        precision="highest",
    )
    change = jnp.broadcast_to(change, (images.shape[0], 3, 3))
    mixed = [_along(density, change[:, channel]) for channel in range(3)]
    light = jnp.minimum(INTENSITY * jnp.exp(-jnp.stack(mixed)), 255.0).astype(jnp.uint8)
    normalised = jnp.moveaxis(light, 0, -1).reshape(images.shape)
    return jnp.where(fit.usable.reshape(-1, 1, 1, 1), normalised, images)
