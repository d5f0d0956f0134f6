"""The README.txt of an export: what is in it, and the lines that run each file without this package."""

from importlib.metadata import version
from pathlib import Path

import jax

from l2s_jax import __version__
from l2s_jax.exports.description import AS_THEY_ARE, FILES, Described
from l2s_jax.exports.onnx_file import OPSET
from l2s_jax.exports.stablehlo import PLATFORMS
from l2s_jax.types import PATCH_MULTIPLE

SCRIPT = "stain_map.py"
ONNX = ("onnx", "onnx-float16")
GIVE_PROBABILITIES = (*ONNX, "torchscript", "bioimageio")


def guide(about: Described, formats: tuple[str, ...]) -> str:
    """The text, a part a file.

    Args:
      about: the network.
      formats: those that were written.
    """
    parts = [_head(about, formats)]
    if "stablehlo" in formats:
        parts.append(_stablehlo(about))
    if set(ONNX) & set(formats):
        parts.append(_onnx(about, formats))
    if "torchscript" in formats:
        parts.append(_torchscript(about))
    if "bioimageio" in formats:
        parts.append(_BIOIMAGEIO)
    if "wsinfer" in formats:
        parts.append(_wsinfer(about))
    if "safetensors" in formats:
        parts.append(_SAFETENSORS)
    return "\n".join(parts)


def _head(about: Described, formats: tuple[str, ...]) -> str:
    scale = f" at {about.mpp:g} micrometres a pixel" if about.mpp is not None else ""
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(about.classes.names))
    return f"""A segmentation network for histology, written by l2s_jax {__version__}.
Patches of {about.patch_size}x{about.patch_size} pixels{scale}. Classes: {codes}.
{_stain(about)}{_calibrated(about, formats)}"""


def _calibrated(about: Described, formats: tuple[str, ...]) -> str:
    if about.temperature is None:
        return ""
    gives = [FILES[one] for one in GIVE_PROBABILITIES if one in formats]
    done = f"\nThe probabilities of {', '.join(gives)} are calibrated so." if gives else ""
    return f"""
The network is calibrated: a temperature of {about.temperature!r} was fitted on validation masks, and
softmax(mask_logits / {about.temperature:.4g}) says how likely each class is. Logits are left as they are.
Class maps are the same with and without it, and it is not for class logits, which are of whole patches.{done}
"""


def _stain(about: Described) -> str:
    if about.stain is None:
        return ""
    if about.built_in is None:
        return _STAIN_AS_INPUT
    if about.built_in == AS_THEY_ARE:
        return _STAIN_IGNORED
    return _STAIN_BUILT_IN.format(of=about.built_in.of)


_STAIN_BUILT_IN = """
The network learned from pictures of normalised stains. The change from the stains of {of} to those is built
into the programs: they are for that slide and others of the same stains. {weights} take pictures whose stains
have been changed already.
""".replace("{weights}", f"{FILES['safetensors']} and {FILES['stablehlo']}")

_STAIN_IGNORED = """
The network learned from pictures of normalised stains; the programs take pictures as they are, as was asked
for. They are for pictures whose stains have been changed already.
"""

_STAIN_AS_INPUT = f"""
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
    stained = _takes_stains(about)
    given = '{"rgb": rgb, "stain_map": stain_map}' if stained else '{"rgb": rgb}'
    opencv = "5.0 (4.14 refuses the input `stain_map`)" if stained else "4.11, 4.14 and 5.0"
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
{_STAIN_INPUT if _takes_stains(about) else ""}{_HALF if ONNX[1] in formats else ""}"""


def _torchscript(about: Described) -> str:
    name, classes = FILES["torchscript"], len(about.classes)
    given = "rgb, torch.from_numpy(stain_map)" if _takes_stains(about) else "rgb"
    return f"""{name}: written by torch {version("torch")}; the program of the ONNX file:

    import torch
    network = torch.jit.load("{name}")
    rgb = torch.from_numpy(patches).permute(0, 3, 1, 2).float()  # from uint8 RGB [b,h,w,3]
    probabilities, class_logits = network({given})  # [b,{classes},h,w] and [b,{classes}]

`rgb` is in 0..255; any b, and h and w multiples of {PATCH_MULTIPLE}. The scaling is inside.
{_STAIN_INPUT if _takes_stains(about) else ""}"""


def _takes_stains(about: Described) -> bool:
    return about.stain is not None and about.built_in is None


_BIOIMAGEIO = f"""{FILES["bioimageio"]}: a package of the Bioimage Model Zoo (https://bioimage.io) with
the ONNX and the TorchScript program, of which `probabilities` is the one output, with documentation, and with
a picture and what the network makes of it. With `pip install bioimageio.core onnxruntime`:

    bioimageio test {FILES["bioimageio"]}

QuPath reads it unpacked, with its extensions for Deep Java Library and Bioimage Model Zoo.
"""


def _wsinfer(about: Described) -> str:
    program = Path(FILES["wsinfer"])
    return f"""{program.parent}: the classifier of whole patches for WSInfer, without its model zoo:

    wsinfer run --wsi-dir slides --results-dir results --config {program.parent}/config.json \\
        --model-path {program}

and for QuPath's extension of that name: copy the folder into the folder `user` of its models. The program
takes f32[b,3,h,w] in 0..1 and gives class logits f32[b,{len(about.classes)}].
"""


_STAIN_INPUT = f"""
`stain_map` is float32 [3,3], one for a whole slide; without it pictures are taken as they are. The help of
{SCRIPT} says which pixels it takes:

    python {SCRIPT} pixels.npy stain_map.npy
    stain_map = np.load("stain_map.npy")
"""

_HALF = f"""
{FILES[ONNX[1]]} computes in float16 and has half the size; its inputs and outputs are float32 all the same.
"""
