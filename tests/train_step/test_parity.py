"""The network, its losses and its training against an independent PyTorch implementation."""

import functools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="parity needs PyTorch: pip install 'l2s-jax[torch]'")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import torch_reference as reference  # noqa: E402

from l2s_jax.config import TrainConfig  # noqa: E402
from l2s_jax.models.decoder import enlarge  # noqa: E402
from l2s_jax.models.network import L2S, count_parameters, init_variables  # noqa: E402
from l2s_jax.train_step import step as steps  # noqa: E402
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, Batch  # noqa: E402

CLASSES = 4
MEAN, STD = np.array([0.7, 0.5, 0.6], np.float32), np.array([0.2, 0.25, 0.2], np.float32)
SEG_WEIGHTS, CLS_WEIGHTS = np.array([0.2, 1, 0, 0.5], np.float32), np.array([1, 0.3, 0.7, 0.6], np.float32)


def make_batch(size=64, rows=8, seed=0):  # large enough for the CPU's fast convolutions
    """Rows 0-3 have a mask, rows 2-6 a label, row 7 neither; a tenth of the pixels is ignored."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (rows, size // 8, size // 8, 3))
    noise = rng.integers(-20, 20, (rows, size, size, 3))
    image = np.clip(coarse.repeat(8, 1).repeat(8, 2) + noise, 0, 255).astype(np.uint8)
    mask = rng.integers(0, CLASSES, (rows, size, size)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.1] = IGNORE_PIXEL
    row = np.arange(rows)
    has_label = (row >= 2) & (row < 7)
    label = np.where(has_label, row % CLASSES, IGNORE_LABEL).astype(np.int32)
    every = np.ones((rows, CLASSES), bool)
    return Batch(
        image, mask, label, row < 4, has_label, row.astype(np.int32), np.zeros(rows, np.int32), every
    )


def torch_inputs(batch, dtype):
    """The rows that count, normalised, in torch's layout and the reference's argument order."""
    rows = batch.has_mask | batch.has_label
    image = (batch.image[rows] / np.float32(255) - MEAN) / STD
    tensors = (batch.mask[rows].astype(np.int64), batch.label[rows].astype(np.int64))
    flags = (batch.has_mask[rows], batch.has_label[rows])
    weights = [torch.tensor(w, dtype=dtype) for w in (SEG_WEIGHTS, CLS_WEIGHTS)]
    image = torch.tensor(image.transpose(0, 3, 1, 2), dtype=dtype)
    return (image, *map(torch.from_numpy, (*tensors, *flags)), *weights)


@functools.cache  # one compilation for all tests
def make_state(head, decoder="paper", learning_rate=1e-4):
    config = TrainConfig(augment="none", colour_jitter=False, head=head, decoder=decoder)
    model, optimizer = L2S(CLASSES, head, decoder=decoder), steps.make_optimizer(learning_rate)
    task = steps.Task(SEG_WEIGHTS, CLS_WEIGHTS, MEAN, STD, steps.Objective(*np.float32([1, 0, 0])))
    state = steps.init_state(model, optimizer, task, jax.random.key(0))
    return model, state, jax.jit(steps.make_train_step(model, optimizer, config))


def torch_network(variables, head, decoder="paper", dtype=torch.float64):
    return reference.load_flax(reference.Network(CLASSES, head, decoder), variables).to(dtype)


def variables_of(state):
    return {"params": state.params, "batch_stats": state.batch_stats}


def assert_close(ours, theirs, tolerance, what):
    """Largest difference within `tolerance` of the tensor's largest value."""
    assert ours.keys() == theirs.keys(), what
    for name in theirs:
        a, b = ours[name].double().numpy(), theirs[name].double().numpy()
        error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)
        assert error < tolerance, f"{what} {name}: {error:.1e}"


def running_statistics(network):
    return {k: v for k, v in network.state_dict().items() if "running" in k}


def test_reference_has_the_papers_parameters():
    network = reference.Network(CLASSES)
    assert sum(p.numel() for p in network.parameters()) == 2_930_708
    variables = jax.eval_shape(lambda key: init_variables(L2S(CLASSES), key), jax.random.key(0))
    assert count_parameters(variables["params"]) == 2_930_708


