"""Between a torchvision ResNet-18 state dict and this package's variables, both ways. Touches no files.

The encoder has torchvision's names (`layer2.0.downsample.0.weight`); what torchvision does not know stands
under `decoder.` (conv, bn, logits) and `classifier.` (conv1, bn, conv2). Kernels are OIHW there, HWIO here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from l2s_jax.system.errors import UserError

StateDict = Mapping[str, np.ndarray]

ENCODER_TENSORS = 75
"""15 convolutions (stem, 3 stages of 4, 2 projections), and 15 batch norms of 4 tensors each."""

MOST_LISTED = 100
"""Faults that a message lists: all of a file that lacks something, not all of another network's."""

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "logits_kernel": "logits.weight",
    "logits_bias": "logits.bias",
}
_MODULES = {"downsample_conv": "downsample.0", "downsample_bn": "downsample.1"}
_NOT_BUILT = ("layer4.", "fc.")
_OURS = ("decoder.", "classifier.")
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def torch_name(path: tuple[str, ...]) -> str:
    """The state dict's key for a variable.

    Args:
      path: where the variable stands, collection first: ("params", "encoder", "layer2_0", "bn1", "scale").

    Returns:
      `layer2.0.bn1.weight` for that one.
    """
    _, part, *modules, leaf = path
    prefix = [] if part == "encoder" else [part]
    inner = [name.replace("_", ".") if name.startswith("layer") else name for name in modules]
    return ".".join([*prefix, *(_MODULES.get(name, name) for name in inner), _LEAVES[leaf]])


def variables_to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Names and lays out `params` and `batch_stats` as torch does.

    Args:
      variables: the network's `params` and `batch_stats`, or those of its encoder alone (under "encoder").

    Returns:
      f32 arrays by torch name; `load_state_dict` takes them as tensors. `num_batches_tracked`, which changes
      nothing at momentum 0.1, is not among them.
    """
    flat = flatten_dict(variables)
    state_dict = {torch_name(path): _to_torch(np.asarray(value)) for path, value in flat.items()}
    assert len(state_dict) == len(flat), "two variables have the same torch name"
    return state_dict


def decoder_of(state_dict: StateDict) -> str:
    """Which decoder's weights a state dict holds, `paper` or `skip`; "" for none."""
    if "decoder.logits.weight" not in state_dict:
        return ""
    return "skip" if "decoder.lateral1.weight" in state_dict else "paper"


def load_encoder(
    variables: Mapping[str, Any], state_dict: StateDict, source: str = "the state dict"
) -> tuple[dict[str, Any], list[str]]:
    """Replaces the encoder's parameters and running statistics by those of a ResNet-18.

    Args:
      variables: the network's `params` and `batch_stats`; left as they are.
      state_dict: arrays by torchvision's names, OIHW. `layer4.*`, `fc.*` and this package's own `decoder.*`
        and `classifier.*` are ignored by name, and so is `num_batches_tracked`.
      source: what to call the state dict in messages.

    Returns:
      New variables, and the keys that were not used.

    Raises:
      UserError: listing missing and unexpected keys, wrong shapes and wrong dtypes.
    """
    variables, loaded, unused = _load(
        variables, state_dict, source, lambda path: path[1] == "encoder", _NOT_BUILT + _OURS
    )
    assert loaded == ENCODER_TENSORS, f"{loaded} tensors loaded into the encoder, not {ENCODER_TENSORS}"
    return variables, unused


def load_network(
    variables: Mapping[str, Any], state_dict: StateDict, source: str = "the state dict"
) -> tuple[dict[str, Any], list[str]]:
    """Replaces all variables: the inverse of `variables_to_state_dict`. Arguments as for `load_encoder`.

    Raises:
      UserError: as `load_encoder`, or the state dict is of a network with the other decoder.
    """
    own, theirs = decoder_of(variables_to_state_dict({"params": variables["params"]})), decoder_of(state_dict)
    if theirs and own != theirs:
        raise UserError(
            f"{source} holds a network with the decoder {theirs}, and this one has the decoder {own}: its "
            "weights do not fit. The encoder's do (--weights)"
        )
    variables, _, unused = _load(variables, state_dict, source, lambda path: True, _NOT_BUILT)
    return variables, unused


def _load(
    variables: Mapping[str, Any],
    state_dict: StateDict,
    source: str,
    is_wanted: Callable[[tuple[str, ...]], bool],
    ignored: tuple[str, ...],
) -> tuple[dict[str, Any], int, list[str]]:
    """New variables, how many tensors they took, and the keys they did not."""
    flat = flatten_dict(variables)
    paths = dict(sorted((torch_name(path), path) for path in flat if is_wanted(path)))
    unused = sorted(key for key in state_dict if key not in paths)
    faults = [f"missing: {key}" for key in paths if key not in state_dict]
    faults += [f"unexpected: {key}" for key in unused if not _is_ignored(key, ignored)]
    new = dict(flat)
    taken = [key for key in paths if key in state_dict]
    for key in taken:
        value, expected = np.asarray(state_dict[key]), flat[paths[key]].shape
        if value.dtype.name not in _FLOATS:
            faults.append(f"{key}: values of type {value.dtype}, expected floating point")
        elif (shape := _to_torch_shape(expected)) != value.shape:
            faults.append(f"{key}: shape {value.shape}, expected {shape}")
        else:
            new[paths[key]] = jnp.asarray(_from_torch(value.astype(np.float32)))
    if faults:
        shown = faults[:MOST_LISTED]
        shown += [f"and {len(faults) - MOST_LISTED} more"] if len(faults) > MOST_LISTED else []
        raise UserError(
            "\n  ".join(
                [f"{source} does not hold the weights of a ResNet-18 as torchvision names them:", *shown]
            )
        )
    return unflatten_dict(new), len(taken), unused


def _is_ignored(key: str, prefixes: tuple[str, ...]) -> bool:
    return key.startswith(prefixes) or key.endswith(".num_batches_tracked")


def _to_torch(value: np.ndarray) -> np.ndarray:
    """HWIO to OIHW; vectors as they are. Contiguous, since file formats ask for it."""
    value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    return np.ascontiguousarray(value, np.float32)


def _from_torch(value: np.ndarray) -> np.ndarray:
    """OIHW to HWIO; vectors as they are."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _to_torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape
