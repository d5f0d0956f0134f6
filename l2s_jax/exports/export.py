"""Writing a trained network for other programs: PyTorch's names and a StableHLO program."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l2s_jax import __version__
from l2s_jax.data.classes import CLASSES, Classes, write_classes
from l2s_jax.exports.stablehlo import PLATFORMS, lower, make_predict
from l2s_jax.models.network import L2S
from l2s_jax.models.state_dict import variables_to_state_dict
from l2s_jax.runs.folder import read_run_classes, unfinished
from l2s_jax.runs.network import load_network
from l2s_jax.runs.pretrained import write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path, json_text, write_text

WEIGHTS = "model.safetensors"
PROGRAM = "predict.stablehlo"
GUIDE = "README.txt"


def export_run(folder: str | Path, out: str | Path, *, say: Callable[[str], None] = print) -> list[Path]:
    """Exports the best network of a run folder; see `export_model`. `say` receives a warning, if any."""
    network, facts = load_network(folder)
    if unfinished(Path(folder)):
        say(f"warning: {unfinished(Path(folder))}")
    classes = read_run_classes(Path(folder))
    return export_model(
        out,
        network.variables,
        classes,
        facts.patch_size,
        facts.mean,
        facts.std,
        facts.head,
        mpp=facts.mpp,
    )


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
) -> list[Path]:
    """Writes a network into a folder, with what is needed to use it without this package.

    `model.safetensors` holds the weights by torch's names (`models.state_dict`) with classes, normalisation
    and patch size in its metadata; `predict.stablehlo` is a program from u8 patches to logits for CPU and
    CUDA; `classes.toml` names the classes; `README.txt` shows the lines that load each.

    Args:
      out: the folder; made where it is missing.
      variables: `params` and `batch_stats`.
      classes: the classes in the order of their codes.
      patch_size: side of a patch in pixels.
      mean: channel means of RGB in 0..1.
      std: channel standard deviations of RGB in 0..1.
      head: the classifier, `a3` or `max`.
      mpp: micrometres a pixel of the training patches, where known.

    Returns:
      The files written.

    Raises:
      UserError: the folder holds an export already or cannot be written, or a weight is not finite.
    """
    out = Path(out)
    files = [out / name for name in (WEIGHTS, PROGRAM, CLASSES, GUIDE)]
    there = [path.name for path in files if path.exists()]
    if there or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} already holds {', '.join(there) or 'a file'}: choose a new or empty folder")
    _require_finite(variables)
    metadata = metadata_of(classes, patch_size, mean, std, head, mpp)
    model = L2S(len(classes), head)  # type: ignore[arg-type]
    program = lower(make_predict(model, variables, mean, std), patch_size)
    write_safetensors(files[0], variables_to_state_dict(variables), metadata)
    with atomic_path(files[1]) as temporary:
        temporary.write_bytes(program)
    write_classes(out, classes)
    write_text(files[3], guide(classes, patch_size, mpp))
    return files


def metadata_of(
    classes: Classes,
    patch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    head: str,
    mpp: float | None = None,
) -> dict[str, str]:
    """The metadata of `model.safetensors`: JSON values, since the format holds only text."""
    values = {
        "classes": classes.names,
        "colours": classes.colours,
        "patch_size": patch_size,
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "head": head,
        "mpp": mpp,
        "l2s_jax": __version__,
    }
    return {name: json_text(value, ensure_ascii=False) for name, value in values.items()}


def guide(classes: Classes, patch_size: int, mpp: float | None = None) -> str:
    """How to load an export, as text."""
    scale = f" at {mpp:g} micrometres a pixel" if mpp is not None else ""
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(classes.names))
    return f"""A segmentation network for histology, written by l2s_jax {__version__}.
Patches of {patch_size}x{patch_size} pixels{scale}. Classes: {codes}.

{PROGRAM}: runs on {" and ".join(PLATFORMS)} with `pip install jax flatbuffers`, normalisation included:

    from jax import export
    predict = export.deserialize(bytearray(open("{PROGRAM}", "rb").read()))
    logits = predict.call(patches)  # uint8 RGB [b,{patch_size},{patch_size},3], any b

It was written by jax {jax.__version__}. JAX promises that versions of the next six months read it, and
versions that are not more than three weeks older; others may refuse it. The weights below have no such limit.

`logits["mask_logits"]` is float32 [b,{patch_size},{patch_size},{len(classes)}]: the argmax over its last
axis is the class code of each pixel. `logits["class_logits"]` is float32 [b,{len(classes)}], by patch.

{WEIGHTS}: the same weights by PyTorch's names; the encoder's are torchvision's ResNet-18 up to layer3:

    from safetensors.torch import load_file
    encoder = torchvision.models.resnet18()
    encoder.load_state_dict(load_file("{WEIGHTS}"), strict=False)  # has no layer4, no fc

Inputs are RGB in 0..1, less `mean`, over `std`; both stand in the file's metadata as JSON, with the classes.
"""


def _require_finite(variables: Mapping[str, Any]) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    faulty = [jax.tree_util.keystr(path) for path, leaf in leaves if not np.isfinite(np.asarray(leaf)).all()]
    if faulty:
        raise UserError(
            f"the network holds NaN or infinite values, so it is not exported: {', '.join(faulty)}"
        )
