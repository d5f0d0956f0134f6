"""The same train step under several versions of JAX, and Python.

    python benchmarks/jax_versions.py PYTHON... [--short] [--dtypes float32 bfloat16] [--json FILE]

Each PYTHON is the interpreter of an environment in which this package is installed with a version of JAX;
the first is what the others are compared with. The step is that of `train_step.py`, batch 20 of 128x128.
Processes take turns; `compile_s` is for an empty compile cache.
"""

import subprocess
from argparse import Namespace
from pathlib import Path

import turns

STEP = str(Path(__file__).with_name("train_step.py"))
VERSION = "from importlib.metadata import version; print(version('jax'))"


def version_of(python: str) -> str:
    """The version of JAX that an interpreter has."""
    return subprocess.run([python, "-c", VERSION], check=True, capture_output=True, text=True).stdout.strip()


def measure(options: Namespace, dtype: str) -> tuple[turns.Results, list[list[object]]]:
    """Flat results of a dtype, and a row a version for the table."""
    passed = [f"--device={options.device}", "--batch=20", "--patch=128"]
    workers = [turns.Worker(STEP, f"jax-{dtype}", passed, python=python) for python in options.pythons]
    results: turns.Results = {f"{dtype}_load_average": turns.load()}
    turns.take_turns(workers, 11 if options.short else 31, 2)
    versions, rows = [version_of(python) for python in options.pythons], []
    for version, worker in zip(versions, workers, strict=True):
        prefix = f"jax_{version.replace('.', '_')}"
        of_worker = turns.times_of(worker, prefix)
        results |= of_worker
        figures = [
            of_worker[f"{prefix}_{worker.key}_{name}"] for name in ("ms", "ms_min", "ms_max", "compile_s")
        ]
        rows.append([version, dtype, *figures])
        if worker is not workers[0]:
            results |= turns.ratio(f"{prefix}_{dtype}_vs_first", worker, workers[0])
    return results, rows


def main() -> None:
    """Parses the options, measures each dtype, reports."""
    parser = turns.parser(__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    options = parser.parse_args()
    turns.set_up(options.device)
    results, rows = turns.machine(("jax",), options.device), list[list[object]]()
    for dtype in options.dtypes:
        of_dtype, own_rows = measure(options, dtype)
        results |= of_dtype
        rows += own_rows
    turns.report(results, ("jax", "dtype", "ms/step", "min", "max", "compile s"), rows, options.json)


if __name__ == "__main__":
    main()
