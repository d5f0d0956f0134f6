import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.random_variables import random_variables
from l2s_jax.models.state_dict import (
    ENCODER_TENSORS,
    load_encoder,
    load_network,
    torch_name,
    variables_to_state_dict,
)
from l2s_jax.system.errors import UserError


@pytest.fixture(scope="module")
def variables():
    return random_variables(seed=0)


@pytest.fixture(scope="module")
def other():
    """Variables of which every tensor differs from those of `variables`."""
    return random_variables(seed=1)


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("params", "encoder", "conv1", "kernel"), "conv1.weight"),
        (("batch_stats", "encoder", "bn1", "var"), "bn1.running_var"),
        (("params", "encoder", "layer1_1", "conv2", "kernel"), "layer1.1.conv2.weight"),
        (("params", "encoder", "layer2_0", "downsample_conv", "kernel"), "layer2.0.downsample.0.weight"),
        (
            ("batch_stats", "encoder", "layer3_0", "downsample_bn", "mean"),
            "layer3.0.downsample.1.running_mean",
        ),
        (("params", "decoder", "logits_bias"), "decoder.logits.bias"),
        (("params", "classifier", "conv2", "kernel"), "classifier.conv2.weight"),
    ],
)
def test_names(path, name):
    assert torch_name(path) == name


def test_the_encoders_names_are_torchvisions(variables):
    # Written out from torchvision's ResNet-18: a convolution and a batch norm each.
    pairs = ["conv1 bn1"]
    for stage in (1, 2, 3):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            pairs += [f"{at}.conv1 {at}.bn1", f"{at}.conv2 {at}.bn2"]
            if block == 0 and stage > 1:
                pairs.append(f"{at}.downsample.0 {at}.downsample.1")
    expected = set()
    for conv, bn in map(str.split, pairs):
        expected |= {f"{conv}.weight"}
        expected |= {f"{bn}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")}
    names = {name for name in variables_to_state_dict(variables) if not name.startswith(("dec", "cla"))}
    assert names == expected
    assert len(names) == ENCODER_TENSORS


def test_there_and_back(variables, other):
    state_dict = variables_to_state_dict(other)
    loaded, unused = load_network(variables, state_dict)
    assert unused == []
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    assert same(loaded, other)
    assert not same(loaded, variables)
    assert all(value.flags.c_contiguous and value.dtype == np.float32 for value in state_dict.values())


def test_load_encoder_leaves_the_rest_and_its_arguments(variables, other):
    before = jax.tree.map(np.array, variables)
    state_dict = variables_to_state_dict(other)
    extra = {
        "layer4.0.conv1.weight": np.zeros(1),
        "fc.bias": np.zeros(1),
        "bn1.num_batches_tracked": np.array(7),
    }
    loaded, unused = load_encoder(variables, {**state_dict, **extra})
    for collection in ("params", "batch_stats"):
        assert same(loaded[collection]["encoder"], other[collection]["encoder"])
        for part in ("decoder", "classifier"):
            assert same(loaded[collection][part], variables[collection][part])
    assert same(variables, before)
    assert unused == sorted([*extra, *(name for name in state_dict if name.startswith(("dec", "cla")))])


def test_kernels_are_transposed_not_reshaped(variables):
    state_dict = variables_to_state_dict(variables)
    kernel = np.zeros((64, 3, 7, 7), np.float32)
    kernel[5, 2, 1, 6] = 1  # output channel, input channel, row, column
    loaded, _ = load_encoder(variables, {**state_dict, "conv1.weight": kernel})
    assert np.argwhere(loaded["params"]["encoder"]["conv1"]["kernel"]).tolist() == [[1, 6, 2, 5]]


def test_every_fault_is_listed(variables):
    state_dict = variables_to_state_dict(variables)
    del state_dict["conv1.weight"], state_dict["layer3.1.bn2.running_var"]
    state_dict["layer1.0.conv1.weight"] = np.zeros((64, 64, 1, 1), np.float32)
    state_dict["bn1.bias"] = np.zeros(64, np.int64)
    state_dict["layer1.0.conv3.weight"] = np.zeros(1, np.float32)
    with pytest.raises(UserError) as caught:
        load_encoder(variables, state_dict, "weights.pth")
    assert str(caught.value).splitlines() == [
        "weights.pth does not hold the weights of a ResNet-18 as torchvision names them:",
        "  missing: conv1.weight",
        "  missing: layer3.1.bn2.running_var",
        "  unexpected: layer1.0.conv3.weight",
        "  bn1.bias: values of type int64, expected floating point",
        "  layer1.0.conv1.weight: shape (64, 64, 1, 1), expected (64, 64, 3, 3)",
    ]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_missing_tensor_goes_unnoticed(variables, data):
    state_dict = variables_to_state_dict(variables)
    gone = data.draw(st.sets(st.sampled_from(sorted(state_dict)), min_size=1, max_size=5))
    for name in gone:
        del state_dict[name]
    with pytest.raises(UserError) as caught:
        load_network(variables, state_dict)
    assert {line.split()[-1] for line in str(caught.value).splitlines()[1:]} == gone


def test_half_precision_is_widened(variables):
    state_dict = variables_to_state_dict(variables)
    halves = {name: value.astype(np.float16) for name, value in state_dict.items()}
    loaded, _ = load_encoder(variables, halves)
    assert {leaf.dtype for leaf in flatten_dict(loaded).values()} == {np.dtype(np.float32)}


def test_a_state_dict_of_torch_goes_in_and_comes_out(variables):
    # That both networks then compute the same is in test_export.py.
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    from helpers.torch_resnet import ResNet18, randomise_statistics

    torch.manual_seed(0)
    state_dict = {
        name: value.numpy() for name, value in randomise_statistics(ResNet18()).state_dict().items()
    }
    loaded, unused = load_encoder(variables, state_dict)
    assert {name.split(".")[0] for name in unused if not name.endswith("tracked")} == {"layer4", "fc"}
    back = variables_to_state_dict({part: {"encoder": loaded[part]["encoder"]} for part in loaded})
    assert back.keys() == state_dict.keys() - set(unused)
    assert all(np.array_equal(value, state_dict[name]) for name, value in back.items())
