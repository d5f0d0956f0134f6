"""`verify-export`: whatever files an export holds, run on pictures and held against the network itself."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.data.classes import CLASSES, parse_classes
from l2s_jax.data.manifest import STAIN
from l2s_jax.data.pictures import read_image
from l2s_jax.exports.description import FILES
from l2s_jax.exports.export import network_sha256
from l2s_jax.exports.graph import LARGEST
from l2s_jax.exports.runners import Runner, onnx_runner, softmax, stablehlo_runner, torchscript_runner
from l2s_jax.exports.stain_map import change
from l2s_jax.figures.drawing import spread_evenly
from l2s_jax.models.decoder import SCALE
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import load_network as load_weights
from l2s_jax.prediction.tiles import reflect_to, tile_origins
from l2s_jax.runs.network import load_network
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError

TILES = 16
"""Of each picture, evenly spread."""

TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
"""Largest difference of a probability, and of a class logit by the largest of them. Files of float32 were off
by 3e-5 of the largest logit, those of float16 by 1e-2."""

Say = Callable[[str], None]


class Difference(NamedTuple):
    """How far a file is from the network."""

    probability: float  # largest, 0..1
    class_logit: float  # largest, by the largest class logit
    other: int  # pixels whose most probable class is another
    pixels: int

    def within(self, tolerance: float) -> bool:
        """Whether both differences are (NaN is not)."""
        return self.probability <= tolerance and self.class_logit <= tolerance


def verify_export(
    folder: str | Path, pictures: Sequence[str | Path], run: str | Path | None = None, *, say: Say = print
) -> dict[str, Difference]:
    """Runs every file of an export on tiles of pictures, and says how far each is from the network.

    Args:
      folder: of the export.
      pictures: of any size.
      run: the run folder that was exported; by default the network of the export's `model.safetensors`.
      say: receives a line a file.

    Returns:
      File names to differences.

    Raises:
      UserError: nothing to verify or to compare with, a file of another network, a program that does not run
        or is further off than `TOLERANCE`; after all files have been looked at.
    """
    folder = Path(folder)
    there = {name: folder / file for name, file in FILES.items() if (folder / file).is_file()}
    if not there:
        raise UserError(f"{folder} holds none of {', '.join(FILES.values())}: `l2s export` writes them")
    network, size = _network(folder, there, run)
    batches = [_tiles(read_image(Path(path)), size, folder) for path in pictures]
    if not batches:
        raise UserError("name a picture to run the files on")
    expected = _runner_of(network)
    found: dict[str, Difference] = {}
    faults = []
    for name, path in there.items():
        if name == "safetensors" and run is None:
            continue
        try:
            runner = _runner(name, path, network)
            if name == "onnx-float16":
                _require_within_float16(network, batches)
            difference = _compare(expected, runner, batches)
        except UserError as error:
            faults.append(f"{path.name}: {error}")
            continue
        found[path.name] = difference
        tolerance = TOLERANCE["float16" if name.endswith("float16") else "float32"]
        equal = difference.within(tolerance)
        text = (
            f"{path.name}: largest difference {difference.probability:.2g} in probabilities, "
            f"{difference.class_logit:.2g} of the largest class logit; {difference.other} of "
            f"{difference.pixels} pixels of another class"
        )
        say(f"{text}: {'equal' if equal else 'NOT equal'} within {tolerance:g}")
        if not equal:
            faults.append(f"{path.name} is not the network: its answers differ by more than {tolerance:g}")
    if faults:
        raise UserError("\n".join(faults), exit_code=1)
    if not found:
        raise UserError(f"{folder} holds the weights alone: name the run that they are of with --network RUN")
    return found


def _network(folder: Path, there: Mapping[str, Path], run: str | Path | None) -> tuple[Network, int]:
    """The network to compare with, and its patch size."""
    if run is not None:
        network, facts = load_network(run)
        return network, facts.patch_size
    if "safetensors" not in there:
        raise UserError(
            f"{folder} holds no {FILES['safetensors']} to compare with: name the run exported, --network RUN"
        )
    weights, about = _read_weights(there["safetensors"])
    classes = parse_classes((folder / CLASSES).read_bytes(), folder / CLASSES)
    model = L2S(len(classes), about["head"])
    mean, std = (np.asarray(about[name], np.float32) for name in ("mean", "std"))
    return Network(model, _variables(model, weights), mean, std), int(about["patch_size"])


def _read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about = {name: json.loads(text) for name, text in file.metadata().items() if name != "format"}
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _variables(model: L2S, weights: Mapping[str, np.ndarray]) -> Any:
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    like = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return load_weights(like, weights)[0]


def _tiles(image: np.ndarray, size: int, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw tiles of a picture, the same in the network's stains, and the map between both."""
    image = reflect_to(image, size)
    rows, columns = (tile_origins(side, size, size) for side in image.shape[:2])
    places = [(row, column) for row in rows for column in columns]
    chosen = [places[number] for number in spread_evenly(len(places), TILES)]
    raw = np.stack([image[row : row + size, column : column + size] for row, column in chosen])
    identity = np.eye(3, dtype=np.float32)
    if not (folder / STAIN).is_file():
        return raw, raw, identity
    reference = load_reference(folder / STAIN)[0]
    fit = StainFit(*(np.asarray(leaf)[0] for leaf in fit_stain(image[None])))
    if not fit.usable:
        return raw, raw, identity
    stain_map = change(*fit[:2], *reference[:2])
    return raw, np.asarray(normalise_stain(raw, fit, reference)), stain_map


