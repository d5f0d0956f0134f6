"""Writing a trained network for other programs: what is written, from what, and in which order."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from l2s_jax.config import config_hash
from l2s_jax.data.classes import CLASSES, Classes, write_classes
from l2s_jax.data.manifest import STAIN
from l2s_jax.exports import stain_map
from l2s_jax.exports.bioimageio import bioimageio_file
from l2s_jax.exports.description import (
    AS_THEY_ARE,
    DEFAULT_FORMATS,
    FILES,
    ONE_PICTURE,
    TAKE_STAINS,
    BuiltIn,
    Described,
    Format,
    metadata_of,
)
from l2s_jax.exports.guide import SCRIPT, guide
from l2s_jax.exports.network_graph import OUTPUTS, network_graph
from l2s_jax.exports.onnx_file import onnx_file
from l2s_jax.exports.runners import pixel_probabilities
from l2s_jax.exports.sample import Shown, shown_of
from l2s_jax.exports.stablehlo import lower, make_predict
from l2s_jax.exports.stains import stains_of
from l2s_jax.exports.torchscript import torchscript_file
from l2s_jax.exports.wsinfer import CONFIG, wsinfer_files
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.models.state_dict import decoder_of, variables_to_state_dict
from l2s_jax.prediction.predictor import Stain
from l2s_jax.runs.calibration import read_calibration
from l2s_jax.runs.folder import (
    read_run_classes,
    read_run_config,
    read_run_manifest,
    unfinished,
    without_classifier,
)
from l2s_jax.runs.network import load_network, network_digest
from l2s_jax.runs.records import has_kept
from l2s_jax.runs.weights_file import write_safetensors
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path, json_text, parse_json, write_text
from l2s_jax.types import DecoderName

WEIGHTS, PROGRAM = FILES["safetensors"], FILES["stablehlo"]
GUIDE = "README.txt"


def export_run(
    folder: str | Path,
    out: str | Path,
    formats: Sequence[Format] = DEFAULT_FORMATS,
    *,
    stain: Stain = "run",
    stain_of: str | Path | None = None,
    sample: str | Path | None = None,
    licence: str | None = None,
    authors: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Exports the best network of a run folder; see `export_model`.

    Args:
      folder: of the run.
      out: the folder to write.
      formats: which files.
      stain: "off" takes pictures as they are, where the run learned from normalised stains.
      stain_of: slide or picture whose stains all pictures are to have; its change of stains is built in.
      sample: picture that the package `bioimageio` shows; by default the run's first for validation.
      licence: of the network, an SPDX identifier.
      authors: names of people.
      say: receives warnings.
    """
    folder = Path(folder)
    _require_choice(folder, formats, stain, stain_of)
    if sample is not None and "bioimageio" not in formats:
        raise UserError(
            f"--sample is of the format bioimageio alone, and --formats has {', '.join(formats)}: add it, or "
            "leave the option out"
        )
    network, facts = load_network(folder)
    calibration = read_calibration(folder, network_digest(network).hexdigest())
    if unfinished(folder):
        say(f"warning: {unfinished(folder)}")
    run = {
        "config_hash": config_hash(read_run_config(folder)),
        "manifest_sha256": read_run_manifest(folder).sha256,
    }
    built_in = AS_THEY_ARE if stain == "off" else None
    return export_model(
        out,
        network.variables,
        read_run_classes(folder),
        facts.patch_size,
        facts.mean,
        facts.std,
        facts.head,
        facts.decoder,
        mpp=facts.mpp,
        formats=formats,
        stain=_stain_of(folder),
        built_in=built_in if stain_of is None else stains_of(stain_of, folder),
        shown=shown_of(folder, facts.patch_size, sample, say) if "bioimageio" in formats else None,
        licence=licence,
        authors=authors,
        run=run,
        temperature=None if calibration is None else calibration.temperature,
    )


def _stain_of(run: Path) -> dict[str, Any] | None:
    if not has_kept(run, STAIN):
        return None
    load_reference(run / STAIN)
    found: dict[str, Any] = parse_json((run / STAIN).read_bytes())
    return found


