"""How a run scales its pictures where its options leave that to the weights that it begins from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from l2s_jax.config import Scaling, TrainConfig, scaling
from l2s_jax.runs.folder import CONFIG, read_network_facts, read_run_config
from l2s_jax.runs.published import SOURCES
from l2s_jax.runs.weights_file import scaling_noted
from l2s_jax.system.files import expanded
from l2s_jax.training.plan import HALF, IMAGENET_MEAN, IMAGENET_STD

KNOWN: dict[Scaling, tuple[np.ndarray, np.ndarray]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": (HALF, HALF),
}


def with_scaling(config: TrainConfig, folder: Path, say: Callable[[str], None]) -> TrainConfig:
    """The options with `norm` settled, as the run's `config.toml` is to have them.

    A run's folder is asked, and the file of an export, which notes it; of other files it is ImageNet's.

    Args:
      config: the options as they were asked for.
      folder: of the run; one that was begun there keeps to what it was begun with.
      say: receives a warning where the weights are of a run that scaled by its data set's figures.

    Raises:
      UserError: the weights are a run's, and it holds no network.
    """
    if config.norm != "weights":
        return config
    if (folder / CONFIG).exists():
        return replace(config, norm=scaling(read_run_config(folder)))
    if config.weights in ("random", *SOURCES):
        return replace(config, norm=scaling(config))
    named = expanded(config.weights)
    if named.is_dir():
        facts = read_network_facts(named)
        return replace(config, norm=_named((facts.mean, facts.std), named, say))
    noted = scaling_noted(named) if named.suffix == ".safetensors" else None
    return replace(config, norm="imagenet" if noted is None else _named(noted, named, say))


def _named(used: tuple[Sequence[float], Sequence[float]], where: Path, say: Callable[[str], None]) -> Scaling:
    """The option's name for a scaling."""
    for name, known in KNOWN.items():
        if all(np.allclose(one, other) for one, other in zip(used, known, strict=True)):
            return name
    say(
        f"warning: the pictures of {where} were scaled by figures of its data set; here ImageNet's are "
        "taken. --norm dataset takes those of this data set"
    )
    return "imagenet"
