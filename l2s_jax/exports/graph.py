"""A network as a graph in ONNX's words: operators in their order, arrays by name. Knows no file format."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.system.errors import UserError

EPS = 1e-5
"""Of batch norms, as `models.layers.BatchNorm` has it."""

LARGEST = float(np.finfo(np.float16).max)


class Node(NamedTuple):
    """An operator of ONNX with one output, which has the node's name."""

    kind: str
    inputs: tuple[str, ...]  # names of nodes, arrays and of the graph's inputs; "" for one left out
    name: str
    attributes: dict[str, Any]


class Graph:
    """Nodes and constants of a network, whose weights are float32 or float16.

    `outputs` are the names of the nodes that it gives.
    """

    def __init__(self, dtype: type[np.floating], outputs: Sequence[str]) -> None:
        """Begins an empty graph."""
        self.dtype = dtype
        self.outputs = tuple(outputs)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds an operator, whose output has its name; gives that name."""
        self.nodes.append(Node(kind, tuple(inputs), name, attributes))
        return name

    def constant(self, name: str, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """Adds an array; gives its name."""
        self.constants[name] = np.asarray(values, dtype)
        return name

    def weight(self, name: str, values: np.ndarray) -> str:
        """Adds weights in the network's precision.

        Raises:
          UserError: float16 cannot hold them.
        """
        if self.dtype is np.float16 and not np.abs(values).max(initial=0) <= LARGEST:
            raise UserError(
                f"float16 ends at {LARGEST:g}, and {name} of the network reaches {np.abs(values).max():g}. "
                "Export it in float32, as the format onnx"
            )
        self.constants[name] = values.astype(self.dtype)
        return name

    def convolution(
        self,
        x: str,
        name: str,
        kernel: np.ndarray,
        norm: tuple[Any, Any] | None = None,
        *,
        bias: np.ndarray | None = None,
        stride: int = 1,
    ) -> str:
        """A convolution, and the batch norm behind it in the same weights.

        Args:
          x: what it is of, [N,I,H,W].
          name: of its output, [N,O,H/stride,W/stride].
          kernel: f32[k,k,I,O].
          norm: the batch norm's parameters and running statistics, if there is one.
          bias: f32[O], where there is no batch norm.
          stride: in pixels.
        """
        size, weights = kernel.shape[0], np.asarray(kernel, float)
        offset = np.zeros(kernel.shape[-1]) if bias is None else np.asarray(bias, float)
        if norm is not None:
            params, statistics = (
                {key: np.asarray(value, float) for key, value in part.items()} for part in norm
            )
            factor = params["scale"] / np.sqrt(statistics["var"] + EPS)
            weights = weights * factor
            offset = params["bias"] - statistics["mean"] * factor
        inputs = [
            x,
            self.weight(f"{name}.weight", weights.transpose(3, 2, 0, 1)),
            self.weight(f"{name}.bias", offset),
        ]
        shape = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self.add("Conv", inputs, name, **shape)

    def without_unused(self) -> "Graph":
        """The same graph without nodes and constants that no output comes from."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        kept = Graph(self.dtype, self.outputs)
        kept.nodes = [node for node in self.nodes if node.name in needed]
        kept.constants = {name: array for name, array in self.constants.items() if name in needed}
        return kept
