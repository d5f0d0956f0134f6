"""`verify-export`: whatever files an export holds, run on pictures and held against the network itself."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from l2s_jax.data.classes import CLASSES, parse_classes
from l2s_jax.data.manifest import STAIN
from l2s_jax.data.pictures import read_image
from l2s_jax.exports.description import FILES
from l2s_jax.exports.export import network_sha256
from l2s_jax.exports.graph import LARGEST
from l2s_jax.exports.network_graph import OUTPUTS
from l2s_jax.exports.runners import (
    Answers,
    Metadata,
    Runner,
    bioimageio_runners,
    onnx_runner,
    pixel_probabilities,
    stablehlo_runner,
    torchscript_runner,
)
from l2s_jax.exports.stain_map import change, changed
from l2s_jax.figures.drawing import spread_evenly
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S, zero_variables
from l2s_jax.models.state_dict import load_network as load_weights
from l2s_jax.prediction.tiles import reflect_to, tile_origins
from l2s_jax.runs.calibration import read_calibration
from l2s_jax.runs.network import load_network, network_digest
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError

TILES = 16
"""Of each picture, evenly spread."""

TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
"""Largest difference of a probability, and of a class logit by the largest of them, well above what was seen
(docs/exports.md)."""

Say = Callable[[str], None]
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Raw tiles of a picture, the same in the network's stains, and the map between both."""


class Difference(NamedTuple):
    """How far a file is from the network; None is what it does not give."""

    probability: float | None  # largest, 0..1
    class_logit: float | None  # largest, by the largest class logit
    other: int  # pixels whose most probable class is another
    pixels: int

    def within(self, tolerance: float) -> bool:
        """Whether all differences are (NaN is not)."""
        return all(one is None or one <= tolerance for one in self[:2])

    def text(self) -> str:
        """The differences in words."""
        parts = []
        if self.probability is not None:
            parts.append(f"{self.probability:.2g} in probabilities")
        if self.class_logit is not None:
            parts.append(f"{self.class_logit:.2g} of the largest class logit")
        pixels = f"; {self.other} of {self.pixels} pixels of another class" if self.pixels else ""
        return f"largest difference {', '.join(parts)}{pixels}"


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
    network, size, temperature = _network(folder, there, run)
    batches = [_tiles(read_image(Path(path)), size, folder) for path in pictures]
    if not batches:
        raise UserError("name a picture to run the files on")
    found: dict[str, Difference] = {}
    faults = []
    for name, path in there.items():
        if name == "safetensors" and run is None:
            continue
        try:
            if name == "onnx-float16":
                _require_within_float16(network, batches)
            runners = _runners(name, path, network, temperature)
        except UserError as error:
            faults.append(f"{path.name}: {error}")
            continue
        tolerance = TOLERANCE["float16" if name.endswith("float16") else "float32"]
        for label, (runner, said) in runners.items():
            try:
                _require_same(said, network, temperature)
                found[label] = _compare(_runner_of(network, temperature), runner, _as_seen(batches, said))
            except UserError as error:
                faults.append(f"{label}: {error}")
                continue
            equal = found[label].within(tolerance)
            say(f"{label}: {found[label].text()}: {'equal' if equal else 'NOT equal'} within {tolerance:g}")
            if not equal:
                faults.append(f"{label} is not the network: its answers differ by more than {tolerance:g}")
    if faults:
        raise UserError("\n".join(faults), exit_code=1)
    if not found:
        raise UserError(f"{folder} holds the weights alone: name the run that they are of with --network RUN")
    return found


def _network(
    folder: Path, there: Mapping[str, Path], run: str | Path | None
) -> tuple[Network, int, float | None]:
    """The network to compare with, its patch size, and its temperature where one was fitted."""
    if run is not None:
        network, facts = load_network(run)
        calibration = read_calibration(Path(run), network_digest(network).hexdigest())
        return network, facts.patch_size, None if calibration is None else calibration.temperature
    if "safetensors" not in there:
        raise UserError(
            f"{folder} holds no {FILES['safetensors']} to compare with: name the run exported, --network RUN"
        )
    weights, about = _read_weights(there["safetensors"])
    classes = parse_classes((folder / CLASSES).read_bytes(), folder / CLASSES)
    # Files of before there was another decoder do not say which it is.
    model = L2S(len(classes), about["head"], decoder=about.get("decoder", "paper"))
    mean, std = (np.asarray(about[name], np.float32) for name in ("mean", "std"))
    network = Network(model, _variables(model, weights), mean, std)
    return network, int(about["patch_size"]), about.get("temperature")


