import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.models.decoder import enlarge
from l2s_jax.train_step.losses import (
    cell_counts,
    class_weights,
    classification_loss,
    label_set_loss,
    presence_loss,
    segmentation_loss,
    unknown_shares,
)
from l2s_jax.types import IGNORE_PIXEL


def pixelwise(coarse, mask, weights):
    """The loss as the paper words it: enlarge, then a weighted mean over all known pixels, in float64."""
    logits = np.asarray(enlarge(jnp.asarray(coarse), mask.shape[1] // coarse.shape[1]), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    known = mask != IGNORE_PIXEL
    code = np.where(known, mask, 0).astype(int)
    weight = np.where(known, weights[code], 0.0)
    picked = np.take_along_axis(log_p, code[..., None], -1)[..., 0]
    return -(weight * picked).sum() / weight.sum()


@pytest.mark.parametrize("cell", [8, 4])
def test_cells_give_the_pixelwise_loss(cell, rng):
    coarse = rng.normal(size=(3, 4, 2, 5)).astype(np.float32)
    mask = rng.integers(0, 5, (3, 4 * cell, 2 * cell)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.2] = IGNORE_PIXEL
    weights = rng.random(5).astype(np.float32)
    loss = segmentation_loss(
        jnp.asarray(coarse), cell_counts(jnp.asarray(mask), 5, cell), jnp.asarray(weights)
    )
    # float32 sums of a few thousand terms: 1e-6 relative.
    np.testing.assert_allclose(loss, pixelwise(coarse, mask, weights), rtol=1e-6)


@pytest.mark.parametrize("cell", [8, 4])
def test_gradient_of_the_cells_is_the_pixelwise_gradient(cell, rng):
    coarse = jnp.asarray(rng.normal(size=(2, 2, 2, 3)), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 3, (2, 2 * cell, 2 * cell)), jnp.uint8)
    weights = jnp.asarray([1.0, 0.5, 0.25])

    def direct(logits):
        log_p = jax.nn.log_softmax(enlarge(logits, cell))
        weight = weights[mask]
        picked = jnp.take_along_axis(log_p, mask[..., None].astype(int), -1)[..., 0]
        return -(weight * picked).sum() / weight.sum()

    fast = jax.grad(lambda logits: segmentation_loss(logits, cell_counts(mask, 3, cell), weights))(coarse)
    np.testing.assert_allclose(fast, jax.grad(direct)(coarse), rtol=1e-5, atol=1e-8)


def test_segmentation_loss_by_hand():
    # One cell, 48 pixels of class 0 and 16 of class 1, p = (3/4, 1/4), weights (1, 2):
    # (48 ln(4/3) + 2 * 16 ln 4) / (48 + 32)
    logits = jnp.log(jnp.asarray([[[[3.0, 1.0]]]]))
    counts = jnp.asarray([[[[48.0, 16.0]]]])
    loss = segmentation_loss(logits, counts, jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(loss, (48 * np.log(4 / 3) + 32 * np.log(4)) / 80, rtol=1e-6)


def test_classification_loss_by_hand_and_masking_is_deleting(rng):
    logits = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    label = jnp.asarray([0, 2, -1, 1])
    has_label = jnp.asarray([True, True, False, False])
    weights = jnp.asarray([1.0, 0.1, 0.5])
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    expected = -(1.0 * log_p[0, 0] + 0.5 * log_p[1, 2]) / 1.5
    np.testing.assert_allclose(classification_loss(logits, label, has_label, weights), expected, rtol=1e-6)
    kept = classification_loss(logits[:2], label[:2], has_label[:2], weights)
    np.testing.assert_allclose(classification_loss(logits, label, has_label, weights), kept, rtol=1e-6)


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
def test_no_weight_gives_zero_loss_and_zero_gradient(weights, rng):
    weights = jnp.asarray(weights)
    coarse = jnp.asarray(rng.normal(size=(2, 2, 2, 3)), jnp.float32)
    mask = jnp.full((2, 16, 16), 2, jnp.uint8)  # a class without weight in either case
    counts = cell_counts(mask, 3, 8)
    value, gradient = jax.value_and_grad(segmentation_loss)(coarse, counts, weights)
    assert value == 0 and not np.asarray(gradient).any()
    label, has_label = jnp.asarray([2, 2]), jnp.asarray([True, True])
    value, gradient = jax.value_and_grad(classification_loss)(coarse[:, 0, 0], label, has_label, weights)
    assert value == 0 and not np.asarray(gradient).any()


def test_class_weights_by_hand():
    counts = np.array([60, 30, 0, 10])
    np.testing.assert_allclose(class_weights(counts, "inverse"), [1 / 6, 1 / 3, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(class_weights(counts, "proportional"), [1, 0.5, 0, 1 / 6], rtol=1e-6)
    np.testing.assert_array_equal(class_weights(counts, "index"), [0, 1, 2, 3])
    np.testing.assert_array_equal(class_weights(counts, "none"), [1, 1, 1, 1])
    np.testing.assert_array_equal(class_weights(np.zeros(3), "inverse"), [0, 0, 0])
    with pytest.raises(ValueError, match="median"):
        class_weights(counts, "median")


def test_label_set_loss_by_hand():
    # p = (1/2, 1/3, 1/6) everywhere, classes 0 and 2 allowed: -ln(2/3). A second row takes no part.
    logits = jnp.broadcast_to(jnp.log(jnp.asarray([3.0, 2.0, 1.0])), (2, 4, 4, 3))
    allowed = jnp.asarray([[True, False, True], [True, False, False]])
    loss = label_set_loss(logits, allowed, jnp.ones((2, 4, 4)), jnp.asarray([True, False]))
    np.testing.assert_allclose(loss, -np.log(2 / 3), rtol=1e-6)


def test_label_set_loss_with_one_class_is_the_cross_entropy_of_a_filled_mask(rng):
    logits = jnp.asarray(rng.normal(size=(3, 2, 2, 4)), jnp.float32)
    label = np.array([0, 3, 1])
    allowed = jnp.asarray(np.eye(4, dtype=bool)[label])
    mask = jnp.asarray(np.broadcast_to(label[:, None, None], (3, 16, 16)), jnp.uint8)
    filled = segmentation_loss(logits, cell_counts(mask, 4, 8), jnp.ones(4))
    loss = label_set_loss(logits, allowed, jnp.ones((3, 2, 2)), jnp.ones(3, bool))
    np.testing.assert_allclose(loss, filled, rtol=1e-6)


@pytest.mark.parametrize("cell", [8, 4])
def test_label_set_loss_of_partial_masks_is_that_of_their_unknown_pixels(cell, rng):
    """Against the definition on pixels: a mean over those that no mask knows, of all rows that take part."""
    b, c, side = 4, 5, 24
    logits = rng.normal(size=(b, side // cell, side // cell, c)).astype(np.float32)
    mask = rng.integers(0, c, (b, side, side)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.6] = IGNORE_PIXEL
    mask[0] = 1  # a whole one
    has_mask, rows = np.array([True, True, False, True]), np.array([True, True, True, False])
    allowed = rng.random((b, c)) < 0.5
    allowed[:, 0] = True
    p = np.exp(logits.astype(np.float64))
    p = np.repeat(np.repeat(p / p.sum(-1, keepdims=True), cell, 1), cell, 2)
    found = [
        -np.log(p[i, y, x, allowed[i]].sum())
        for i in np.flatnonzero(rows)
        for y in range(side)
        for x in range(side)
        if not has_mask[i] or mask[i, y, x] == IGNORE_PIXEL
    ]
    unknown = unknown_shares(cell_counts(jnp.asarray(mask), c, cell), jnp.asarray(has_mask), cell)
    loss = label_set_loss(jnp.asarray(logits), jnp.asarray(allowed), unknown, jnp.asarray(rows))
    np.testing.assert_allclose(loss, np.mean(found), rtol=1e-6)
    assert not unknown[0].any() and (unknown[2] == 1).all()
    whole = label_set_loss(jnp.asarray(logits), jnp.asarray(allowed), 0 * unknown, jnp.asarray(rows))
    assert whole == 0


def test_presence_loss_looks_where_the_label_is_likeliest(rng):
    logits = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    expected = np.mean([np.mean(np.sort(-np.log(p[i, ..., c]).ravel())[:4]) for i, c in ((0, 2), (1, 0))])
    loss = presence_loss(jnp.asarray(logits), jnp.asarray([2, 0]), jnp.ones(2, bool), 0.2)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("allowed_rows", [[True, True, False], [False, False, False]])
def test_label_losses_agree_with_torch_in_value_and_gradient(rng, allowed_rows):
    torch = pytest.importorskip("torch")
    logits = rng.normal(size=(3, 4, 4, 5)).astype(np.float32)
    label = np.array([1, 0, -1])
    allowed = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
    rows = np.array(allowed_rows)

    def ours(x):
        taking_part = jnp.asarray(rows)
        of_sets = label_set_loss(x, jnp.asarray(allowed), jnp.ones(x.shape[:3]), taking_part)
        return 0.7 * of_sets + 0.3 * presence_loss(x, jnp.asarray(label), taking_part, 0.25)

    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss, p = torch.zeros((), dtype=torch.float64), x.softmax(-1)
    for i in np.flatnonzero(rows):
        marginal = -p[i][..., torch.tensor(allowed[i])].sum(-1).log().mean()
        present = -p[i, ..., label[i]].log().flatten().topk(4).values.mean()
        loss = loss + (0.7 * marginal + 0.3 * present) / rows.sum()
    gradient = np.zeros_like(logits)
    if loss.requires_grad:
        loss.backward()
        gradient = x.grad.numpy()
    value, found = jax.value_and_grad(ours)(jnp.asarray(logits))
    # float32 against float64.
    np.testing.assert_allclose(value, loss.detach(), rtol=1e-6)
    np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-7)
