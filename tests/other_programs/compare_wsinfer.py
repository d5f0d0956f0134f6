"""What WSInfer answered for the pixels that it read, against our classifier on the same pixels.

python compare_wsinfer.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from l2s_jax.exports.runners import softmax
from l2s_jax.exports.stain_map import changed
from l2s_jax.exports.stains import stains_of
from l2s_jax.models.forward import make_forward
from l2s_jax.runs.network import load_network

TOLERANCE = 5e-3
"""Of a probability; the change of stains cuts to whole grey levels."""


def main(folder):
    run, read, good = folder / "run", np.load(folder / "wsinfer.npz"), True
    network, _ = load_network(run)
    change = np.asarray(stains_of(folder / "BACH" / "WSI" / "A04.svs", run).change)
    for key in (key for key in read.files if key.endswith(" pixels")):
        name = key.removesuffix(" pixels")
        _, class_logits = make_forward(network, 16)(changed(read[key], change))
        truth, found = softmax(class_logits), read[f"{name} probabilities"]
        worst, same = np.abs(found - truth).max(), (found.argmax(1) == truth.argmax(1)).sum()
        print(f"{name}: {len(found)} patches, largest difference {worst:.2g}, {same} of the same class")
        good &= bool(worst <= TOLERANCE)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
