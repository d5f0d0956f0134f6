"""Stain normalisation: patches of 128x128 a second, beside torchstain's NumPy version in the same run.

    python benchmarks/macenko.py [--short] [--device cpu|cuda] [--json FILE]

Both fit every patch and normalise it to one reference. The patches are made up: two stains in random amounts.
`macenko_per_s` is patches a second, `macenko_vs_torchstain` how many times torchstain's rate that is. The two
take turns, so that both meet the same load on the machine.
"""

import time
from collections.abc import Callable

import turns


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

    from l2s_jax.stain.macenko import fit_stain, macenko

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


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batch", type=int, default=16, help="patches a call (default 16)")
    options = parser.parse_args()
    turns.set_up(options.device)
    results: turns.Results = {"macenko_load_average": turns.load(), "macenko_batch": options.batch}
    rates = measure(5 if options.short else 25, options.batch)
    results |= turns.spread("macenko_per_s", rates["l2s_jax"])
    results |= turns.spread("torchstain_per_s", rates["torchstain"])
    pairs = zip(rates["l2s_jax"], rates["torchstain"], strict=True)
    results |= turns.spread("macenko_vs_torchstain", [a / b for a, b in pairs], 2)
    results |= turns.machine(("jax", "numpy", "torchstain"), options.device)
    rows = [
        [who, *(results[f"{name}{end}"] for end in ("", "_min", "_max"))]
        for who, name in (("l2s_jax", "macenko_per_s"), ("torchstain", "torchstain_per_s"))
    ]
    turns.report(results, ("who", "patches/s", "min", "max"), rows, options.json)


if __name__ == "__main__":
    main()
