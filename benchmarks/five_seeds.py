"""Five seeds trained together beside the single step and beside five steps of PyTorch.

    python benchmarks/five_seeds.py [--short] [--strategies unroll vmap map] [--seeds 5] [--steps N]
        [--device cpu|cuda] [--tf32] [--json FILE]

`five_seeds_vs_single` is the time of one step of five seeds by the strategy that `auto` picks over that of
the single step (the goal: at most 5), `five_seeds_vs_torch` the same over five times torch eager's step.
Other strategies are measured where they are named: on a CPU `vmap` and `map` take seconds to minutes a step,
which is why `auto` tries them only within its limit of time; what it tried and found is in the results.
Every variant is a process of its own; they take turns.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import turns

from train_step import jax_parts, jax_step, torch_step


def jax_seeds(options: argparse.Namespace) -> tuple[Callable[[], object], dict[str, Any]]:
    """A call that runs one step of all seeds, and what there is to say about it."""
    import jax

    from l2s_jax.train_step.seeds import Apart, as_form, fastest, jit_many_step, measure_strategies

    n = options.seeds
    step, state_of, batch = jax_parts(options)
    states, batches = Apart(tuple(state_of(seed) for seed in range(n))), Apart((batch,) * n)
    start = time.perf_counter()
    strategy, facts = options.variant.removeprefix("jax-seeds-"), {}
    if strategy == "auto":
        measured, left_out = measure_strategies(step, states, batches, n, limit_s=options.limit)
        strategy = fastest(measured)
        program = measured[strategy].program
        facts = {"tried": ", ".join(f"{name} {tried.ms:.0f} ms" for name, tried in measured.items())}
        facts["left_out"] = "; ".join(f"{name}: {why}" for name, why in left_out.items())
    else:
        program = jit_many_step(step, n, strategy)
    states, batches = (as_form(seeds, n, strategy) for seeds in (states, batches))
    states, _ = program(states, batches)
    jax.block_until_ready(states)
    facts |= {"strategy": strategy, "first_step_s": round(time.perf_counter() - start, 1)}

    def run() -> None:
        nonlocal states
        states, metrics = program(states, batches)
        jax.block_until_ready((states, metrics))

    return run, facts


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strategies", nargs="*", default=[], choices=("unroll", "vmap", "map"))
    parser.add_argument("--limit", type=float, default=60, help="seconds that auto may try strategies for")
    parser.add_argument("--batch", type=int, default=20, help="patches a step of one seed (default 20)")
    parser.add_argument("--patch", type=int, default=128, help="pixels a side (default 128)")
    parser.add_argument("--tf32", action="store_true", help="TensorFloat-32 on both sides (cuda)")
    parser.add_argument("--steps", type=int, help="steps in a turn (default 1, cuda 20)")
    options = parser.parse_args()
    options.augment = False
    options.steps = options.steps or (1 if options.device == "cpu" else 20)
    if options.variant:
        turns.set_up(options.device)
        if options.variant.startswith("jax-seeds"):
            run, facts = jax_seeds(options)
            return turns.serve(run, warm_up=1, **facts)
        run, seconds = (jax_step if options.variant.startswith("jax") else torch_step)(options)
        return turns.serve(run, compile_s=round(seconds, 1))
    passed = [f"--{key}={getattr(options, key)}" for key in ("seeds", "batch", "patch", "device", "limit")]
    passed += ["--tf32"] if options.tf32 else []
    names = ["jax-seeds-auto", *(f"jax-seeds-{name}" for name in options.strategies)]
    names += ["jax-float32", "torch-eager-float32", "torch-channels_last-float32"]
    workers = [turns.Worker(__file__, name, passed) for name in names]
    results: turns.Results = {"five_seeds_load_average": turns.load(), "five_seeds_n": options.seeds}
    results["five_seeds_tf32"] = options.tf32
    turns.take_turns(workers, 9 if options.short else 15, options.steps)
    rows = []
    for worker in workers:
        results |= turns.times_of(worker, "five_seeds")
        name = f"five_seeds_{worker.key}"
        rows.append([worker.name, *(results[f"{name}_{end}"] for end in ("ms", "ms_min", "ms_max"))])
    seeds, single, eager, channels_last = workers[0], *workers[-3:]
    results |= turns.ratio("five_seeds_vs_single", seeds, single)
    results |= turns.ratio("five_seeds_vs_single_processor", seeds, single, "processor")
    for name, torch in (("", eager), ("_channels_last", channels_last)):
        results |= turns.ratio(f"five_seeds_vs_torch{name}", seeds, torch, parts=options.seeds)
    results |= turns.machine(("jax", "jaxlib", "torch"), options.device)
    turns.report(results, ("variant", "ms", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
