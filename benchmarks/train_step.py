"""One train step beside PyTorch's: time, processor time, compile time.

    python benchmarks/train_step.py [--short] [--batch 20] [--patch 128] [--dtype float32 bfloat16]
        [--torch eager channels_last compile] [--device cpu|cuda] [--tf32] [--augment] [--json FILE]

Every variant is a process of its own and takes the same uint8 patches and masks, half the rows with a mask,
half with a label, no augmentation unless asked for. After warming up they take turns, so that all meet the
same load on the machine; ratios are medians of the ratios within each turn. Processor time is summed over a
process's threads: on a shared machine it moves less than time on the clock.
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
from collections.abc import Callable
from pathlib import Path

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


def jax_step(options: argparse.Namespace) -> tuple[Callable[[], object], float]:
    """The library's own train step: a call that runs and waits for one, and the seconds to compile."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from l2s_jax import train_step
    from l2s_jax.config import TrainConfig
    from l2s_jax.models.network import L2S
    from l2s_jax.types import Batch

    if options.device == "cuda":
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if options.tf32 else "highest")
    arrays = make_arrays(options.batch, options.patch)
    rows = np.arange(options.batch, dtype=np.int32)
    every = np.ones((len(rows), CLASSES), bool)
    batch = jax.device_put(Batch(**arrays, index=rows, epoch=np.zeros_like(rows), allowed=every))
    config = TrainConfig() if options.augment else TrainConfig(augment="none", colour_jitter=False)
    model = L2S(CLASSES, dtype=jnp.dtype(options.variant.split("-")[1]))
    optimizer = train_step.make_optimizer(1e-4)
    ones = np.ones(CLASSES, np.float32)
    mean, std, paper = (np.array(values, np.float32) for values in (MEAN, STD, (1, 0, 0)))
    task = train_step.Task(ones, ones, mean, std, paper)
    state = train_step.init_state(model, optimizer, task, jax.random.key(0))
    start = time.perf_counter()
    step = train_step.jit_train_step(train_step.make_train_step(model, optimizer, config))
    compiled = step.lower(state, batch).compile()
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


def serve(options: argparse.Namespace) -> None:
    """A variant's process: warms up, then runs as many steps as each line of standard input says."""
    run, seconds = (jax_step if options.variant.startswith("jax") else torch_step)(options)
    for _ in range(3):
        run()
    print(json.dumps({"compile_s": seconds}), flush=True)
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            run()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(json.dumps({"wall": wall / int(line), "processor": processor / int(line)}), flush=True)


class Variant:
    """A variant's process and what it answered."""

    def __init__(self, name: str, options: argparse.Namespace):
        self.name = name
        passed = [f"--{key}={getattr(options, key)}" for key in ("batch", "patch", "device")]
        passed += [f"--{key}" for key in ("tf32", "augment") if getattr(options, key)]
        command = [sys.executable, __file__, "--variant", name, *passed]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.compile_s = self._answer()["compile_s"]
        self.rounds: list[dict[str, float]] = []

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed; its message is above")
        return json.loads(line)

    def measure(self, steps: int) -> None:
        """One turn: time and processor time a step, in seconds."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        self.rounds.append(self._answer())

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def median(self, what: str) -> float:
        """Median over the turns of `wall` or `processor`, in seconds."""
        return statistics.median(r[what] for r in self.rounds)


def ratio(ours: Variant, theirs: Variant, what: str) -> float:
    """Median over the rounds of our time over theirs."""
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return statistics.median(a[what] / b[what] for a, b in pairs)


def summary(variants: list[Variant], options: argparse.Namespace) -> dict[str, object]:
    """The flat results: medians, spreads, ratios, versions, device and threads."""
    out: dict[str, object] = {}
    for variant in variants:
        key = variant.name.replace("-", "_")
        walls = [r["wall"] * 1e3 for r in variant.rounds]
        out[f"{key}_ms"] = round(statistics.median(walls), 1)
        out[f"{key}_ms_min"], out[f"{key}_ms_max"] = round(min(walls), 1), round(max(walls), 1)
        out[f"{key}_processor_ms"] = round(variant.median("processor") * 1e3, 1)
        out[f"{key}_compile_s"] = round(variant.compile_s, 1)
    ours = variants[0]
    for variant in variants[1:]:
        if variant.name.startswith("torch"):
            name = "_".join(variant.name.split("-")[1:]).removesuffix("_float32")
            out[f"step_vs_torch_{name}"] = round(ratio(ours, variant, "wall"), 3)
            out[f"step_vs_torch_{name}_processor"] = round(ratio(ours, variant, "processor"), 3)
    for key in ("batch", "patch", "device", "tf32", "augment"):
        out[f"step_{key}"] = getattr(options, key)
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "torch")}
    out |= {f"version_{name}": version for name, version in versions.items()}
    out |= {"python": platform.python_version(), "processor": platform.processor() or platform.machine()}
    out |= {"threads": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}
    return out


def print_table(variants: list[Variant], results: dict[str, object], options: argparse.Namespace) -> None:
    """Variants by row, ratios below."""
    print(f"batch {options.batch}, patch {options.patch}, {options.device}, load {results['load_average']}")
    print(
        f"{'variant':28}{'ms/step':>9}{'min':>9}{'max':>9}{'proc. ms':>10}{'patches/s':>11}{'compile s':>11}"
    )
    for variant in variants:
        key = variant.name.replace("-", "_")
        cells = [f"{results[f'{key}_ms{s}']:9.1f}" for s in ("", "_min", "_max")]
        cells.append(f"{results[f'{key}_processor_ms']:10.1f}")
        cells.append(f"{options.batch / variant.median('wall'):11.1f}{results[f'{key}_compile_s']:11.1f}")
        print(f"{variant.name:28}{''.join(cells)}")
    for name, value in results.items():
        if "_vs_" in name:
            print(f"{name}: {value}")


def variant_names(options: argparse.Namespace) -> list[str]:
    """Ours first; `torch.compile` and bfloat16 only where asked for."""
    names = [f"jax-{dtype}" for dtype in options.dtype]
    return names + [f"torch-{how}-{dtype}" for dtype in options.dtype for how in options.torch]


def main() -> None:
    """Parses the options, starts the variants one by one, lets them take turns, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=20, help="patches a step (default 20)")
    parser.add_argument("--patch", type=int, default=128, help="pixels a side (default 128)")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    torch_choices = ["eager", "channels_last", "compile"]
    parser.add_argument("--torch", nargs="+", default=torch_choices[:2], choices=torch_choices)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="TensorFloat-32 on both sides (cuda)")
    parser.add_argument("--augment", action="store_true", help="our step augments; torch's does not")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each variant (default 15)")
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn (default 2)")
    parser.add_argument("--short", action="store_true", help="five turns")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        return serve(options)
    variants = [Variant(name, options) for name in variant_names(options)]
    for _ in range(5 if options.short else options.rounds):
        for variant in variants:
            variant.measure(options.steps)
    results = summary(variants, options)
    for variant in variants:
        variant.close()
    print_table(variants, results, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
