"""A slide through TIAToolbox's semantic segmentor: what `whole_slide.py` compares `l2s predict` with.

    PYTHON benchmarks/tiatoolbox_predict.py SLIDE MASK.png WEIGHTS.pt OUT [--batch 20] [--workers 0]

PYTHON is of TIAToolbox's own environment (`tiatoolbox.sh` makes it). The network is `torch_reference.py`'s,
tiles are 128x128 with half overlap at 0.5 um/px, and MASK says where. TIAToolbox averages the probabilities
of overlapping tiles, takes the likeliest class and writes a Zarr. On standard output: seconds after its
imports.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
from tiatoolbox.models.models_abc import ModelABC
from torch.nn import functional
from torch_reference import Network

TILE, MPP, CELL = 128, 0.5, 8


class Wrapped(ModelABC):
    """The reference network as TIAToolbox wants a model to be."""

    def __init__(self, weights: Path):
        super().__init__()
        state = torch.load(weights)
        self.network = Network(len(state["decoder.logits.bias"]))
        self.network.load_state_dict(state, strict=False)  # without torch's counts of batches
        self.network = self.network.to(memory_format=torch.channels_last).eval()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised f32[B,3,H,W] to probabilities f32[B,C,H,W]."""
        coarse = self.network(image)
        full = functional.interpolate(coarse, scale_factor=CELL, mode="bilinear", align_corners=False)
        return torch.softmax(full, 1)

    @staticmethod
    def infer_batch(model: torch.nn.Module, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
        """u8[B,H,W,3] to probabilities f32[B,H,W,C]."""
        with torch.inference_mode():
            image = (batch_data.to(device).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            found = model(image.contiguous(memory_format=torch.channels_last))
        return found.permute(0, 2, 3, 1).contiguous().numpy()

    @staticmethod
    def preproc(image: np.ndarray) -> np.ndarray:
        """Nothing: `infer_batch` normalises."""
        return image

    @staticmethod
    def postproc(image: np.ndarray) -> np.ndarray:
        """The likeliest class."""
        return image.argmax(-1)


def main() -> None:
    """Predicts one slide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("slide", "mask", "weights", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    scale = [{"units": "mpp", "resolution": MPP}]
    tiles = IOSegmentorConfig(
        input_resolutions=scale,
        output_resolutions=scale,
        patch_input_shape=(TILE, TILE),
        patch_output_shape=(TILE, TILE),
        stride_shape=(TILE // 2, TILE // 2),
        save_resolution=scale[0],
    )
    segmentor = SemanticSegmentor(
        Wrapped(options.weights), batch_size=options.batch, num_workers=options.workers, verbose=False
    )
    written = segmentor.run(
        [options.slide],
        masks=[options.mask],
        patch_mode=False,
        ioconfig=tiles,
        save_dir=options.out,
        output_type="zarr",
        auto_get_mask=False,
    )
    places = {str(slide): os.fspath(place) for slide, place in written.items()}
    print(json.dumps({"seconds": round(time.perf_counter() - start, 1), "written": places}))


if __name__ == "__main__":
    main()
