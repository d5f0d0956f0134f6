"""The train step as it is lowered for CUDA, on a machine without a GPU."""

import re

import jax
import numpy as np
import pytest

from l2s_jax.config import TrainConfig
from l2s_jax.models.network import L2S
from l2s_jax.train_step.step import Objective, Task, init_state, make_optimizer, step_function
from l2s_jax.types import Batch


def lower(precision):
    """StableHLO of the step with augmentation, on eight patches of 128x128, as a run has it."""
    model, optimizer, ones = L2S(4), make_optimizer(1e-4), np.ones(4, np.float32)
    task = Task(
        ones, ones, np.zeros(3, np.float32), np.ones(3, np.float32), Objective(*np.float32([1, 0, 0]))
    )
    state = jax.eval_shape(lambda key: init_state(model, optimizer, task, key), jax.random.key(0))
    shape = lambda *dims, dtype: jax.ShapeDtypeStruct((8, *dims), dtype)  # noqa: E731
    batch = Batch(
        shape(128, 128, 3, dtype=np.uint8), shape(128, 128, dtype=np.uint8), shape(dtype=np.int32),
        shape(dtype=bool), shape(dtype=bool), shape(dtype=np.int32), shape(dtype=np.int32),
        shape(4, dtype=bool),
    )  # fmt: skip
    step = step_function(model, TrainConfig(precision=precision))
    return jax.jit(step).trace(state, batch).lower(lowering_platforms=("cuda",)).as_text()


@pytest.fixture(scope="module")
def lowered():
    return lower("default")


def test_convolutions_are_plain(lowered):
    """18 forward (16 in encoder and decoder, 2 in the classifier), 18 to kernels, 17 to inputs."""
    convolutions = re.findall(r"stablehlo.convolution\(.*", lowered)
    assert len(convolutions) == 18 + 18 + 17


def test_no_double_precision(lowered):
    """GPUs for people have one double unit to 32 or 64 single ones."""
    assert "f64" not in lowered


def test_no_feature_map_is_transposed(lowered):
    """Layouts are the convolutions' own business (cuDNN takes NHWC); only raw pictures turn, 8 bits deep."""
    transposed = re.findall(r"stablehlo.transpose .*-> tensor<([\dx]*)x(\w+)>", lowered)
    large = {kind for dims, kind in transposed if np.prod([int(side) for side in dims.split("x")]) >= 2**14}
    assert large <= {"ui8"}


ASKED = {"default": "DEFAULT", "float32": "HIGHEST", "tf32": "HIGH"}


@pytest.mark.parametrize("precision", ASKED)
def test_products_are_as_exact_as_asked_for(precision, lowered):
    """StableHLO calls float32 highest and TensorFloat-32 high; XLA:GPU takes its word for it."""
    text = lowered if precision == "default" else lower(precision)
    of_each = re.findall(r"stablehlo.convolution\(.*?precision_config = \[([^\]]*)\]", text)
    found = set(re.findall(r"#stablehlo<precision (\w+)>", " ".join(of_each)))
    assert found == {ASKED[precision]}
    assert "bf16" not in text


def test_bfloat16_has_the_feature_maps_and_not_the_weights():
    text = lower("bfloat16")
    maps = re.findall(r"stablehlo.convolution\(.*-> tensor<[\dx]*x(\w+)>", text)
    assert maps.count("bf16") >= 17 + 17  # encoder and decoder, both ways
    arguments = text.split("func.func public @main(")[1].split(") -> ")[0]
    assert "bf16" not in arguments
