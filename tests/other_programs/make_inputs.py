"""What other programs are given: exports of a small network and what it answers itself, slides, class maps.

python make_inputs.py FOLDER
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np

from l2s_jax.cli.app import run as l2s
from l2s_jax.exports.runners import pixel_probabilities
from l2s_jax.exports.stain_map import changed
from l2s_jax.exports.stains import stains_of
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.slides.outputs import write_class_map, write_grey_map
from l2s_jax.runs.network import load_network
from l2s_jax.slides.annotations.class_names import BACH_CLASSES
from l2s_jax.slides.reading import read_window
from l2s_jax.slides.row_file import scratch_picture, write_block
from l2s_jax.slides.slide import open_slide
from l2s_jax.types import IGNORE_PIXEL

FORMATS = ("safetensors", "onnx", "onnx-float16", "torchscript", "bioimageio", "wsinfer")
NAMED = ("--author", "A Tester", "--licence", "CC-BY-4.0")
PATCHES = 12


def command(*words):
    code = l2s([str(word) for word in words])
    assert code == 0, (words, code)


def main(folder):
    slides, run, of = folder / "slides", folder / "run", folder / "BACH" / "WSI" / "A04.svs"
    command("phantom-bach", folder / "BACH")
    command("prepare", "bach", folder / "BACH", folder / "data", "--patch-size", 32)
    command(
        "train", folder / "data", "--out", run, "--weights", "random", "--epochs", 3,
        "--batch-size", 8, "--learning-rate", 0.001,
    )  # fmt: skip
    command("export", run, folder / "exported", "--formats", *FORMATS, "--stain-of", of, *NAMED)
    command("export", run, folder / "plain", "--formats", "onnx", "onnx-float16", "--stain", "off")
    command("predict", run, of, "--out", folder / "predicted")
    command("predict", run, of, "--out", folder / "predicted_exact", "--simplify", 0)
    slides.mkdir()
    shutil.copy(of, slides)
    data = os.environ.get("L2S_DATA")
    for real in (Path(data) / "slides").glob("*.svs") if data else ():
        shutil.copy(real, slides)
    save_answers(folder, run, of)
    draw_maps(folder / "maps")


def draw_maps(folder):
    """A class map of four classes and no class, with a pyramid, in both forms."""
    rows, columns = np.ogrid[:2400, :3000]
    codes = (np.sin(columns / 97) + np.sin(rows / 61) > 0) + 2 * (
        np.sin(columns / 231 + 1) > np.sin(rows / 177)
    )
    codes = codes.astype(np.uint8)
    codes[:200] = IGNORE_PIXEL
    with scratch_picture(folder, codes.shape) as picture:
        write_block(picture, 0, 0, codes)
        write_class_map(folder / "map.ome.tif", picture, 2.0, "map", BACH_CLASSES)
        write_grey_map(folder / "map_codes.tif", picture, 2.0, "map", BACH_CLASSES)


def save_answers(folder, run, of):
    """Raw patches and what the network makes of them: as they are, and with the change of stains."""
    network, facts = load_network(run)
    slide, size = open_slide(of), facts.patch_size
    places = [(row * size, column * size) for row in range(6) for column in range(8)][:: 48 // PATCHES]
    raw = np.stack([read_window(slide, place, (size, size), facts.mpp) for place in places])
    forward, answers = make_forward(network, len(raw)), {"raw": raw}
    seen = {"plain": raw, "exported": changed(raw, np.asarray(stains_of(of, run).change))}
    for name, images in seen.items():
        coarse, class_logits = forward(images)
        answers[f"{name}_probabilities"] = pixel_probabilities(coarse, network.model.cell)
        answers[f"{name}_class_logits"] = class_logits
    np.savez(folder / "answers.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