def _require_choice(run: Path, formats: Sequence[Format], stain: Stain, stain_of: str | Path | None) -> None:
    """Refuses options that contradict each other, and a classifier that has learned nothing."""
    if stain == "off" and stain_of is not None:
        raise UserError("--stain off takes pictures as they are: leave it out, or --stain-of")
    if "wsinfer" not in formats:
        return
    why = without_classifier(run)
    if why:
        raise UserError(
            f"the format wsinfer is of the classifier, and that of {run} has learned nothing: {why}. Choose "
            "other --formats"
        )


def export_model(
    out: str | Path,
    variables: Mapping[str, Any],
    classes: Classes,
    patch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    head: str,
    decoder: DecoderName = "paper",
    *,
    mpp: float | None = None,
    formats: Sequence[Format] = DEFAULT_FORMATS,
    stain: Mapping[str, Any] | None = None,
    built_in: BuiltIn | None = None,
    shown: Shown | None = None,
    licence: str | None = None,
    authors: Sequence[str] = (),
    run: Mapping[str, str] | None = None,
    temperature: float | None = None,
) -> list[Path]:
    """Writes a network into a folder, with what is needed to use it without this package.

    `model.safetensors` holds the weights by torch's names (`models.state_dict`) with classes, normalisation
    and patch size in its metadata; `predict.stablehlo` is a program from u8 patches to logits for CPU and
    CUDA; `model.onnx`, `model_float16.onnx` and `model.torchscript.pt` are programs from RGB to class
    probabilities (`network_graph`); `bioimageio.zip` is a package of the Bioimage Model Zoo with the same
    (`bioimageio`); `wsinfer` a folder with the classifier (`wsinfer`); `classes.toml` names the classes;
    `README.txt` shows the lines that load each. Where programs take a change of stains, `stain.json` and
    `stain_map.py`, which work it out, stand beside.

    Args:
      out: the folder; made where it is missing.
      variables: `params` and `batch_stats`.
      classes: the classes in the order of their codes.
      patch_size: side of a patch in pixels.
      mean: channel means of RGB in 0..1.
      std: channel standard deviations of RGB in 0..1.
      head: the classifier, `a3` or `max`.
      decoder: the segmentation module, `paper` or `skip`.
      mpp: micrometres a pixel of the training patches, where known.
      formats: which files.
      stain: what the run's `stain.json` holds, where it learned from normalised stains.
      built_in: with it, a change of stains for all pictures, instead of an input of the programs.
      shown: what the package `bioimageio` shows of the run, which it needs.
      licence: of the network, an SPDX identifier.
      authors: names of people.
      run: hashes by which the run is known again.
      temperature: by which mask logits are divided before they become probabilities, where one was fitted.
        Programs that give probabilities do so; the others' logits are left as they are, and their metadata
        and README.txt say the temperature.

    Returns:
      The files written.

    Raises:
      UserError: the folder holds an export already or cannot be written, a weight is not finite or too large
        for float16, a format's library is missing, a format lacks what it must state, or no format is named.
    """
    out, formats = Path(out), tuple(dict.fromkeys(formats))
    if not formats:
        raise UserError(f"no format to export: name some of {', '.join(FILES)}")
    built_in = built_in if stain else None
    lone = [one for one in formats if one in ONE_PICTURE]
    if stain and built_in is None and lone:
        raise UserError(
            f"the network learned from normalised stains, and programs that read {' and '.join(lone)} give "
            "it pictures alone. Name a slide or picture of their kind with --stain-of, to build in the "
            "change from its stains; or take all as they are with --stain off"
        )
    as_input = [one for one in formats if one in TAKE_STAINS] if stain and built_in is None else []
    names = [*(FILES[one] for one in formats), *([CONFIG] if "wsinfer" in formats else [])]
    names += [CLASSES, GUIDE, *((STAIN, SCRIPT) if as_input else ())]
    there = [name for name in names if (out / name).exists()]
    if there or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} already holds {', '.join(there) or 'a file'}: choose a new or empty folder")
    _require_finite(variables)
    own = decoder_of(variables_to_state_dict(variables))
    if own != decoder:
        raise UserError(f"the variables are of a network with the decoder {own}, not {decoder}")
    hashes = {**(run or {}), "network_sha256": network_sha256(variables)}
    about = Described(
        classes,
        patch_size,
        mean,
        std,
        head,
        mpp,
        stain,
        hashes,
        built_in,
        licence,
        tuple(authors),
        temperature,
        decoder,
    )
    contents: dict[str, bytes] = {}
    for one in formats:
        contents |= _contents(one, variables, about, shown)
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    if "safetensors" in formats:
        write_safetensors(out / WEIGHTS, variables_to_state_dict(variables), metadata_of(about))
    if as_input:
        write_text(out / STAIN, json_text(stain))
        write_text(out / SCRIPT, Path(stain_map.__file__).read_text(encoding="utf-8"))
    write_classes(out, classes)
    write_text(out / GUIDE, guide(about, formats))
    return [out / name for name in names]


