"""The training loop beside the bare step, the loader alone, and start-up, from real PNG files.

    python benchmarks/loop.py [--short] [--from-files] [--device cpu|cuda] [--json FILE]

`loop_vs_step` is the time a step takes in `l2s_jax.train`, with Grain, augmentation and losses fetched, after
the first epoch, over the time of the same compiled step on one batch again and again.
The bare step is measured in the same process after each epoch, so that each epoch stands between two of them:
the ratio is the median over the epochs, each over the mean of its two neighbours. `loader_vs_step` is how
many times more batches a second the loader makes than the step takes. `startup_3000_s` is reading 3,000
patches and masks for a run: the check of the whole manifest, then decoding once into memory. With
`--from-files` it is measured instead what it costs that pictures do not fit the memory that they may take:
`from_files_vs_memory` is the loop that decodes each picture at every epoch over the one that has them, each
over the bare step.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns


def seconds_of_epochs(train: Callable[[], object], between: Callable[[], object]) -> list[float]:
    """Trains, calling `between` after each epoch, and times the epochs without it."""
    from l2s_jax.training.run import TrainingRun

    end_epoch, seconds, began = TrainingRun.end_epoch, [], time.perf_counter()

    def timed(*arguments: Any) -> None:
        nonlocal began
        end_epoch(*arguments)
        seconds.append(time.perf_counter() - began)
        between()
        began = time.perf_counter()

    TrainingRun.end_epoch = timed  # type: ignore[method-assign]
    try:
        train()
    finally:
        TrainingRun.end_epoch = end_epoch  # type: ignore[method-assign]
    return seconds


def measure(data: Path, run: Path, epochs: int, memory_gib: float = 2.0) -> turns.Results:
    """Trains for some epochs, with as many bare steps after each as it has itself.

    With `memory_gib` at 0 every picture is decoded at each epoch.
    """
    import jax

    from l2s_jax.config import TrainConfig
    from l2s_jax.data.loader import batches
    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.data.patch_set import load_patches
    from l2s_jax.models.network import L2S
    from l2s_jax.train_step.step import jit_train_step, make_optimizer, make_train_step
    from l2s_jax.training.initial_weights import first_state
    from l2s_jax.training.plan import plan_run
    from l2s_jax.training.train import train

    config = TrainConfig(weights="random", epochs=epochs, validate_every=10**6, memory_gib=memory_gib)
    manifest = read_manifest(data)
    plan = plan_run(config, load_patches(manifest.patches, manifest.classes, memory_gib), manifest.classes)
    model = L2S(len(manifest.classes))
    state = first_state(config, model, plan.task)
    step = jit_train_step(make_train_step(model, make_optimizer(config.learning_rate), config))

    def loader(number: int) -> float:
        made = batches(plan.patches, plan.subset, plan.schedule, number + 1, config.loader_threads)
        next(made)  # its threads have started
        start = time.perf_counter()
        for _ in range(number):
            next(made)
        return (time.perf_counter() - start) / number

    def bare(number: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(number):
            state, _ = step(state, batch)
        jax.block_until_ready(state)
        return (time.perf_counter() - start) / number

    batch = jax.device_put(next(batches(plan.patches, plan.subset, plan.schedule, 1, 1)))
    bare(3)
    results: turns.Results = {"loop_load_average": turns.load()}
    # Twenty batches would come out of the prefetched ones: many more show the rate that lasts.
    of_loader = [loader(500) for _ in range(3)]
    steps, bare_steps = plan.schedule.steps_per_epoch, []
    of_epochs = seconds_of_epochs(
        lambda: train(data, run, config, say=lambda line: None), lambda: bare_steps.append(bare(steps))
    )
    in_loop = [seconds / steps for seconds in of_epochs[1:]]
    around = [(before + after) / 2 for before, after in zip(bare_steps, bare_steps[1:], strict=False)]
    results |= turns.spread("loop_ms", [1e3 * value for value in in_loop])
    results |= turns.spread("loop_bare_step_ms", [1e3 * value for value in bare_steps])
    results |= turns.spread("loader_ms", [1e3 * value for value in of_loader], 2)
    ratios = [loop / step for loop, step in zip(in_loop, around, strict=True)]
    results |= turns.spread("loop_vs_step", ratios, 3)
    results |= turns.spread("loader_vs_step", [statistics.median(bare_steps) / one for one in of_loader])
    return results | {"loop_first_epoch_s": round(of_epochs[0], 1), "loop_steps_per_epoch": steps}


def startup(data: Path) -> turns.Results:
    """Seconds to check and to decode a manifest of 3,000 patches, three times."""
    from l2s_jax.data.check import check_manifest, require_valid
    from l2s_jax.data.patch_set import load_patches

    check, decode = [], []
    for _ in range(3):
        start = time.perf_counter()
        report = check_manifest(data)
        require_valid(report)
        check.append(time.perf_counter() - start)
        load_patches(report.manifest.patches, report.manifest.classes, 2)
        decode.append(time.perf_counter() - start - check[-1])
    both = [a + b for a, b in zip(check, decode, strict=True)]
    parts = {"startup_3000_s": both, "startup_3000_check_s": check, "startup_3000_decode_s": decode}
    return {name: value for part, times in parts.items() for name, value in turns.spread(part, times).items()}


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--from-files", action="store_true", help="pictures decoded at every epoch, too")
    options = parser.parse_args()
    turns.set_up(options.device)
    from png_set import draw_patches, write_png_set

    from l2s_jax.system.jax_setup import use_compile_cache

    use_compile_cache(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = draw_patches(folder / "drawn")
        data, epochs = write_png_set(folder / "of_400", drawn, 400), 6 if options.short else 12
        results = measure(data, folder / "run", epochs)
        if options.from_files:
            from_files = measure(data, folder / "run_from_files", epochs, memory_gib=0.0)
            slower = from_files["loop_vs_step"] / results["loop_vs_step"]
            results |= {f"from_files_{name}": value for name, value in from_files.items()}
            results["from_files_vs_memory"] = round(slower, 3)
        else:
            results |= startup(write_png_set(folder / "of_3000", drawn, 3000))
    results |= turns.machine(("jax", "grain", "pillow", "numpy"), options.device)
    names = ("loop_ms", "loop_bare_step_ms", "loader_ms")
    if options.from_files:
        names += tuple(f"from_files_{name}" for name in names)
    else:
        names += ("startup_3000_s", "startup_3000_check_s", "startup_3000_decode_s")
    rows = [[name, *(results[f"{name}{end}"] for end in ("", "_min", "_max"))] for name in names]
    turns.report(results, ("what", "median", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
