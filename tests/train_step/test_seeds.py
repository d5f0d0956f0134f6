"""Seeds in one program come out as they would alone."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from helpers.runs import TINY
from helpers.seeds import MODEL, OPTIMIZER, STEP, STEPS, B, N, batch, task
from l2s_jax.models.convolution import conv2d, plain_conv2d
from l2s_jax.train_step import seeds
from l2s_jax.train_step.seeds import (
    Apart,
    Stacked,
    apart,
    as_form,
    fastest,
    jit_many_step,
    many_step,
    measure_strategies,
    stacked,
)
from l2s_jax.train_step.step import init_state, jit_train_step
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, PADDING, of_one_size


@pytest.fixture(scope="module")
def fresh():
    """States of the seeds at step 0, as NumPy but for the keys: nobody's buffers are given up."""
    states = [init_state(MODEL, OPTIMIZER, task(seed), jax.random.key(seed)) for seed in range(N)]
    return lambda: tuple(jax.tree.map(jnp.copy, state) for state in states)


@pytest.fixture(scope="module")
def alone(fresh):
    """Each seed by `jit_train_step`: its last state, and its metrics by step."""
    step = jit_train_step(STEP)
    out = []
    for seed, state in enumerate(fresh()):
        metrics = []
        for number in range(STEPS):
            state, latest = step(state, batch(seed, number))
            metrics.append(jax.device_get(latest))
        out.append((state, metrics))
    return out


def together(fresh, strategy, form):
    """The same seeds in one program: of each, its last state and its metrics by step."""
    step = jit_many_step(STEP, N, strategy)
    states = form(Apart(fresh()))
    metrics = []
    for number in range(STEPS):
        states, latest = step(states, form(Apart(tuple(batch(seed, number) for seed in range(N)))))
        metrics.append(jax.device_get(latest))
    return [(states.of(i), [step.of(i) for step in metrics]) for i in range(N)]


def as_it_is(seeds):
    return seeds


def same(ours, theirs):
    """On a CPU to the bit, as promised; a GPU sums in no fixed order, and Adam takes whole steps on that."""
    if jax.default_backend() == "cpu":
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=2 * STEPS * TINY.learning_rate)


def leaves(state):
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


@pytest.mark.slow
@pytest.mark.parametrize("form", [as_it_is, stacked])
def test_unrolled_seeds_have_the_bits_of_single_ones(fresh, alone, form):
    for (state, metrics), (single, single_metrics) in zip(
        together(fresh, "unroll", form), alone, strict=True
    ):
        for ours, theirs in zip(leaves(state), leaves(single), strict=True):
            same(ours, theirs)
        for ours, theirs in zip(metrics, single_metrics, strict=True):
            same([*ours.values()], [*theirs.values()])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["vmap", "map"])
