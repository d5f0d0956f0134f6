"""A package of the Bioimage Model Zoo: the network with its description, documentation and sample pictures.

The description is built and checked by `bioimageio.spec`, the zoo's own library.
"""

import io
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from l2s_jax import __version__
from l2s_jax.data.pictures import write_png
from l2s_jax.exports.description import AS_THEY_ARE, Described
from l2s_jax.exports.network_graph import INPUT, OUTPUTS
from l2s_jax.exports.onnx_file import OPSET
from l2s_jax.exports.sample import Shown
from l2s_jax.figures.overlays import overlay
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file, write_text

DESCRIPTION = "rdf.yaml"

HALO = 4
"""One part of this many of a patch's side is to be cut off a tile, whose edges see little around them."""

DOI = "10.1016/j.media.2020.101912"
CITATION = (
    "Ciga, O. and Martel, A. L. (2021), Learning to segment images with classification labels, "
    "Medical Image Analysis 68, 101912"
)
FORMAT = "0.5.4"
"""Of the description. In later ones documentation and covers are no longer mere names of files, which is all
that QuPath 0.6 reads; `bioimageio.spec` reads both."""

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""Of the files in the package, so that the same network is the same bytes."""


def require_spec() -> Any:
    """The library. Raises `UserError` that names the extra where it is missing."""
    try:
        import bioimageio.spec
    except ImportError as error:
        raise UserError(
            "the format bioimageio needs bioimageio.spec, which is not installed: "
            "`pip install 'l2s-jax[bioimageio]'`"
        ) from error
    return bioimageio.spec


def bioimageio_file(
    weights: Mapping[str, bytes], about: Described, shown: Shown, probabilities: np.ndarray
) -> bytes:
    """The package's content: the same bytes for the same network, sample and libraries.

    Args:
      weights: ONNX and TorchScript files of `probabilities` alone, under "onnx" and "torchscript".
      about: the network.
      shown: of the run, with a picture.
      probabilities: f32[t,t,C], what the network makes of that picture.

    Raises:
      UserError: the library is not installed or refuses the description, or what it must state is not known.
    """
    spec = require_spec()
    _require_stated(about)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _write_parts(here, weights, about, shown, probabilities)
        description = _with_sums(_description(about, shown), here)
        context = spec.ValidationContext(root=here, perform_io_checks=True, file_name=DESCRIPTION)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves files to Python to close
            checked = spec.build_description(description, context=context)
        if isinstance(checked, spec.InvalidDescr):
            faults = "; ".join(f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in _faults(checked))
            raise UserError(f"bioimageio.spec {version('bioimageio.spec')} refuses the package: {faults}")
        (here / DESCRIPTION).write_bytes(_yaml(description))
        return _zipped(here)


def _require_stated(about: Described) -> None:
    missing = [
        option for option, value in (("--author", about.authors), ("--licence", about.licence)) if not value
    ]
    if missing:
        raise UserError(
            f"a package of the Bioimage Model Zoo names authors and licence: give {' and '.join(missing)}"
        )


def _faults(described: Any) -> list[Any]:
    return [fault for detail in described.validation_summary.details for fault in detail.errors]


def _write_parts(
    folder: Path, weights: Mapping[str, bytes], about: Described, shown: Shown, probabilities: np.ndarray
) -> None:
    (folder / "weights.onnx").write_bytes(weights["onnx"])
    (folder / "weights.torchscript.pt").write_bytes(weights["torchscript"])
    np.save(folder / "test_input.npy", shown.image.transpose(2, 0, 1)[None].astype(np.float32))
    np.save(folder / "test_output.npy", probabilities.transpose(2, 0, 1)[None].astype(np.float32))
    write_png(folder / "sample_input.png", shown.image)
    codes = probabilities.argmax(-1)
    write_png(folder / "sample_output.png", np.array(about.classes.colours, np.uint8)[codes])
    pair = np.concatenate([shown.image, overlay(shown.image, codes, about.classes)], axis=1)
    Image.fromarray(pair).resize((1000, 500), Image.Resampling.LANCZOS).save(folder / "cover.png")
    write_text(folder / "README.md", documentation(about, shown))


def documentation(about: Described, shown: Shown) -> str:
    """The package's README.md."""
    rows = zip(about.classes.names, about.classes.colours, strict=True)
    table = "\n".join(f"| {code} | {name} | {colour} |" for code, (name, colour) in enumerate(rows))
    scale = "of unknown scale" if about.mpp is None else f"at {about.mpp:g} micrometres a pixel"
    size = about.patch_size
    return f"""# {shown.name}

A network that segments histology: RGB patches of {size} x {size} pixels {scale} to the
probability of each class at each pixel. Bring pictures to that scale first: nothing in the network can see
that they are of another. It was trained and exported with l2s_jax {__version__}.

| channel | class | colour (RGB) |
|---|---|---|
{table}

Input `{INPUT}` is red, green and blue in 0 to 255; all scaling is inside. {_told(about)}

## Validation

{shown.score} `test_output.npy` is what l2s_jax itself makes of `test_input.npy`, and both programs in the
package agree with it. Before use on your own slides, segment some with known regions and count:
`l2s evaluate-slides` does so with QuPath's, ImageScope's and ASAP's annotations.

Not a medical device: nothing here is meant for diagnosis.

## Method

{CITATION}, https://doi.org/{DOI}
"""


