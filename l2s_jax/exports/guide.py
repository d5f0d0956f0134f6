"""The README.txt of an export: what is in it, and the lines that run each file without this package."""

from importlib.metadata import version

import jax

from l2s_jax import __version__
from l2s_jax.exports.description import FILES, Described
from l2s_jax.exports.onnx_file import OPSET
from l2s_jax.exports.stablehlo import PLATFORMS
from l2s_jax.types import PATCH_MULTIPLE

SCRIPT = "stain_map.py"
ONNX = ("onnx", "onnx-float16")


def guide(about: Described, formats: tuple[str, ...]) -> str:
    """The text, a part a file.

    Args:
      about: the network.
      formats: those that were written.
    """
    parts = [_head(about)]
    if "stablehlo" in formats:
        parts.append(_stablehlo(about))
    if set(ONNX) & set(formats):
        parts.append(_onnx(about, formats))
    if "torchscript" in formats:
        parts.append(_torchscript(about))
    if "safetensors" in formats:
        parts.append(_SAFETENSORS)
    return "\n".join(parts)


def _head(about: Described) -> str:
    scale = f" at {about.mpp:g} micrometres a pixel" if about.mpp is not None else ""
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(about.classes.names))
    return f"""A segmentation network for histology, written by l2s_jax {__version__}.
Patches of {about.patch_size}x{about.patch_size} pixels{scale}. Classes: {codes}.
{_STAIN if about.stain is not None else ""}"""


_STAIN = f"""
The network learned from pictures of normalised stains and needs others in those stains too. ONNX and
TorchScript do it themselves: {SCRIPT} (NumPy alone) works out the change of a slide from its pixels, an input
of theirs, `stain_map`. The other files take pictures whose stains have been changed already.
"""

_SAFETENSORS = f"""{FILES["safetensors"]}: the same weights by PyTorch's names; the encoder's are those of
torchvision's ResNet-18 up to layer3:

    from safetensors.torch import load_file
    encoder = torchvision.models.resnet18()
    encoder.load_state_dict(load_file("{FILES["safetensors"]}"), strict=False)  # has no layer4, no fc

Inputs are RGB in 0..1, less `mean`, over `std`; both stand in the file's metadata as JSON, with the classes.
"""


def _stablehlo(about: Described) -> str:
    size, name, classes = about.patch_size, FILES["stablehlo"], len(about.classes)
    return f"""{name}: runs on {" and ".join(PLATFORMS)} with `pip install jax flatbuffers`, scaling included:

    from jax import export
    predict = export.deserialize(bytearray(open("{name}", "rb").read()))
    logits = predict.call(patches)  # uint8 RGB [b,{size},{size},3], any b

It was written by jax {jax.__version__}. JAX promises that versions of the next six months read it, and
versions that are not more than three weeks older; others may refuse it. The other files have no such limit.

`logits["mask_logits"]` is float32 [b,{size},{size},{classes}]: the argmax over its last
axis is the class code of each pixel. `logits["class_logits"]` is float32 [b,{classes}], by patch.
"""


def _onnx(about: Described, formats: tuple[str, ...]) -> str:
    names = [FILES[one] for one in ONNX if one in formats]
    size, classes = about.patch_size, len(about.classes)
    given = '{"rgb": rgb}' if about.stain is None else '{"rgb": rgb, "stain_map": stain_map}'
    opencv = "4.11, 4.14 and 5.0" if about.stain is None else "5.0 (4.14 refuses the input `stain_map`)"
    return f"""{" and ".join(names)}: written by onnx {version("onnx")}, operators of opset {OPSET}.
Tried with onnxruntime 1.20 and 1.32, and with OpenCV's dnn {opencv}:

    import numpy as np, onnxruntime
    session = onnxruntime.InferenceSession("{names[0]}")
    rgb = patches.transpose(0, 3, 1, 2).astype(np.float32)  # from uint8 RGB [b,h,w,3]
    probabilities, class_logits = session.run(None, {given})

`rgb` is float32 [b,3,h,w], red, green and blue in 0..255; any b, and h and w multiples of {PATCH_MULTIPLE}.
The scaling is inside. `probabilities` is float32 [b,{classes},h,w], of each pixel's classes, which sum to 1;
`class_logits` is float32 [b,{classes}], by patch. The network learned from patches of {size}x{size}: larger
pictures run too, but pixels then see more around them than in training; `l2s predict` takes patches.
Classes, colours, scale, stains and hashes stand in the metadata as JSON.
{"" if about.stain is None else _STAIN_INPUT}{_HALF if ONNX[1] in formats else ""}"""


def _torchscript(about: Described) -> str:
    name, classes = FILES["torchscript"], len(about.classes)
    given = "rgb" if about.stain is None else "rgb, torch.from_numpy(stain_map)"
    return f"""{name}: written by torch {version("torch")}; the program of the ONNX file:

    import torch
    network = torch.jit.load("{name}")
    rgb = torch.from_numpy(patches).permute(0, 3, 1, 2).float()  # from uint8 RGB [b,h,w,3]
    probabilities, class_logits = network({given})  # [b,{classes},h,w] and [b,{classes}]

`rgb` is in 0..255; any b, and h and w multiples of {PATCH_MULTIPLE}. The scaling is inside.
{"" if about.stain is None else _STAIN_INPUT}"""


_STAIN_INPUT = f"""
`stain_map` is float32 [3,3], one for a whole slide; without it pictures are taken as they are. The help of
{SCRIPT} says which pixels it takes:

    python {SCRIPT} pixels.npy stain_map.npy
    stain_map = np.load("stain_map.npy")
"""

_HALF = f"""
{FILES[ONNX[1]]} computes in float16 and has half the size; its inputs and outputs are float32 all the same.
"""
