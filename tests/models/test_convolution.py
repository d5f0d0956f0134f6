"""The CPU formulations of convolution and pooling against XLA's own, float64 and torch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from l2s_jax.models import convolution, winograd
from l2s_jax.models.convolution import conv2d, max_pool_3x3_s2, plain_conv2d, plain_max_pool_3x3_s2

# Relative to the largest value. Winograd's points cost about twice the rounding of plain float32 sums:
# measured 3e-6 at 256 channels, against 1.5e-6.
TOLERANCE = 1e-5

# Height, width, input and output channels, kernel size, stride: every kind of convolution in the network.
NETWORK = [
    (32, 48, 3, 64, 7, 2),
    (12, 8, 64, 64, 3, 1),
    (8, 12, 64, 128, 3, 2),
    (8, 8, 64, 128, 1, 2),
    (8, 8, 256, 256, 3, 1),
    (4, 4, 256, 64, 3, 1),
    (1, 1, 4, 8, 1, 1),
]
ODD = [
    (7, 5, 3, 4, 3, 1),
    (2, 2, 5, 3, 3, 2),
    (6, 10, 5, 7, 3, 2),
    (7, 6, 5, 3, 3, 2),
    (1, 1, 2, 3, 3, 1),
    (2, 3, 5, 2, 3, 1),
    (17, 11, 3, 4, 7, 2),
    (9, 9, 2, 3, 3, 3),
]


@pytest.fixture(autouse=True, scope="module")
def no_convolution_is_too_small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "MANY_PRODUCTS", 0)
        yield


def arrays(case, batch=2, seed=0):
    """Input, kernel and a gradient of the output, float64."""
    height, width, inputs, outputs, size, stride = case
    rng = np.random.default_rng(seed)
    h, w = ((n + 2 * (size // 2) - size) // stride + 1 for n in (height, width))
    shapes = ((batch, height, width, inputs), (size, size, inputs, outputs), (batch, h, w, outputs))
    return [rng.normal(size=shape) for shape in shapes]


def all_of(convolution, case):
    """(x, kernel, dy) -> output, input gradient, weight gradient."""
    size, stride = case[4:]

    def run(x, kernel, dy):
        y, pull_back = jax.vjp(lambda *a: convolution(*a, stride=stride, padding=size // 2), x, kernel)
        return y, *pull_back(dy)

    return run


def single(tensors):
    return [jnp.asarray(t, jnp.float32) for t in tensors]


def assert_close(ours, exact, tolerance=TOLERANCE):
    for a, b, what in zip(ours, exact, ("output", "input gradient", "weight gradient"), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b)
        assert a.shape == b.shape, what
        error = np.abs(a - b).max() / np.abs(b).max()
        assert error < tolerance, f"{what}: {error:.1e}"


def torch_reference(tensors, case):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'l2s-jax[torch]'")
    size, stride = case[4:]
    x, kernel, dy = (torch.tensor(t) for t in tensors)
    x, kernel = x.permute(0, 3, 1, 2).requires_grad_(), kernel.permute(3, 2, 0, 1).requires_grad_()
    y = torch.conv2d(x, kernel, stride=stride, padding=size // 2)
    dx, dk = torch.autograd.grad(y, (x, kernel), dy.permute(0, 3, 1, 2))
    return [
        a.detach().numpy() for a in (y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), dk.permute(2, 3, 1, 0))
    ]


@pytest.mark.parametrize("case", NETWORK + ODD, ids=str)
def test_convolution_equals_torch_in_float64(case):
    tensors = arrays(case)
    ours = jax.jit(all_of(conv2d, case))(*single(tensors))
    assert_close(ours, torch_reference(tensors, case))


@pytest.mark.parametrize("case", NETWORK, ids=str)
def test_convolution_equals_plain(case):
    tensors = single(arrays(case, seed=1))
    assert_close(jax.jit(all_of(conv2d, case))(*tensors), jax.jit(all_of(plain_conv2d, case))(*tensors))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", [NETWORK[0], NETWORK[2]], ids=str)
def test_strided_gradients_of_an_odd_batch(case, batch):
    """The stem takes two images at a time where it can."""
    tensors = single(arrays(case, batch, seed=2))
    assert_close(jax.jit(all_of(conv2d, case))(*tensors), jax.jit(all_of(plain_conv2d, case))(*tensors))


def test_winograd_is_exact_in_float64():
    """Rounding is all that separates it from a convolution: 1e-13 in float64, where the points are exact."""
    case = (9, 14, 5, 3, 3, 1)
    tensors = arrays(case)
    with jax.enable_x64():
        double = [jnp.asarray(t, jnp.float64) for t in tensors]
        tiled = jax.jit(all_of(lambda x, k, **_: winograd.conv3x3(x, k), case))(*double)
        plain = jax.jit(all_of(plain_conv2d, case))(*double)
        assert_close(tiled, plain, tolerance=1e-13)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.integers(1, 3))
def test_winograd_at_any_size(height, width, batch):
    case = (height, width, 3, 2, 3, 1)
    tensors = single(arrays(case, batch))
    tiled = jax.jit(all_of(lambda x, k, **_: winograd.conv3x3(x, k), case))(*tensors)
    assert_close(tiled, jax.jit(all_of(plain_conv2d, case))(*tensors))


@pytest.mark.slow
@pytest.mark.parametrize("case", [(16, 16, 3, 4, 7, 2), (6, 9, 4, 4, 3, 1)], ids=str)
def test_mapped_over_seeds_equals_one_by_one(case):
    """With `vmap` over input and kernel, as seeds trained together need it."""
    seeds = [single(arrays(case, seed=seed)) for seed in range(3)]
    run = jax.jit(all_of(conv2d, case))
    mapped = jax.jit(jax.vmap(all_of(conv2d, case)))(*map(jnp.stack, zip(*seeds, strict=True)))
    for i, tensors in enumerate(seeds):
        assert_close([a[i] for a in mapped], run(*tensors), tolerance=2e-6)


def test_gradient_through_vmap_and_checkpoint():
    """The order of transformations does not matter."""
    x, kernel, _ = single(arrays((8, 8, 4, 4, 3, 1)))

    def loss(kernel, convolution):
        one = lambda image: convolution(image[None], kernel, stride=1, padding=1)[0]  # noqa: E731
        return jnp.square(jax.vmap(jax.checkpoint(one))(x)).sum()

    ours, plain = (jax.jit(jax.grad(lambda k, c=c: loss(k, c)))(kernel) for c in (conv2d, plain_conv2d))
    np.testing.assert_allclose(ours, plain, rtol=0, atol=TOLERANCE * float(jnp.abs(plain).max()))


def test_bfloat16_is_rounded_once():
    """On CPUs bfloat16 is computed in float32: within half a unit (2^-9) of the exact result."""
    case = (8, 8, 32, 32, 3, 1)
    x, kernel, _ = (t.astype(jnp.bfloat16) for t in single(arrays(case)))
    y = jax.jit(lambda *a: conv2d(*a, stride=1, padding=1))(x, kernel)
    exact = plain_conv2d(x.astype(jnp.float32), kernel.astype(jnp.float32), stride=1, padding=1)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


def pooled_both_ways(pool, x, dy):
    y, pull_back = jax.vjp(pool, x)
    return y, pull_back(dy)[0]


@pytest.mark.parametrize("shape", [(8, 12), (7, 9), (1, 1), (2, 5)], ids=str)
def test_pool_equals_torch_where_values_tie(shape):
    """Rectified and rounded to tenths, so that most windows tie at 0 and some above: the first pixel wins.

    Gradients of at most four windows are added in another order than torch's: 4 roundings.
    """
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'l2s-jax[torch]'")
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(2, *shape, 3)).round(1), 0).astype(np.float32)
    theirs = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    y = torch.max_pool2d(theirs, 3, 2, 1)
    dy = rng.normal(size=tuple(y.permute(0, 2, 3, 1).shape)).astype(np.float32)
    (dx,) = torch.autograd.grad(y, theirs, torch.tensor(dy).permute(0, 3, 1, 2))
    for pool in (max_pool_3x3_s2, plain_max_pool_3x3_s2):
        ours, d_ours = jax.jit(lambda x, dy, pool=pool: pooled_both_ways(pool, x, dy))(x, dy)
        np.testing.assert_array_equal(ours, y.detach().permute(0, 2, 3, 1).numpy())
        np.testing.assert_allclose(d_ours, dx.permute(0, 2, 3, 1).numpy(), rtol=0, atol=2e-6)


def network_like(convolution, pool):
    """Value and gradients of a stem, a pool, a 3x3 and a strided 1x1 convolution."""

    def loss(kernels, x):
        x = pool(convolution(x, kernels[0], stride=2, padding=3))
        x = convolution(x, kernels[1], stride=1, padding=1)
        return jnp.square(convolution(x, kernels[2], stride=2, padding=0)).sum()

    return jax.value_and_grad(loss)


def operations(function, platform):
    kernels = [jnp.ones(shape) for shape in ((7, 7, 3, 8), (3, 3, 8, 8), (1, 1, 8, 4))]
    text = export.export(jax.jit(function), platforms=[platform])(
        kernels, jnp.ones((2, 32, 32, 3))
    ).mlir_module()
    found = re.findall(r"stablehlo\.(\w+)", text)
    return {name: found.count(name) for name in set(found)}


def test_lowered_for_cuda_holds_plain_operations_only():
    """On a machine without a GPU: the convolutions and the pool of XLA, no matrix product, no tile."""
    ours = operations(network_like(conv2d, max_pool_3x3_s2), "cuda")
    plain = operations(network_like(plain_conv2d, plain_max_pool_3x3_s2), "cuda")
    assert ours["convolution"] == plain["convolution"] == 8  # 3 forward, 3 to weights, 2 to inputs
    assert ours["select_and_scatter"] == plain["select_and_scatter"] == 1
    heavy = {"dot_general", "while", "concatenate", "gather", "scatter", "transpose"}
    assert not heavy & (ours.keys() - plain.keys())


def test_gradients_at_stride_2_are_products_on_a_cpu():
    def loss(kernels, x):
        return jnp.square(conv2d(x[..., [0] * 8], kernels[1], stride=2, padding=1)).sum()

    counted = {name: operations(jax.grad(loss, argnums=(0, 1)), name) for name in ("cpu", "cuda")}
    assert counted["cpu"]["dot_general"] == 2 and "dot_general" not in counted["cuda"]
    assert counted["cpu"]["convolution"] == counted["cuda"]["convolution"] - 2


def test_small_convolutions_stay_plain(monkeypatch):
    monkeypatch.setattr(convolution, "MANY_PRODUCTS", 10**9)
    assert operations(network_like(conv2d, max_pool_3x3_s2), "cpu")["convolution"] > 1


def test_lowered_for_cpu_holds_the_fast_ones():
    ours = operations(network_like(conv2d, max_pool_3x3_s2), "cpu")
    assert ours["convolution"] == 1  # the stem's forward pass
    assert "select_and_scatter" not in ours
    assert ours["dot_general"] >= 18
