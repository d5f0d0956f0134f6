"""Tiles a second of exported networks in other programs, beside ours.

    python benchmarks/exports.py [--short] [--batch 20] [--json FILE]

A network is trained for two steps, exported as ONNX and as TorchScript, and run on the same uint8 tiles of
128x128 to probabilities of each pixel: by us (the forward pass, then the softmax of its cells, enlarged), by
onnxruntime and by torch.jit from the files, and by torch eager with the network of `torch_reference.py`.
`exports_vs_onnxruntime` is our time over onnxruntime's. All use all cores, in processes of their own that
take turns; the greatest memory of each is that of its process, libraries included.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import turns
from inference import TILE, make_tiles

FORMATS = ("onnx", "onnx-float16", "torchscript")


def batches(options: argparse.Namespace):
    """The tiles in batches u8[b,128,128,3]."""
    tiles = make_tiles(options.tiles)
    return [tiles[first : first + options.batch] for first in range(0, len(tiles), options.batch)]


def ours(options: argparse.Namespace) -> Callable[[], object]:
    """The run's network as `predict` runs it."""
    from l2s_jax.exports.runners import pixel_probabilities
    from l2s_jax.models.forward import make_forward
    from l2s_jax.runs.network import load_network

    network, _ = load_network(options.run)
    forward = make_forward(network, options.batch)
    parts = batches(options)
    return lambda: [pixel_probabilities(forward(part)[0], network.model.cell) for part in parts]


def of_file(options: argparse.Namespace) -> Callable[[], object]:
    """An exported file in its library."""
    import numpy as np

    from l2s_jax.exports.description import FILES
    from l2s_jax.exports.runners import onnx_runner, torchscript_runner

    content = (options.exports / FILES[options.variant]).read_bytes()
    runner = torchscript_runner if options.variant == "torchscript" else onnx_runner
    run, parts, no_change = runner(content)[0], batches(options), np.eye(3, dtype=np.float32)
    return lambda: [run(part, part, no_change) for part in parts]


def torch_eager(options: argparse.Namespace) -> Callable[[], object]:
    """A network of the same kind in plain PyTorch, eval mode."""
    import torch
    import torch_reference as reference

    from train_step import CLASSES, MEAN, STD

    network = reference.Network(CLASSES).eval()
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (MEAN, STD))
    parts = [torch.as_tensor(part) for part in batches(options)]

    @torch.inference_mode()
    def run() -> object:
        found = []
        for part in parts:
            coarse = network(part.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std).contiguous())
            probabilities = coarse.softmax(1).repeat_interleave(8, 2).repeat_interleave(8, 3)
            found.append((probabilities.numpy(), network.classify(coarse).numpy()))
        return found

    return run


VARIANTS: dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
    "jax": ours,
    **dict.fromkeys(FORMATS, of_file),
    "torch-eager": torch_eager,
}


def make_exports(folder: Path) -> tuple[Path, Path]:
    """A run of two steps on the phantom, and the folder of its exports."""
    from dataclasses import replace

    from l2s_jax.config import PRESETS
    from l2s_jax.exports.export import export_run
    from l2s_jax.phantom.patches import prepare_phantom
    from l2s_jax.training.train import train

    prepare_phantom(folder / "data", patches=40, patch_size=TILE)
    config = replace(PRESETS["paper"], weights="random", steps=2)
    quiet = lambda line: None  # noqa: E731
    run = train(folder / "data", folder / "run", config, say=quiet)
    export_run(run, folder / "exports", FORMATS, say=quiet)
    return run, folder / "exports"


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batch", type=int, default=20, help="tiles a batch (default 20)")
    parser.add_argument("--tiles", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--exports", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        turns.set_up("cpu")
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from soak.process import peak_mib

        run = VARIANTS[options.variant](options)
        run()
        return turns.serve(run, warm_up=2, peak_mib=round(peak_mib()))
    tiles = 5 * options.batch
    with tempfile.TemporaryDirectory() as name:
        run, exports = make_exports(Path(name))
        from l2s_jax.exports.description import FILES

        sizes = {one: (exports / FILES[one]).stat().st_size for one in FORMATS}
        passed = [f"--batch={options.batch}", f"--tiles={tiles}", f"--run={run}", f"--exports={exports}"]
        workers = [turns.Worker(__file__, one, passed) for one in VARIANTS]
        results: turns.Results = {"exports_load_average": turns.load(), "exports_batch": options.batch}
        turns.take_turns(workers, 5 if options.short else 15, 1)
    rows = []
    for worker in workers:
        key = f"exports_{worker.key}"
        results |= turns.spread(f"{key}_tiles_per_s", [tiles / r["wall"] for r in worker.rounds])
        results[f"{key}_peak_mib"] = worker.facts["peak_mib"]
        if worker.name in sizes:
            results[f"{key}_file_mib"] = round(sizes[worker.name] / 2**20, 1)
        speeds = (results[f"{key}_tiles_per_s{end}"] for end in ("", "_min", "_max"))
        rows.append([worker.name, *speeds, worker.facts["peak_mib"], results.get(f"{key}_file_mib", "")])
    by_name = {worker.name: worker for worker in workers}
    for other, said in (("onnx", "onnxruntime"), ("torchscript", "torchscript"), ("torch-eager", "torch")):
        results |= turns.ratio(f"exports_vs_{said}", by_name["jax"], by_name[other])
    results |= turns.machine(("jax", "torch", "onnxruntime", "numpy"), "cpu")
    columns = ("variant", "tiles/s", "min", "max", "peak MiB", "file MiB")
    turns.report(results, columns, rows, options.json)


if __name__ == "__main__":
    main()