def test_other_strategies_agree_but_for_rounding(fresh, alone, strategy):
    """Stated in the README: losses within 1% over the first steps."""
    for (state, metrics), (single, single_metrics) in zip(
        together(fresh, strategy, stacked), alone, strict=True
    ):
        ours, theirs = (np.array([step["loss"] for step in steps]) for steps in (metrics, single_metrics))
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
        np.testing.assert_allclose(ours, theirs, rtol=1e-2)
        assert int(state.step) == STEPS
        moved = 2 * STEPS * TINY.learning_rate  # Adam turns a gradient's rounding about zero into whole steps
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(single.params), strict=True):
            np.testing.assert_allclose(a, b, atol=moved)
        for a, b in zip(jax.tree.leaves(state.batch_stats), jax.tree.leaves(single.batch_stats), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_seeds_do_not_see_each_other(fresh, alone):
    a, b = (single[1][0]["loss"] for single in alone)
    assert abs(a - b) > 0.02 * a
    step = jit_many_step(STEP, N, "unroll")
    _, first = step(Apart(fresh()), Apart((batch(0, 0), batch(1, 0))))
    _, swapped = step(Apart(fresh()[::-1]), Apart((batch(1, 0), batch(0, 0))))
    for metrics in (first.trees, swapped.trees[::-1]):
        same([m["loss"] for m in metrics], [a, b])


@pytest.mark.slow
def test_fast_convolutions_under_vmap():
    """The formulations for CPUs, with a kernel a seed, forward and backward."""
    rng = np.random.default_rng(0)
    for shape, kernel_shape, stride, padding in (
        ((8, 32, 32, 64), (3, 3, 64, 64), 1, 1),
        ((8, 64, 64, 3), (7, 7, 3, 64), 2, 3),
    ):
        x = jnp.asarray(rng.standard_normal((2, *shape)), jnp.float32)
        kernel = jnp.asarray(rng.standard_normal((2, *kernel_shape)), jnp.float32)
        out = jax.eval_shape(lambda x, k: plain_conv2d(x, k, stride=stride, padding=padding), x[0], kernel[0])  # noqa: B023
        weight = jnp.asarray(rng.standard_normal(out.shape), jnp.float32)

        def gradient(conv, x, kernel):
            loss = lambda x, k: (conv(x, k, stride=stride, padding=padding) * weight).sum()  # noqa: B023, E731
            return jax.grad(loss, (0, 1))(x, kernel)

        ours = jax.jit(jax.vmap(lambda *a: gradient(conv2d, *a)))(x, kernel)  # noqa: B023
        for i in range(2):
            theirs = jax.jit(lambda *a: gradient(plain_conv2d, *a))(x[i], kernel[i])  # noqa: B023
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a[i], b, atol=2e-5 * np.abs(b).max())


def test_stacking_and_its_inverse():
    trees = Apart(tuple({"a": np.full(2, i), "b": jnp.full((), i)} for i in range(3)))
    together = stacked(trees)
    assert together.tree["a"].shape == (3, 2) and isinstance(together.tree["a"], np.ndarray)
    assert [int(tree["b"]) for tree in apart(together, 3).trees] == [0, 1, 2]
    assert int(together.of(1)["b"]) == int(trees.of(1)["b"]) == 1
    assert apart(trees, 3) is trees and stacked(together) is together
    assert isinstance(as_form(together, 3, "unroll"), Apart) and as_form(together, 3, "vmap") is together


def test_a_tuple_of_trees_is_neither_form():
    """A named tuple, like a batch, is a tuple too: the form is said, never guessed."""
    with pytest.raises(TypeCheckError):
        as_form((batch(0, 0), batch(1, 0)), 2, "vmap")


def test_unequal_batches_are_filled_up():
    small, large = of_one_size([batch(0, 0, rows=3), batch(1, 0)])
    assert len(small.index) == B and (small.index[3:] == PADDING).all()
    assert not small.has_mask[3:].any() and not small.has_label[3:].any() and small.allowed.all()
    assert (small.mask[3:] == IGNORE_PIXEL).all() and (small.label[3:] == IGNORE_LABEL).all()
    for part, was, dtype in zip(small, batch(0, 0, rows=3), batch(1, 0), strict=True):
        np.testing.assert_array_equal(part[:3], was)
        assert part.dtype == dtype.dtype
    assert all((a == b).all() for a, b in zip(large, batch(1, 0), strict=True))


def toy_step(state, batch):
    """Cheap, and of the step's form: counts rows and adds them up."""
    return {"sum": state["sum"] + batch.image.sum()}, {"loss": batch.has_mask.sum()}


def toy_states(n=2):
    return Apart(tuple({"sum": jnp.zeros((), jnp.float32)} for _ in range(n)))


@pytest.mark.parametrize("strategy", seeds.STRATEGIES)
def test_batches_may_differ_in_size(strategy):
    states = toy_states()
    pair = Apart((batch(0, 0, rows=3), batch(1, 0)))
    states, metrics = jit_many_step(toy_step, 2, strategy)(states, pair)
    for i in range(2):
        assert float(states.of(i)["sum"]) == pair.of(i).image.sum()
        assert int(metrics.of(i)["loss"]) == pair.of(i).has_mask.sum()


@pytest.fixture
def compilations():
    """Names of what JAX traces and compiles, in order."""
    events = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))
    yield events
    jax.monitoring.clear_event_listeners()


