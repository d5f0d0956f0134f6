"""The same train step under several versions of JAX, and Python.

    python benchmarks/jax_versions.py PYTHON... [--short] [--dtypes float32 bfloat16]
        [--torch eager channels_last] [--earlier COMMIT] [--json FILE]

Each PYTHON is the interpreter of an environment in which this package is installed with a version of JAX;
the first is what the others are compared with. torch, where it is asked for, is that of the interpreter that
runs this. `--earlier` is a build of this repository's history, which the first PYTHON runs too. The step is
that of `train_step.py`, batch 20 of 128x128. Processes take turns; `compile_s` is for an empty compile cache.
"""

import subprocess
import tempfile
from argparse import Namespace
from pathlib import Path

import turns

STEP = str(Path(__file__).with_name("train_step.py"))
VERSION = "from importlib.metadata import version; print(version('jax'))"


def version_of(python: str) -> str:
    """The version of JAX that an interpreter has."""
    return subprocess.run([python, "-c", VERSION], check=True, capture_output=True, text=True).stdout.strip()


def measure(options: Namespace, dtype: str, work: Path) -> tuple[turns.Results, list[list[object]]]:
    """Flat results of a dtype, and a row a version for the table; `work` may hold the earlier build."""
    passed = [f"--device={options.device}", "--batch=20", "--patch=128"]
    ours = [turns.Worker(STEP, f"jax-{dtype}", passed, python=python) for python in options.pythons]
    torch = [turns.Worker(STEP, f"torch-{how}-{dtype}", passed) for how in options.torch]
    earlier = []
    if options.earlier:
        build = work / options.earlier
        if not build.is_dir():
            turns.earlier_build(options.earlier, build)
        script, path = str(build / "benchmarks" / "train_step.py"), {"PYTHONPATH": str(build)}
        earlier = [turns.Worker(script, f"jax-{dtype}", passed, path, options.pythons[0])]
    results: turns.Results = {f"{dtype}_load_average": turns.load()}
    turns.take_turns([*ours, *torch, *earlier], 11 if options.short else 31, 2)
    names = [f"jax {version_of(python)}" for python in options.pythons]
    names += [f"torch {how}" for how in options.torch]
    names += [f"build {options.earlier}"] if earlier else []
    keys = [name.replace(" ", "_").replace(".", "_") for name in names]
    rows = []
    for name, key, worker in zip(names, keys, [*ours, *torch, *earlier], strict=True):
        of_worker = turns.times_of(worker, key)
        results |= of_worker
        figures = (f"{key}_{worker.key}_{what}" for what in ("ms", "ms_min", "ms_max", "compile_s"))
        rows.append([name, dtype, *(of_worker[figure] for figure in figures)])
    for key, worker in zip(keys, ours, strict=False):
        if worker is not ours[0]:
            results |= turns.ratio(f"{key}_{dtype}_vs_first", worker, ours[0])
        for before in earlier:
            results |= turns.ratio(f"{key}_{dtype}_vs_build_{options.earlier}", worker, before)
        for how, other in zip(options.torch, torch, strict=True):
            results |= turns.ratio(f"{key}_{dtype}_vs_torch_{how}", worker, other)
    return results, rows


def main() -> None:
    """Parses the options, measures each dtype, reports."""
    parser = turns.parser(__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--earlier", metavar="COMMIT", help="an earlier build of this repository")
    parser.add_argument("--torch", nargs="+", default=[], choices=["eager", "channels_last"])
    options = parser.parse_args()
    turns.set_up(options.device)
    results, rows = turns.machine(("jax",), options.device), list[list[object]]()
    with tempfile.TemporaryDirectory() as work:
        for dtype in options.dtypes:
            of_dtype, own_rows = measure(options, dtype, Path(work))
            results |= of_dtype
            rows += own_rows
    turns.report(results, ("version", "dtype", "ms/step", "min", "max", "compile s"), rows, options.json)


if __name__ == "__main__":
    main()
