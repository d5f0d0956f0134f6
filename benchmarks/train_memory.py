"""Peak memory of training on the paper's 1,015 patches of 128x128, in a fresh process, compilation included.

    python benchmarks/train_memory.py [--patches 1015] [--side 128] [--memory-gib 2] [--steps 12]
        [--limit-gib 4]

Ends with 1 where the peak is beyond the limit. Memory is the greatest resident set of the training process
from its start to its end, as the kernel counts it; the cache of compiled programs is empty. A quarter as many
patches are validated on, so the report's pictures are in it too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import png_set

from l2s_jax.data.manifest import read_manifest, write_patches


def write_data(folder: Path, patches: int, side: int) -> Path:
    """Training patches, and for validation a quarter as many."""
    drawn = png_set.draw_patches(folder / "drawn", side=side)
    data = png_set.write_png_set(folder / "data", drawn, patches + patches // 4)
    contents = read_manifest(data)
    rows = [
        replace(row, split="val", group=f"val-{row.group}") if number >= patches else row
        for number, row in enumerate(contents.patches)
    ]
    # Copies must not be the same picture in two splits: each gets one pixel of its own.
    for number, row in enumerate(rows):
        mark(row.image, number)
    write_patches(data, contents.classes, rows)
    return data


def mark(path: Path, number: int) -> None:
    """Makes a picture unlike its copies."""
    from l2s_jax.data.pictures import read_image, write_png

    image = read_image(path)
    image[0, 0] = number % 256, number // 256 % 256, number // 65536
    write_png(path, image)


def main() -> None:
    """Draws the patches, then trains on them in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=1015, help="training patches")
    parser.add_argument("--side", type=int, default=128, help="of a patch, in pixels")
    parser.add_argument("--memory-gib", type=float, default=2.0, help="the training's option")
    parser.add_argument("--steps", type=int, default=12, help="of the training")
    parser.add_argument("--limit-gib", type=float, default=4.0, help="end with 1 beyond it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, start = write_data(Path(folder), options.patches, options.side), time.perf_counter()
        arguments = [data, "--out", Path(folder) / "run", "--weights", "random", "--steps", options.steps]
        arguments += ["--memory-gib", options.memory_gib]
        command = [
            sys.executable,
            "-c",
            "from l2s_jax.cli.app import main; main()",
            "train",
            *map(str, arguments),
        ]
        environment = {**os.environ, "L2S_CACHE": str(Path(folder) / "cache")}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    figures = {"patches": options.patches, "side": options.side, "memory_gib": options.memory_gib}
    figures |= {"seconds": round(seconds, 1), "peak_gib": round(peak, 2)}
    print(json.dumps({**figures, "limit_gib": options.limit_gib}))
    sys.exit(peak > options.limit_gib)


if __name__ == "__main__":
    main()
