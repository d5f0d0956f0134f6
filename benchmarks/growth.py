"""How cost grows with its input: step time by batch and patch, commands by rows.

    python benchmarks/growth.py [--short] [--only step_batch check ...] [--sizes 1000 ...] [--work FOLDER]
        [--json FILE]
    python benchmarks/growth.py --figure RESULTS.json OUT.svg

Steps are of the library's own, in one process, one size after the other in each round. `check`, `prepare` (a
made EBHI-Seg), `sweep` (`--dry-run` where all but one run has finished) and `report` are processes of their
own on made rows with small pictures; their processor time counts, which other load moves little. `slope` is
that of the line between the last two points in a figure with both axes logarithmic: 1 is in proportion to
the input. With `--work` points are kept in that folder and a later call adds to them.
What cannot be grown so: training itself (its steps are given), slides (`slide_memory.py`, `extraction.py`).
"""

import argparse
import itertools
import json
import math
import os
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import turns

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 200_000)
RUNS = (*ROWS[:4], 60_000)
"""A sweep has 10,000 draws at most, of which six runs each are made here."""
SIZES = {
    "step_batch": (5, 10, 20, 40, 80, 160),
    "step_patch": (64, 96, 128, 192, 256, 384, 512),
    "check": ROWS,
    "prepare": ROWS[:4],
    "sweep": RUNS,
    "report": RUNS,
}
"""What is grown: patches a step (of 128x128), pixels a side (20 a step), rows."""

WHAT = {
    "step_batch": "step by patches in a batch",
    "step_patch": "step by pixels in a patch",
    "check": "`check` by rows",
    "prepare": "`prepare ebhi` by pictures",
    "sweep": "`sweep --dry-run` by runs",
    "report": "`report` by runs",
}

SIDE = 16
"""Of made pictures, in pixels: the least that a network takes."""
GROUP = 10
"""Patches of a made patient."""

Points = dict[str, dict[str, float]]
"""Size (as text, since JSON has no other keys) to seconds."""


def png(channels: int, side: int, pixels: bytes) -> bytes:
    """A PNG file of 8-bit grey or RGB pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0 if channels == 1 else 2, 0, 0, 0)
    width = side * channels
    lines = b"".join(b"\0" + pixels[row * width : (row + 1) * width] for row in range(side))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def write_manifest(folder: Path, rows: int) -> Path:
    """Patches with mask and label, no two alike, half of them to train on."""
    import numpy as np

    from l2s_jax.data.manifest import PatchRow, write_classes, write_patches
    from l2s_jax.phantom.patches import CLASSES

    rng, patches = np.random.default_rng(0), []
    values = np.array(CLASSES.pixel_values, np.uint8)
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
    for number in range(rows):
        image, mask = (folder / place / f"{number:06d}.png" for place in ("images", "masks"))
        image.write_bytes(png(3, SIDE, rng.bytes(3 * SIDE**2)))
        label = 1 + number % (len(values) - 1)
        mask.write_bytes(png(1, SIDE, values[[label] * (SIDE**2 // 2) + [0] * (SIDE**2 // 2)].tobytes()))
        group = number // GROUP
        split = ("train", "val", "train", "test")[group % 4]
        patches.append(PatchRow(number + 2, image, mask, label, f"patient{group}", split))
    write_classes(folder, CLASSES)
    write_patches(folder, CLASSES, patches)
    return folder


def write_ebhi(folder: Path, pictures: int) -> Path:
    """A made EBHI-Seg: pictures of 224x224 with large pixels, so that they are small files."""
    import numpy as np

    from l2s_jax.prepare.ebhi import SIZE, TASKS

    rng, side, classes = np.random.default_rng(0), SIZE, list(TASKS[4][1])
    mask = png(1, side, np.repeat([0, 255], side**2 // 2).astype(np.uint8).tobytes())
    for number in range(pictures):
        group = number // GROUP
        name = classes[group % len(classes)]
        for place in ("image", "label"):
            (folder / name / place).mkdir(parents=True, exist_ok=True)
        file = f"GTA{group:06d}-1-400-{number % GROUP:03d}.png"
        tile = np.kron(
            rng.integers(0, 256, (4, 4, 3), np.uint8), np.ones((side // 4, side // 4, 1), np.uint8)
        )
        (folder / name / "image" / file).write_bytes(png(3, side, tile.tobytes()))
        (folder / name / "label" / file).write_bytes(mask)
    return folder


SWEEP = """name = "growth"
dataset = "MADE"
manifest = "{manifest}"
draws = {draws}
percents = [10, 50]
[options]
weights = "random"
steps = 100
[[variant]]
name = "paper"
settings = ["S", "S+C"]
[[variant]]
name = "labelset"
preset = "labelset"
settings = ["S", "S+C"]
"""
RUNS_OF_A_DRAW = 6
"""Of that file: S is one and the same run in both variants."""


def write_sweep(folder: Path, runs: int) -> Path:
    """A sweep of about so many runs, all but one of which stand in its results; returns its file."""
    import numpy as np
    import pandas as pd

    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.data.patch_set import load_patches
    from l2s_jax.sweeps.plan import plan_sweep, plan_table
    from l2s_jax.sweeps.results_row import result_columns
    from l2s_jax.sweeps.sweep_file import read_sweep

    contents = read_manifest(write_manifest(folder / "data", 200))
    file = folder / "sweep.toml"
    file.write_text(SWEEP.format(manifest=folder / "data", draws=max(1, round(runs / RUNS_OF_A_DRAW))))
    sweep = read_sweep(file)
    patches = load_patches(contents.of_split("train"), contents.classes, 1)
    planned = plan_sweep(sweep, patches, contents.classes, contents.sha256)
    plan = plan_table(sweep, planned)
    out = folder / "out"
    out.mkdir()
    plan.to_csv(out / "plan.csv", index=False)
    facts = {"ddof": 1, "manifest_sha256": contents.sha256, "name": sweep.name, "study": sweep.study}
    facts |= {"classes": list(contents.classes.names), "background": contents.classes.names[0]}
    (out / "sweep.json").write_text(json.dumps({**facts, "dataset": sweep.dataset}))
    rng, columns = np.random.default_rng(0), result_columns(contents.classes.names)
    table = plan.drop_duplicates("run").iloc[:-1].reset_index(drop=True)
    made = pd.DataFrame({name: rng.uniform(0.2, 0.8, len(table)) for name in columns}).round(4)
    matrix = json.dumps((np.eye(4, dtype=int) * 900 + 25).tolist())
    made = made.assign(
        **{name: table[name] for name in table}, seed=0, preset="paper", steps=100, seconds=20.0
    )
    made = made.assign(n_mask=10, n_label=50, n_test=50, n_test_groups=5, group_macro_f1_n=5, group_ddof=1)
    made = made.assign(best_epoch=5, selection="validation", confusion=matrix, classifier_confusion=matrix)
    made = made.assign(device="cpu", versions="jax=0.10.2", config_hash="0" * 12, finished="2026-11-30")
    made.assign(manifest_sha256=contents.sha256)[columns].to_csv(out / "results.csv", index=False)
    return file


def seconds_of(arguments: Sequence[object], cache: Path) -> dict[str, float]:
    """Runs one `l2s` command in a fresh process."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "L2S_CACHE": str(cache)}
    return turns.run_whole([*turns.L2S, *arguments], environment)


