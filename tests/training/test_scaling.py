"""Pictures are scaled as they were for the weights that a run begins from, and the run keeps that."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from helpers.runs import TINY, quiet
from l2s_jax.exports.export import export_run
from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import variables_to_state_dict
from l2s_jax.runs.folder import CONFIG, read_network_facts, read_run_config
from l2s_jax.runs.network import load_network
from l2s_jax.runs.published import HISTOLOGY
from l2s_jax.runs.weights_file import write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.training import initial_weights
from l2s_jax.training.plan import IMAGENET_MEAN, IMAGENET_STD
from l2s_jax.training.scaling import with_scaling
from l2s_jax.training.train import train

ONE_STEP = replace(TINY, weights="histology", epochs=1, steps=1)


@pytest.fixture(scope="module")
def tensors():
    """A ResNet-18's tensors that the encoder takes, by torchvision's names."""
    variables = init_variables(L2S(2), jax.random.key(5))
    return variables_to_state_dict({kind: {"encoder": tree["encoder"]} for kind, tree in variables.items()})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def histology(cache, tensors):
    path = cache / HISTOLOGY[0].name.replace(".ckpt", ".safetensors")
    head = {f"model.resnet.fc.{n}.bias": np.zeros(1, np.float32) for n in (1, 3)}
    save_file({f"model.resnet.{name}": value for name, value in tensors.items()} | head, path)
    return path


def scaled(run):
    facts = read_network_facts(run)
    return [*facts.mean, *facts.std], read_run_config(run).norm


HALVES = ([0.5] * 6, "half")
IMAGENETS = ([*map(float, IMAGENET_MEAN), *map(float, IMAGENET_STD)], "imagenet")


@pytest.mark.slow
def test_histology_weights_are_taken_whole_and_with_their_scaling(
    histology, tensors, phantom, tmp_path, monkeypatch
):
    began = []
    loaded = initial_weights.load_encoder

    def watched(variables, *rest):
        new = loaded(variables, *rest)
        encoder = {kind: {"encoder": tree["encoder"]} for kind, tree in new[0].items()}
        began.append(jax.tree.map(np.array, encoder))  # copies: the first step gives them up
        return new

    monkeypatch.setattr(initial_weights, "load_encoder", watched)
    said = []
    run = train(phantom, tmp_path / "run", ONE_STEP, say=said.append)
    assert scaled(run) == HALVES
    assert any("beginning model.resnet. is taken off; the encoder takes 75 tensors" in line for line in said)
    got = variables_to_state_dict(began[-1])
    for name, value in tensors.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    network, _ = load_network(run)
    np.testing.assert_array_equal(network.mean, [0.5] * 3)
    export_run(run, tmp_path / "exported", ["safetensors"])
    with safe_open(tmp_path / "exported" / "model.safetensors", "np") as file:
        assert json.loads(file.metadata()["mean"]) == json.loads(file.metadata()["std"]) == [0.5] * 3


@pytest.mark.slow
def test_a_run_keeps_its_scaling_and_hands_it_on(histology, phantom, tmp_path):
    two = replace(ONE_STEP, epochs=2, steps=None)
    first = train(phantom, tmp_path / "first", two, say=quiet)
    histology.unlink()
    (first / "finished.json").unlink()  # as if it had been killed just before
    assert scaled(train(phantom, first, two, resume=True, say=quiet)) == HALVES
    second = train(phantom, tmp_path / "second", replace(ONE_STEP, weights=str(first)), say=quiet)
    assert scaled(second) == HALVES


@pytest.mark.parametrize(
    "means, norm, warned", [([0.5] * 3, "half", 0), ([0.4] * 3, "imagenet", 1), (None, "imagenet", 0)]
)
def test_the_file_of_an_export_brings_its_scaling(means, norm, warned, tensors, tmp_path):
    notes = None if means is None else {"mean": json.dumps(means), "std": json.dumps([0.5] * 3)}
    write_safetensors(tmp_path / "model.safetensors", tensors, notes)
    said = []
    config = replace(TINY, weights=str(tmp_path / "model.safetensors"))
    assert with_scaling(config, tmp_path / "run", said.append).norm == norm
    assert len(said) == warned


@pytest.mark.slow
def test_what_is_asked_for_wins(histology, phantom, tmp_path):
    asked = replace(ONE_STEP, norm="imagenet")
    assert scaled(train(phantom, tmp_path / "asked", asked, say=quiet)) == IMAGENETS
    other = replace(ONE_STEP, weights="random", norm="half")
    assert scaled(train(phantom, tmp_path / "other", other, say=quiet)) == HALVES
    default = replace(ONE_STEP, weights="random")
    assert scaled(train(phantom, tmp_path / "default", default, say=quiet)) == IMAGENETS


@pytest.mark.slow
def test_a_scaling_by_a_data_set_is_not_taken_over_without_a_word(phantom, tmp_path):
    own = replace(ONE_STEP, weights="random", norm="dataset")
    first = train(phantom, tmp_path / "first", own, say=quiet)
    said = []
    next_one = replace(ONE_STEP, weights=str(first))
    assert scaled(train(phantom, tmp_path / "second", next_one, say=said.append)) == IMAGENETS
    assert any("warning" in line and "--norm dataset" in line for line in said)


@pytest.mark.parametrize("where", ["cache", "path"])
def test_weights_of_another_network_begin_no_run(where, cache, tensors, phantom, tmp_path):
    half = dict(list(tensors.items())[::2])
    path = cache / HISTOLOGY[0].name.replace(".ckpt", ".safetensors")
    save_file(half, path)
    config = replace(ONE_STEP, weights="histology" if where == "cache" else str(path))
    with pytest.raises(UserError, match="missing: ") as caught:
        train(phantom, tmp_path / "run", config, say=quiet)
    missing = {line.split()[-1] for line in str(caught.value).splitlines() if "missing:" in line}
    assert missing == tensors.keys() - half.keys()
    assert not (tmp_path / "run" / CONFIG).exists()
