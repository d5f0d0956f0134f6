"""A network's graph as a TorchScript file, which `torch.jit.load` runs without this package.

The graph is written as a program in TorchScript's words, so that the file names no place of this machine.
"""

import hashlib
import io
import linecache
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Optional

from l2s_jax.exports.graph import Graph, Node
from l2s_jax.exports.network_graph import INPUT, STAIN_INPUT
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text

METADATA = "metadata.json"
"""The name under which `torch.jit.load(..., _extra_files={"metadata.json": ""})` finds the metadata."""

_TWO = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "MatMul": "@"}
_ONE = {"Relu": "relu", "Log": "log", "Exp": "exp", "Floor": "floor", "Round": "round", "Abs": "abs"}
_ONE |= {"Sign": "sign"}


def require_torch() -> Any:
    """The library. Raises `UserError` that names the extra where it is missing."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "the format torchscript needs torch, which is not installed: `pip install 'l2s-jax[torch]'`"
        ) from error
    return torch


def torchscript_file(graph: Graph, metadata: Mapping[str, str]) -> bytes:
    """The file's content: the same bytes for the same network and torch.

    Args:
      graph: from `network_graph`, in float32.
      metadata: text by name; one JSON file in the archive.

    Raises:
      UserError: torch is not installed.
    """
    torch = require_torch()
    module = _module_of(source(graph))()
    for name, array in graph.constants.items():
        module.register_buffer(_word(name), torch.from_numpy(array.copy()))
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have programs of another kind
        script = torch.jit.script(module.eval())
        torch.jit.save(script, content, _extra_files={METADATA: json_text(dict(metadata), sort_keys=True)})
    return content.getvalue()


@lru_cache
def _module_of(text: str) -> Any:
    """A class with the program as its `forward`; its name is that of the program, since torch tells by it."""
    torch = require_torch()
    name = f"Network_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space = {"torch": torch, "Tensor": torch.Tensor, "Optional": Optional}
    exec(compile(text, file, "exec"), space)
    return type(name, (torch.nn.Module,), {"forward": space["forward"], "__module__": "l2s_jax_export"})


def source(graph: Graph) -> str:
    """The program as text."""
    stain = STAIN_INPUT in graph.constants
    given = f", {STAIN_INPUT}: Optional[Tensor] = None" if stain else ""
    gives = "Tensor" if len(graph.outputs) == 1 else f"tuple[{', '.join('Tensor' for _ in graph.outputs)}]"
    lines = [f"def forward(self, {INPUT}: Tensor{given}) -> {gives}:"]
    own = {INPUT, *(node.name for node in graph.nodes)}
    if stain:
        own.add("stain_map_used")
        lines.append(f"    stain_map_used = self.{STAIN_INPUT} if {STAIN_INPUT} is None else {STAIN_INPUT}")

    def word(name: str) -> str:
        if name == STAIN_INPUT:
            return "stain_map_used"
        return _word(name) if name in own else f"self.{_word(name)}"

    for node in graph.nodes:
        if node.kind == "Resize":
            x, _, scales = node.inputs
            expression = _resize(word(x), float(graph.constants[scales][-1]), node.attributes["mode"])
        else:
            expression = _expression(node, [word(one) for one in node.inputs])
        lines.append(f"    {_word(node.name)} = {expression}")
    return "\n".join([*lines, f"    return {', '.join(graph.outputs)}", ""])


def _word(name: str) -> str:
    return name.replace(".", "_")


def _resize(x: str, times: float, mode: str) -> str:
    how = '"nearest"' if mode == "nearest" else '"bilinear", align_corners=True'
    return f"torch.nn.functional.interpolate({x}, scale_factor={times}, mode={how})"


def _expression(node: Node, inputs: list[str]) -> str:
    """An operator of ONNX in TorchScript."""
    kind, how, x = node.kind, node.attributes, inputs[0]
    if kind in _TWO:
        return f"{x} {_TWO[kind]} {inputs[1]}"
    if kind in _ONE:
        return f"torch.{_ONE[kind]}({x})"
    if kind == "Conv":
        bias = inputs[2] if len(inputs) > 2 else "None"
        return f"torch.conv2d({x}, {inputs[1]}, {bias}, {how['strides']}, {how['pads'][:2]})"
    if kind == "MaxPool":
        return f"torch.max_pool2d({x}, {how['kernel_shape']}, {how['strides']}, {how['pads'][:2]})"
    return {
        "Softmax": f"torch.softmax({x}, 1)",
        "Min": f"torch.minimum({', '.join(inputs)})",
        "Transpose": f"{x}.permute({how.get('perm')})",
        "ReduceMax": f"torch.amax({x})",
        "GlobalMaxPool": f"torch.amax({x}, [2, 3], True)",
        "GlobalAveragePool": f"torch.mean({x}, [2, 3], True)",
        "Flatten": f"torch.flatten({x}, 1)",
    }[kind]
