"""The encoder's operations on a CPU, one by one: XLA's own beside the ones that `l2s_jax` takes there.

    python benchmarks/operations.py [--short] [--batch 20] [--patch 128] [--json FILE]

For each convolution and the pooling of a step: milliseconds forward, and of the gradients alone (forward and
gradients less forward), by XLA's operation and by `models/convolution.py`. Convolutions that are left plain
are not listed. Both are in one process and take turns; figures are medians over the turns.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import turns


class Operation(NamedTuple):
    """An operation of the encoder, by size of patch."""

    name: str
    kernel: tuple[int, int, int, int] | None  # None: the pooling
    stride: int
    side: int  # of the patch over that of the operation's input
    channels: int


OPERATIONS = (
    Operation("stem 7x7/2", (7, 7, 3, 64), 2, 1, 3),
    Operation("max pool 3x3/2", None, 2, 2, 64),
    Operation("layer1 3x3", (3, 3, 64, 64), 1, 4, 64),
    Operation("layer2 3x3", (3, 3, 128, 128), 1, 8, 128),
    Operation("layer3 3x3", (3, 3, 256, 256), 1, 16, 256),
)


def prepare(operation: Operation, batch: int, patch: int) -> dict[str, Callable[[], Any]]:
    """Calls that run and wait, by what they do: plain or fast, forward or with gradients."""
    import jax
    import numpy as np

    from l2s_jax.models import convolution

    rng = np.random.default_rng(0)
    side = patch // operation.side
    x = rng.standard_normal((batch, side, side, operation.channels), np.float32)
    if operation.kernel is None:
        forms = {"plain": convolution.plain_max_pool_3x3_s2, "fast": convolution.max_pool_3x3_s2}
        arguments, wanted = (x,), (0,)
    else:
        how = {"stride": operation.stride, "padding": operation.kernel[0] // 2}
        forms = {
            "plain": partial(convolution.plain_conv2d, **how),
            "fast": partial(convolution.conv2d, **how),
        }
        arguments = (x, 0.05 * rng.standard_normal(operation.kernel, np.float32))
        wanted = (1,) if operation.channels == 3 else (0, 1)  # a step needs no gradient of the picture
    arguments = jax.device_put(arguments)
    calls = {}
    for form, work in forms.items():

        def both(*arguments: Any, work: Callable = work) -> Any:
            out, pull = jax.vjp(work, *arguments)
            gradients = pull(out)
            return out, [gradients[i] for i in wanted]

        for what, function in (("forward", work), ("both", both)):
            compiled = jax.jit(function).lower(*arguments).compile()
            calls[f"{form}_{what}"] = lambda compiled=compiled: jax.block_until_ready(compiled(*arguments))
    return calls


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number > 1:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--batch", type=int, default=20, help="patches (default 20)")
    parser.add_argument("--patch", type=int, default=128, help="pixels a side (default 128)")
    options = parser.parse_args()
    turns.set_up(options.device)
    results: turns.Results = {"operations_load_average": turns.load()}
    rows = []
    for operation in OPERATIONS:
        times = measure(prepare(operation, options.batch, options.patch), 5 if options.short else 25)
        row: list[object] = [operation.name]
        for form in ("plain", "fast"):
            forward = times[f"{form}_forward"]
            pairs = zip(times[f"{form}_both"], forward, strict=True)
            for what, values in (("forward", forward), ("gradients", [a - b for a, b in pairs])):
                name = f"operation_{operation.name.split()[0]}_{form}_{what}_ms"
                results |= turns.spread(name, values)
                row.append(f"{results[name]} ({results[f'{name}_min']} to {results[f'{name}_max']})")
        rows.append(row)
    results |= turns.machine(("jax", "jaxlib"), options.device)
    columns = ("operation", "plain, forward", "gradients", "ours, forward", "gradients")
    turns.report(results, columns, rows, options.json)


if __name__ == "__main__":
    main()
