"""What stands in an export beside the weights, and which files there can be."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from l2s_jax import __version__
from l2s_jax.data.classes import Classes
from l2s_jax.system.files import json_text
from l2s_jax.types import DecoderName

Format = Literal["safetensors", "stablehlo", "onnx", "onnx-float16", "torchscript", "bioimageio", "wsinfer"]

FILES: dict[str, str] = {
    "safetensors": "model.safetensors",
    "stablehlo": "predict.stablehlo",
    "onnx": "model.onnx",
    "onnx-float16": "model_float16.onnx",
    "torchscript": "model.torchscript.pt",
    "bioimageio": "bioimageio.zip",
    "wsinfer": "wsinfer/torchscript_model.pt",
}
"""Formats to the names of their files, which hold the network."""

DEFAULT_FORMATS: tuple[Format, ...] = ("safetensors", "stablehlo")


ONE_PICTURE: tuple[Format, ...] = ("bioimageio", "wsinfer")
"""Formats of programs that give a network a picture and nothing else."""

TAKE_STAINS: tuple[Format, ...] = ("onnx", "onnx-float16", "torchscript")
"""Formats that take a change of stains as an input, where a network needs one."""


class BuiltIn(NamedTuple):
    """What becomes of the stains of all pictures, in files that have no input for that."""

    of: str  # the slide or picture whose stains they are to have; "" takes all as they are
    change: tuple[tuple[float, ...], ...]  # 3x3, between optical densities; the identity where `of` is ""


AS_THEY_ARE = BuiltIn("", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


class Described(NamedTuple):
    """All that must be known of a network to use it."""

    classes: Classes
    patch_size: int  # pixels a side
    mean: Sequence[float]  # of RGB in 0..1
    std: Sequence[float]
    head: str
    mpp: float | None = None  # micrometres a pixel of the training patches
    stain: Mapping[str, Any] | None = None  # what the run's stain.json holds, where it has one
    run: Mapping[str, str] = {}  # hashes of its options, data and weights
    built_in: BuiltIn | None = None  # with `stain`: what is done about it where no input is; None: an input
    licence: str | None = None  # SPDX identifier
    authors: tuple[str, ...] = ()
    temperature: float | None = None  # mask logits over it give probabilities, where one was fitted
    decoder: DecoderName = "paper"


def metadata_of(about: Described) -> dict[str, str]:
    """The metadata of a file: JSON values, since formats hold only text."""
    values = {
        "classes": about.classes.names,
        "colours": about.classes.colours,
        "patch_size": about.patch_size,
        "mean": [float(value) for value in about.mean],
        "std": [float(value) for value in about.std],
        "head": about.head,
        "decoder": about.decoder,
        "mpp": about.mpp,
        "stain": about.stain,
        "stain_change": None if about.built_in is None else about.built_in._asdict(),
        "run": about.run,
        "licence": about.licence,
        "authors": about.authors,
        "l2s_jax": __version__,
    }
    values |= {} if about.temperature is None else {"temperature": about.temperature}
    return {name: json_text(value, ensure_ascii=False) for name, value in values.items()}
