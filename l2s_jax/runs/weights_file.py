"""Files of weights, read as they are and written. No JAX.

Only .safetensors is read without torch. A .pth, .pt or .ckpt file is read by torch with `weights_only=True`:
no code in it is run.
"""

import importlib.util
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.system.values import clipped

StateDict = dict[str, np.ndarray]

KINDS = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""Types of tensors that are read, as .safetensors calls them; bfloat16 becomes float32."""

TORCH_EXTRA = "pip install 'l2s-jax[torch]'"
HEADER_SIZE = 8
"""Bytes of a .safetensors file that say how long its header is."""


TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
_OBJECT = re.compile(r"(?:GLOBAL|class) `?([A-Za-z_][\w.]*)")
"""How torch names what it will not unpickle."""

_SHORT_FLOAT = re.compile(r"(float|F)[3-8](_|$)", re.IGNORECASE)

BEGINNINGS = (b"PK\x03\x04", b"\x80")
"""Of a file that torch wrote: a ZIP archive, before torch 1.6 a pickle."""

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which a checkpoint keeps the tensors beside what it says of the training."""


def has_torch() -> bool:
    """Whether the torch extra is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def read_weights(path: Path) -> StateDict:
    """Reads a state dict from .safetensors, or from .pth, .pt or .ckpt with the torch extra.

    Raises:
      UserError: no such file, another format, torch missing, damaged, or values that are not finite.
    """
    if not path.is_file():
        raise UserError(
            f"--weights: no such file: {path}. Use a path, `auto` (ImageNet), `histology` or `random`"
        )
    if path.suffix == ".safetensors":
        state_dict = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        state_dict = _read_torch(path)
    else:
        raise UserError(f"--weights: {path} is neither .safetensors nor .pth, .pt or .ckpt")
    faulty = [name for name, value in state_dict.items() if not np.isfinite(value).all()]
    if faulty:
        raise UserError(f"{path} holds NaN or infinite values in: {', '.join(faulty)}")
    return state_dict


def scaling_noted(path: Path) -> tuple[list[float], list[float]] | None:
    """Channel means and deviations that `l2s export` notes in a .safetensors file; None where it has none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            notes = file.metadata() or {}
        found = [json.loads(notes[name]) for name in ("mean", "std")]
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
        return None
    good = all(
        isinstance(part, list) and len(part) == 3 and all(type(one) in (int, float) for one in part)
        for part in found
    )
    return (found[0], found[1]) if good else None


def write_safetensors(path: Path, state_dict: StateDict, metadata: dict[str, str] | None = None) -> None:
    """Writes a state dict, whole or not at all: the same bytes each time.

    Raises:
      UserError: the folder cannot be written.
    """
    from safetensors.numpy import save

    # In C order: what lies in memory otherwise, as torch's channels_last does, is written as it lies.
    tensors = {name: np.asarray(value, order="C") for name, value in state_dict.items()}
    content = _in_order(save(tensors, {"format": "pt", **(metadata or {})}))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _in_order(content: bytes) -> bytes:
    """A .safetensors file with its metadata sorted; the library writes them in another order each time."""
    size = int.from_bytes(content[:HEADER_SIZE], "little")
    header = json.loads(content[HEADER_SIZE : HEADER_SIZE + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % HEADER_SIZE)  # tensors begin at a multiple of eight
    return len(text).to_bytes(HEADER_SIZE, "little") + text + content[HEADER_SIZE + size :]


def _read_safetensors(path: Path) -> StateDict:
    import ml_dtypes  # noqa: F401  # comes with JAX; with it NumPy knows bfloat16 and the floats of 8 bits
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            _require_known(path, kinds)
            tensors = {name: file.get_tensor(name) for name in kinds}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no readable .safetensors file: {clipped(error)}") from error
    return {
        name: value.astype(np.float32) if kinds[name] == "BF16" else value for name, value in tensors.items()
    }


def _require_known(path: Path, kinds: dict[str, str]) -> None:
    """Refuses tensors of types in which nobody keeps weights to go on from, or that NumPy does not have."""
    other = sorted({kind for kind in kinds.values() if kind not in KINDS})
    if not other:
        return
    advice = "Convert them to float32"
    if any(_SHORT_FLOAT.match(kind) for kind in other):
        advice = (
            "Numbers of 8 bits and fewer are for running a network: take the file with its full weights, "
            "or convert it to float32"
        )
    raise UserError(
        f"{path} holds tensors of the type {', '.join(other)}; known are {', '.join(KINDS)}. {advice}"
    )


def _read_torch(path: Path) -> StateDict:
    if not has_torch():
        raise UserError(
            f"reading {path} needs the torch extra ({TORCH_EXTRA}). Or convert it once where torch is: "
            "safetensors.torch.save_file(torch.load(PATH, weights_only=True), 'resnet18.safetensors')"
        )
    with path.open("rb") as file:
        beginning = file.read(16)
    if not beginning.startswith(BEGINNINGS):
        raise UserError(
            f"{path} is no file that torch wrote: it begins with {beginning!r}. Was it downloaded whole?"
        )
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers meet in a damaged file
        found = _OBJECT.search(str(error))
        if found:
            raise UserError(
                f"{path} holds Python objects ({found[1]}) beside its tensors. To read them would run code "
                "of the file's, so it is not done: save `model.state_dict()` alone, where the file is from"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if reason.startswith("Weights only load failed"):  # then comes advice to load it all the same
            reason = "it holds more than tensors by name"
        raise UserError(
            f"{path} cannot be read as a torch state dict ({reason}). "
            "Save `model.state_dict()`, not the model"
        ) from error
    for name in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UserError(
            f"{path} holds no state dict: expected tensors by name, as `model.state_dict()` gives, alone or "
            f"under {' or '.join(WRAPPERS)}"
        )
    _require_known(path, {name: _kind(value) for name, value in loaded.items()})
    return {str(name): _to_numpy(value) for name, value in loaded.items()}


def _kind(tensor: Any) -> str:
    """The type of a torch tensor, as .safetensors calls it where that knows it."""
    name = str(tensor.dtype).removeprefix("torch.")
    known = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint8": "U8",
             "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "bool": "BOOL"}  # fmt: skip
    return known.get(name, name) if str(tensor.layout) == "torch.strided" else str(tensor.layout)


def _to_numpy(tensor: Any) -> np.ndarray:
    dense = tensor.detach()
    return (dense.float() if dense.is_floating_point() else dense).numpy()
