import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.models.decoder import bilinear_matrix, enlarge, upsample_bilinear
from l2s_jax.models.layers import BatchNorm, he_normal, masked_moments
from l2s_jax.models.network import L2S, count_parameters, init_variables


@pytest.fixture(scope="module")
def variables():
    return init_variables(L2S(4), jax.random.key(0))


def test_parameter_counts_of_the_paper(variables):
    params = variables["params"]
    assert count_parameters(params["encoder"]) == 2_782_784
    assert count_parameters(params["decoder"]) == 147_844  # 9*256*64 + 2*64 + 64*4 + 4
    assert count_parameters(params["classifier"]) == 80  # 4*8 + 2*8 + 8*4
    assert count_parameters(params) == 2_930_708
    assert "classifier" not in init_variables(L2S(4, "max"), jax.random.key(0))["params"]


def test_first_weights_depend_on_the_seed_alone():
    """Not on JAX's version, nor on what is compiled: seen equal with 0.10.2 and 0.12.0.1."""
    key, shape = jax.random.key(0), (3, 3, 64, 128)
    ours = np.asarray(he_normal(key, shape))
    assert hashlib.sha256(ours.tobytes()).hexdigest()[:10] == "247998f72e"
    assert (ours == jax.jit(he_normal, static_argnums=1)(key, shape)).all()
    theirs = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")(key, shape)
    np.testing.assert_allclose(ours, theirs, rtol=3e-7)  # two roundings against one


@pytest.mark.parametrize("classes, height, width", [(2, 16, 16), (5, 32, 64), (7, 48, 16)])
def test_shapes_for_any_multiple_of_16(classes, height, width):
    model = L2S(classes)
    shapes = jax.eval_shape(lambda key: init_variables(model, key), jax.random.key(0))
    image = jax.ShapeDtypeStruct((3, height, width, 3), jnp.float32)
    out = jax.eval_shape(lambda v, x: model.apply(v, x), shapes, image)
    assert out.coarse_logits.shape == (3, height // 8, width // 8, classes)
    assert out.class_logits.shape == (3, classes)
    assert enlarge(jnp.zeros((1, *out.coarse_logits.shape[1:])), 8).shape == (1, height, width, classes)


def test_other_sizes_are_refused(variables):
    with pytest.raises(ValueError, match="multiples of 16"):
        L2S(4).apply(variables, jnp.zeros((1, 24, 32, 3)))


def test_bilinear_has_aligned_corners():
    np.testing.assert_allclose(bilinear_matrix(2) @ np.array([0.0, 3.0]), [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_array_equal(bilinear_matrix(1), [[1], [1]])
    matrix = bilinear_matrix(8)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix @ np.arange(8), np.linspace(0, 7, 16), atol=1e-6)
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    up = upsample_bilinear(x)
    np.testing.assert_allclose(up[0, [0, 0, -1, -1], [0, -1, 0, -1]], x.reshape(4, 2), atol=1e-6)


@pytest.mark.slow
def test_evaluation_is_independent_of_the_rest_of_the_batch(variables, rng):
    model = L2S(4)
    images = jnp.asarray(rng.normal(size=(3, 32, 32, 3)), jnp.float32)
    together = model.apply(variables, images)
    for k in range(3):
        alone = model.apply(variables, images[k : k + 1])
        np.testing.assert_allclose(together.coarse_logits[k], alone.coarse_logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_padding_rows_change_nothing(variables, rng):
    model = L2S(4)
    images = jnp.asarray(rng.normal(size=(3, 32, 32, 3)), jnp.float32)
    padded = jnp.concatenate([images, 100 * jnp.ones((2, 32, 32, 3))])
    rows = jnp.asarray([True] * 3 + [False] * 2)

    def run(x, flags):
        return model.apply(variables, x, flags, train=True, mutable=["batch_stats"])

    (a, stats_a), (b, stats_b) = run(images, rows[:3]), run(padded, rows)
    # The sums run in another order: float32 rounding through 20 layers.
    np.testing.assert_allclose(a.coarse_logits, b.coarse_logits[:3], rtol=1e-3, atol=1e-4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), stats_a, stats_b)


def test_moments_by_hand_and_of_nothing(rng):
    x = rng.normal(size=(4, 3, 2, 5)).astype(np.float32)
    rows = np.array([True, False, True, False])
    mean, var, n = masked_moments(jnp.asarray(x), jnp.asarray(rows))
    np.testing.assert_allclose(mean, x[rows].mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(var, x[rows].var((0, 1, 2)), rtol=1e-4)
    assert n == 12
    mean, var, n = masked_moments(jnp.asarray(x), jnp.zeros(4, bool))
    assert n == 0 and not np.asarray(mean).any() and not np.asarray(var).any()


def test_a_batch_norm_that_no_row_counts_for_stays_as_it_is(rng):
    """Where flax's own has NaN from then on (findings/flax-batchnorm-empty-mask-is-for-good.sh)."""
    layer, x = BatchNorm(), jnp.asarray(rng.normal(3, 2, (4, 3, 2, 5)).astype(np.float32))
    rows, nobody = jnp.ones(4, bool), jnp.zeros(4, bool)
    variables = layer.init(jax.random.key(0), x, rows, True)
    _, known = layer.apply(variables, x, rows, True, mutable=["batch_stats"])
    variables = {**variables, **known}
    found, after = layer.apply(variables, x, nobody, True, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, known, after)
    np.testing.assert_array_equal(found, layer.apply(variables, x, rows, False))
