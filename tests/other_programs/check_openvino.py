"""ONNX files in OpenVINO on a CPU, against what the network answers: in float32, and as it is.

python check_openvino.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import openvino
from answers import onnx_files

VERSION = openvino.__version__.split("-")[0]
AS_IT_IS = 0.1
"""Of itself it computes in bfloat16 on processors that have it."""


def check(path, raw, probabilities, class_logits, tolerance):
    core, good = openvino.Core(), True
    for options, most in (({"INFERENCE_PRECISION_HINT": "f32"}, tolerance), ({}, max(tolerance, AS_IT_IS))):
        program, worst = core.compile_model(path, "CPU", options), 0.0
        for count in (1, len(raw)):
            found = program(raw[:count].transpose(0, 3, 1, 2).astype(np.float32))
            shown = found["probabilities"].transpose(0, 2, 3, 1)
            assert shown.shape == (count, *raw.shape[1:3], probabilities.shape[3]), shown.shape
            logits = np.abs(found["class_logits"] - class_logits[:count]).max() / np.abs(class_logits).max()
            worst = max(worst, float(np.abs(shown - probabilities[:count]).max()), float(logits))
        kind = program.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        name = f"{path.parent.name}/{path.name}"
        print(f"OpenVINO {VERSION}: {name} in {kind}: largest difference {worst:.2g}")
        good &= worst <= most
    return good


def main(folder):
    good = True
    for one in onnx_files(folder):
        good &= check(*one)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
