"""Writing a trained network for other programs: PyTorch's names, StableHLO, ONNX, TorchScript."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l2s_jax.config import config_hash
from l2s_jax.data.classes import CLASSES, Classes, write_classes
from l2s_jax.data.manifest import STAIN
from l2s_jax.exports import stain_map
from l2s_jax.exports.description import (
    DEFAULT_FORMATS,
    FILES,
    Described,
    Format,
    metadata_of,
)
from l2s_jax.exports.guide import SCRIPT, guide
from l2s_jax.exports.network_graph import network_graph
from l2s_jax.exports.onnx_file import onnx_file
from l2s_jax.exports.stablehlo import lower, make_predict
from l2s_jax.exports.torchscript import torchscript_file
from l2s_jax.models.network import L2S
from l2s_jax.models.state_dict import variables_to_state_dict
from l2s_jax.runs.folder import read_run_classes, read_run_config, read_run_manifest, unfinished
from l2s_jax.runs.network import load_network
from l2s_jax.runs.pretrained import write_safetensors
from l2s_jax.runs.records import has_kept
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path, json_text, parse_json, write_text

WEIGHTS, PROGRAM = FILES["safetensors"], FILES["stablehlo"]
GUIDE = "README.txt"


def export_run(
    folder: str | Path,
    out: str | Path,
    formats: Sequence[Format] = DEFAULT_FORMATS,
    *,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Exports the best network of a run folder; see `export_model`. `say` receives a warning, if any."""
    folder = Path(folder)
    network, facts = load_network(folder)
    if unfinished(folder):
        say(f"warning: {unfinished(folder)}")
    run = {
        "config_hash": config_hash(read_run_config(folder)),
        "manifest_sha256": read_run_manifest(folder).sha256,
    }
    return export_model(
        out,
        network.variables,
        read_run_classes(folder),
        facts.patch_size,
        facts.mean,
        facts.std,
        facts.head,
        mpp=facts.mpp,
        formats=formats,
        stain=_stain_of(folder),
        run=run,
    )


def _stain_of(run: Path) -> dict[str, Any] | None:
    if not has_kept(run, STAIN):
        return None
    load_reference(run / STAIN)
    found: dict[str, Any] = parse_json((run / STAIN).read_bytes())
    return found


def export_model(
    out: str | Path,
    variables: Mapping[str, Any],
    classes: Classes,
    patch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    head: str,
    *,
    mpp: float | None = None,
    formats: Sequence[Format] = DEFAULT_FORMATS,
    stain: Mapping[str, Any] | None = None,
    run: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes a network into a folder, with what is needed to use it without this package.

    `model.safetensors` holds the weights by torch's names (`models.state_dict`) with classes, normalisation
    and patch size in its metadata; `predict.stablehlo` is a program from u8 patches to logits for CPU and
    CUDA; `model.onnx`, `model_float16.onnx` and `model.torchscript.pt` are programs from RGB to class
    probabilities (`network_graph`); `classes.toml` names the classes; `README.txt` shows the lines that load
    each. With those and a stain reference, `stain.json` and `stain_map.py` stand beside.

    Args:
      out: the folder; made where it is missing.
      variables: `params` and `batch_stats`.
      classes: the classes in the order of their codes.
      patch_size: side of a patch in pixels.
      mean: channel means of RGB in 0..1.
      std: channel standard deviations of RGB in 0..1.
      head: the classifier, `a3` or `max`.
      mpp: micrometres a pixel of the training patches, where known.
      formats: which files.
      stain: what the run's `stain.json` holds, where it learned from normalised stains.
      run: hashes by which the run is known again.

    Returns:
      The files written.

    Raises:
      UserError: the folder holds an export already or cannot be written, a weight is not finite or too large
        for float16, a format's library is missing, or no format is named.
    """
    out, formats = Path(out), tuple(dict.fromkeys(formats))
    if not formats:
        raise UserError(f"no format to export: name some of {', '.join(FILES)}")
    graphs = [one for one in formats if one not in DEFAULT_FORMATS]
    with_stain = (STAIN, SCRIPT) if graphs and stain else ()
    names = [*(FILES[one] for one in formats), CLASSES, GUIDE, *with_stain]
    there = [name for name in names if (out / name).exists()]
    if there or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} already holds {', '.join(there) or 'a file'}: choose a new or empty folder")
    _require_finite(variables)
    hashes = {**(run or {}), "network_sha256": network_sha256(variables)}
    about = Described(classes, patch_size, mean, std, head, mpp, stain, hashes)
    metadata, programs = metadata_of(about), {}
    for one in graphs:
        graph = network_graph(variables, mean, std, head, half=one == "onnx-float16", stain=stain is not None)
        programs[FILES[one]] = (
            torchscript_file(graph, metadata)
            if one == "torchscript"
            else onnx_file(graph, len(classes), metadata)
        )
    if "stablehlo" in formats:
        model = L2S(len(classes), head)  # type: ignore[arg-type]
        programs[PROGRAM] = lower(make_predict(model, variables, mean, std), patch_size)
    if "safetensors" in formats:
        write_safetensors(out / WEIGHTS, variables_to_state_dict(variables), metadata)
    for name, program in programs.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(program)
    if with_stain:
        write_text(out / STAIN, json_text(stain))
        write_text(out / SCRIPT, Path(stain_map.__file__).read_text(encoding="utf-8"))
    write_classes(out, classes)
    write_text(out / GUIDE, guide(about, formats))
    return [out / name for name in names]


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
