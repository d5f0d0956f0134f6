"""Contrastive pretraining of the encoder: SimCLR (Chen et al. 2020, doi:10.48550/arXiv.2002.05709).

Two views of each picture, made in the step, have to find each other among the views of a batch (NT-Xent).
What is other than in that paper, since a set has hundreds of pictures and not a million:

- A view shows 0.75 to 1.5 times the picture's magnification, about what the network will see. It is a square
  of a quarter to all of the area that fits, which is the picture where a view has three quarters of its side.
- Turns and flips, and the colour jitter of our own training, and grey in a fifth of the views. No blur: views
  have some 50 pixels a side.
- Temperature 0.5, the paper's best for small pictures and batches (Appendix B.9). A low one would push views
  apart most that look alike, and of a few hundred pictures those are of one class or of one slide.
- No picture may be in a batch twice: it would be told from itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from l2s_jax.models.contrast import Contrast
from l2s_jax.models.network import normalise
from l2s_jax.train_step.augment import GREY, colour_jitter, random_dihedral

LEAST_MAGNIFICATION = 0.75
"""Of a view, beside the picture's."""
LEAST_AREA = 0.25
"""Of the square that is shown at that magnification, in a view."""
GREY_SHARE = 0.2
"""Of the views."""


class ContrastState(NamedTuple):
    """Everything that a step reads and writes."""

    step: Int[Array, ""]  # steps taken
    params: Any
    batch_stats: Any
    opt_state: Any  # Adam's moments
    key: jax.Array  # of the views; folded with the step, never advanced


ContrastStep = Callable[
    [ContrastState, UInt8[Array, "b s s 3"]], tuple[ContrastState, dict[str, Float[Array, ""]]]
]


def decaying_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Adam, at a learning rate that falls to zero along a half cosine."""
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps))


def init_contrast_state(optimizer: optax.GradientTransformation, key: jax.Array) -> ContrastState:
    """Random weights."""
    init_key, view_key = jax.random.split(key)
    variables = jax.jit(Contrast().init)(init_key, jnp.zeros((2, 32, 32, 3)))
    opt_state = optimizer.init(variables["params"])
    step = jnp.zeros((), jnp.int32)
    return ContrastState(step, variables["params"], variables["batch_stats"], opt_state, view_key)


def random_views(key: jax.Array, images: UInt8[Array, "b s s 3"], side: int) -> Float[Array, "b v v 3"]:
    """One view of each picture, RGB in 0..1, of `side` pixels a side. Consumes the key."""
    turns, crops, colours, greys = (jax.random.split(one, len(images)) for one in jax.random.split(key, 4))
    turned, _ = random_dihedral(turns, images, images[..., 0], "dihedral")  # there is no mask to turn
    cropped = jax.vmap(lambda one, image: random_square(one, image, side))(crops, turned.astype(jnp.float32))
    view = colour_jitter(colours, jnp.clip(cropped / 255, 0, 1))
    grey = (view * jnp.asarray(GREY)[None, None, None, :]).sum(-1, keepdims=True)
    is_grey = jax.vmap(lambda one: jax.random.bernoulli(one, GREY_SHARE))(greys)
    return jnp.where(is_grey[:, None, None, None], grey, view)


def random_square(key: jax.Array, image: Float[Array, "s s 3"], side: int) -> Float[Array, "v v 3"]:
    """A square somewhere in a picture, brought to `side` pixels a side."""
    area_key, place_key = jax.random.split(key)
    largest = min(image.shape[0], side / LEAST_MAGNIFICATION)
    own = largest * jnp.sqrt(jax.random.uniform(area_key, (), minval=LEAST_AREA))
    corner = jax.random.uniform(place_key, (2,)) * (image.shape[0] - own)
    scale = jnp.full(2, side / own)
    shape = (side, side, image.shape[2])
    return jax.image.scale_and_translate(image, shape, (0, 1), scale, -corner * scale, "linear")


def contrast_loss(
    projected: Float[Array, "n d"], temperature: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """NT-Xent of 2B projections, of which rows k and B + k are views of one picture; and how many are found.

    Returns:
      The loss, and the share of the views of which no other is nearer than that of the same picture.
    """
    pictures = jnp.tile(jnp.arange(len(projected) // 2), 2)
    loss = optax.losses.ntxent(projected, pictures, temperature)
    unit = projected / jnp.linalg.norm(projected, axis=1, keepdims=True)
    nearest = jnp.where(jnp.eye(len(unit), dtype=bool), -jnp.inf, unit @ unit.T).argmax(1)
    return loss, (pictures[nearest] == pictures).mean()


def make_contrast_step(
    optimizer: optax.GradientTransformation,
    view: int,
    temperature: float,
    mean: Float[Array, " 3"],
    std: Float[Array, " 3"],
) -> ContrastStep:
    """The step `(state, images u8[B,S,S,3]) -> (state, metrics)`, pure and not yet jitted.

    Args:
      optimizer: the one that made the state.
      view: side of a view in pixels, a multiple of 16.
      temperature: of the loss.
      mean: of each channel, RGB in 0..1, by which views are scaled.
      std: likewise, standard deviations.

    Returns:
      The step. Its metrics are `loss`, and `found`: the share of the views whose nearest is the other view of
      their picture, 0..1.
    """
    model = Contrast()

    def step(
        state: ContrastState, images: UInt8[Array, "b s s 3"]
    ) -> tuple[ContrastState, dict[str, Float[Array, ""]]]:
        key = jax.random.fold_in(state.key, state.step)
        views = normalise(random_views(key, jnp.concatenate([images, images]), view), mean, std)

        def loss_function(params: Any) -> tuple[Array, tuple[Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            projected, updated = model.apply(variables, views, mutable=["batch_stats"])
            loss, found = contrast_loss(projected, temperature)
            return loss, (found, updated["batch_stats"])

        (loss, (found, stats)), gradients = jax.value_and_grad(loss_function, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "found": found}
        return ContrastState(state.step + 1, params, stats, opt_state, state.key), metrics

    return step
