"""Exported files as functions, in the libraries that read them."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l2s_jax.exports.network_graph import INPUT, OUTPUTS, STAIN_INPUT
from l2s_jax.exports.torchscript import METADATA, require_torch
from l2s_jax.system.errors import UserError

Answers = tuple[np.ndarray | None, np.ndarray | None]
"""Probabilities f32[K,t,t,C] and class logits f32[K,C]; None for what a program does not give."""

Runner = Callable[[np.ndarray, np.ndarray, np.ndarray], Answers]
"""Raw tiles u8[K,t,t,3], the same in the network's stains, and the map of stains f32[3,3] to answers."""

Metadata = dict[str, Any]
"""What a file says of its network."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def pixel_probabilities(coarse: np.ndarray, cell: int, temperature: float | None = None) -> np.ndarray:
    """Of low-resolution logits f32[...,h,w,C], f32[...,H,W,C]: each cell a square of `cell` pixels a side."""
    logits = coarse if temperature is None else coarse / np.float32(temperature)
    return softmax(logits).repeat(cell, axis=-3).repeat(cell, axis=-2)


def stablehlo_runner(path: Path, temperature: float | None = None) -> Runner:
    """A runner of a StableHLO file, whose logits are divided by the temperature.

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

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> Answers:
        try:
            logits = predict.call(seen)
        except Exception as error:
            raise UserError(f"it does not run here: {error}") from error
        by = np.float32(1 if temperature is None else temperature)
        return softmax(np.asarray(logits["mask_logits"]) / by), np.asarray(logits["class_logits"])

    return run


def onnx_runner(content: bytes) -> tuple[Runner, Metadata]:
    """A runner of an ONNX file, and its metadata; see `stablehlo_runner`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("onnxruntime is not installed: `pip install 'l2s-jax[onnx]'`") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes stand under a private name
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} does not read it: {str(error).splitlines()[0]}. A newer "
            "one may, where the file asks for operators that this one does not know"
        ) from error
    said = session.get_modelmeta().custom_metadata_map
    names = {one.name for one in (*session.get_inputs(), *session.get_overridable_initializers())}
    outputs = [one.name for one in session.get_outputs()]

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> Answers:
        given = {INPUT: raw.transpose(0, 3, 1, 2).astype(np.float32)}
        given |= {STAIN_INPUT: stain_map} if STAIN_INPUT in names else {}
        try:
            answers = dict(zip(outputs, session.run(outputs, given), strict=True))
        except Exception as error:
            raise UserError(f"it does not run here: {str(error).splitlines()[0]}") from error
        return _pixels_last(answers.get(OUTPUTS[0])), answers.get(OUTPUTS[1])

    return run, _values(said)


def torchscript_runner(
    content: bytes, outputs: tuple[str, ...] = OUTPUTS, largest: int = 255
) -> tuple[Runner, Metadata]:
    """A runner of a TorchScript file, and its metadata; see `stablehlo_runner`.

    Args:
      content: of the file.
      outputs: what it gives.
      largest: what is white in the pictures that it takes.
    """
    import io
    import warnings

    torch, metadata = require_torch(), {METADATA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have programs of another kind
            network = torch.jit.load(io.BytesIO(content), map_location="cpu", _extra_files=metadata)
        said = _values(json.loads(metadata[METADATA]))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[:1] or ["damaged"]
        raise UserError(f"torch {torch.__version__} does not read it: {reason[0]}") from error
    stained = any(one.name == STAIN_INPUT for one in network.forward.schema.arguments)

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> Answers:
        given = [torch.from_numpy(raw).permute(0, 3, 1, 2).float() / (255 / largest)]
        given += [torch.from_numpy(stain_map)] if stained else []
        try:
            with torch.no_grad():
                found = network(*given)
        except RuntimeError as error:
            raise UserError(f"it does not run here: {str(error).splitlines()[-1]}") from error
        parts = found if isinstance(found, tuple) else (found,)
        answers = dict(zip(outputs, (part.numpy() for part in parts), strict=True))
        return _pixels_last(answers.get(OUTPUTS[0])), answers.get(OUTPUTS[1])

    return run, said


def bioimageio_runners(path: Path) -> dict[str, tuple[Runner, Metadata]]:
    """The runners of a package's weights, by their names in it; see `stablehlo_runner`."""
    try:
        with zipfile.ZipFile(path) as package:
            weights = {name: package.read(name) for name in package.namelist() if name.startswith("weights.")}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"it is no package: {error}") from error
    found: dict[str, tuple[Runner, Metadata]] = {}
    for name, content in weights.items():
        onnx = name.endswith(".onnx")
        found[name] = onnx_runner(content) if onnx else torchscript_runner(content, OUTPUTS[:1])
    if not found:
        raise UserError("it holds no weights")
    return found


def _pixels_last(probabilities: np.ndarray | None) -> np.ndarray | None:
    return None if probabilities is None else np.asarray(probabilities).transpose(0, 2, 3, 1)


def _values(texts: Mapping[str, str]) -> Metadata:
    return {name: json.loads(text) for name, text in texts.items()}
