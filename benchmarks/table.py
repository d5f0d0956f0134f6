"""Puts the figures of benchmarks/results/latest.json beside their goals into benchmarks/README.md.

python benchmarks/table.py             # the table
python benchmarks/table.py machines    # the figure of all machines whose results are kept
"""

import json
import sys
from pathlib import Path

from bench import PARTS

from l2s_jax.figures.drawing import new_figure
from l2s_jax.figures.svg import svg_of

HERE = Path(__file__).parent
BEGIN, END = "<!-- results of table.py -->", "<!-- end of results -->"

GOALS: dict[str, tuple[str, str, float]] = {
    "step_vs_torch_eager": ("train step, time over torch eager's", "<=", 1.0),
    "step_vs_torch_channels_last": ("train step, time over torch channels_last's", "<=", 1.0),
    "five_seeds_vs_single": ("five seeds as one program, time over the single step's", "<=", 5.0),
    "five_seeds_vs_torch": ("five seeds, time over five torch eager steps", "<=", 1.0),
    "loop_vs_step": ("training loop from PNG files, time over the bare step's", "<=", 1.05),
    "loader_vs_step": ("loader alone, rate over the step's", ">=", 20),
    "startup_3000_s": ("checking and decoding 3,000 patches, s", "<=", 15),
    "inference_vs_torch": ("inference, time over torch eager's", "<=", 1.0),
    "slide_vs_tiles": ("a slide from its file, time over its tiles' in memory", "<=", 1.1),
    "macenko_per_s": ("Macenko, patches of 128x128 a second", ">=", 1000),
    "macenko_vs_torchstain": ("Macenko, speed over torchstain's", ">=", 3),
    "first_step_cold_s": ("`l2s train` to its first step, empty compile cache, s", "<=", 12),
    "first_step_warm_s": ("the same, filled compile cache, s", "<=", 5),
    "help_s": ("`l2s --help`, s", "<=", 0.3),
    "extraction_s": ("60,000 x 60,000 slide, 200 regions: cut at 7.5 um/px, s", "<=", 60),
    "painting_0.25_s": ("the same slide's annotations painted at 0.25 um/px, s", "<=", 60),
}
"""Names in the results: what it is, and the goal."""


def table(results: dict) -> str:
    """Markdown: what, figure, spread where there is one, goal, whether it is met."""
    lines = ["| what | name | measured | spread | goal | met |", "|---|---|---|---|---|---|"]
    for name, (what, sign, goal) in GOALS.items():
        if name not in results:
            lines.append(f"| {what} | `{name}` | failed | | {sign} {goal:g} | no |")
            continue
        value = results[name]
        low, high = results.get(f"{name}_min"), results.get(f"{name}_max")
        spread = "" if low is None else f"{low} to {high}"
        met = value <= goal if sign == "<=" else value >= goal
        lines.append(
            f"| {what} | `{name}` | {value} | {spread} | {sign} {goal:g} | {'yes' if met else 'no'} |"
        )
    versions = [name.removeprefix("version_") for name in results if name.startswith("version_")]
    versions = [f"{name} {results[f'version_{name}']}" for name in ("jax", "torch") if name in versions]
    others = [results[f"{name}_others"] for name in PARTS if f"{name}_others" in results]
    share = f"{min(others):.1%} to {max(others):.1%}" if others else "an unknown share"
    return "\n".join(
        [
            f"Form {results['form']}, {results['date']}, {results.get('bench_s')} s in all. "
            f"{results.get('processor')}, {results.get('threads')} threads, device {results.get('device')}, "
            f"{', '.join(versions)}. Other processes took {share} of the processors meanwhile."
            + (f" Failed: {results['failed']}." if results.get("failed") else ""),
            "",
            *lines,
        ]
    )


MACHINES = {
    "epyc_avx2": "2 cores, AVX2",
    "epyc_avx512": "2 cores, AVX-512",
    "epyc_zen4": "2 cores, Zen 4",
    "xeon_amx": "2 cores, Xeon, AMX",
    "h200": "NVIDIA H200",
}
"""Names in `results/`, and what the machines are."""

RATIOS = {
    "step_vs_torch_eager": "train step beside torch eager",
    "step_vs_torch_channels_last": "train step beside torch channels_last",
    "step_tf32_vs_torch_eager": "train step in TF32 beside torch eager",
    "five_seeds_vs_torch": "five seeds as one program beside five torch steps",
    "inference_vs_torch": "inference beside torch eager",
}


def machines(results: dict[str, dict]) -> str:
    """An SVG figure of our time over torch's on each machine, with the least and greatest of the rounds."""
    figure = new_figure(7.2, 3.8)
    axes = figure.subplots()
    for number, (name, label) in enumerate(MACHINES.items()):
        found = [(row, results[name][key], key) for row, key in enumerate(RATIOS) if key in results[name]]
        places = [-row - 0.8 / len(MACHINES) * (number - (len(MACHINES) - 1) / 2) for row, *_ in found]
        values = [value for _, value, _ in found]
        ends = [
            [abs(value - results[name].get(f"{key}{end}", value)) for _, value, key in found]
            for end in ("_min", "_max")
        ]
        axes.barh(
            places,
            values,
            0.72 / len(MACHINES),
            xerr=ends,
            label=label,
            color=f"C{number}",
            error_kw={"linewidth": 1},
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([-row for row in range(len(RATIOS))], list(RATIOS.values()), fontsize=8)
    axes.set_xlabel("our time over torch's; below 1 we are ahead")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(MACHINES), fontsize=8, frameon=False)
    return svg_of(figure)


def main() -> None:
    """Rewrites the part of README.md between the two marks, or the figure."""
    if sys.argv[1:] == ["machines"]:
        found = {name: json.loads((HERE / "results" / f"{name}.json").read_text()) for name in MACHINES}
        (HERE / "machines.svg").write_text(machines(found))
        return
    results = json.loads((HERE / "results" / "latest.json").read_text())
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")
    print(table(results))


if __name__ == "__main__":
    main()
