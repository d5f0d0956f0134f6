"""What the benchmarks lean on is there, and a part that fails costs the others nothing."""

import argparse
import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from l2s_jax.train_step import seeds
from l2s_jax.training import program as run_program
from l2s_jax.training.run import TrainingRun

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT_FILES = sorted(
    path
    for name in ("benchmarks", "experiments", "soak", "docs")
    for path in (FOLDER.parent / name).glob("*.py")
)
OUTSIDE = (
    "tiatoolbox",
    "torch",
    "torchstain",
    "torchvision",
    "onnxruntime",
    "cleanlab",
    "nbformat",
    "nbclient",
    "nbconvert",
)
"""What a benchmark compares with and what makes the site; not there in every environment."""
OF_TORCH = ("torch_reference", "torch_train", "tiatoolbox_predict")
"""Plain PyTorch, and what runs in an environment of its own."""
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in OF_TORCH)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_read(name):
    """Without PyTorch: each imports what it measures in the process that measures it."""
    module = importlib.import_module(name)
    assert module.__doc__
    assert name in ("turns", "png_set") or callable(module.main)


@pytest.mark.parametrize("path", SCRIPT_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_script_imports_of_ours_is_there(path, monkeypatch):
    """Also what it imports only when it measures; a script's neighbours are found as when it is run."""
    monkeypatch.syspath_prepend(str(path.parent))
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    ]
    outside = {name for name in OUTSIDE if importlib.util.find_spec(name) is None}
    for module, name in wanted:
        if module.split(".")[0] in outside:
            continue
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{module}: {name}"


def test_what_is_measured_from_within_is_still_called_so():
    """start.py and loop.py put a clock around these."""
    assert run_program.jit_many_step is seeds.jit_many_step
    assert callable(seeds.JittedStep.compile_ahead) and callable(TrainingRun.end_epoch)


def test_the_table_has_a_goal_for_each_figure_that_is_promised():
    table = importlib.import_module("table")
    promised = """step_vs_torch_eager step_vs_torch_channels_last five_seeds_vs_single five_seeds_vs_torch
        loop_vs_step loader_vs_step inference_vs_torch macenko_per_s macenko_vs_torchstain
        first_step_cold_s first_step_warm_s""".split()
    assert set(promised) <= set(table.GOALS)
    lines = table.table({"form": "short", "date": "now", "first_step_cold_s": 13.0, "macenko_per_s": 2000.0})
    assert "| 13.0 |  | <= 12 | no |" in lines and "| 2000.0 |  | >= 1000 | yes |" in lines
    assert "`loader_vs_step` | failed" in lines


def run_part(folder, monkeypatch, text):
    """What becomes of a part whose script is `text`."""
    bench = importlib.import_module("bench")
    script = folder / "part.py"
    script.write_text(textwrap.dedent(text))
    monkeypatch.setitem(bench.PARTS, "part", (str(script), []))
    monkeypatch.setattr(bench, "SHORT_LIMIT_S", 5)
    return bench.run_part("part", argparse.Namespace(device="cpu", long=False, tf32=False), folder)


@pytest.mark.slow
def test_a_part_that_takes_too_long_ends_with_all_it_started(tmp_path, monkeypatch):
    text = f"""
    import pathlib, subprocess, sys, time
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path({str(tmp_path / "number")!r}).write_text(str(started.pid))
    time.sleep(60)
    """
    found, fault = run_part(tmp_path, monkeypatch, text)
    assert found == {} and fault == "took more than 5 s"
    number = int((tmp_path / "number").read_text())
    until = time.monotonic() + 20
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_part_gives_its_results_or_says_how_it_ended(tmp_path, monkeypatch):
    writes = """
    import pathlib, sys
    pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text('{"figure": 1.5}')
    """
    found, fault = run_part(tmp_path, monkeypatch, writes)
    assert not fault and found["figure"] == 1.5 and 0 <= found["part_others"] <= 1
    (tmp_path / "part.json").unlink()
    assert run_part(tmp_path, monkeypatch, "raise SystemExit(3)") == ({}, "ended with exit code 3")


def test_what_other_processes_take_is_told_and_judged(tmp_path):
    turns, bench = (importlib.import_module(name) for name in ("turns", "bench"))
    burn = "import time\nuntil = time.monotonic() + 1.5\nwhile time.monotonic() < until: pass"
    with subprocess.Popen([sys.executable, "-c", burn]):
        beside = turns.run_whole([sys.executable, "-c", "import time; time.sleep(1)"], os.environ)
    assert beside["s"] >= 1 and beside["processor_s"] < 0.5 and beside["peak_mib"] > 1
    cores = os.cpu_count() or 1
    assert beside["others"] > 0.5 / cores  # one core was busy with what is not ours
    assert turns.run_whole([sys.executable, "-c", burn], os.environ)["processor_s"] > 0.2
    with pytest.raises(SystemExit, match="failed"):
        turns.run_whole([sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    assert bench.verdict({"step_others": 0.04}) == ""
    assert "31% during step" in bench.verdict({"step_others": 0.31, "macenko_others": 0.01})


STAND_IN = """#!/bin/sh
case "$*" in
  *start.py*) sleep 30 ;;
  *macenko.py*) echo "no such device" && exit 3 ;;
  *cuda*) echo "$JAX_PLATFORMS" ;;
esac
"""


@pytest.mark.slow
def test_a_sitting_on_a_gpu_goes_on_whatever_a_part_does(tmp_path):
    """With a program in Python's place: what is asked, in which order, and how each end is told."""
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    environment = os.environ | {"PYTHON": str(stand_in), "BUDGET_S": "13"}
    command = ["bash", str(FOLDER / "gpu_session.sh"), str(tmp_path / "out")]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    lines = dict(line.split(": ", 1) for line in (tmp_path / "out" / "summary.txt").read_text().splitlines())
    assert list(lines)[:2] == ["tests", "step"] and list(lines)[-1] == "sweep_jobs"
    assert lines["step_batch_256"].startswith("done") and lines["tests"].startswith("done")
    assert lines["macenko"].startswith("failed (3): no such device")
    assert lines["start"].startswith("cut off") and lines["extraction"] == "no time was left"
    assert (tmp_path / "out" / "step.log").read_text().strip() == "cuda,cpu"
    script = (FOLDER / "gpu_session.sh").read_text()
    named = {match for match in re.findall(r"^bench \S+ \d+ (\w+)", script, re.M)}
    named |= set(re.findall(r"benchmarks/(\w+)\.py", script))
    assert named <= set(SCRIPTS)
