"""EBHI-Seg, four classes: settings S, S+C and S+C* at 5% and 100% of the masks, two seeds each (section 3.3).

Random initialisation, 128x128, split 50/25/25 by slide group, the same number of steps for every run. About
an hour on two cores.

  l2s prepare ebhi EBHI-Seg data/ebhi
  python experiments/ebhi_first.py data/ebhi runs/ebhi_first

Finished runs are not repeated and a killed one goes on where it was; one row a run is in OUT/results.csv, and
OUT/table.md is made of them. S+C at 100% has no labels left to use, so it is S at 100% by definition: it is
run once and shown twice.
"""

import sys
from pathlib import Path

import pandas as pd

from l2s_jax import PRESETS, evaluate, train
from l2s_jax.config import read_config
from l2s_jax.files import write_text
from l2s_jax.jax_setup import set_up_jax
from l2s_jax.run_folder import CONFIG, FINISHED, read_json

CONFIG_FILE = Path(__file__).with_suffix(".toml")
CELLS = (("S", 5.0), ("S", 100.0), ("S+C", 5.0), ("S+C*", 5.0), ("S+C*", 100.0))
SEEDS = (0, 1)
SHOWN_TWICE = {("S", 100.0): ("S+C", 100.0)}
FIGURES = {"macro_f1": "macro F1", "accuracy": "pixel accuracy", "mean_iou": "mean IoU"}


def run_cell(manifest: Path, out: Path, setting: str, percent: float, seed: int) -> dict[str, float]:
    """Trains (or resumes) and evaluates one run; its row of results.csv."""
    config = read_config(CONFIG_FILE, PRESETS["paper"])
    config = config.__class__(
        **{**vars(config), "setting": setting, "percent": percent, "seed": seed, "draw": seed}
    )
    folder = out / f"{setting.replace('*', 'star')}_{percent:g}_{seed}"
    if not (folder / FINISHED).exists():
        train(manifest, folder, config, resume=(folder / CONFIG).exists())
    result = evaluate(folder, manifest, split="test")
    finished = read_json(folder / FINISHED)
    return {
        "run": folder.name,
        "setting": setting,
        "percent": percent,
        "seed": seed,
        **{name: result["pooled"][name] for name in FIGURES},
        "macro_f1_group_mean": result["per_group"]["macro_f1"]["mean"],
        "classifier_accuracy": result["classifier"]["accuracy"],
        "validation_score": finished["best"]["score"],
        "best_epoch": finished["best"]["epoch"],
        "steps": finished["steps"],
        "seconds": round(finished["seconds"], 1),
        "n_test": result["n_masks"],
        "n_test_groups": result["n_groups"],
    }


def table(results: pd.DataFrame) -> str:
    """Mean and standard deviation (ddof 1) over seeds, by setting and percent, as Markdown."""
    lines = [
        "| setting | masks | n | " + " | ".join(FIGURES.values()) + " | classifier accuracy |",
        "|---|---|---|" + "---|" * (len(FIGURES) + 1),
    ]
    for (setting, percent), rows in results.groupby(["setting", "percent"], sort=False):
        for shown in ((setting, percent), SHOWN_TWICE.get((setting, percent))):
            if shown:
                cells = [spread(rows[name]) for name in FIGURES]
                labels = "-" if shown[0] == "S" else spread(rows["classifier_accuracy"])
                labels = "-" if shown == ("S+C", 100.0) else labels
                note = " (the same runs as S)" if shown != (setting, percent) else ""
                lines.append(
                    f"| {shown[0]}{note} | {shown[1]:g}% | {len(rows)} | {' | '.join(cells)} | {labels} |"
                )
    return "\n".join(lines) + "\n"


def spread(values: pd.Series) -> str:
    """Mean and standard deviation of a column."""
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}" if len(values) > 1 else f"{values.mean():.3f}"


def main(manifest: Path, out: Path) -> None:
    """Runs what is not finished; seeds outermost, so that a part of the sweep is a whole comparison."""
    set_up_jax(True)
    rows: list[dict[str, float]] = []
    for seed in SEEDS:
        for setting, percent in CELLS:
            rows.append(run_cell(manifest, out, setting, percent, seed))
            results = pd.DataFrame(rows)
            write_text(out / "results.csv", results.to_csv(index=False, float_format="%.6g"))
            write_text(out / "table.md", table(results.sort_values(["setting", "percent"], kind="stable")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
