"""Peak memory and time of `predict_slides` on a generated slide of 60,000 x 60,000 pixels.

    python benchmarks/slide_memory.py [--side 60000] [--slide-mpp 0.25] [--mpp 0.25] [--json FILE]

Two flat ellipses of tissue as wide as the slide make the rows that are open at a time as full as they can be.
The network is the real one with random weights: its classes mean nothing, its memory and time are true.
Memory is the greatest resident set of the predicting process from its start to its end, JAX and compilation
included, as the kernel counts it.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

GLASS, PINK, PURPLE = (243, 240, 244), (220, 120, 170), (110, 60, 150)


def peak_mib() -> float:
    """Greatest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_slide(path: Path, side: int, mpp: float, tissue: float) -> None:
    """A pyramidal slide of `side` x `side` pixels; two ellipses cover a share of `tissue` of it."""
    from helpers.slide_generator import ellipses
    from l2s_jax.phantom.slide_writing import write_pyramidal_slide

    wide, high = 0.48 * side, side * tissue / (2 * np.pi * 0.48)
    parts = [(0.3 * side, 0.5 * side, high, wide, PINK), (0.7 * side, 0.5 * side, high, wide, PURPLE)]
    draw, levels = ellipses(parts, GLASS), (1, 4, 16, 64)
    write_pyramidal_slide(path, draw, size=(side, side), mpp=mpp, compression="deflate", downsamples=levels)


def measure(path: Path, out: Path, mpp: float, stride: int, entropy: bool) -> dict[str, object]:
    """Predicts the slide in this process and reports what it took."""
    import jax

    from l2s_jax.data.classes import Classes
    from l2s_jax.models.forward import Network, make_forward
    from l2s_jax.models.network import L2S, init_variables
    from l2s_jax.prediction.predictor import Predictor
    from l2s_jax.prediction.slides.options import SlideOptions
    from l2s_jax.prediction.slides.predict import predict_slides
    from l2s_jax.prediction.tiles import Tiling
    from l2s_jax.system.jax_setup import keep_freed_memory

    keep_freed_memory()  # as the command does
    colours = ((255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 255, 0))
    classes = Classes(("glass", "one", "two", "three"), colours, (0, 1, 2, 3), 0)
    model = L2S(4, "a3")
    half = np.full(3, 0.5, np.float32)
    network = Network(model, init_variables(model, jax.random.key(0)), half, half)
    forward, tiling = make_forward(network, 20), Tiling(128, stride)
    forward(np.zeros((20, 128, 128, 3), np.uint8))
    predictor = Predictor(forward, classes, tiling, mpp, None, "", "random weights")
    before, start = peak_mib(), time.perf_counter()
    records, failures = predict_slides([path], out, predictor, SlideOptions(entropy=entropy))
    if failures:
        raise SystemExit("\n".join(failures))
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mib": round(peak_mib()),
        "peak_mib_before_the_slide": round(before),
        "size_at_mpp": records[path]["size"],
        "tissue_mm2": records[path]["tissue_mm2"],
        "outlines_mpp": records[path]["outlines_mpp"],
        "bytes_written": {file.name: file.stat().st_size for file in sorted(out.iterdir())},
    }


def main() -> None:
    """Writes the slide, then predicts it in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=60_000, help="pixels of the slide at level 0")
    parser.add_argument("--slide-mpp", type=float, default=0.25, help="um/px at level 0")
    parser.add_argument("--mpp", type=float, default=0.25, help="um/px at which it is predicted")
    parser.add_argument("--stride", type=int, default=128, help="pixels between tiles of 128")
    parser.add_argument("--entropy", action="store_true", help="write the entropy map too")
    parser.add_argument("--tissue", type=float, default=0.05, help="share of the slide that is tissue")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.predict:
        print(
            json.dumps(measure(options.predict, options.folder, options.mpp, options.stride, options.entropy))
        )
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        slide, start = Path(folder) / "slide.tif", time.perf_counter()
        write_slide(slide, options.side, options.slide_mpp, options.tissue)
        print(f"slide written in {time.perf_counter() - start:.0f} s, {slide.stat().st_size / 2**20:.0f} MiB")
        arguments = [sys.executable, __file__, "--predict", slide, "--folder", Path(folder) / "out"]
        arguments += ["--mpp", options.mpp, "--stride", options.stride]
        arguments += ["--entropy"] if options.entropy else []
        done = subprocess.run(list(map(str, arguments)), check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    asked = {key: value for key, value in vars(options).items() if key not in ("json", "folder", "predict")}
    figures = {**asked, "machine": f"{platform.system()} {platform.machine()}", **figures}
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
