"""One train step beside PyTorch's: time, processor time, compile time.

    python benchmarks/train_step.py [--short] [--all] [--batch 20] [--patch 128] [--dtype float32]
        [--torch eager channels_last compile] [--skip] [--device cpu|cuda] [--tf32] [--augment] [--json FILE]

Every variant is a process of its own and takes the same uint8 patches and masks, half the rows with a mask,
half with a label, no augmentation unless asked for. After warming up they take turns, so that all meet the
same load on the machine; ratios are medians of the ratios within each turn. Processor time is summed over a
process's threads: on a shared machine it moves less than time on the clock. `--all` also measures
torch.compile, bfloat16, batches of 64 and patches of 256; on a GPU TensorFloat-32, with which all but the
first case then go.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import turns

CLASSES = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_arrays(batch: int, patch: int) -> dict[str, object]:
    """A batch in NumPy, the same for every variant."""
    import numpy as np

    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (batch, patch, patch, 3), dtype=np.uint8),
        "mask": rng.integers(0, CLASSES, (batch, patch, patch), dtype=np.uint8),
        "label": rng.integers(0, CLASSES, batch).astype(np.int32),
        "has_mask": np.arange(batch) < batch // 2,
        "has_label": np.arange(batch) >= batch // 2,
    }


def jax_parts(options: argparse.Namespace, dtype: str = "float32", decoder: str = "paper"):
    """The library's step, not yet compiled, with a function of a seed that makes its state, and a batch."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from l2s_jax.config import TrainConfig
    from l2s_jax.models.network import L2S
    from l2s_jax.train_step import step as train_step
    from l2s_jax.types import Batch

    if options.device == "cuda":
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if options.tf32 else "highest")
    arrays = make_arrays(options.batch, options.patch)
    rows = np.arange(options.batch, dtype=np.int32)
    every = np.ones((len(rows), CLASSES), bool)
    batch = jax.device_put(Batch(**arrays, index=rows, epoch=np.zeros_like(rows), allowed=every))
    config = TrainConfig() if options.augment else TrainConfig(augment="none", colour_jitter=False)
    model = L2S(CLASSES, dtype=jnp.dtype(dtype), decoder=decoder)
    optimizer = train_step.make_optimizer(1e-4)
    ones = np.ones(CLASSES, np.float32)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    paper = train_step.Objective(*np.float32([1, 0, 0]))
    task = train_step.Task(ones, ones, mean, std, paper)

    def state_of(seed: int) -> train_step.TrainState:
        return train_step.init_state(model, optimizer, task, jax.random.key(seed))

    return train_step.make_train_step(model, optimizer, config), state_of, batch


def jax_step(options: argparse.Namespace) -> tuple[Callable[[], object], float]:
    """The library's own train step: a call that runs and waits for one, and the seconds to compile."""
    import jax

    from l2s_jax.train_step.step import jit_train_step

    step, state_of, batch = jax_parts(options, *options.variant.split("-")[1:])
    state = state_of(0)
    start = time.perf_counter()
    compiled = jit_train_step(step).lower(state, batch).compile()  # type: ignore[attr-defined]
    seconds = time.perf_counter() - start

    def run() -> None:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    return run, seconds


def torch_step(options: argparse.Namespace) -> tuple[Callable[[], object], float]:
    """The same step in plain PyTorch (benchmarks/torch_reference.py)."""
    import torch
    import torch_reference as reference

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    _, how, dtype = options.variant.split("-")
    tensors = {
        name: torch.as_tensor(a).to(options.device)
        for name, a in make_arrays(options.batch, options.patch).items()
    }
    layout = torch.contiguous_format if how == "eager" else torch.channels_last
    network = reference.Network(CLASSES).to(options.device, memory_format=layout).train()
    optimizer = reference.make_optimizer(network)
    mean, std = (torch.tensor(v, device=options.device)[None, :, None, None] for v in (MEAN, STD))
    weights = torch.ones(CLASSES, device=options.device)
    labels, flags = tensors["label"].long(), (tensors["has_mask"], tensors["has_label"])

    def loss() -> torch.Tensor:
        image = (tensors["image"].permute(0, 3, 1, 2).float() / 255 - mean) / std
        image = image.contiguous(memory_format=layout)
        with torch.autocast(options.device, torch.bfloat16, enabled=dtype == "bfloat16"):
            parts = reference.losses(network, image, tensors["mask"].long(), labels, *flags, weights, weights)
        return parts[0] + parts[1]

    loss = torch.compile(loss) if how == "compile" else loss

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if options.device == "cuda":
            torch.cuda.synchronize()

    start = time.perf_counter()
    run()
    return run, time.perf_counter() - start


def threads_of(variant: str) -> dict[str, int]:
    """The threads that torch takes on a CPU; JAX takes one a core that it may use (`threads`)."""
    if not variant.startswith("torch"):
        return {}
    import torch

    return {"threads": torch.get_num_threads()}


