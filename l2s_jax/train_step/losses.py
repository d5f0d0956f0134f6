"""The losses and their class weights, as pure functions: the paper's two, and two for sets of labels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8


def cell_counts(
    mask: UInt8[Array, "b h w"], classes: int, cell: int
) -> Float[Array, "b h//{cell} w//{cell} {classes}"]:
    """How many pixels of each class lie in each square cell of `cell` pixels a side.

    Ignored pixels are counted nowhere. With nearest-neighbour enlargement every pixel of a cell has the same
    logits, so these counts are all that a pixelwise loss needs to know of the mask.
    """
    b, h, w = mask.shape
    cells = mask.reshape(b, h // cell, cell, w // cell, cell)
    codes = jnp.arange(classes, dtype=mask.dtype)
    equal = cells[..., None] == codes[None, None, None, None, None, :]
    return equal.sum((2, 4), dtype=jnp.int32).astype(jnp.float32)


def segmentation_loss(
    coarse_logits: Float[Array, "b h w c"],
    counts: Float[Array, "b h w c"],
    class_weights: Float[Array, " c"],
) -> Float[Array, ""]:
    """L_seg: weighted pixelwise cross entropy, the mean weighted by the pixels' class weights.

    Exactly the cross entropy of the enlarged logits against the full mask, computed on the cells. Pixels
    that are ignored, or whose class has no weight, take no part; with none left the loss is 0.

    Args:
      coarse_logits: low-resolution logits.
      counts: `cell_counts` of the masks; zero for rows without a mask.
      class_weights: weight of each class, >= 0.
    """
    weight = counts * class_weights[None, None, None, :]
    total = weight.sum()
    loss = -(weight * jax.nn.log_softmax(coarse_logits)).sum()
    return loss / jnp.where(total > 0, total, 1.0)


def classification_loss(
    class_logits: Float[Array, "b c"],
    label: Int[Array, " b"],
    has_label: Bool[Array, " b"],
    class_weights: Float[Array, " c"],
) -> Float[Array, ""]:
    """L_cls: weighted cross entropy of the labelled rows; 0 where no row has a label of positive weight."""
    code = jnp.where(has_label, label, 0)
    weight = jnp.where(has_label, class_weights[code], 0.0)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(class_logits), code[:, None], axis=1)[:, 0]
    total = weight.sum()
    return -(weight * log_p).sum() / jnp.where(total > 0, total, 1.0)


def label_set_loss(
    coarse_logits: Float[Array, "b h w c"], allowed: Bool[Array, "b c"], rows: Bool[Array, " b"]
) -> Float[Array, ""]:
    """L_set: marginal cross entropy, the mean of -log(sum of p over the allowed classes); 0 without rows.

    What an image-level label says of every pixel: it is of one of the classes that the patch can hold, by
    default its label and the background (Fidon et al. 2021, "Label-set loss functions for partial
    supervision", whose sets are for each pixel). Alone it is least where all is background; `presence_loss`
    stands against that.

    Args:
      coarse_logits: low-resolution logits.
      allowed: classes that can occur in each patch, at least one in each.
      rows: patches that take part.
    """
    possible = jnp.where(allowed[:, None, None, :], coarse_logits, -jnp.inf)
    log_p = jax.nn.logsumexp(possible, axis=-1) - jax.nn.logsumexp(coarse_logits, axis=-1)
    return -_mean_of_rows(log_p.mean((1, 2)), rows)


def presence_loss(
    coarse_logits: Float[Array, "b h w c"],
    label: Int[Array, " b"],
    rows: Bool[Array, " b"],
    share: float,
) -> Float[Array, ""]:
    """L_presence: mean -log p of the label over the share of the patch where it is largest; 0 without rows.

    Multiple-instance learning with top-k pooling: the labelled class is somewhere in the patch.

    Args:
      coarse_logits: low-resolution logits.
      label: class of each patch; not read outside `rows`.
      rows: patches that take part.
      share: of the low-resolution pixels, 0 to 1; at least one pixel counts.
    """
    b, h, w, _ = coarse_logits.shape
    code = jnp.where(rows, label, 0)[:, None, None, None]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(coarse_logits), code, axis=-1).reshape(b, h * w)
    largest, _ = jax.lax.top_k(log_p, max(1, round(share * h * w)))
    return -_mean_of_rows(largest.mean(1), rows)


def _mean_of_rows(values: Float[Array, " b"], rows: Bool[Array, " b"]) -> Float[Array, ""]:
    return jnp.where(rows, values, 0.0).sum() / jnp.maximum(rows.sum(), 1)


def class_weights(counts: np.ndarray, rule: str) -> np.ndarray:
    """Weights f32[C] in 0..1 from how often each class occurs in the training subset (section 2.3).

    Args:
      counts: pixels (segmentation) or patches (classification) of each class, [C].
      rule: `inverse` frequency over its largest, absent classes 0 (spec and release on BACH);
        `proportional`, the paper's literal words; `index`, 0..C-1 as the release has it on Gleason2019 and
        DigestPath2019 (not in 0..1); `none`, all ones.
    """
    counts = np.asarray(counts, np.float64)
    if rule == "none":
        weights = np.ones_like(counts)
    elif rule == "index":
        weights = np.arange(len(counts), dtype=np.float64)
    elif rule == "proportional":
        weights = counts / max(counts.max(), 1)
    elif rule == "inverse":
        smallest = counts[counts > 0].min() if (counts > 0).any() else 1.0
        weights = np.divide(smallest, counts, out=np.zeros_like(counts), where=counts > 0)
    else:
        raise ValueError(f"no such rule of class weights: {rule!r}")
    return weights.astype(np.float32)
