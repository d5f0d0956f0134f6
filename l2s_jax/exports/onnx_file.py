"""A network's graph as an ONNX file, made with ONNX's own builder and checked by it.

Operators are those of opset 13, which onnxruntime reads since 2020 and OpenCV's `dnn` too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from l2s_jax import __version__
from l2s_jax.exports.graph import Graph, Node
from l2s_jax.exports.network_graph import INPUT, OUTPUTS, STAIN_INPUT
from l2s_jax.system.errors import UserError

OPSET, IR = 13, 7
"""What programs have to read: the operators, and the form of the file."""


def require_onnx() -> Any:
    """The library. Raises `UserError` that names the extra where it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise UserError(
            "the format onnx needs the package onnx, which is not installed: `pip install 'l2s-jax[onnx]'`"
        ) from error
    return onnx


def onnx_file(graph: Graph, classes: int, metadata: Mapping[str, str]) -> bytes:
    """The file's content: the same bytes for the same network.

    Args:
      graph: from `network_graph`.
      classes: how many.
      metadata: text by name.

    Raises:
      UserError: `onnx` is not installed, or its own checks fail.
    """
    onnx = require_onnx()
    helper, single = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(INPUT, single, ["batch", 3, "height", "width"])]
    if STAIN_INPUT in graph.constants:  # an array of the same name is the default
        inputs.append(helper.make_tensor_value_info(STAIN_INPUT, single, [3, 3]))
    shapes = dict(zip(OUTPUTS, (["batch", classes, "height", "width"], ["batch", classes]), strict=True))
    outputs = [helper.make_tensor_value_info(name, single, shapes[name]) for name in graph.outputs]
    nodes = [_node(onnx, node) for node in graph.nodes]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "l2s", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="l2s_jax",
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # ONNX's own, and its shape inference's
        raise UserError(
            f"onnx {onnx.__version__} refuses the network that was made for it: {error}"
        ) from error
    return bytes(model.SerializeToString(deterministic=True))


def _node(onnx: Any, node: Node) -> Any:
    attributes = dict(node.attributes)
    if node.kind == "Cast":
        attributes["to"] = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(attributes["to"]))
    return onnx.helper.make_node(node.kind, list(node.inputs), [node.name], name=node.name, **attributes)
