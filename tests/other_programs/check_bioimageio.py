"""A package in bioimageio.core's own test: valid, and both programs give what l2s_jax made of its picture.

python check_bioimageio.py FOLDER
"""

import sys
from importlib.metadata import version
from pathlib import Path

from bioimageio.core import test_model


def main(folder):
    summary = test_model(folder / "exported" / "bioimageio.zip")
    print(f"bioimageio.core {version('bioimageio.core')}, pydantic {version('pydantic')}: {summary.status}")
    tested = {detail.loc[1] for detail in summary.details if detail.loc[:1] == ("weights",)}
    if summary.status != "passed" or not tested >= {"onnx", "torchscript"}:
        print(summary.format())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
