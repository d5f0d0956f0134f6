"""Stain normalisation: patches of 128x128 a second, beside torchstain's NumPy version in the same run.

    python benchmarks/macenko.py [--short] [--device cpu|cuda] [--json FILE]

Both fit every patch and normalise it to one reference. The patches are made up: two stains in random amounts.
`macenko_per_s` is patches a second, `macenko_vs_torchstain` how many times torchstain's rate that is. The two
take turns, so that both meet the same load on the machine.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def he_patches(count: int, size: int = 128):
    """u8[count,size,size,3]: haematoxylin and eosin in random amounts, a fifth of the pixels glass."""
    import numpy as np

    rng = np.random.default_rng(0)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = rng.gamma(1.2, 0.4, (count, size, size, 2)) * rng.integers(0, 2, (count, size, size, 2))
    amounts[rng.random((count, size, size)) < 0.2] = 0
    return np.clip(240 * np.exp(-amounts @ stains) - 1, 0, 255).astype(np.uint8)


def rate(work: Callable[[], object], items: int) -> float:
    """Items a second of one call."""
    start = time.perf_counter()
    work()
    return items / (time.perf_counter() - start)


def measure(rounds: int, batch: int) -> dict[str, list[float]]:
    """Patches a second of `l2s_jax` and of torchstain, one figure a round, after one warm-up round."""
    import jax
    from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

    from l2s_jax.stain import fit_stain, macenko

    patches = he_patches(8 * batch)
    batches = [patches[start : start + batch] for start in range(0, len(patches), batch)]
    reference = jax.tree.map(lambda leaf: leaf[0], fit_stain(patches[:batch]))
    theirs = NumpyMacenkoNormalizer()
    theirs.fit(patches[0])

    def ours_once():
        results = [macenko(images, reference)[0] for images in batches]
        jax.block_until_ready(results)

    def theirs_once():
        for image in patches[:batch]:
            theirs.normalize(image, stains=False)

    rates: dict[str, list[float]] = {"l2s_jax": [], "torchstain": []}
    for turn in range(rounds + 1):
        ours, torchstain = rate(ours_once, len(patches)), rate(theirs_once, batch)
        if turn:
            rates["l2s_jax"].append(ours)
            rates["torchstain"].append(torchstain)
    return rates


def summary(rates: dict[str, list[float]], batch: int) -> dict[str, object]:
    """The flat results: medians, spreads, versions, device and threads."""
    import jax

    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "macenko_per_s": round(medians["l2s_jax"], 1),
        "macenko_per_s_min": round(min(rates["l2s_jax"]), 1),
        "macenko_per_s_max": round(max(rates["l2s_jax"]), 1),
        "torchstain_per_s": round(medians["torchstain"], 1),
        "torchstain_per_s_min": round(min(rates["torchstain"]), 1),
        "torchstain_per_s_max": round(max(rates["torchstain"]), 1),
        "macenko_vs_torchstain": round(medians["l2s_jax"] / medians["torchstain"], 2),
        "macenko_batch": batch,
        "macenko_rounds": len(rates["l2s_jax"]),
        "device": jax.devices()[0].device_kind,
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{f"{name}_version": importlib.metadata.version(name) for name in ("jax", "numpy", "torchstain")},
    }


def main() -> None:
    """Measures, prints a table and writes the JSON where one is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="5 rounds instead of 25")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: what jax picks")
    parser.add_argument("--batch", type=int, default=16, help="patches a call (default 16)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.device:
        os.environ["JAX_PLATFORMS"] = options.device  # before jax is imported
    results = summary(measure(5 if options.short else 25, options.batch), options.batch)
    for name in ("macenko", "torchstain"):
        spread = f"({results[f'{name}_per_s_min']} to {results[f'{name}_per_s_max']})"
        print(f"{name:12} {results[f'{name}_per_s']:>8} patches/s  {spread}")
    print(f"ratio        {results['macenko_vs_torchstain']:>8}")
    print(json.dumps(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
