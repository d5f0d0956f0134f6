"""`l2s train` as a whole beside a plain PyTorch script: from the shell to the finished run.

    python benchmarks/whole_train.py [--short] [--ebhi FOLDER] [--ebhi-steps 400] [--turns 3]
        [--work FOLDER] [--only DATA:VARIANT ...] [--python PYTHON] [--json FILE]

Two cases: the demo's data and options (200 patches of 64x64, 320 steps) and, with the folder that `l2s
prepare ebhi` made, 400 steps on EBHI-Seg (148 patches of 128x128). Variants are whole processes that take
turns: `l2s-cold` with an empty compile cache, `l2s-warm` with the one that the cold run filled, `torch` is
`torch_train.py` as people write it, `torch-tuned` the same in channels_last and with freed memory kept.
With `--work` each run's time is kept in that folder and a later call adds to them, so that a long measurement
can be cut into pieces (`--only`) where others wait for the machine. `--python` is an interpreter with another
version of JAX: `l2s` runs by it, with this folder's code, and torch by the one that runs this file.
"""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import turns
from jax_versions import version_of

HERE = Path(__file__).parent
DEMO = "--setting S+C* --percent 50 --composition balanced --learning-rate 1e-3 --validate-steps 40"
EBHI = "--setting S+C --percent 25 --learning-rate 3e-4 --validate-steps 40"
CASES = {"demo": DEMO.split(), "ebhi": EBHI.split()}
"""Options of `l2s train` and of `torch_train.py` alike: those of `l2s demo`, and of experiments/ebhi.toml."""

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""What glibc is told so that freed memory stays with the process, as `l2s` tells it itself."""
VARIANTS = ("l2s-cold", "l2s-warm", "torch", "torch-tuned")

FIGURES = {"s": 1, "processor_s": 1, "peak_mib": 0, "others": 3, "best_val_macro_f1": 3}
"""What is said of each variant, and its decimal places."""

Run = dict[str, float]


def run_once(case: str, variant: str, data: Path, work: Path, steps: int, python: str) -> Run:
    """One training in a fresh process: what `turns.run_whole` says of it, and the best validation score."""
    out, cache, told = work / "run", work / f"cache-{case}", [*CASES[case], "--steps", steps]
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "L2S_CACHE": str(cache)}
    environment["PYTHONPATH"] = str(HERE.parent)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # it would come before ours
    if variant.startswith("l2s"):
        if variant == "l2s-cold":
            shutil.rmtree(cache, ignore_errors=True)
        elif not cache.is_dir():
            raise SystemExit(
                "l2s-warm wants the cache that l2s-cold fills: run that first, in the same --work"
            )
        command = [python, *turns.L2S[1:], "train", data, "--out", out, "--weights", "random", *told]
    else:
        command = [sys.executable, HERE / "torch_train.py", data, "--out", out, *told]
        if variant == "torch-tuned":
            command, environment = [*command, "--channels-last"], environment | KEPT
    measured = turns.run_whole(command, environment)
    with (out / "metrics.csv").open(newline="") as file:
        scores = [row["val_macro_f1"] for row in csv.DictReader(file)]
    best = max(float(score) for score in scores if score)  # empty where an epoch was not validated
    shutil.rmtree(out)
    return measured | {"best_val_macro_f1": best}


def data_of(case: str, work: Path, ebhi: Path | None) -> Path:
    """The case's manifest; the demo's is drawn where it is not there yet."""
    if case == "ebhi":
        assert ebhi is not None
        return ebhi
    data = work / "phantom"
    if not data.is_dir():
        drawn = ["prepare", "phantom", str(data), "--patch-size", "64", "--overlap", "0"]
        subprocess.run([*turns.L2S, *drawn], check=True, stdout=subprocess.DEVNULL)
    return data


def summary(runs: dict[str, list[Run]]) -> tuple[turns.Results, list[list[object]]]:
    """Flat results of all runs so far, and a row of each variant."""
    results: turns.Results = {}
    rows: list[list[object]] = []
    for name, measured in runs.items():
        case, variant = name.split(":")
        key = f"whole_{case}_{variant.replace('-', '_')}"
        for what, digits in FIGURES.items():
            results |= turns.spread(f"{key}_{what}", [run[what] for run in measured], digits)
        results[f"{key}_n"] = len(measured)
        shown = ("s", "s_min", "s_max", "others", "peak_mib", "best_val_macro_f1")
        rows.append([name, len(measured), *(results[f"{key}_{what}"] for what in shown)])
    for case, ours, theirs in itertools.product(CASES, VARIANTS[:2], VARIANTS[2:]):
        sides = (runs.get(f"{case}:{variant}", ()) for variant in (ours, theirs))
        ratios = [a["s"] / b["s"] for a, b in zip(*sides, strict=False)]
        if ratios:
            name = f"whole_{case}_{ours.removeprefix('l2s-')}_vs_{theirs.replace('-', '_')}"
            results |= turns.spread(name, ratios, 3)
    return results, rows


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--ebhi", type=Path, help="what `l2s prepare ebhi` made; without it the demo alone")
    parser.add_argument("--ebhi-steps", type=int, default=400)
    parser.add_argument("--turns", type=int, help="of each variant (default 3, short 1)")
    parser.add_argument("--work", type=Path, help="keeps data, compile cache and times for later calls")
    parser.add_argument("--only", nargs="+", metavar="DATA:VARIANT", help="such as demo:torch ebhi:l2s-warm")
    parser.add_argument("--python", default=sys.executable, help="runs l2s (default: this one)")
    options = parser.parse_args()
    cases = ["demo", *(["ebhi"] if options.ebhi else [])]
    every = [f"{case}:{variant}" for case in cases for variant in VARIANTS]
    wanted = options.only or every
    if set(wanted) - set(every):
        parser.error(f"--only takes {', '.join(every)}")
    steps = {"demo": 320, "ebhi": options.ebhi_steps}
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        kept = work / "runs.json"
        runs: dict[str, list[Run]] = json.loads(kept.read_text()) if kept.is_file() else {}
        data = {case: data_of(case, work, options.ebhi) for case in cases}
        for _ in range(options.turns or (1 if options.short else 3)):
            for name in wanted:
                case, variant = name.split(":")
                run = run_once(case, variant, data[case], work, steps[case], options.python)
                runs.setdefault(name, []).append(run)
                kept.write_text(json.dumps(runs, indent=1))
    results, rows = summary(runs)
    results |= {f"whole_{case}_steps": steps[case] for case in cases}
    results |= turns.machine(("torch", "pillow"), options.device)
    results |= {"version_jax": version_of(options.python)}
    turns.report(
        results, ("run", "n", "s", "min", "max", "others", "peak MiB", "best score"), rows, options.json
    )


if __name__ == "__main__":
    main()
