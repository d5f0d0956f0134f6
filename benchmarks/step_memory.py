"""Peak memory of a train step beside PyTorch's.

    python benchmarks/step_memory.py [--batches 20 64] [--patch 128] [--json FILE]

Greatest resident sets of fresh processes, as the kernel counts them: `start` until the first step can be
taken, `step` during three steps after it. Ours keeps freed memory, as `l2s` does, and is measured twice: with
the step compiled in the process, which leaves the compiler's memory with it, and with the program from the
compile cache, as every later start has it. torch is as people run it. Linux only.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import turns

from train_step import jax_step, torch_step

VARIANTS = ("jax-compiled", "jax-cached", "torch-eager", "torch-channels_last")


def peak_mib() -> float:
    """Greatest resident set since the last `forget_peak`, or since this process began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def forget_peak() -> None:
    """From here on the peak is counted anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def child(options: argparse.Namespace) -> None:
    """Takes some steps in this process and says what they took."""
    ours = options.variant.startswith("jax")
    if ours:
        turns.set_up("cpu")
        from l2s_jax.system.jax_setup import use_compile_cache

        use_compile_cache(True, options.cache)
    options.variant = "jax-float32" if ours else f"{options.variant}-float32"
    run, _ = (jax_step if ours else torch_step)(options)
    start = peak_mib()
    gc.collect()
    forget_peak()
    for _ in range(3):
        run()
    print(json.dumps({"start": round(start), "step": round(peak_mib())}))


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[20, 64])
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        options.augment = options.tf32 = False
        return child(options)
    results: turns.Results = {"step_memory_patch": options.patch}
    rows = []
    for batch in options.batches:
        of_batch = {}
        with tempfile.TemporaryDirectory() as cache:
            for variant in VARIANTS:
                passed = [
                    "--variant",
                    variant,
                    f"--batch={batch}",
                    f"--patch={options.patch}",
                    f"--cache={cache}",
                ]
                command = [sys.executable, __file__, *passed]
                done = subprocess.run(
                    command, env=dict(os.environ), check=True, stdout=subprocess.PIPE, text=True
                )
                of_batch[variant] = found = json.loads(done.stdout.splitlines()[-1])
                rows.append([f"{batch} x {options.patch}", variant, found["start"], found["step"]])
                key = f"step_memory_{batch}_{variant.replace('-', '_')}"
                results |= {f"{key}_{what}_mib": mib for what, mib in found.items()}
        for ours in ("jax-compiled", "jax-cached"):
            for torch in ("eager", "channels_last"):
                ratio = of_batch[ours]["step"] / of_batch[f"torch-{torch}"]["step"]
                results[f"step_memory_{batch}_{ours.removeprefix('jax-')}_vs_torch_{torch}"] = round(ratio, 2)
    results |= turns.machine(("jax", "jaxlib", "torch"), options.device)
    turns.report(results, ("batch", "variant", "start, MiB", "step, MiB"), rows, options.json)


if __name__ == "__main__":
    main()
