"""From the start of `l2s train` to the end of its first step, with an empty and with a filled compile cache.

    python benchmarks/start.py [--short] [--device cpu|cuda] [--json FILE]

The whole process counts: interpreter, imports, the command line, the check of the manifest, decoding (200
patches and masks of 128x128), weights, compilation, the first step at batch 20. `first_step_cold_s` has an
empty cache folder, `first_step_warm_s` the one that the cold run filled. On the way: `imports` are done;
`ready`, patches are loaded and a thread begins to compile the step; `lowered`, it is traced and lowered;
`compiled`, or taken from the cache; `before_step`, the main thread has the initial state and the first batch,
and waits for the step where it has to. `help_s` is `l2s --help`, and `help_train_s` that of `l2s train`,
whose options have to be read.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import turns

MARKS = ("imports", "ready", "lowered", "compiled", "before_step", "processor", "first_step")


def child(options: Any) -> None:
    """Runs `l2s train` in this process and leaves as soon as its first step is done."""
    import jax

    import l2s_jax.train_step.seeds as seeds

    marks = {"imports": time.time()}
    jit, compile_lowered = seeds.jit_many_step, jax.stages.Lowered.compile

    def timed_compile(*arguments: Any, **named: Any) -> Any:
        if not threading.current_thread().name.startswith("compile"):
            return compile_lowered(*arguments, **named)
        marks["lowered"] = time.time()
        done = compile_lowered(*arguments, **named)
        marks["compiled"] = time.time()
        return done

    jax.stages.Lowered.compile = timed_compile  # type: ignore[method-assign]

    def timed_jit(*arguments: Any) -> Any:
        marks["ready"] = time.time()
        compiled = jit(*arguments)

        def first(states: Any, batches: Any) -> Any:
            marks["before_step"] = time.time()
            jax.block_until_ready(compiled(states, batches))
            marks["first_step"] = time.time()
            seconds = {name: mark - options.began for name, mark in marks.items()}
            print(json.dumps(seconds | {"processor": time.process_time()}), flush=True)
            os._exit(0)

        first.compile_ahead = compiled.compile_ahead  # type: ignore[attr-defined]
        return first

    seeds.jit_many_step = timed_jit  # `run_program` takes it from there when it is imported
    from l2s_jax.cli import app as cli

    arguments = ["train", str(options.data), "--out", str(options.out), "--weights", "random", "--steps", "1"]
    raise SystemExit(cli.run(arguments))


def start_once(data: Path, cache: Path, out: Path, device: str) -> dict[str, float]:
    """Seconds from the start of a fresh process to each mark."""
    command = [sys.executable, __file__, "--variant", "child", "--data", data, "--out", out]
    command += ["--began", time.time()]
    environment = {**os.environ, "L2S_CACHE": str(cache), "JAX_PLATFORMS": device}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # it would come before ours
    done = subprocess.run(
        list(map(str, command)), env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    for name, kind in (("--data", Path), ("--out", Path), ("--began", float)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    if options.variant:
        return child(options)
    from png_set import draw_patches, write_png_set

    results: turns.Results = {"start_load_average": turns.load()}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_png_set(folder / "data", draw_patches(folder / "drawn", 50), 200)
        cold, warm = [], []
        for number in range(2 if options.short else 5):
            cache = folder / f"cache{number}"
            cold.append(start_once(data, cache, folder / f"cold{number}", options.device))
            warm.append(start_once(data, cache, folder / f"warm{number}", options.device))
    for key, words in (("help_s", []), ("help_train_s", ["train"])):
        command = [*turns.L2S, *words, "--help"]
        turns.run_whole(command, os.environ)  # its files are in memory from here on
        took = [turns.run_whole(command, os.environ)["s"] for _ in range(5 if options.short else 15)]
        results |= turns.spread(key, took, 3)
        rows.append([key, *(results[f"{key}{end}"] for end in ("", "_min", "_max"))])
    for what, runs in (("cold", cold), ("warm", warm)):
        for mark in MARKS:
            key = f"{mark}_{what}_s"
            key = key if mark == "first_step" else f"start_{key}"
            results |= turns.spread(key, [run[mark] for run in runs])
            rows.append([key, *(results[f"{key}{end}"] for end in ("", "_min", "_max"))])
    results |= turns.machine(("jax", "jaxlib", "flax", "orbax-checkpoint"), options.device)
    turns.report(results, ("what", "median", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
