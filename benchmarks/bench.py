"""Runs every benchmark and writes their results as one flat object.

    python benchmarks/bench.py [--long] [--device cpu|cuda] [--tf32] [--only step macenko ...]

The short forms take less than ten minutes together on two idle cores. `benchmarks/results/latest.json` is
written after each part; a part that fails is named in it under `failed`, costs the others nothing, and makes
the exit code 1. Before the first part it waits until what was written (an installation, say) is on the disk
and other processes are quiet, a minute at most. `NAME_others` is the share of all processors that other
processes took while a part was measured: ratios of a busy machine are not those of a quiet one, and it says
so. `python benchmarks/table.py` then puts the figures into benchmarks/README.md.
"""

import argparse
import contextlib
import datetime
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import turns

HERE = Path(__file__).parent
LATEST = HERE / "results" / "latest.json"

PARTS = {
    "step": ("train_step.py", ["--all"]),
    "five_seeds": ("five_seeds.py", []),
    "loop": ("loop.py", []),
    "inference": ("inference.py", []),
    "macenko": ("macenko.py", []),
    "start": ("start.py", []),
    "extraction": ("extraction.py", []),
}
"""Script of each part, and the options of its long form."""

TAKES_TF32 = ("step", "five_seeds", "inference")
"""Parts that compare networks with torch: with `--tf32` both sides in TensorFloat-32, else in float32."""

SHORT_LIMIT_S, LONG_LIMIT_S = 240, 3600
"""A part that takes longer has failed."""

QUIET, QUIET_LIMIT_S = 0.05, 60
"""Below this share of the processors other processes are quiet; how long to wait for that."""


def run_part(name: str, options: argparse.Namespace, folder: Path) -> tuple[turns.Results, str]:
    """A part's results, and what went wrong, empty where nothing did."""
    script, long_options = PARTS[name]
    out = folder / f"{name}.json"
    command = [sys.executable, str(HERE / script), "--device", options.device, "--json", str(out)]
    command += long_options if options.long else ["--short"]
    command += ["--tf32"] if options.tf32 and name in TAKES_TF32 else []
    print(f"== {name}", flush=True)
    limit = LONG_LIMIT_S if options.long else SHORT_LIMIT_S
    busy, own, began = turns.busy_s(), _children_s(), time.monotonic()
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return {}, f"took more than {limit} s"
    finally:
        _end(process)
    if code or not out.is_file():
        return {}, f"ended with exit code {code}"
    passed = (time.monotonic() - began) * (os.cpu_count() or 1)
    others = max(turns.busy_s() - busy - (_children_s() - own), 0.0) / passed
    return json.loads(out.read_text()) | {f"{name}_others": round(others, 3)}, ""


def _children_s() -> float:
    """Seconds of processors of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_for_quiet() -> float:
    """Waits until all is written and other processes are quiet; returns the share that they still take."""
    os.sync()
    end = time.monotonic() + QUIET_LIMIT_S
    while True:
        before, began = turns.busy_s(), time.monotonic()
        time.sleep(3)
        share = (turns.busy_s() - before) / (time.monotonic() - began) / (os.cpu_count() or 1)
        if share < QUIET or time.monotonic() > end:
            return share


def verdict(results: turns.Results) -> str:
    """What to think of the figures, where other processes were at work; empty where they were not."""
    shares = {name: results.get(f"{name}_others", 0.0) for name in PARTS}
    loud = [f"{share:.0%} during {name}" for name, share in shares.items() if share > QUIET]
    if not loud:
        return ""
    return f"other processes took {', '.join(loud)}: free the machine and run those again (--only)"


def _end(process: subprocess.Popen) -> None:
    """Ends a part and all that it has started: a variant left running would disturb the parts that follow."""
    for number in (signal.SIGINT, signal.SIGKILL):  # the first lets it take its temporary files away
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(10)


def write(results: turns.Results) -> None:
    """Writes the results so far, whole or not at all."""
    LATEST.parent.mkdir(exist_ok=True)
    temporary = LATEST.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(temporary, LATEST)


def main() -> None:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the long forms, about half an hour")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="TensorFloat-32 on both sides (cuda)")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    began = time.monotonic()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results: turns.Results = {"date": now, "form": "long" if options.long else "short", "tf32": options.tf32}
    results |= {"failed": "", "others_before": round(wait_for_quiet(), 3)}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            found, fault = run_part(name, options, Path(folder))
            results |= found
            if fault:
                print(f"{name} failed: it {fault}", file=sys.stderr)
                failed.append(name)
            results["failed"] = ", ".join(failed)
            results["bench_s"] = round(time.monotonic() - began, 1)
            write(results)
    if verdict(results):
        print(verdict(results), file=sys.stderr)
    print(f"written: {LATEST}" + (f"; failed: {results['failed']}" if failed else ""))
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
