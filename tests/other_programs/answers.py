"""What programs have to answer to ONNX files, and within what."""

import numpy as np

TOLERANCE = {"model.onnx": 1e-4, "model_float16.onnx": 2e-2}
"""Of a probability, and of a class logit by the largest."""
OF_STAINS = 5e-3
"""The same where stains are changed: some grey levels lie so near to a whole one that they are cut down."""


def onnx_files(folder):
    """Each file with the pictures, the network's probabilities and class logits, and the tolerance."""
    answers = np.load(folder / "answers.npz")
    for kind in ("plain", "exported"):
        truth = answers[f"{kind}_probabilities"], answers[f"{kind}_class_logits"]
        for name, tolerance in TOLERANCE.items():
            most = tolerance if kind == "plain" else max(tolerance, OF_STAINS)
            yield folder / kind / name, answers["raw"], *truth, most
