"""Results folders as a sweep leaves them, with made-up figures of known curves."""

import hashlib
import json

import numpy as np
import pandas as pd

CLASSES = ("stroma", "benign", "tumour")
CURVES = {
    ("paper", "S"): (0.70, 0.055, -0.35),
    ("paper", "S+C"): (0.70, 0.05, -0.25),
    ("paper", "S+C*"): (0.71, 0.045, -0.25),
    ("labelset", "S+C"): (0.73, 0.03, -0.3),
    ("paper", "S2+C2"): (0.80, 0.10, -0.3),
    ("paper", "S2+C2*"): (0.75, 0.02, -0.3),
    ("paper", "S2*+C2"): (0.72, 0.08, -0.3),
}
"""Score at all patches, rise and power of `score = top + rise * (1 - share ** power)`."""

PERCENTS = (1.0, 5.0, 10.0, 25.0, 100.0)


def score_at(method, percent):
    """The true score of a method, 0..1."""
    top, rise, power = CURVES[method]
    return top + rise * (1 - (max(percent, 0.2) / 100) ** power)


def percent_at(method, score):
    """The percentage at which a method's true score is reached."""
    top, rise, power = CURVES[method]
    return 100 * (1 - (score - top) / rise) ** (1 / power)


def _confusion(accuracy, pixels, rng):
    matrix = np.zeros((len(CLASSES), len(CLASSES)))
    for truth in range(len(CLASSES)):
        share = np.full(len(CLASSES), (1 - accuracy) / (len(CLASSES) - 1))
        share[truth] = accuracy
        matrix[truth] = rng.multinomial(pixels // len(CLASSES), share)
    return matrix.astype(int).tolist()


def run_row(rng, dataset, study, method, percent, draw, run, noise, selection):
    """One row of results.csv."""
    variant, setting = method
    score = float(np.clip(score_at(method, percent) + rng.normal(0, noise), 0.01, 0.99))
    row = {
        "run": run, "dataset": dataset, "study": study, "variant": variant,
        "preset": "release" if variant == "release" else "paper", "setting": setting, "percent": percent,
        "draw": draw, "seed": 100 + draw, "selection": selection,
        "n_mask": int(615 * percent / 100), "n_label": 400 - int(400 * percent / 100), "steps": 450,
        "best_epoch": int(rng.integers(5, 30)), "best_phase": "", "validation_score": score + 0.02,
        "macro_f1": score, "micro_f1": min(score + 0.03, 1.0), "weighted_f1": min(score + 0.02, 1.0),
        "macro_f1_all": score, "accuracy": min(score + 0.03, 1.0), "mean_iou": score - 0.1,
        "bach_score": np.nan, "classifier_accuracy": score, "classifier_macro_f1": score - 0.05,
    }  # fmt: skip
    for kind in ("f1", "precision", "recall", "iou"):
        row |= {f"{kind}_{name}": score for name in CLASSES}
    return row | {
        "group_macro_f1_mean": score - 0.01, "group_macro_f1_sd": 0.1, "group_macro_f1_n": 35,
        "group_ddof": 1, "n_test": 74, "n_test_groups": 35,
        "confusion": json.dumps(_confusion(score, 900_000, rng)),
        "classifier_confusion": json.dumps(_confusion(score, 74, rng)), "seconds": 320.5, "device": "cpu",
        "versions": "jax=0.10.2;flax=0.12.8", "config_hash": "0123456789ab", "manifest_sha256": "f" * 64,
        "finished": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip


def write_results(
    folder, *, dataset="ebhi", study="segmentation", methods=None, percents=PERCENTS, draws=3, noise=0.015,
    seed=0, selection="validation", unfinished=(), shared=True,
):  # fmt: skip
    """Writes results.csv, plan.csv and sweep.json, and gives the rows.

    Args:
      folder: made where it does not exist.
      dataset, study, selection: of every row.
      methods: (variant, setting) pairs; by default all of the study.
      percents, draws, noise, seed: which cells, and the sd of their scores.
      unfinished: run ids that are planned and have no row.
      shared: S+C at 100% is the run of S at 100%, shown twice.
    """
    if methods is None:
        methods = [method for method in CURVES if method[1].startswith("S2") == (study == "classification")]
    rng = np.random.default_rng(seed)
    rows, plan = [], []
    for method in methods:
        for percent in percents:
            for draw in range(draws):
                key = (dataset, study, *method, percent, draw)
                twin = (dataset, study, "paper", "S", percent, draw)
                same = shared and method == ("paper", "S+C") and percent == 100 and ("paper", "S") in methods
                run = hashlib.sha256(repr(twin if same else key).encode()).hexdigest()[:12]
                plan.append((*key, run))
                if not same and run not in unfinished:
                    rows.append(run_row(rng, dataset, study, method, percent, draw, run, noise, selection))
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(folder / "results.csv", index=False, float_format="%.6g")
    columns = ["dataset", "study", "variant", "setting", "percent", "draw", "run"]
    pd.DataFrame(plan, columns=columns).to_csv(folder / "plan.csv", index=False)
    sweep = {
        "name": "made up", "dataset": dataset, "study": study, "manifest_sha256": "f" * 64,
        "classes": list(CLASSES), "background": "stroma", "ddof": 1,
    }  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return table
