"""ONNX files in OpenCV's dnn, at fixed shapes, against what the network itself answers.

python check_opencv.py FOLDER
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from answers import onnx_files


def check(path, raw, probabilities, class_logits, tolerance):
    net = cv2.dnn.readNetFromONNX(str(path))
    names = ["probabilities", "class_logits"]  # by name: which of both comes first differs between versions
    assert set(net.getUnconnectedOutLayersNames()) == set(names)
    worst = 0.0
    for count in (1, len(raw)):
        net.setInput(raw[:count].transpose(0, 3, 1, 2).astype(np.float32))
        found, logits = net.forward(names)
        assert found.shape == (count, *probabilities.shape[3:], *raw.shape[1:3]), found.shape
        worst = max(worst, float(np.abs(found.transpose(0, 2, 3, 1) - probabilities[:count]).max()))
        scale = np.abs(class_logits).max()
        worst = max(worst, float(np.abs(logits.reshape(count, -1) - class_logits[:count]).max() / scale))
    print(f"OpenCV {cv2.__version__}: {path.parent.name}/{path.name}: largest difference {worst:.2g}")
    return worst <= tolerance


def main(folder):
    good = True
    for path, *rest in onnx_files(folder):
        try:
            good &= check(path, *rest)
        except cv2.error as error:
            name = f"{path.parent.name}/{path.name}"
            print(f"OpenCV {cv2.__version__} refuses {name}: {str(error).strip().splitlines()[0]}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