NETWORKS = pytest.mark.parametrize(
    "head, decoder",
    [
        ("a3", "paper"),
        pytest.param("max", "paper", marks=pytest.mark.slow),
        ("a3", "skip"),
        pytest.param("max", "skip", marks=pytest.mark.slow),
    ],
)


@NETWORKS
def test_forward(head, decoder):
    """Float32 against float64 torch; 21 layers of rounding at 1e-6 each leave about 1e-5."""
    model, state, _ = make_state(head, decoder)
    image = np.random.default_rng(1).normal(size=(3, 48, 80, 3)).astype(np.float32)
    variables = variables_of(state)
    inputs = torch.tensor(image.transpose(0, 3, 1, 2), dtype=torch.float64)
    for train in (False, True):
        network = torch_network(variables, head, decoder).train(train)
        if train:
            ours, updated = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable="batch_stats"))(
                variables, image
            )
        else:
            ours = jax.jit(model.apply)(variables, image)
        with torch.no_grad():
            coarse = network(inputs)
            labels = network.classify(coarse)
        full = torch.nn.functional.interpolate(coarse, image.shape[1:3], mode="nearest").permute(0, 2, 3, 1)
        for a, b in ((enlarge(ours.coarse_logits, model.cell), full), (ours.class_logits, labels)):
            np.testing.assert_allclose(a, b.numpy(), atol=3e-5 * float(b.abs().max()), rtol=0)
        if train:
            theirs = running_statistics(network)
            assert_close(reference.from_flax(updated["batch_stats"]), theirs, 1e-5, "running statistics")


@NETWORKS
def test_gradients_losses_and_running_statistics(head, decoder):
    """One step on a mixed batch with class weights, ignored pixels and a row that does not count.

    The gradient is read off Adam's first moment, which after one step is a tenth of it. Float32 against
    float64 through 18 batch-normalised layers gives 1.2e-5 at worst; the tolerance leaves room for a ReLU
    whose input of 1e-6 changes sign on another machine.
    """
    batch = make_batch()
    _, state, step = make_state(head, decoder)
    network = torch_network(variables_of(state), head, decoder).train()
    new_state, metrics = step(state, batch)
    loss_seg, loss_cls = reference.losses(network, *torch_inputs(batch, torch.float64))
    (loss_seg + loss_cls).backward()
    assert float(metrics["loss_seg"]) == pytest.approx(loss_seg.item(), rel=1e-5)
    assert float(metrics["loss_cls"]) == pytest.approx(loss_cls.item(), rel=1e-5)
    moments = new_state.opt_state[0].mu
    ours = reference.from_flax(jax.tree.map(lambda m: m * 10, moments))
    theirs = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert_close(ours, theirs, 1e-4, "gradient")
    assert_close(
        reference.from_flax(new_state.batch_stats), running_statistics(network), 1e-5, "running statistics"
    )


@pytest.mark.slow
def test_ten_adam_steps():
    """Parameters stay together for ten steps, both sides in float32 with Adam's epsilon at 1e-8.

    Adam divides by the gradient's size, so an entry whose gradient is rounding error moves by up to the
    learning rate in either direction. So the tolerance is on the norm of the difference against that of the
    way travelled (10%; 3% measured), on the loss (5e-3) and on the running statistics (1e-2).
    """
    _, state, step = make_state("a3")
    start = reference.from_flax(state.params)
    network = torch_network(variables_of(state), "a3", dtype=torch.float32).train()
    optimizer = reference.make_optimizer(network)
    for i in range(10):
        batch = make_batch(seed=i)
        state, metrics = step(state, batch)
        optimizer.zero_grad()
        loss = sum(reference.losses(network, *torch_inputs(batch, torch.float32)))
        loss.backward()
        optimizer.step()
        assert float(metrics["loss"]) == pytest.approx(loss.item(), rel=5e-3), i
    ours = reference.from_flax(state.params)
    theirs = {name: parameter.detach() for name, parameter in network.named_parameters()}
    difference = np.sqrt(sum(float((ours[k] - theirs[k]).square().sum()) for k in ours))
    way = np.sqrt(sum(float((theirs[k] - start[k]).square().sum()) for k in ours))
    assert difference < 0.1 * way
    assert_close(
        reference.from_flax(state.batch_stats), running_statistics(network), 1e-2, "running statistics"
    )
