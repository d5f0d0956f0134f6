"""Which tensors of a file are a ResNet-18's."""

import jax
import numpy as np
import pytest

from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import ENCODER_TENSORS, variables_to_state_dict
from l2s_jax.runs.weight_names import ENCODER_NAMES, describe, resnet_of
from l2s_jax.system.errors import UserError

OTHERS = ("layer4.0.conv1.weight", "layer4.1.bn2.bias", "fc.weight", "fc.bias", "bn1.num_batches_tracked")
WHOLE = {name: np.full(1, number, np.float32) for number, name in enumerate((*ENCODER_NAMES, *OTHERS))}


@pytest.mark.slow
def test_the_names_are_those_of_the_encoder():
    variables = init_variables(L2S(2), jax.random.key(0))
    encoder = {kind: {"encoder": tree["encoder"]} for kind, tree in variables.items()}
    assert set(variables_to_state_dict(encoder)) == set(ENCODER_NAMES)
    assert len(ENCODER_NAMES) == ENCODER_TENSORS


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "backbone.", "model.resnet.", "state_dict.net.encoder.", "_orig_mod.", "layer1."],
)
def test_what_stands_before_the_names_is_taken_off(prefix):
    beside = {"projector.0.weight": np.zeros(1), "optimiser.layer9.weight": np.zeros(1)} if prefix else {}
    named = resnet_of({prefix + name: value for name, value in WHOLE.items()} | beside, "file")
    assert named.prefix == prefix and named.state_dict == WHOLE and named.others == tuple(beside)
    text = describe(named)
    assert "the encoder takes 75 tensors" in text and "layer4.*, fc.*, *.num_batches_tracked" in text
    assert (f"the names' beginning {prefix} is taken off" in text) == bool(prefix)
    assert ("projector.0.*" in text) == bool(prefix)


def test_of_half_of_the_names_the_beginning_is_still_found():
    half = {f"encoder.{name}": WHOLE[name] for name in ENCODER_NAMES[::2]}
    named = resnet_of(half, "file")
    assert named.prefix == "encoder." and set(named.state_dict) == set(ENCODER_NAMES[::2])


def test_without_any_of_the_names_all_is_left_as_it_is():
    other = {"patch_embed.weight": np.zeros(1), "blocks.0.attn.qkv.weight": np.zeros(1)}
    assert resnet_of(other, "file") == (other, "", ())
    assert resnet_of({}, "file") == ({}, "", ())


def test_two_networks_in_one_file_are_not_chosen_between():
    both = {f"{part}.{name}": value for part in ("encoder_q", "encoder_k") for name, value in WHOLE.items()}
    with pytest.raises(UserError, match=r"moco.pth holds several networks \(encoder_k.\*, encoder_q.\*\)"):
        resnet_of(both, "moco.pth")
