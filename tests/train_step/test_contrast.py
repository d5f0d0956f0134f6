"""The step of contrastive pretraining: its loss, its views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.train_step.contrast import (
    contrast_loss,
    decaying_adam,
    init_contrast_state,
    make_contrast_step,
    random_square,
    random_views,
)


def nt_xent_by_hand(projected, temperature):
    """The definition, pair by pair, in double precision."""
    z = projected / np.sqrt((projected**2).sum(1, keepdims=True))
    half, total = len(z) // 2, 0.0
    for i in range(len(z)):
        partner = (i + half) % len(z)
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if k != i)
        total -= np.log(np.exp(z[i] @ z[partner] / temperature) / others)
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_that_of_a_double_loop_and_so_is_its_gradient(rng, temperature):
    projected = rng.normal(size=(10, 4))
    value, gradient = jax.value_and_grad(lambda values: contrast_loss(values, temperature)[0])(
        jnp.asarray(projected, jnp.float32)
    )
    assert value == pytest.approx(nt_xent_by_hand(projected, temperature), rel=1e-5)
    by_hand = np.zeros_like(projected)
    for place in np.ndindex(*projected.shape):
        step = np.zeros_like(projected)
        step[place] = 1e-5
        ends = [nt_xent_by_hand(projected + sign * step, temperature) for sign in (1, -1)]
        by_hand[place] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-3, atol=1e-5)


def test_views_that_find_their_own_are_counted():
    apart = np.eye(4, dtype=np.float32)[[0, 1, 2, 0, 1, 3]]  # the third picture's two views do not meet
    assert contrast_loss(jnp.asarray(apart), 0.5)[1] == pytest.approx(4 / 6)


def test_views_are_in_range_and_differ(rng):
    images = jnp.asarray(rng.integers(0, 256, (5, 64, 64, 3)), jnp.uint8)
    one, other = (random_views(jax.random.key(k), images, 48) for k in (0, 1))
    assert one.shape == (5, 48, 48, 3) and one.dtype == jnp.float32
    assert float(one.min()) >= 0 and float(one.max()) <= 1
    assert not np.allclose(one, other) and not np.allclose(one[0], one[1])


@pytest.mark.parametrize(("picture", "view", "least", "most"), [
    (64, 48, 32, 64),  # a quarter to all of the picture
    (128, 64, 64 / 1.5, 64 / 0.75),  # of a larger picture what has 0.75 to 1.5 times its magnification
    (32, 32, 16, 32),  # never beyond the picture
])  # fmt: skip
def test_a_view_is_a_square_of_the_picture_at_about_its_scale(picture, view, least, most):
    # Of a ramp a square is a ramp: its slope says how large it is, its values where it lies.
    ramp = jnp.tile(jnp.arange(float(picture))[:, None, None], (1, picture, 3))
    keys = jax.random.split(jax.random.key(2), 60)
    squares = np.asarray(jax.vmap(lambda key: random_square(key, ramp, view))(keys))
    inner = squares[:, view // 4 : -view // 4, view // 2, 0]
    sides = view * (inner[:, -1] - inner[:, 0]) / (inner.shape[1] - 1)
    assert sides.min() > least - 0.2 and sides.max() < most + 0.2 and np.ptp(sides) > 0.5 * (most - least)
    assert squares.min() >= 0 and squares.max() <= picture - 1
    middles = inner.mean(1)
    assert (middles - sides / 2 > -1).all() and (middles + sides / 2 < picture).all()


def test_steps_bring_views_of_one_picture_together(rng):
    # Four colours, which no jitter of ours confuses: a few steps must tell them apart.
    images = np.zeros((4, 32, 32, 3), np.uint8)
    images[0, ..., 0], images[1, ..., 1], images[2, ..., 2], images[3] = 200, 200, 200, 30
    images += rng.integers(0, 40, images.shape).astype(np.uint8)
    optimizer = decaying_adam(1e-3, 30)
    state, half = init_contrast_state(optimizer, jax.random.key(0)), jnp.full(3, 0.5)
    step = jax.jit(make_contrast_step(optimizer, 32, 0.5, half, half))
    losses = []
    for _ in range(30):
        state, metrics = step(state, images)
        losses.append(float(metrics["loss"]))
    assert int(state.step) == 30 and np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    again = init_contrast_state(optimizer, jax.random.key(0))
    assert float(step(again, images)[1]["loss"]) == losses[0]  # nothing is kept outside of the state
