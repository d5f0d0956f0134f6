"""The decoder `skip`: its sizes, its names, and that it is not taken for the paper's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.random_variables import random_variables
from l2s_jax.models.decoder import enlarge
from l2s_jax.models.network import L2S, count_parameters, init_variables
from l2s_jax.models.state_dict import decoder_of, load_encoder, load_network, variables_to_state_dict
from l2s_jax.system.errors import UserError


def shapes_of(model):
    return jax.eval_shape(lambda key: init_variables(model, key), jax.random.key(0))


def test_parameter_counts():
    params = shapes_of(L2S(4, decoder="skip"))["params"]
    # 3x3 256->64 and 64->64, 1x1 128->64 and 64->64, two batch norms, 1x1 64->4 with bias
    assert count_parameters(params["decoder"]) == 9 * 64 * (256 + 64) + 64 * (128 + 64) + 4 * 64 + 64 * 4 + 4
    assert count_parameters(params["decoder"]) == 197_124
    assert count_parameters(params["encoder"]) == 2_782_784 and count_parameters(params["classifier"]) == 80


@pytest.mark.parametrize("head", ["a3", "max"])
@pytest.mark.parametrize("height, width", [(16, 16), (48, 32)])
def test_its_cells_are_squares_of_four_pixels(head, height, width):
    model = L2S(5, head, decoder="skip")
    assert (model.cell, L2S(5).cell) == (4, 8)
    image = jax.ShapeDtypeStruct((3, height, width, 3), jnp.float32)
    out = jax.eval_shape(lambda v, x: model.apply(v, x), shapes_of(model), image)
    assert out.coarse_logits.shape == (3, height // 4, width // 4, 5) and out.class_logits.shape == (3, 5)
    assert enlarge(jnp.zeros(out.coarse_logits.shape), model.cell).shape == (3, height, width, 5)


def test_what_is_near_and_what_is_far_reach_its_logits():
    """A pixel changes logits beside it at once, by layer1, and by layer3 those beyond layer1's reach."""
    model, variables = L2S(3, decoder="skip"), random_variables(3, decoder="skip", seed=2)
    image = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    other = image.copy()
    other[0, 64, 64] += 1
    logits = [jax.jit(model.apply)(variables, one).coarse_logits for one in (image, other)]
    apart = np.abs(logits[0] - logits[1]).max(-1)[0]
    assert apart.argmax() // 32 in range(13, 20) and apart.argmax() % 32 in range(13, 20)
    assert apart[16, 2] > 0  # 56 pixels away; layer1 sees 21 to each side


def test_names_and_back():
    variables = random_variables(decoder="skip", seed=1)
    state_dict = variables_to_state_dict(variables)
    own = {name for name in state_dict if name.startswith("decoder.")}
    norms = ("weight", "bias", "running_mean", "running_var")
    assert own == {
        *(f"decoder.{name}.weight" for name in ("conv", "lateral1", "lateral2", "conv2", "logits")),
        *(f"decoder.{norm}.{part}" for norm in ("bn", "bn2") for part in norms),
        "decoder.logits.bias",
    }
    assert state_dict["decoder.lateral2.weight"].shape == (64, 128, 1, 1)
    loaded, unused = load_network(random_variables(decoder="skip", seed=9), state_dict)
    assert not unused
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)


@pytest.mark.parametrize("ours, theirs", [("paper", "skip"), ("skip", "paper")])
def test_weights_of_the_other_decoder_are_refused(ours, theirs):
    state_dict = variables_to_state_dict(random_variables(decoder=theirs, seed=1))
    assert decoder_of(state_dict) == theirs
    mine = random_variables(decoder=ours, seed=2)
    with pytest.raises(
        UserError, match=f"file.safetensors holds .* decoder {theirs}, and this one has the decoder {ours}"
    ):
        load_network(mine, state_dict, "file.safetensors")
    loaded, _ = load_encoder(mine, state_dict)  # its encoder is any network's
    kernel = loaded["params"]["encoder"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, state_dict["conv1.weight"].transpose(2, 3, 1, 0))
    assert decoder_of({"conv1.weight": state_dict["conv1.weight"]}) == ""


def test_its_first_layer_begins_as_the_papers():
    ours, papers = (init_variables(L2S(4, decoder=name), jax.random.key(3)) for name in ("skip", "paper"))
    same = jax.tree.map(np.array_equal, ours["params"]["encoder"], papers["params"]["encoder"])
    assert all(jax.tree.leaves(same))
    first = (tree["params"]["decoder"]["conv"]["kernel"] for tree in (ours, papers))
    np.testing.assert_array_equal(*first)