def of_check(folder: Path, rows: int, cache: Path) -> dict[str, float]:
    """`l2s check`."""
    return seconds_of(["check", write_manifest(folder / "data", rows)], cache)


def of_prepare(folder: Path, rows: int, cache: Path) -> dict[str, float]:
    """`l2s prepare ebhi`."""
    made = write_ebhi(folder / "made", rows)
    return seconds_of(["prepare", "ebhi", made, folder / "out", "--patch-size", SIDE], cache)


def of_sweep(folder: Path, rows: int, cache: Path) -> dict[str, float]:
    """`l2s sweep --dry-run`."""
    return seconds_of(["sweep", write_sweep(folder, rows), "--out", folder / "out", "--dry-run"], cache)


def of_report(folder: Path, rows: int, cache: Path) -> dict[str, float]:
    """`l2s report`."""
    write_sweep(folder, rows)
    return seconds_of(["report", folder / "out", "--no-pictures"], cache)


COMMANDS: dict[str, Callable[[Path, int, Path], dict[str, float]]] = {
    "check": of_check,
    "prepare": of_prepare,
    "sweep": of_sweep,
    "report": of_report,
}


def of_steps(part: str, sizes: Sequence[int], rounds: int, cache: Path) -> Points:
    """Median seconds of a train step of each size, which take turns."""
    import jax

    from l2s_jax.system.jax_setup import use_compile_cache
    from l2s_jax.train_step.step import jit_train_step
    from train_step import jax_parts

    use_compile_cache(True, cache / "compiled")
    steps, states, batches = {}, {}, {}
    for size in sizes:
        batch, patch = (size, 128) if part == "step_batch" else (20, size)
        options = argparse.Namespace(device="cpu", batch=batch, patch=patch, augment=False)
        step, state_of, batches[size] = jax_parts(options)
        steps[size], states[size] = jit_train_step(step), state_of(0)
        states[size], metrics = steps[size](states[size], batches[size])
        jax.block_until_ready(metrics)
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for _, size in itertools.product(range(rounds), sizes):
        start = time.perf_counter()
        states[size], metrics = steps[size](states[size], batches[size])
        jax.block_until_ready(metrics)
        took[size].append(time.perf_counter() - start)
    return {str(size): turns.spread("s", times, 4) for size, times in took.items()}


def slopes(part: str, points: Points) -> list[tuple[float, float]]:
    """Size and slope between each two neighbours, of processor time where it was taken."""
    key = "processor_s" if part in COMMANDS else "s"
    places = sorted((amount(part, int(size)), point[key]) for size, point in points.items())
    return [
        (b, math.log(t / s) / math.log(b / a)) for (a, s), (b, t) in itertools.pairwise(places) if s and t
    ]