class Case(NamedTuple):
    """A size of batch and patch, and what is compared on it."""

    prefix: str  # of the results' names
    batch: int
    patch: int
    dtype: str
    torch: tuple[str, ...]
    tf32: bool


def cases(options: argparse.Namespace) -> list[Case]:
    """The one that the options describe; with --all the others behind it."""
    tf32 = options.tf32
    chosen = [Case("step", options.batch, options.patch, options.dtype, tuple(options.torch), tf32)]
    if options.all:
        eager = ("eager", "channels_last")
        if options.device == "cuda":
            chosen.append(Case("step_tf32", 20, 128, "float32", eager, True))
            tf32 = True  # the larger ones too
        chosen += [
            Case("step_compile", 20, 128, "float32", ("compile",), tf32),
            Case("step_bfloat16", 20, 128, "bfloat16", eager, tf32),
            Case("step_batch64", 64, 128, "float32", eager, tf32),
            Case("step_patch256", 20, 256, "float32", eager, tf32),
        ]
    return chosen


def measure(case: Case, options: argparse.Namespace) -> tuple[turns.Results, list[list[object]]]:
    """Flat results of a case, and a row a variant for the table."""
    names = [f"jax-{case.dtype}", *(f"torch-{how}-{case.dtype}" for how in case.torch)]
    names += [f"jax-{case.dtype}-skip"] * options.skip
    passed = [f"--batch={case.batch}", f"--patch={case.patch}", f"--device={options.device}"]
    passed += ["--tf32"] * case.tf32 + ["--augment"] * options.augment
    workers = [turns.Worker(__file__, name, passed) for name in names]
    results: turns.Results = {f"{case.prefix}_load_average": turns.load(), f"{case.prefix}_tf32": case.tf32}
    turns.take_turns(workers, options.rounds or (11 if options.short else 15), options.steps)
    rows = []
    for worker in workers:
        of_worker = turns.times_of(worker, case.prefix)
        results |= of_worker
        name = f"{case.prefix}_{worker.key}"
        figures = [of_worker[f"{name}_{f}"] for f in ("ms", "ms_min", "ms_max", "processor_ms", "compile_s")]
        rate = round(case.batch / worker.median(), 1)
        rows.append([f"{case.batch} x {case.patch}", worker.name, *figures, rate])
    for worker, how in zip(workers[1 : 1 + len(case.torch)], case.torch, strict=True):
        name = f"{case.prefix}_vs_torch" + ("" if case.prefix == "step_compile" else f"_{how}")
        results |= turns.ratio(name, workers[0], worker)
        results |= turns.ratio(f"{name}_processor", workers[0], worker, "processor")
    if options.skip:
        results |= turns.ratio(f"{case.prefix}_skip_vs_paper", workers[-1], workers[0])
    return results | {f"{case.prefix}_batch": case.batch, f"{case.prefix}_patch": case.patch}, rows


def main() -> None:
    """Parses the options, starts the variants one by one, lets them take turns, reports."""
    parser = turns.parser(__doc__)
    parser.add_argument("--all", action="store_true", help="torch.compile, bfloat16, batch 64, patch 256 too")
    parser.add_argument("--skip", action="store_true", help="the decoder `skip` too, beside the paper's")
    parser.add_argument("--batch", type=int, default=20, help="patches a step (default 20)")
    parser.add_argument("--patch", type=int, default=128, help="pixels a side (default 128)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    torch_choices = ["eager", "channels_last", "compile"]
    parser.add_argument("--torch", nargs="+", default=torch_choices[:2], choices=torch_choices)
    parser.add_argument("--tf32", action="store_true", help="TensorFloat-32 on both sides (cuda)")
    parser.add_argument("--augment", action="store_true", help="our step augments; torch's does not")
    parser.add_argument("--rounds", type=int, help="turns of each variant (default 15, short 11)")
    parser.add_argument("--steps", type=int, help="steps in a turn (default 2, cuda 50)")
    options = parser.parse_args()
    options.steps = options.steps or (2 if options.device == "cpu" else 50)
    if options.variant:
        turns.set_up(options.device)
        run, seconds = (jax_step if options.variant.startswith("jax") else torch_step)(options)
        return turns.serve(run, compile_s=round(seconds, 1), **threads_of(options.variant))
    results: turns.Results = {"step_augment": options.augment}
    rows = []
    for case in cases(options):
        of_case, case_rows = measure(case, options)
        results |= of_case
        rows += case_rows
    results |= turns.machine(("jax", "jaxlib", "flax", "torch"), options.device)
    columns = ("batch", "variant", "ms/step", "min", "max", "proc. ms", "compile s", "patches/s")
    turns.report(results, columns, rows, options.json)


if __name__ == "__main__":
    main()
