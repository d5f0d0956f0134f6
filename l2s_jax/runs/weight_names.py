"""Which tensors of a file are a ResNet-18's, whatever stands before their names. No JAX.

Trainers put a network's name before its tensors' (`module.`, `backbone.`, `model.resnet.`), and others beside
it. What begins alike and then goes on as torchvision has it is the network; nothing is guessed beyond that.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.system.errors import UserError

_OF_NORM = ("weight", "bias", "running_mean", "running_var")


def _block(layer: int, block: int) -> list[str]:
    """The names of one residual block, without those that the encoder does not take."""
    at = f"layer{layer}.{block}."
    names = [f"{at}conv{n}.weight" for n in (1, 2)] + [
        f"{at}bn{n}.{part}" for n in (1, 2) for part in _OF_NORM
    ]
    if layer > 1 and block == 0:
        names += [f"{at}downsample.0.weight"] + [f"{at}downsample.1.{part}" for part in _OF_NORM]
    return names


ENCODER_NAMES = (
    "conv1.weight",
    *(f"bn1.{part}" for part in _OF_NORM),
    *(name for layer in (1, 2, 3) for block in (0, 1) for name in _block(layer, block)),
)
"""torchvision's names of the tensors that the encoder takes."""


class Named(NamedTuple):
    """A ResNet-18's tensors, and what else was in the file."""

    state_dict: dict[str, np.ndarray]  # by torchvision's names
    prefix: str  # that was taken off, "" for none
    others: tuple[str, ...]  # names that do not begin so


def resnet_of(state_dict: Mapping[str, np.ndarray], where: str) -> Named:
    """Picks the tensors whose names, after one and the same beginning, are most of torchvision's.

    Args:
      state_dict: arrays by name.
      where: the file, for messages.

    Raises:
      UserError: it holds several such networks.
    """
    found = Counter(
        key.removesuffix(name)
        for key in state_dict
        for name in ENCODER_NAMES
        if key == name or key.endswith(f".{name}")
    )
    most = max(found.values(), default=0)
    prefixes = sorted(prefix for prefix, count in found.items() if count == most)
    if len(prefixes) > 1:
        listed = ", ".join(prefix + "*" for prefix in prefixes)
        raise UserError(f"{where} holds several networks ({listed}): save the one that is meant by itself")
    prefix = prefixes[0] if prefixes else ""
    own = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    return Named(own, prefix, tuple(key for key in state_dict if not key.startswith(prefix)))


def describe(named: Named) -> str:
    """One line: what was taken off the names, and what is left out."""
    unused = [key for key in named.state_dict if key not in ENCODER_NAMES]
    unused += named.others
    taken = len(named.state_dict) - (len(unused) - len(named.others))
    begins = f"the names' beginning {named.prefix} is taken off; " if named.prefix else ""
    text = f"{begins}the encoder takes {taken} tensors"
    return text + (f", {len(unused)} others are left out ({groups(unused)})" if unused else "")


def groups(names: Sequence[str]) -> str:
    """Names by their first parts: `layer4.*, fc.1.*`."""
    return ", ".join(dict.fromkeys(_group(name) for name in names))


def _group(name: str) -> str:
    parts = name.split(".")
    if parts[-1] == "num_batches_tracked":
        return "*.num_batches_tracked"
    size = 2 if len(parts) > 2 and parts[1].isdigit() and not parts[0].startswith("layer") else 1
    return ".".join(parts[:size]) + ".*" if len(parts) > size else name