def amount(part: str, size: int) -> int:
    """What a size comes to as an amount of input: a patch has the square of its side in pixels."""
    return size**2 if part == "step_patch" else size


def figure(results: turns.Results) -> str:
    """An SVG of time against input, both logarithmic, each from its least size."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from l2s_jax.figures.drawing import new_figure
    from l2s_jax.figures.svg import svg_of

    drawing = new_figure(7.2, 3.6)
    axes = dict(zip(("step", "rows"), drawing.subplots(1, 2), strict=True))
    for part in WHAT:
        key = f"growth_{part}"
        sizes = results.get(f"{key}_sizes", [])
        if len(sizes) < 2:
            continue
        of_rows = part in COMMANDS
        times = [results[f"{key}_{size}_{'processor_s' if of_rows else 's'}"] for size in sizes]
        amounts = [amount(part, size) / (1 if of_rows else amount(part, sizes[0])) for size in sizes]
        label = f"{WHAT[part]}, {results[f'{key}_slope']:.2f}".replace("`", "")
        axes["rows" if of_rows else "step"].plot(amounts, times, marker="o", markersize=3, label=label)
    for name, one in axes.items():
        one.set_xscale("log")
        one.set_yscale("log")
        for axis in (one.xaxis, one.yaxis):
            rows = name == "rows" and axis is one.xaxis  # long numbers: fewer of them
            axis.set_major_locator(LogLocator(subs=(1, 3) if rows else (1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.set_minor_locator(NullLocator())
        one.tick_params(labelsize=7)
        one.set_xlabel("rows" if name == "rows" else "times the least input")
        one.set_ylabel("processor time, s" if name == "rows" else "time, s")
        low, high = one.get_xlim(), one.get_ylim()
        one.plot(low, [high[0], high[0] * low[1] / low[0]], color="0.8", linewidth=1, zorder=0)
        one.set_xlim(low)
        one.set_ylim(high)
        one.legend(fontsize=7, frameon=False, loc="lower right")
        one.spines[["top", "right"]].set_visible(False)
    return svg_of(drawing)


def flat(points: dict[str, Points]) -> tuple[turns.Results, list[list[object]]]:
    """Flat results, and a row of each point for the table."""
    results: turns.Results = {}
    rows: list[list[object]] = []
    for part in (part for part in WHAT if part in points):
        of_part = points[part]
        sizes = sorted(map(int, of_part))
        between = {str(size): slope for size, slope in slopes(part, of_part)}
        results[f"growth_{part}_sizes"] = sizes
        for size in sizes:
            for what, value in of_part[str(size)].items():
                results[f"growth_{part}_{size}_{what}"] = round(value, 4)
            slope = between.get(str(amount(part, size)))
            figures = [of_part[str(size)].get(what, "") for what in ("s", "processor_s", "peak_mib")]
            shown = [f"{value:.4g}" if value != "" else "" for value in figures]
            rows.append([part, size, *shown, "" if slope is None else f"{slope:.2f}"])
        if between:
            results[f"growth_{part}_slope"] = round(list(between.values())[-1], 3)
            results[f"growth_{part}_slope_steepest"] = round(max(between.values()), 3)
    return results, rows


def main() -> None:
    """Measures, prints a table and JSON; or draws what was measured."""
    parser = turns.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="of the one part that --only names")
    parser.add_argument("--rounds", type=int, help="of steps (default 5, short 3)")
    parser.add_argument("--work", type=Path, help="keeps points and compiled programs for later calls")
    parser.add_argument("--figure", nargs=2, type=Path, metavar=("RESULTS.json", "OUT.svg"))
    options = parser.parse_args()
    if options.figure:
        options.figure[1].write_text(figure(json.loads(options.figure[0].read_text())))
        return
    if options.sizes and len(options.only) > 1:
        parser.error("--sizes is for one part: name it by --only")
    turns.set_up(options.device)
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        kept = work / "points.json"
        points: dict[str, Points] = json.loads(kept.read_text()) if kept.is_file() else {}
        for part in options.only:
            sizes = options.sizes or SIZES[part][: 3 if options.short else None]
            if part not in COMMANDS:
                rounds = options.rounds or (3 if options.short else 5)
                points.setdefault(part, {}).update(of_steps(part, sizes, rounds, work / "cache"))
            for size in sizes if part in COMMANDS else ():
                made = work / "made"
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                points.setdefault(part, {})[str(size)] = COMMANDS[part](made, size, work / "cache")
                shutil.rmtree(made)
                kept.write_text(json.dumps(points, indent=1))
            kept.write_text(json.dumps(points, indent=1))
    results, rows = flat(points)
    results |= turns.machine(("jax", "jaxlib", "numpy", "pandas", "pillow"), options.device)
    turns.report(results, ("part", "size", "s", "processor s", "peak MiB", "slope"), rows, options.json)


if __name__ == "__main__":
    main()
