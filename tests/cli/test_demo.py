"""`l2s demo` runs what it prints, goes on where it was, and stops where something fails."""

import shlex

import pytest

from helpers.commands import l2s
from l2s_jax.cli import demo
from l2s_jax.cli.commands import COMMANDS
from l2s_jax.cli.parsing import parse

SMALL = {
    "prepare phantom": "{out}/data --patches 60 --patches-per-slide 3 --patch-size 32",
    "train": "{out}/data --out {out}/run --resume --weights random --batch-size 8 --steps 2",
}


def small_steps():
    return tuple((name, SMALL.get(name, words)) for name, words in demo.STEPS)


def printed(out):
    return [line.removeprefix("$ ") for line in out.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
def test_its_commands_are_printed_run_and_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "STEPS", small_steps())
    monkeypatch.chdir(tmp_path)
    assert l2s("demo", "a demo") == 0
    out = capsys.readouterr().out
    assert [shlex.split(line)[1] for line in printed(out)] == ["prepare", "train", "evaluate", "predict"]
    assert "'a demo/data'" in printed(out)[0]
    for name in ("run/report.html", "run/evaluation/test/metrics.json", "predictions/example_overlay.png"):
        assert (tmp_path / "a demo" / name).is_file(), name
    assert l2s("demo", "a demo") == 0
    again = capsys.readouterr().out
    assert printed(again) == printed(out) and "resuming after step 2 of 2" in again


def test_what_follows_a_failure_is_not_begun(tmp_path, monkeypatch, capsys):
    steps = [("check", "{out}/nothing"), ("evaluate", "{out}/run {out}/data")]
    monkeypatch.setattr(demo, "STEPS", steps)
    (tmp_path / "nothing").mkdir()
    assert l2s("demo", tmp_path) != 0
    assert len(printed(capsys.readouterr().out)) == 1


def test_the_commands_of_the_demo_itself_are_understood(tmp_path):
    for name, words in demo.STEPS:
        assert isinstance(parse(COMMANDS[name], f"l2s {name}", words.split()), COMMANDS[name])
    train = parse(COMMANDS["train"], "l2s train", demo.STEPS[1][1].split())
    assert (train.weights, train.steps, train.percent, train.setting) == ("random", 320, 50, "S+C*")
