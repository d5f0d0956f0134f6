"""What the benchmarks make to measure on is what it should be, and what they work out is right."""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from l2s_jax.data.check import check_manifest
from l2s_jax.prepare.ebhi import prepare_ebhi
from l2s_jax.reports.reading import read_results
from l2s_jax.sweeps.sweep import sweep

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_slopes_are_those_of_lines_in_a_figure_with_logarithmic_axes():
    growth = importlib.import_module("growth")
    times = {str(n): {"s": 1.0, "processor_s": 2e-6 * n**2} for n in (1000, 3000, 10_000)}
    assert growth.slopes("check", times) == [(3000, pytest.approx(2)), (10_000, pytest.approx(2))]
    sides = {str(n): {"s": 1e-6 * n**2} for n in (64, 128)}
    assert growth.slopes("step_patch", sides) == [(128**2, pytest.approx(1))]  # in proportion to its pixels
    results, rows = growth.flat({"check": times, "step_patch": sides})
    assert results["growth_check_slope"] == results["growth_check_slope_steepest"] == 2.0
    assert results["growth_step_patch_128_s"] == pytest.approx(0.0164) and len(rows) == 5
    text = growth.figure(results)
    assert "<svg" in text and "<!-- check by rows, 2.00 -->" in text


def test_made_rows_are_sound_data_sets(tmp_path):
    growth = importlib.import_module("growth")
    report = check_manifest(growth.write_manifest(tmp_path / "rows", 80))
    assert report.ok and not report.warnings and len(report.manifest.patches) == 80
    made = growth.write_ebhi(tmp_path / "ebhi", 200)
    manifest = prepare_ebhi(made, tmp_path / "prepared", patch_size=16)
    assert len(manifest.patches) == 200 and check_manifest(manifest.folder).ok


def test_a_made_sweep_has_all_runs_but_one(tmp_path):
    growth, said = importlib.import_module("growth"), []
    file = growth.write_sweep(tmp_path, 12)
    read = read_results(tmp_path / "out")
    assert len(read.runs) == 11 and len(read.waiting) == 1
    sweep(file, tmp_path / "out", dry_run=True, say=said.append)
    assert any("11 finished" in line or "11 of" in line for line in said), said


def test_a_whole_training_is_compared_turn_by_turn():
    whole_train = importlib.import_module("whole_train")

    def runs(*seconds):
        rest = {"processor_s": 1.0, "peak_mib": 900.0, "others": 0.0, "best_val_macro_f1": 0.5}
        return [{"s": s, **rest} for s in seconds]

    results, rows = whole_train.summary({"demo:l2s-warm": runs(30, 40), "demo:torch": runs(60, 50)})
    assert results["whole_demo_warm_vs_torch"] == 0.65  # the median of 0.5 and 0.8
    assert results["whole_demo_warm_vs_torch_min"] == 0.5 and results["whole_demo_torch_n"] == 2
    assert len(rows) == 2 and not any("ebhi" in name or "cold" in name for name in results)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("more", [["--composition", "balanced"], ["--setting", "S+C", "--channels-last"]])
def test_the_plain_script_trains_validates_and_saves(phantom, tmp_path, more):
    out = tmp_path / "run"
    told = ["--percent", "50", "--steps", "5", "--validate-steps", "2", "--workers", "0", "--batch-size", "8"]
    command = [sys.executable, str(FOLDER / "torch_train.py"), str(phantom), "--out", str(out), *told, *more]
    alone = os.environ | {
        "OMP_NUM_THREADS": "1"
    }  # threads that wait for each other stand still on a busy machine
    subprocess.run(command, check=True, capture_output=True, env=alone)
    lines = (out / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4", "5"]
    assert all(0 <= float(line.split(",")[2]) <= 1 for line in lines[1:])
    import torch

    last, best = torch.load(out / "last.pt"), torch.load(out / "best.pt")
    assert last["step"] == 5 and set(best) == set(last["network"])
    assert all(np.isfinite(value.numpy()).all() for value in best.values())