@pytest.mark.parametrize("strategy", seeds.STRATEGIES)
def test_the_first_step_takes_what_was_compiled_ahead(strategy, compilations):
    pair = Apart((batch(0, 0, rows=3), batch(1, 0)))
    states = toy_states()
    shapes = jax.eval_shape(lambda: states)
    step = jit_many_step(toy_step, 2, strategy)
    step.compile_ahead(shapes, pair)
    step._compiling.result()
    states = as_form(states, 2, strategy)
    assert any("backend_compile" in name for name in compilations)
    compilations.clear()
    states, _ = step(states, pair)
    assert not any("jaxpr_trace" in name or "backend_compile" in name for name in compilations)
    for i in range(2):
        assert float(states.of(i)["sum"]) == pair.of(i).image.sum()
    assert step._compiling is None


def test_what_goes_wrong_ahead_is_raised_by_the_first_step():
    def broken(state, batch):
        raise ValueError("no such shape")

    step = jit_many_step(broken, 1, "unroll")
    step.compile_ahead(Apart(({"sum": 0.0},)), Apart((batch(0, 0),)))
    with pytest.raises(ValueError, match="no such shape"):
        step(Apart(({"sum": 0.0},)), Apart((batch(0, 0),)))


def slow(seconds, calls, name):
    def run(states, batches):
        calls.append(name)
        time.sleep(seconds)
        return states, {}

    return run


@pytest.fixture
def timed(monkeypatch):
    """Programs that take a set time, and the order in which they are called."""
    calls = []
    seconds = {"unroll": 0.02, "vmap": 0.1, "map": 0.004}
    monkeypatch.setattr(seeds, "_feared", lambda: seeds.PROMISE["cpu"])
    monkeypatch.setattr(
        seeds, "jit_many_step", lambda step, n, strategy: slow(seconds[strategy], calls, strategy)
    )
    return seconds, calls


def test_the_fastest_is_picked_and_the_slow_tried_once(timed):
    _, calls = timed
    states = toy_states()
    measured, _ = measure_strategies(toy_step, states, Apart(()), 2)
    assert fastest(measured) == "map" and set(measured) == set(seeds.STRATEGIES)
    assert 20 <= measured["unroll"].ms < measured["vmap"].ms
    assert calls.count("vmap") == 2 and calls[0] == "unroll"
    assert float(states.of(0)["sum"]) == 0  # still there


def test_what_may_take_too_long_is_not_tried(timed):
    seconds, calls = timed
    states = toy_states()
    measured, left_out = measure_strategies(toy_step, states, Apart(()), 2, limit_s=1.0)
    assert set(measured) == {"unroll", "vmap"} and "map" not in calls
    assert "a step may take 2" in left_out["map"]
    measured, left_out = measure_strategies(toy_step, states, Apart(()), 2, limit_s=0.0)
    assert set(measured) == {"unroll"} and set(left_out) == {"vmap", "map"}
    seconds["unroll"] = 0.2
    measured, _ = measure_strategies(toy_step, states, Apart(()), 2, strategies=("vmap", "map"), limit_s=0.5)
    assert set(measured) == {"vmap"}


def test_a_strategy_that_fails_costs_the_others_nothing(timed, monkeypatch):
    def failing(step, n, strategy):
        def run(states, batches):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nlong story")

        return run if strategy in broken else slow(0.01, [], strategy)

    monkeypatch.setattr(seeds, "jit_many_step", failing)
    states, broken = toy_states(), ["unroll"]
    measured, left_out = measure_strategies(toy_step, states, Apart(()), 2)
    assert set(measured) == {"vmap", "map"}
    assert left_out == {"unroll": "it failed: RESOURCE_EXHAUSTED: out of memory"}
    broken += ["vmap", "map"]
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        measure_strategies(toy_step, states, Apart(()), 2)


def test_measuring_takes_nobodys_states():
    states = toy_states()
    for given in (states, stacked(states)):
        measure_strategies(toy_step, given, Apart((batch(0, 0), batch(1, 0))), 2)
        assert all(float(given.of(i)["sum"]) == 0 for i in range(2))
    assert isinstance(given, Stacked)
    assert callable(many_step(toy_step, "vmap"))
