"""The losses and their class weights, as pure functions: the paper's two, and two for sets of labels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, UInt8


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


def unknown_shares(
    counts: Float[Array, "b h w c"], has_mask: Bool[Array, " b"], cell: int
) -> Float[Array, "b h w"]:
    """Which share of each cell's pixels no mask knows, 0 to 1: all of them in patches without a mask.

    Args:
      counts: `cell_counts` of the masks.
      has_mask: patches whose mask counts.
      cell: pixels a side of a cell.
    """
    return jnp.where(has_mask[:, None, None], 1 - counts.sum(-1) / cell**2, 1.0)


def label_set_loss(
    coarse_logits: Float[Array, "b h w c"],
    allowed: Bool[Array, "b c"],
    unknown: Float[Array, "b h w"],
    rows: Bool[Array, " b"],
) -> Float[Array, ""]:
    """L_set: marginal cross entropy, the mean of -log(sum of p over the allowed classes); 0 without any.

    What an image-level label says of every pixel that no mask knows: it is of one of the classes that the
    patch can hold, by default its label and the background (Fidon et al. 2021, "Label-set loss functions for
    partial supervision"). Alone it is least where all is background; `presence_loss` stands against that.
    The mean is over the unknown pixels of all rows, exactly, though it is computed on the cells.

    Args:
      coarse_logits: low-resolution logits.
      allowed: classes that can occur in each patch, at least one in each.
      unknown: `unknown_shares`.
      rows: patches that take part.
    """
    possible = jnp.where(allowed[:, None, None, :], coarse_logits, -jnp.inf)
    log_p = jax.nn.logsumexp(possible, axis=-1) - jax.nn.logsumexp(coarse_logits, axis=-1)
    total = jnp.where(rows, unknown.mean((1, 2)), 0.0).sum()
    return -jnp.where(rows, (unknown * log_p).mean((1, 2)), 0.0).sum() / jnp.where(total > 0, total, 1.0)


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
    return -_mean_of_rows(presence_of(coarse_logits, label, rows, share), rows)


def presence_of(
    coarse_logits: Float[Array, "b h w c"], label: Int[Array, " b"], rows: Bool[Array, " b"], share: float
) -> Float[Array, " b"]:
    """How surely a class is in each patch: mean log p over the share of it where that is largest; <= 0.

    Arguments as `presence_loss`; outside of `rows` it is of class 0.
    """
    b, h, w, _ = coarse_logits.shape
    code = jnp.where(rows, label, 0)[:, None, None, None]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(coarse_logits), code, axis=-1).reshape(b, h * w)
    largest, _ = jax.lax.top_k(log_p, max(1, round(share * h * w)))
    return largest.mean(1)


class Bags(NamedTuple):
    """Wholes (slides, boxes) of which a class is known to be somewhere in them; of the N patches of a run."""

    of_row: Int32[Any, " n"]  # number of the whole that a patch is a part of; -1 for none
    label: Int32[Any, " n"]  # class that is somewhere in that whole; not read outside of wholes


UNSEEN = 1.0
"""More than any `presence_of`: of a patch that has not been looked at yet."""


def bag_presence_loss(
    coarse_logits: Float[Array, "b h w c"],
    label: Int[Array, " b"],
    named: Bool[Array, " b"],
    parts: Bool[Array, " b"],
    index: Int[Array, " b"],
    bags: Bags,
    evidence: Float[Array, " n"],
    share: float,
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """L_presence of patches with a label and of parts of wholes, which have it as a whole only.

    Of a whole that patch alone counts of which the network is surest, among all of its patches and not only
    those of the batch: what it said of each the last time is kept (multiple-instance learning by the
    top-scoring instance, as in Campanella et al. 2019, without a pass over all patches before each epoch).
    Until each of its patches has been seen once a whole does not count. A whole of one patch is a patch with
    a label.

    Args:
      coarse_logits: low-resolution logits.
      label: class of each patch; not read outside `named`.
      named: patches with a label that take part.
      parts: patches that take part as parts of wholes, none of them named.
      index: the patches' rows among all N.
      bags: of all N patches.
      evidence: what `presence_of` was of each the last time, `UNSEEN` before the first.
      share: as in `presence_loss`.

    Returns:
      The loss, and the evidence with what was seen now.
    """
    row = jnp.where(parts, index, 0)
    rows = named | parts
    values = presence_of(coarse_logits, jnp.where(parts, bags.label[row], label), rows, share)
    seen = jax.lax.stop_gradient(values)
    place = jnp.where(parts, index, len(evidence))  # behind the last: dropped
    # A patch may stand in a batch twice: the surer one counts.
    after = evidence.at[place].set(-jnp.inf, mode="drop").at[place].max(seen, mode="drop")
    same = bags.of_row[row][:, None] == bags.of_row[None, :]
    surest = jnp.where(same, after[None, :], -jnp.inf).max(1)
    counted = parts & (seen >= surest)
    return -_mean_of_rows(values, named | counted), after


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