def _told(about: Described) -> str:
    text = _stain_text(about)
    if about.temperature is None:
        return text
    return (
        f"{text} Probabilities are calibrated on validation masks, with temperature {about.temperature:.4g}."
    )


def _stain_text(about: Described) -> str:
    if about.stain is None:
        return "Stains are taken as they are."
    if about.built_in in (None, AS_THEY_ARE):
        return (
            "The network learned from pictures of normalised stains and takes pictures as they are: give it "
            "those whose stains have been changed already."
        )
    return (
        "The network learned from pictures of normalised stains; the change from the stains of "
        f"`{about.built_in.of}` to those is built in, so it is for that slide and others of the same stains."
    )


def _description(about: Described, shown: Shown) -> dict[str, Any]:
    """The resource description, format 0.5."""
    size = about.patch_size
    metric = {} if about.mpp is None else {"unit": "micrometer", "scale": about.mpp}
    spaces = [{"type": "space", "id": name, "size": size, **metric} for name in "yx"]
    return {
        "type": "model",
        "format_version": FORMAT,
        "name": _name(shown.name),
        "description": "Segments histology into "
        + ", ".join(about.classes.names)
        + "; learned from a few pixel masks and many image-level labels.",
        "authors": [{"name": name} for name in about.authors],
        "license": about.licence,
        "cite": [{"text": CITATION, "doi": DOI}],
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["histology", "segmentation", "2d", "pathology", "rgb"],
        "timestamp": shown.trained or datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [
            {
                "id": INPUT,
                "description": "red, green and blue, 0 to 255",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["red", "green", "blue"]},
                    *spaces,
                ],
                "data": {"type": "float32", "range": [0, 255]},
                "test_tensor": {"source": "test_input.npy"},
                "sample_tensor": {"source": "sample_input.png"},
            }
        ],
        "outputs": [
            {
                "id": OUTPUTS[0],
                "description": "of " + ", ".join(about.classes.names),
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": _identifiers(about.classes.names)},
                    *(
                        axis | {"size": {"tensor_id": INPUT, "axis_id": axis["id"]}, "halo": size // HALO}
                        for axis in spaces
                    ),
                ],
                "data": {"type": "float32", "range": [0, 1]},
                "test_tensor": {"source": "test_output.npy"},
                "sample_tensor": {"source": "sample_output.png"},
            }
        ],
        "weights": {
            "onnx": {"source": "weights.onnx", "opset_version": OPSET},
            "torchscript": {
                "source": "weights.torchscript.pt",
                "pytorch_version": version("torch").partition("+")[0],
                "parent": "onnx",
            },
        },
        "config": {"bioimageio": {}, "l2s_jax": _own(about)},
    }


def _own(about: Described) -> dict[str, Any]:
    """What the description has no field for."""
    return {
        **({} if about.temperature is None else {"temperature": about.temperature}),
        "classes": list(about.classes.names),
        "colours": [list(colour) for colour in about.classes.colours],
        "micrometres_a_pixel": about.mpp,
        "run": dict(about.run),
        "version": __version__,
    }


def _name(name: str) -> str:
    """A name of the characters and the length that the zoo allows."""
    return f"l2s_jax {re.sub(r'[^A-Za-z0-9_+() -]', '-', name)}"[:64]


def _identifiers(names: tuple[str, ...]) -> list[str]:
    """Names as the zoo wants channels named: identifiers, all different."""
    found: list[str] = []
    for code, name in enumerate(names):
        word = re.sub(r"\W", "_", name)
        word = word if word.isidentifier() else f"class_{word}"
        found.append(word if word not in found else f"{word}_{code}")
    return found


def _with_sums(part: Any, folder: Path) -> Any:
    """A description with the SHA-256 of every file beside its name."""
    if isinstance(part, dict):
        found = {key: _with_sums(value, folder) for key, value in part.items()}
        source = part.get("source")
        return found | ({"sha256": sha256_of_file(folder / source)} if source else {})
    return [_with_sums(one, folder) for one in part] if isinstance(part, list) else part


def _yaml(content: dict[str, Any]) -> bytes:
    import ruyaml  # bioimageio.spec reads and writes with it

    out = io.BytesIO()
    writer = ruyaml.YAML(typ="rt")
    writer.default_flow_style, writer.allow_unicode = False, True
    writer.dump(content, out)
    return out.getvalue()


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, path.read_bytes())
    return content.getvalue()
