"""Where the time of the training loop or of slide inference goes, by JAX's profiler.

    python benchmarks/profiled.py loop|slide [--short] [--device cpu|cuda] [--json FILE]

What is profiled is warm. For each line of each plane of the profile (on a GPU its streams, on a CPU threads)
the events that took longest in sum are printed, with the share of the time from the first to the last event.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import turns

SHOWN = 12


def the_loop(options: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """`l2s train` on PNG files in memory, without its first steps."""
    from png_set import draw_patches, write_png_set

    from l2s_jax.config import TrainConfig
    from l2s_jax.training.train import train

    data = write_png_set(folder / "data", draw_patches(folder / "drawn"), 200)
    config = TrainConfig(weights="random", epochs=2 if options.short else 6, validate_every=10**6)
    runs = iter(range(10))
    return lambda: train(data, folder / f"run{next(runs)}", config, say=lambda line: None)


def the_slide(options: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """A slide from its file to class codes."""
    from inference import jax_slide, write_slide

    options.slide, options.batch, options.tf32 = folder / "slide.svs", 20, True
    write_slide(options.slide, 8 if options.short else 30)
    return jax_slide(options)


PARTS = {"loop": the_loop, "slide": the_slide}


def busiest(profile: Path) -> list[list[object]]:
    """Rows of plane, line, event, milliseconds, share of the whole span and count, the longest first."""
    from jax.profiler import ProfileData

    rows: list[list[object]] = []
    for plane in ProfileData.from_file(str(profile)).planes:
        for line in plane.lines:
            events = [(event.name, event.start_ns, event.duration_ns) for event in line.events]
            if not events or not any(took for *_, took in events):
                continue
            span = max(start + took for _, start, took in events) - min(start for _, start, _ in events)
            times, counts = Counter[str](), Counter[str]()
            for name, _, took in events:
                times[name] += took
                counts[name] += 1
            rows += [
                [plane.name, line.name, name, round(took / 1e6, 2), round(took / span, 3), counts[name]]
                for name, took in times.most_common(SHOWN)
            ]
    return sorted(rows, key=lambda row: -float(str(row[3])))[: 5 * SHOWN]


def main() -> None:
    """Profiles, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("part", choices=list(PARTS))
    options = parser.parse_args()
    turns.set_up(options.device)
    import jax

    with tempfile.TemporaryDirectory() as name:
        run = PARTS[options.part](options, Path(name))
        run()
        began = time.perf_counter()
        with jax.profiler.trace(Path(name) / "profile"):
            run()
        seconds = time.perf_counter() - began
        (profile,) = (Path(name) / "profile").rglob("*.xplane.pb")
        rows = busiest(profile)
    results: turns.Results = {f"profile_{options.part}_s": round(seconds, 2)}
    results |= {f"profile_{options.part}_{number:02d}": row for number, row in enumerate(rows)}
    results |= turns.machine(("jax",), options.device)
    columns = ("plane", "line", "event", "ms", "share", "count")
    turns.report(results, columns, [[str(cell)[:60] for cell in row] for row in rows], options.json)


if __name__ == "__main__":
    main()