def _contents(
    one: Format, variables: Mapping[str, Any], about: Described, shown: Shown | None
) -> dict[str, bytes]:
    """The files of a format by name; those of safetensors, which writes its file itself, are left out."""
    if one == "safetensors":
        return {}
    metadata, count = metadata_of(about), len(about.classes)
    if one == "stablehlo":
        model = _model(about)
        return {PROGRAM: lower(make_predict(model, variables, about.mean, about.std), about.patch_size)}
    graph = partial(
        network_graph,
        variables,
        about.mean,
        about.std,
        about.head,
        about.decoder,
        stain=_stain_in_graph(about),
        temperature=about.temperature,
    )
    if one == "wsinfer":
        return wsinfer_files(graph(outputs=OUTPUTS[1:], largest=1), about, metadata)
    if one == "torchscript":
        return {FILES[one]: torchscript_file(graph(), metadata)}
    if one == "bioimageio":
        if shown is None:
            raise ValueError("a package needs `shown`, since it is tested with a picture")
        segmenter = graph(outputs=OUTPUTS[:1])
        weights = {
            "onnx": onnx_file(segmenter, count, metadata),
            "torchscript": torchscript_file(segmenter, metadata),
        }
        probabilities = _probabilities(variables, about, shown.image)
        return {FILES[one]: bioimageio_file(weights, about, shown, probabilities)}
    return {FILES[one]: onnx_file(graph(half=one == "onnx-float16"), count, metadata)}


def _model(about: Described) -> L2S:
    return L2S(len(about.classes), about.head, decoder=about.decoder)  # type: ignore[arg-type]


def _stain_in_graph(about: Described) -> np.ndarray | Literal["input"] | None:
    if about.stain is None or about.built_in == AS_THEY_ARE:
        return None
    return "input" if about.built_in is None else np.asarray(about.built_in.change, np.float32)


def _probabilities(variables: Mapping[str, Any], about: Described, sample: np.ndarray) -> np.ndarray:
    """f32[h,w,C], of a picture's pixels, as the network itself gives them."""
    if about.built_in not in (None, AS_THEY_ARE):
        sample = stain_map.changed(sample, np.asarray(about.built_in.change))
    model = _model(about)
    mean, std = (np.asarray(values, np.float32) for values in (about.mean, about.std))
    coarse, _ = make_forward(Network(model, variables, mean, std), 1)(sample[None])
    return pixel_probabilities(coarse[0], model.cell, about.temperature)


def network_sha256(variables: Mapping[str, Any]) -> str:
    """A hash of the weights by their names, the same however they are stored."""
    digest = hashlib.sha256()
    for name, values in sorted(variables_to_state_dict(variables).items()):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(values, np.float32).tobytes())
    return digest.hexdigest()


def _require_finite(variables: Mapping[str, Any]) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    faulty = [jax.tree_util.keystr(path) for path, leaf in leaves if not np.isfinite(np.asarray(leaf)).all()]
    if faulty:
        raise UserError(
            f"the network holds NaN or infinite values, so it is not exported: {', '.join(faulty)}"
        )
