"""`l2s sweep`: runs one after the other on all cores, and several at a time with a share of the cores each.

    python benchmarks/sweep_jobs.py [--short] [--device cpu|cuda] [--json FILE]

The whole command counts: start, training at batch 20 of 128x128, validation, test figures, pictures. Both
forms find their programs compiled, and take turns. `sweep_jobs_vs_one` is the time ratio.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import turns

SWEEP = """
name = "jobs"
draws = {draws}
percents = [50]
[options]
weights = "random"
steps = {steps}
validate_steps = {steps}
[[variant]]
name = "labelset"
preset = "labelset"
settings = ["S+C"]
"""


def run_sweep(file: Path, data: Path, out: Path, jobs: int, environment: dict[str, str]) -> float:
    """Seconds that a sweep took from the start of its process."""
    command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "sweep", file]
    command += ["--manifest", data, "--out", out, "--jobs", jobs]
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measures, prints a table and JSON."""
    options = turns.parser(__doc__).parse_args()
    from l2s_jax.phantom.patches import prepare_phantom

    threads = turns.machine((), options.device)["threads"]
    jobs = max(2, threads)
    draws, steps = (jobs, 60) if options.short else (2 * jobs, 200)
    rounds: dict[int, list[float]] = {1: [], jobs: []}
    results: turns.Results = {"jobs_load_average": turns.load()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        prepare_phantom(data, patches=160)
        environment = {**os.environ, "L2S_CACHE": str(folder / "cache"), "JAX_PLATFORMS": options.device}
        warm, measured = folder / "warm.toml", folder / "measured.toml"
        warm.write_text(SWEEP.format(draws=1, steps=2))
        measured.write_text(SWEEP.format(draws=draws, steps=steps))
        for number in rounds:
            run_sweep(warm, data, folder / f"warm{number}", number, environment)
        for i in range(2 if options.short else 3):
            for number, times in rounds.items():
                out = folder / f"out{i}_{number}"
                times.append(run_sweep(measured, data, out, number, environment))
    for number, times in rounds.items():
        results |= turns.spread(f"sweep_{number}_at_a_time_s", times)
    pairs = zip(rounds[jobs], rounds[1], strict=True)
    results |= turns.spread("sweep_jobs_vs_one", [many / one for many, one in pairs], 3)
    results |= {"sweep_jobs": jobs, "sweep_runs": draws, "sweep_steps": steps}
    rows = [
        [f"{draws} runs of {steps} steps, {number} at a time, s", *(round(seconds, 1) for seconds in times)]
        for number, times in rounds.items()
    ]
    results |= turns.machine(("jax", "jaxlib"), options.device)
    turns.report(results, ("what", *["round"] * len(rounds[1])), rows, options.json)


if __name__ == "__main__":
    main()
