"""The core: `(state, batch) -> (state, metrics)`. One compiled program serves S, S+C and S+C*."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float32, Int32, UInt8

from l2s_jax.config import TrainConfig, shift_pixels
from l2s_jax.models.network import L2S, Outputs, init_variables, normalise
from l2s_jax.train_step.augment import colour_jitter, random_dihedral, random_shift, row_keys
from l2s_jax.train_step.losses import (
    UNSEEN,
    Bags,
    bag_presence_loss,
    cell_counts,
    classification_loss,
    label_set_loss,
    presence_loss,
    segmentation_loss,
    unknown_shares,
)
from l2s_jax.types import IGNORE_LABEL, Batch


class Objective(NamedTuple):
    """Weights of the label losses beside L_seg; 1, 0 and 0 are the paper's."""

    classification: Float32[Any, ""]
    label_set: Float32[Any, ""]
    presence: Float32[Any, ""]


class LossParts(NamedTuple):
    """L_seg, L_cls, L_set and L_presence of a batch, each before its weight."""

    segmentation: Float32[Array, ""]
    classification: Float32[Array, ""]
    label_set: Float32[Array, ""]
    presence: Float32[Array, ""]


class Task(NamedTuple):
    """What a run is told about its data; constant through it. In the state so that `vmap` maps it too."""

    seg_weights: Float32[Any, " c"]  # class weights of L_seg
    cls_weights: Float32[Any, " c"]  # class weights of L_cls
    mean: Float32[Any, "3"]  # channel means of RGB in 0..1
    std: Float32[Any, "3"]  # channel standard deviations of RGB in 0..1
    objective: Objective
    labels_from: Int32[Any, ""] = np.int32(0)  # label patches take no part in earlier steps
    bags: Bags | None = None  # wholes of which patches are parts; None where the data have none


class TrainState(NamedTuple):
    """Everything that a step reads and writes. A leading axis appears where seeds are stacked."""

    step: Int32[Any, ""]  # steps taken
    params: Any  # trainable values
    batch_stats: Any  # running means and variances
    opt_state: Any  # Adam's moments
    key: Any  # key of the augmentation; folded with epoch and index, never advanced
    task: Task
    evidence: Float32[Any, " n"] | None = None  # of each patch, see `losses.bag_presence_loss`


Metrics = dict[str, jax.Array]
"""Scalars of one step: loss, the weighted sum; loss_seg, loss_cls, loss_set, loss_presence, each before its
weight; n_mask, n_label (rows that the first two saw), n_set (rows with a label and pixels that no mask knows,
the last two)."""

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_optimizer(learning_rate: float) -> optax.GradientTransformation:
    """Adam with the paper's betas 0.9 and 0.999 (section 2.3)."""
    return optax.adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8)


def init_state(model: L2S, optimizer: optax.GradientTransformation, task: Task, key: jax.Array) -> TrainState:
    """A fresh state with random weights; `key` is consumed."""
    init_key, augment_key = jax.random.split(key)
    variables = init_variables(model, init_key)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(params),
        key=augment_key,
        task=jax.tree.map(jnp.asarray, task),
        evidence=None if task.bags is None else jnp.full(len(task.bags.label), UNSEEN, jnp.float32),
    )


def prepare_inputs(
    config: TrainConfig, state: TrainState, batch: Batch
) -> tuple[Float[Array, "b h w 3"], UInt8[Array, "b h w"]]:
    """Augments and normalises: images, and masks that were turned and shifted with them."""
    image, mask = batch.image, batch.mask
    keys = row_keys(state.key, batch.epoch, batch.index)
    dihedral_keys, jitter_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    if config.augment != "none":
        image, mask = random_dihedral(dihedral_keys, image, mask, config.augment)
    if config.augment_shift:
        # A third key, so that turns and colours are those of a run without the option.
        shift_keys = jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys)
        image, mask = random_shift(
            shift_keys, image, mask, shift_pixels(config.augment_shift, image.shape[1])
        )
    scaled = image.astype(jnp.float32) / 255
    if config.colour_jitter:
        scaled = colour_jitter(jitter_keys, scaled)
    return normalise(scaled, state.task.mean, state.task.std), mask


