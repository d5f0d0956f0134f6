"""Tiles a second beside PyTorch's, and how well reading a slide hides behind computing.

    python benchmarks/inference.py [--short] [--batch 20] [--device cpu|cuda] [--tf32] [--json FILE]

`inference_vs_torch` is our time over torch eager's for the same uint8 tiles of 128x128 in memory, to logits
on the host: normalisation, network, nothing else. Variants are processes of their own that take turns.
`slide_vs_tiles` is the time of predicting a slide from its JPEG file (reading, tiles with half overlap,
weighted mean, classes) over that of the network alone on as many tiles in memory: 1 where all else is hidden.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import turns

from train_step import CLASSES, MEAN, STD

TILE = 128


def make_tiles(count: int):
    """u8[count,128,128,3]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, TILE, TILE, 3), dtype=np.uint8)


def jax_forward(options: argparse.Namespace):
    """The library's `forward` with random weights."""
    import jax
    import numpy as np

    from l2s_jax.models.forward import Network, make_forward
    from l2s_jax.models.network import L2S, init_variables

    if options.device == "cuda":
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if options.tf32 else "highest")
    model = L2S(CLASSES)
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    return make_forward(Network(model, init_variables(model, jax.random.key(0)), mean, std), options.batch)


def jax_tiles(options: argparse.Namespace) -> Callable[[], object]:
    """Tiles in memory to logits."""
    forward, tiles = jax_forward(options), make_tiles(options.tiles)
    return lambda: forward(tiles)


def jax_slide(options: argparse.Namespace) -> Callable[[], object]:
    """The slide from its file to class codes."""
    from l2s_jax.prediction.slides.bands import predict_bands
    from l2s_jax.prediction.slides.job import SlideJob
    from l2s_jax.prediction.tiles import Tiling
    from l2s_jax.slides.reading import read_window
    from l2s_jax.slides.slide import open_slide

    slide, forward = open_slide(options.slide), jax_forward(options)
    size = slide.size_level0
    tiling = Tiling(TILE, TILE // 2, batch_size=options.batch)
    read = lambda origin, wanted: read_window(slide, origin, wanted, 0.5)  # noqa: E731
    job = SlideJob(forward, read, size, tiling, CLASSES)
    return lambda: sum(band.counts.sum() for band in predict_bands(job))


def torch_tiles(options: argparse.Namespace) -> Callable[[], object]:
    """The same tiles through the network in plain PyTorch, eval mode."""
    import torch
    import torch_reference as reference

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    layout = torch.contiguous_format if options.variant == "torch-eager" else torch.channels_last
    network = reference.Network(CLASSES).to(options.device, memory_format=layout).eval()
    mean, std = (torch.tensor(v, device=options.device)[None, :, None, None] for v in (MEAN, STD))
    tiles = torch.as_tensor(make_tiles(options.tiles))

    @torch.inference_mode()
    def run() -> object:
        parts = []
        for chunk in tiles.split(options.batch):
            image = chunk.to(options.device).permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
            coarse = network(image.contiguous(memory_format=layout))
            parts.append((coarse.cpu().numpy(), network.classify(coarse).cpu().numpy()))
        return parts

    return run


VARIANTS = {"jax": jax_tiles, "torch-eager": torch_tiles, "torch-channels_last": torch_tiles}


def write_slide(path: Path, tiles_a_side: int) -> int:
    """A smooth picture as a pyramidal JPEG slide, and how many half-overlapping tiles cover it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from helpers.slide_generator import smooth_picture
    from l2s_jax.phantom.slide_writing import write_pyramidal_slide

    side = (tiles_a_side + 1) * TILE // 2
    write_pyramidal_slide(path, smooth_picture(side, side), mpp=0.5)
    return tiles_a_side**2


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batch", type=int, default=20, help="tiles a batch (default 20)")
    parser.add_argument("--tf32", action="store_true", help="TensorFloat-32 on both sides (cuda)")
    parser.add_argument("--tiles", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--slide", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        turns.set_up(options.device)
        run = jax_slide(options) if options.variant == "jax-slide" else VARIANTS[options.variant](options)
        return turns.serve(run, warm_up=2)
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.svs"
        tiles = write_slide(slide, 10 if options.short else 20)
        passed = [f"--batch={options.batch}", f"--device={options.device}", f"--tiles={tiles}"]
        passed += [f"--slide={slide}", *(["--tf32"] if options.tf32 else [])]
        names = [*VARIANTS, "jax-slide"]
        workers = [turns.Worker(__file__, name, passed) for name in names]
        results: turns.Results = {"inference_load_average": turns.load(), "inference_tiles": tiles}
        results["inference_tf32"] = options.tf32
        turns.take_turns(workers, 5 if options.short else 15, 1)
    rows = []
    for worker in workers:
        name = f"inference_{worker.key}_tiles_per_s"
        results |= turns.spread(name, [tiles / r["wall"] for r in worker.rounds])
        rows.append([worker.name, *(results[f"{name}{end}"] for end in ("", "_min", "_max"))])
    ours, eager, channels_last, of_slide = workers
    results |= turns.ratio("inference_vs_torch", ours, eager)
    results |= turns.ratio("inference_vs_torch_channels_last", ours, channels_last)
    results |= turns.ratio("inference_vs_torch_processor", ours, eager, "processor")
    results |= turns.ratio("slide_vs_tiles", of_slide, ours)
    results |= turns.machine(("jax", "torch", "openslide-python", "numpy"), options.device)
    turns.report(results, ("variant", "tiles/s", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
