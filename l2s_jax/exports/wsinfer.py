"""The classifier as WSInfer and QuPath's extension of that name take it: TorchScript and `config.json`.

They read patches of a stated size in micrometres, scale them to 0..1, and take the softmax of what the
program gives. All else that the network needs is in the program.
"""

from collections.abc import Mapping
from typing import Any

from l2s_jax.exports.description import Described
from l2s_jax.exports.graph import Graph
from l2s_jax.exports.torchscript import torchscript_file
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text

PROGRAM, CONFIG = "wsinfer/torchscript_model.pt", "wsinfer/config.json"
"""The names that QuPath looks for in the folder of a model."""


def wsinfer_files(graph: Graph, about: Described, metadata: Mapping[str, str]) -> dict[str, bytes]:
    """The folder's files by name.

    Args:
      graph: from `network_graph`, of pictures in 0..1 to `class_logits` alone.
      about: the network.
      metadata: text by name, for the archive.

    Raises:
      UserError: torch is not installed, or the scale of the patches is not known.
    """
    config = json_text(wsinfer_config(about), indent=2, ensure_ascii=False) + "\n"
    return {PROGRAM: torchscript_file(graph, metadata), CONFIG: config.encode("utf-8")}


def wsinfer_config(about: Described) -> dict[str, Any]:
    """What `config.json` holds. Raises `UserError` where the scale of the patches is not known."""
    if about.mpp is None:
        raise UserError(
            "the format wsinfer needs the micrometres a pixel of the patches, and the manifest does not say "
            "them: give patches.csv a column mpp and train again, or choose other --formats"
        )
    return {
        "spec_version": "1.0",
        "architecture": "l2s_jax",
        "num_classes": len(about.classes),
        "patch_size_pixels": about.patch_size,
        "spacing_um_px": about.mpp,
        "class_names": list(about.classes.names),
        "transform": [
            {"name": "Resize", "arguments": {"size": about.patch_size}},
            {"name": "ToTensor"},
        ],
    }
