"""What the benchmarks share: variants that take turns, each in a process of its own, and how results look.

A benchmark's main process starts a worker for each variant and collects the figures. A worker
(`--variant NAME`) warms up and then answers each line of its standard input, a number of repetitions, with
the seconds that one took. So torch and jax never share a process, and both meet the same load. All keep
freed memory as `l2s` does (`l2s_jax/jax_setup.py`): torch gains by it too.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from l2s_jax.system.jax_setup import keep_freed_memory

Results = dict[str, Any]
"""Flat: names to numbers and strings."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    out = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    out.add_argument("--short", action="store_true", help="fewer repetitions")
    out.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    out.add_argument("--json", type=Path, help="also write the results here")
    out.add_argument("--variant", help=argparse.SUPPRESS)
    return out


def set_up(device: str) -> None:
    """Keeps jax to one kind of device, and freed memory in the process; to be called before any step."""
    os.environ["JAX_PLATFORMS"] = device
    # Variants share the GPU: none may take three quarters of its memory, as jax does by default.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    keep_freed_memory()


def serve(run: Callable[[], object], warm_up: int = 3, **facts: Any) -> None:
    """A worker's life: warms up, says what it knows (`facts`), then runs as often as it is told."""
    for _ in range(warm_up):
        run()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            run()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(json.dumps({"wall": wall / int(line), "processor": processor / int(line)}), flush=True)


class Worker:
    """A variant's process and what it answered."""

    def __init__(
        self,
        script: str,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] = {},
        python: str = sys.executable,
    ):
        self.name, self.key = name, name.replace("-", "_")
        command = [python, script, "--variant", name, *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.facts = self._answer()
        self.rounds: list[dict[str, float]] = []

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries may print of their own accord
                return json.loads(line)
        raise SystemExit(f"{self.name} failed; its message is above")

    def measure(self, times: int) -> None:
        """One turn: time and processor time of one repetition, in seconds."""
        assert self.process.stdin is not None
        before, start = busy_s(), time.perf_counter()
        print(times, file=self.process.stdin, flush=True)
        answer = self._answer()
        passed = (time.perf_counter() - start) * (os.cpu_count() or 1)
        others = busy_s() - before - answer["processor"] * times
        self.rounds.append({**answer, "others": max(others, 0.0) / passed})

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def median(self, what: str = "wall") -> float:
        """Median over the turns of `wall` or `processor`, in seconds."""
        return statistics.median(r[what] for r in self.rounds)


def take_turns(workers: Sequence[Worker], rounds: int, times: int) -> None:
    """Lets the workers measure one after the other, `rounds` times over, then ends them."""
    for _ in range(rounds):
        for worker in workers:
            worker.measure(times)
    for worker in workers:
        worker.close()


def ratio(name: str, ours: Worker, theirs: Worker, what: str = "wall", parts: int = 1) -> Results:
    """Our time over `parts` times theirs, round by round: median and spread under `name`."""
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return spread(name, [a[what] / b[what] / parts for a, b in pairs], 3)


def spread(name: str, values: Sequence[float], digits: int = 1) -> Results:
    """Median, least and greatest under `name`, `name_min`, `name_max`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return {
        name: round(middle, digits),
        f"{name}_min": round(low, digits),
        f"{name}_max": round(high, digits),
    }


def times_of(worker: Worker, prefix: str) -> Results:
    """A worker's milliseconds: median and spread, processor time, and what it said of itself."""
    name = f"{prefix}_{worker.key}"
    out = spread(f"{name}_ms", [r["wall"] * 1e3 for r in worker.rounds])
    out[f"{name}_processor_ms"] = round(worker.median("processor") * 1e3, 1)
    out[f"{name}_others"] = round(worker.median("others"), 3)
    return out | {f"{name}_{key}": value for key, value in worker.facts.items()}


def machine(packages: Sequence[str], device: str) -> Results:
    """Versions, device and threads."""
    out: Results = {f"version_{name}": importlib.metadata.version(name) for name in packages}
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    out |= {"device": device, "threads": threads, "processor": processor_name()}
    out |= {"gpu": gpu_name()} if device == "cuda" else {}
    return out | {"python": platform.python_version(), "system": platform.system()}


def processor_name() -> str:
    """The processor's name and the widest vector instructions that it says it has."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = fields.get("flags", "").split()
    vectors = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), "")
    return " ".join([fields.get("model name", platform.machine()), *([vectors] if vectors else [])])


def gpu_name() -> str:
    """The first GPU's name as its driver has it."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.splitlines()[0]


L2S = (sys.executable, "-m", "l2s_jax")
"""The command `l2s`, whatever is installed."""


def run_whole(command: Sequence[object], environment: Mapping[str, str]) -> dict[str, float]:
    """Runs a program from its start to its end, its output thrown away; its errors are shown.

    Returns:
      `s` on the clock, `processor_s`, `peak_mib` (greatest resident set of one process), and `others`, the
      share of all processors that other processes took meanwhile.

    Raises:
      SystemExit: it failed.
    """
    before, start = busy_s(), time.perf_counter()
    words = [str(word) for word in command]
    process = subprocess.Popen(words, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words[:4])} ... failed; its message is above")
    wall, processor = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    others = max(busy_s() - before - processor, 0.0) / (wall * (os.cpu_count() or 1))
    return {"s": wall, "processor_s": processor, "peak_mib": usage.ru_maxrss / 1024, "others": others}


def busy_s() -> float:
    """Seconds of processors that all processes together have taken so far, the hypervisor's included.

    0 where the system does not tell (it does on Linux).
    """
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, stat.read_text().split(None, 11)[1:11])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def earlier_build(commit: str, folder: Path) -> Path:
    """Takes a build out of this repository's history and puts it in a new folder, which is returned."""
    root = Path(__file__).parents[1]
    archive = subprocess.run(["git", "archive", commit], cwd=root, capture_output=True, check=True).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 1)


def report(
    results: Results, columns: Sequence[str], rows: Sequence[Sequence[object]], path: Path | None
) -> None:
    """Prints a table and the results as one line of JSON, and writes them where asked."""
    lines = [list(map(str, row)) for row in (columns, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for first, *rest in lines:
        cells = [first.ljust(widths[0])]
        print("  ".join(cells + [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]))
    for name, value in results.items():
        if "_vs_" in name and not name.endswith(("_min", "_max")):
            ends = [results.get(f"{name}{end}") for end in ("_min", "_max")]
            print(f"{name}: {value}" + ("" if None in ends else f" ({ends[0]} to {ends[1]})"))
    print(json.dumps(results))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
