"""A package in bioimageio.core: its own test of it, offline, and a prediction.

python check_bioimageio.py FOLDER
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from bioimageio.core import create_prediction_pipeline, load_model_description, predict, test_model

TOLERANCE = 5e-3
"""Of a probability; the change of stains cuts to whole grey levels."""


def main(folder):
    package = folder / "exported" / "bioimageio.zip"
    summary = test_model(package)
    print(f"bioimageio.core {version('bioimageio.core')}, pydantic {version('pydantic')}: {summary.status}")
    if summary.status != "passed":
        print(summary.format())
        return 1
    answers, worst = np.load(folder / "answers.npz"), 0.0
    for weights in ("onnx", "torchscript"):
        pipeline = create_prediction_pipeline(load_model_description(package), weight_format=weights)
        for raw, truth in zip(answers["raw"][::6], answers["exported_probabilities"][::6], strict=True):
            image = raw.transpose(2, 0, 1)[None].astype(np.float32)
            found = predict(model=pipeline, inputs={"rgb": image})
            array = np.asarray(found.members["probabilities"].data)[0].transpose(1, 2, 0)
            worst = max(worst, float(np.abs(array - truth).max()))
    print(f"largest difference of a probability: {worst:.2g}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
