"""`wsinfer run` on slides with an exported classifier, offline; keeps the pixels that it read.

python check_wsinfer.py FOLDER
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import tiffslide
from PIL import Image

BILINEAR = Image.Resampling.BILINEAR
"""As torchvision's Resize has it, which is the first transform of the configuration."""

WSINFER = """
import torch
if not torch.version.cuda:  # torchvision's operators are linked with CUDA's torch; WSInfer uses none of them
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float most) -> Tensor")
from wsinfer.cli.cli import cli
cli()
"""
"""The command `wsinfer`, also beside a torch for CPUs."""

REGISTRY: dict = {"models": {}}
"""WSInfer asks a hub for this when it is imported, unless it lies in the home folder."""


def main(folder):
    home, results = folder / "wsinfer_home", folder / "wsinfer_results"
    model = folder / "exported" / "wsinfer"
    for made in (home, results):
        shutil.rmtree(made, ignore_errors=True)
    (home / ".wsinfer-zoo").mkdir(parents=True)
    (home / ".wsinfer-zoo" / "wsinfer-zoo-registry.json").write_text(json.dumps(REGISTRY))
    command = [
        sys.executable, "-W", "ignore", "-c", WSINFER, "run",
        "--wsi-dir", folder / "slides", "--results-dir", results, "--num-workers", "1",
        "--config", model / "config.json", "--model-path", model / "torchscript_model.pt",
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(home.resolve()), "HF_HUB_OFFLINE": "1"}
    subprocess.run([str(word) for word in command], check=True, env=environment)
    size, read = json.loads((model / "config.json").read_text())["patch_size_pixels"], {}
    for table in sorted((results / "model-outputs-csv").glob("*.csv")):
        rows = pd.read_csv(table)
        slide = tiffslide.TiffSlide(next((folder / "slides").glob(f"{table.stem}.*")))
        patches = [
            slide.read_region((row.minx, row.miny), 0, (row.width, row.height)).convert("RGB")
            for row in rows.itertuples()
        ]
        read[f"{table.stem} pixels"] = np.stack(
            [np.asarray(one.resize((size, size), BILINEAR)) for one in patches]
        )
        read[f"{table.stem} probabilities"] = rows.filter(like="prob_").to_numpy()
        print(f"WSInfer {version('wsinfer')}: {table.stem}: {len(rows)} patches")
    np.savez(folder / "wsinfer.npz", **read)
    return 0 if read else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
