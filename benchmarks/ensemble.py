"""What five runs taken together cost on a slide, beside one.

    python benchmarks/ensemble.py [--short] [--batch 20] [--device cpu|cuda] [--json FILE]

A pyramidal JPEG slide is predicted by one network and by five of other weights, all random: their classes
mean nothing, their time is true. `five_runs_vs_one` is the time of all that `l2s predict` does with a slide
(reading, networks, means, outlines, overlay, files), `five_runs_vs_one_classes` that of what it does tile by
tile, from the file to classes and probabilities in memory. Variants are processes of their own that take
turns; a ratio is of two turns that follow each other. `windows_read` says how often the slide was read.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import turns
from inference import TILE, write_slide

from train_step import CLASSES, MEAN, STD

RUNS = {"one": 1, "five": 5}
GOAL = 4.6


def predictor(options: argparse.Namespace, runs: int):
    """Networks of random weights, taken together where there are several."""
    import jax
    import numpy as np

    from l2s_jax.data.classes import Classes
    from l2s_jax.models.forward import Network, make_forward
    from l2s_jax.models.network import L2S, init_variables
    from l2s_jax.prediction.ensemble import together
    from l2s_jax.prediction.predictor import Predictor
    from l2s_jax.prediction.tiles import Tiling

    model, names = L2S(CLASSES), tuple(f"class {code}" for code in range(CLASSES))
    colours = tuple((60 * code, 255 - 60 * code, 90) for code in range(CLASSES))
    classes = Classes(names, colours, tuple(range(CLASSES)), 0)
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    tiling = Tiling(TILE, TILE // 2, batch_size=options.batch)
    each = []
    for seed in range(runs):
        network = Network(model, init_variables(model, jax.random.key(seed)), mean, std)
        forward = make_forward(network, options.batch)
        each.append(Predictor(forward, classes, tiling, 0.5, None, "", f"run {seed}", run=f"run {seed}"))
    return each[0] if runs == 1 else together(each)


class Windows:
    """Counts what is read of slides."""

    def __init__(self) -> None:
        """Puts a counter around the function that `predict` reads windows with."""
        from l2s_jax.prediction.slides import predict

        self.number, read = 0, predict.read_window

        def counting(*arguments):
            self.number += 1
            return read(*arguments)

        predict.read_window = counting


def whole(options: argparse.Namespace, runs: int) -> Callable[[], object]:
    """From the file to all files that `l2s predict` writes."""
    from l2s_jax.prediction.slides.options import SlideOptions
    from l2s_jax.prediction.slides.predict import predict_slides

    network, asked = predictor(options, runs), SlideOptions(within="slide")

    def run() -> None:
        out = Path(tempfile.mkdtemp(dir=options.slide.parent))
        _, failures = predict_slides([options.slide], out, network, asked, say=lambda line: None)
        shutil.rmtree(out)
        assert not failures, failures

    return run


def classes_only(options: argparse.Namespace, runs: int) -> Callable[[], object]:
    """From the file to bands of classes and sampled probabilities."""
    import numpy as np

    from l2s_jax.prediction.slides.bands import predict_bands
    from l2s_jax.prediction.slides.job import area_of
    from l2s_jax.prediction.slides.options import SlideOptions
    from l2s_jax.prediction.slides.outlines import traced_grid
    from l2s_jax.prediction.slides.predict import make_job
    from l2s_jax.slides.slide import open_slide

    slide, network = open_slide(options.slide), predictor(options, runs)
    size = slide.size_level0
    everywhere = area_of(np.ones((1, 1), bool), size, 1e-9)
    job, *_ = make_job(slide, size, 0.5, everywhere, network, SlideOptions(within="slide"))
    grid = traced_grid(size)
    job = job._replace(area=None, sampled=(grid.rows, grid.columns))
    return lambda: sum(band.counts.sum() for band in predict_bands(job))


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batch", type=int, default=20, help="tiles a batch (default 20)")
    parser.add_argument("--slide", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        turns.set_up(options.device)
        runs, _, part = options.variant.partition("-")
        windows = Windows()
        run = (classes_only if part == "classes" else whole)(options, RUNS[runs])
        run()
        return turns.serve(run, warm_up=1, windows_read=windows.number)
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.svs"
        tiles = write_slide(slide, 8 if options.short else 14)
        passed = [f"--batch={options.batch}", f"--device={options.device}", f"--slide={slide}"]
        names = [f"{runs}{part}" for part in ("", "-classes") for runs in RUNS]
        workers = [turns.Worker(__file__, name, passed) for name in names]
        results: turns.Results = {"ensemble_load_average": turns.load(), "ensemble_tiles": tiles}
        turns.take_turns(workers, 5 if options.short else 11, 1)
    rows = []
    for worker in workers:
        name = f"ensemble_{worker.key}_s"
        results |= turns.spread(name, [r["wall"] for r in worker.rounds], 2)
        results[f"{name}_processor"] = round(worker.median("processor"), 2)
        results[f"ensemble_{worker.key}_windows_read"] = worker.facts["windows_read"]
        rows.append([worker.name, *(results[f"{name}{end}"] for end in ("", "_min", "_max"))])
    one, five, one_classes, five_classes = workers
    results |= turns.ratio("five_runs_vs_one", five, one)
    results |= turns.ratio("five_runs_vs_one_classes", five_classes, one_classes)
    results |= turns.ratio("five_runs_vs_one_processor", five, one, "processor")
    results |= turns.ratio("five_runs_vs_one_classes_processor", five_classes, one_classes, "processor")
    results["five_runs_goal"] = GOAL
    results |= turns.machine(("jax", "openslide-python", "numpy"), options.device)
    turns.report(results, ("variant", "s", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