def make_train_step(model: L2S, optimizer: optax.GradientTransformation, config: TrainConfig) -> StepFunction:
    """Builds the step, summed (section 2.3) or alternating (section 2.2). Pure; not yet jitted."""

    def losses(
        outputs: Outputs,
        counts: Float[Array, "b h w c"],
        unknown: Float[Array, "b h w"],
        batch: Batch,
        has_label: Bool[Array, " b"],
        state: TrainState,
    ) -> tuple[LossParts, Float[Array, " n"] | None]:
        task, evidence = state.task, state.evidence
        coarse, not_known = outputs.coarse_logits, has_label & (unknown > 0).any((1, 2))
        # Of some patches only what can occur in them is known, and not what does.
        named = has_label & (batch.label != IGNORE_LABEL)
        segmentation = segmentation_loss(coarse, counts, task.seg_weights)
        classification = classification_loss(outputs.class_logits, batch.label, named, task.cls_weights)
        label_set = label_set_loss(coarse, batch.allowed, unknown, not_known)
        share = config.presence_share
        if task.bags is None or evidence is None:
            presence = presence_loss(coarse, batch.label, not_known & named, share)
        else:
            parts = not_known & ~batch.has_mask & ~named & (task.bags.of_row[batch.index] >= 0)
            presence, evidence = bag_presence_loss(
                coarse, batch.label, not_known & named, parts, batch.index, task.bags, evidence, share
            )
        return LossParts(segmentation, classification, label_set, presence), evidence

    def update(
        state: TrainState,
        batch: Batch,
        image: Float[Array, "b s s 3"],
        counts: Float[Array, "b h w c"],
        unknown: Float[Array, "b h w"],
        has_mask: Bool[Array, " b"],
        has_label: Bool[Array, " b"],
    ) -> tuple[TrainState, LossParts]:
        """One Adam step on L_seg of the rows with `has_mask`, the label losses of those with `has_label`."""
        counts = counts * has_mask[:, None, None, None]

        def loss_function(params: Any) -> tuple[jax.Array, tuple[LossParts, Any, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, updated = model.apply(
                variables, image, has_mask | has_label, has_label, train=True, mutable=["batch_stats"]
            )
            parts, evidence = losses(outputs, counts, unknown, batch, has_label, state)
            return weighted_sum(parts, state.task.objective), (parts, updated["batch_stats"], evidence)

        gradient_of = jax.grad(loss_function, has_aux=True)
        gradients, (parts, batch_stats, evidence) = gradient_of(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, batch_stats=batch_stats, opt_state=opt_state, evidence=evidence)
        return state, parts

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        batch = batch._replace(has_label=batch.has_label & (state.step >= state.task.labels_from))
        image, mask = prepare_inputs(config, state, batch)
        counts = cell_counts(mask, model.classes, model.cell)
        unknown = unknown_shares(counts, batch.has_mask, model.cell)
        if config.step == "alternate":
            none = jnp.zeros_like(batch.has_mask)
            after, of_masks = update(state, batch, image, counts, unknown, batch.has_mask, none)
            state = _select(batch.has_mask.any(), after, state)
            after, of_labels = update(state, batch, image, counts, unknown, none, batch.has_label)
            state = _select(batch.has_label.any(), after, state)
            parts = of_labels._replace(segmentation=of_masks.segmentation)
        else:
            state, parts = update(state, batch, image, counts, unknown, batch.has_mask, batch.has_label)
        metrics = {
            "loss": weighted_sum(parts, state.task.objective),
            "loss_seg": parts.segmentation,
            "loss_cls": parts.classification,
            "loss_set": parts.label_set,
            "loss_presence": parts.presence,
            "n_mask": batch.has_mask.sum(dtype=jnp.int32),
            "n_label": batch.has_label.sum(dtype=jnp.int32),
            "n_set": (batch.has_label & (unknown > 0).any((1, 2))).sum(dtype=jnp.int32),
        }
        return state._replace(step=state.step + 1), metrics

    return train_step


def weighted_sum(parts: LossParts, weights: Objective) -> Float[Array, ""]:
    """The objective: L_seg plus the label losses, each by its weight."""
    of_labels = weights.classification * parts.classification
    of_labels = of_labels + weights.label_set * parts.label_set + weights.presence * parts.presence
    return parts.segmentation + of_labels


def _select(condition: jax.Array, yes: TrainState, no: TrainState) -> TrainState:
    """`yes` or `no`, without a branch: half of an alternating step that had no rows leaves no trace."""
    keep = lambda a, b: jnp.where(condition, a, b)  # noqa: E731
    return jax.tree.map(keep, yes._replace(key=None), no._replace(key=None))._replace(key=no.key)


def jit_train_step(step: StepFunction) -> StepFunction:
    """Compiles a step; the state that goes in is given up (donated)."""
    return jax.jit(step, donate_argnums=0)


PRODUCTS = {"default": None, "float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}
"""JAX's names for how exact matrix products and convolutions are, by the option `precision`."""


def step_function(model: L2S, config: TrainConfig) -> StepFunction:
    """The step of a run, in the arithmetic that it asks for; pure, not yet jitted.

    Args:
      model: of the run, float32.
      config: its options.
    """
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    step = make_train_step(model.clone(dtype=dtype), make_optimizer(config.learning_rate), config)
    products = PRODUCTS[config.precision]
    if products is None:
        return step

    def precise(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with jax.default_matmul_precision(products):  # read when the step is traced
            return step(state, batch)

    return precise
