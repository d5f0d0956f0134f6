"""Exported files as functions, in the libraries that read them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l2s_jax.exports.network_graph import INPUT, OUTPUTS, STAIN_INPUT
from l2s_jax.exports.torchscript import METADATA, require_torch
from l2s_jax.system.errors import UserError

Runner = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Raw tiles u8[K,t,t,3], the same in the network's stains, and the map of stains f32[3,3] to probabilities
f32[K,t,t,C] and class logits f32[K,C]."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def stablehlo_runner(path: Path) -> Runner:
    """A runner of a StableHLO file.

    Raises:
      UserError: the file is not read here; the runner raises it where the program does not run.
    """
    from jax import export

    try:
        predict = export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # of jax's reader, of whatever kind
        raise UserError(
            f"jax {jax.__version__} does not read it ({error}): it reads files of the last six months"
        ) from error

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            logits = predict.call(seen)
        except Exception as error:
            raise UserError(f"it does not run here: {error}") from error
        return softmax(np.asarray(logits["mask_logits"])), np.asarray(logits["class_logits"])

    return run


def onnx_runner(path: Path) -> tuple[Runner, Any]:
    """A runner of an ONNX file, and what its metadata says of the run; see `stablehlo_runner`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("onnxruntime is not installed: `pip install 'l2s-jax[onnx]'`") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes stand under a private name
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} does not read it: {str(error).splitlines()[0]}. A newer "
            "one may, where the file asks for operators that this one does not know"
        ) from error
    said = session.get_modelmeta().custom_metadata_map.get("run")
    of_run = json.loads(said) if said else None
    names = {one.name for one in (*session.get_inputs(), *session.get_overridable_initializers())}

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = {INPUT: raw.transpose(0, 3, 1, 2).astype(np.float32)}
        given |= {STAIN_INPUT: stain_map} if STAIN_INPUT in names else {}
        try:
            probabilities, class_logits = session.run(list(OUTPUTS), given)
        except Exception as error:
            raise UserError(f"it does not run here: {str(error).splitlines()[0]}") from error
        return np.asarray(probabilities).transpose(0, 2, 3, 1), np.asarray(class_logits)

    return run, of_run


def torchscript_runner(path: Path) -> tuple[Runner, Any]:
    """A runner of a TorchScript file, and what its metadata says of the run; see `stablehlo_runner`."""
    import warnings

    torch, metadata = require_torch(), {METADATA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have programs of another kind
            network = torch.jit.load(path, map_location="cpu", _extra_files=metadata)
        of_run = json.loads(json.loads(metadata[METADATA])["run"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[:1] or ["damaged"]
        raise UserError(f"torch {torch.__version__} does not read it: {reason[0]}") from error
    stained = any(one.name == STAIN_INPUT for one in network.forward.schema.arguments)

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = [torch.from_numpy(raw).permute(0, 3, 1, 2).float()]
        given += [torch.from_numpy(stain_map)] if stained else []
        try:
            with torch.no_grad():
                probabilities, class_logits = network(*given)
        except RuntimeError as error:
            raise UserError(f"it does not run here: {str(error).splitlines()[-1]}") from error
        return probabilities.permute(0, 2, 3, 1).numpy(), class_logits.numpy()

    return run, of_run