def _read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about = {name: json.loads(text) for name, text in file.metadata().items() if name != "format"}
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _variables(model: L2S, weights: Mapping[str, np.ndarray]) -> Any:
    return load_weights(zero_variables(model), weights)[0]


def _tiles(image: np.ndarray, size: int, folder: Path) -> Batch:
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


def _require_within_float16(network: Network, batches: Sequence[Batch]) -> None:
    """Refuses a network whose activations float16 cannot hold.

    onnxruntime computes float16 in float32 on CPUs, where that does not show; elsewhere it would.
    """
    forward = make_forward(network._replace(model=network.model.clone(dtype=jnp.float16)), TILES)
    for _, seen, _ in batches:
        if not all(np.isfinite(logits).all() for logits in forward(seen)):
            raise UserError(
                f"float16 ends at {LARGEST:g}, and the network reaches more on these pictures: devices that "
                "compute in float16 would answer nonsense. Use the file of float32, model.onnx"
            )


def _as_seen(batches: Sequence[Batch], said: Metadata) -> list[Batch]:
    """The tiles as a file's network sees them: by the change of stains that is built into it, if one is."""
    built_in = said.get("stain_change")
    if built_in is None:
        return list(batches)
    if not built_in["of"]:
        return [(raw, raw, stain_map) for raw, _, stain_map in batches]
    by = np.asarray(built_in["change"])
    return [(raw, changed(raw, by), stain_map) for raw, _, stain_map in batches]


def _compare(expected: Runner, runner: Runner, batches: Sequence[Batch]) -> Difference:
    differences: list[list[float]] = [[], []]
    largest, other, pixels = 1e-12, 0, 0
    for batch in batches:
        truths, answers = expected(*batch), runner(*batch)
        for truth, found, sizes in zip(truths, answers, differences, strict=True):
            if found is None or truth is None:
                continue
            if found.shape != truth.shape:
                raise UserError(f"it answers with shape {found.shape}, not {truth.shape}: another network")
            sizes.append(float(np.abs(found - truth).max()))
        if answers[0] is not None and truths[0] is not None:
            other += int((answers[0].argmax(-1) != truths[0].argmax(-1)).sum())
            pixels += truths[0][..., 0].size
        if truths[1] is not None:
            largest = max(largest, float(np.abs(truths[1]).max()))
    probability, class_logit = (float(np.max(sizes)) if sizes else None for sizes in differences)
    return Difference(probability, None if class_logit is None else class_logit / largest, other, pixels)


def _runner_of(network: Network, temperature: float | None) -> Runner:
    forward = make_forward(network, TILES)

    def run(raw: np.ndarray, seen: np.ndarray, stain_map: np.ndarray) -> Answers:
        coarse, class_logits = forward(seen)
        return pixel_probabilities(coarse, network.model.cell, temperature), class_logits

    return run


def _runners(
    name: str, path: Path, network: Network, temperature: float | None
) -> dict[str, tuple[Runner, Metadata]]:
    """What a file's programs are called, how they are run, and what they say of themselves."""
    if name == "safetensors":
        weights, about = _read_weights(path)
        own = network._replace(variables=_variables(network.model, weights))
        return {path.name: (_runner_of(own, about.get("temperature")), about)}
    if name == "stablehlo":
        return {path.name: (stablehlo_runner(path, temperature), {})}
    if name == "bioimageio":
        return {f"{path.name}, {part}": one for part, one in bioimageio_runners(path).items()}
    if name == "wsinfer":
        label = f"{path.parent.name}/{path.name}"
        return {label: torchscript_runner(_content(path), OUTPUTS[1:], largest=1)}
    content = _content(path)
    return {path.name: torchscript_runner(content) if name == "torchscript" else onnx_runner(content)}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror or error}") from error


def _require_same(about: Metadata, network: Network, temperature: float | None) -> None:
    """Refuses a file that says that it is of other weights, or of another temperature."""
    run = about.get("run")
    said = run.get("network_sha256") if isinstance(run, dict) else None
    if said is not None and said != network_sha256(network.variables):
        raise UserError("it is of another network, or of an earlier best epoch. Export the run again")
    if about and about.get("temperature") != temperature:
        raise UserError(
            f"it was exported with {_words(about.get('temperature'))}, and the network has "
            f"{_words(temperature)}. Export the run again"
        )


def _words(temperature: float | None) -> str:
    return "no temperature" if temperature is None else f"temperature {temperature:.4g}"