def _require_within_float16(network: Network, batches: Sequence[tuple[np.ndarray, ...]]) -> None:
    """Refuses a network whose activations float16 cannot hold.

    onnxruntime computes float16 in float32 on CPUs, where that does not show; elsewhere it would.
    """
    half = L2S(network.model.classes, network.model.head, jnp.float16)
    forward = make_forward(network._replace(model=half), TILES)
    for _, seen, _ in batches:
        if not all(np.isfinite(logits).all() for logits in forward(seen)):
            raise UserError(
                f"float16 ends at {LARGEST:g}, and the network reaches more on these pictures: devices that "
                "compute in float16 would answer nonsense. Use the file of float32, model.onnx"
            )


def _compare(
    expected: Runner, runner: Runner, batches: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Difference:
    probability = class_logit = largest = 0.0
    other = pixels = 0
    for batch in batches:
        (truth, logits), (found, found_logits) = expected(*batch), runner(*batch)
        if found.shape != truth.shape or found_logits.shape != logits.shape:
            raise UserError(f"it answers with shapes {found.shape} and {found_logits.shape}: another network")
        probability = np.maximum(probability, np.abs(found - truth).max())  # NaN stays
        class_logit = np.maximum(class_logit, np.abs(found_logits - logits).max())
        largest = max(largest, float(np.abs(logits).max()))
        other += int((found.argmax(-1) != truth.argmax(-1)).sum())
        pixels += truth[..., 0].size
    return Difference(float(probability), float(class_logit) / max(largest, 1e-12), other, pixels)


def _runner_of(network: Network) -> Runner:
    forward = make_forward(network, TILES)

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        coarse, class_logits = forward(seen)
        return softmax(coarse).repeat(SCALE, axis=1).repeat(SCALE, axis=2), class_logits

    return run


def _runner(name: str, path: Path, network: Network) -> Runner:
    if name == "safetensors":
        weights, about = _read_weights(path)
        _require_same(about.get("run"), network)
        return _runner_of(network._replace(variables=_variables(network.model, weights)))
    if name == "stablehlo":
        return stablehlo_runner(path)
    runner, run = torchscript_runner(path) if name == "torchscript" else onnx_runner(path)
    _require_same(run, network)
    return runner


def _require_same(run: Any, network: Network) -> None:
    """Refuses a file that says that it is of other weights."""
    said = run.get("network_sha256") if isinstance(run, dict) else None
    if said is not None and said != network_sha256(network.variables):
        raise UserError("it is of another network, or of an earlier best epoch. Export the run again")
