import shutil
import threading
import time
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers.commands import l2s
from helpers.runs import TINY
from l2s_jax.cli import app as cli
from l2s_jax.cli.app import COMMANDS, _parse
from l2s_jax.config import PRESETS
from l2s_jax.runs.folder import CONFIG
from l2s_jax.system.errors import UserError
from l2s_jax.system.toml import typed_options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert l2s(*name.split(), "--help") == 0
    out = capsys.readouterr().out
    assert COMMANDS[name].__doc__.splitlines()[0][:30] in " ".join(out.split())


def test_the_text_of_an_option_is_a_paragraph(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "500")
    assert l2s("train", "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    (setting,) = [line for line in lines if "percent of the masks, all labels. The classification" in line]
    assert "S: masks only." in setting and "(default: 'S+C*')" in setting


def test_threads_that_are_about_to_end_are_waited_for_and_no_others(monkeypatch):
    """Only an ordinary exit lets a process of several take leave of the others."""

    def failing(arguments):
        threading.Thread(target=time.sleep, args=(float(arguments[0]),)).start()
        return 2

    def at_once(code):
        raise AssertionError(f"left at once with {code}")

    monkeypatch.setattr(cli, "run", failing)
    monkeypatch.setattr(cli.os, "_exit", at_once)
    with pytest.raises(SystemExit) as end:
        cli.main(["0.3"])
    assert end.value.code == 2
    patient = cli._threads_left
    monkeypatch.setattr(cli, "_threads_left", lambda: patient(0.1))
    with pytest.raises(AssertionError, match="at once with 2"):
        cli.main(["1.5"])


def test_overview_version_and_unknown_commands(capsys):
    assert l2s("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert l2s() == 2
    assert l2s("--version") == 0 and "l2s_jax" in capsys.readouterr().out
    assert l2s("segment") == 2 and "no such command: segment" in capsys.readouterr().err
    assert l2s("prepare") == 2 and "prepare phantom" in capsys.readouterr().out


def as_toml(value):
    """A default as a TOML file holds it."""
    if isinstance(value, tuple):
        return [as_toml(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_of_every_command_can_stand_in_a_file(name):
    hints = {key: hint for key, hint in get_type_hints(COMMANDS[name]).items() if key != "training"}
    defaults = {field.name: field.default for field in fields(COMMANDS[name])}
    table = {
        key: as_toml(value) for key, value in defaults.items() if value is not MISSING and value is not None
    }
    values = typed_options(table, hints, name)
    assert values == {key: defaults[key] for key in table}


@pytest.mark.parametrize(
    "error, message",
    [
        (OSError(28, "No space left on device", "out/a.png"), "l2s: out/a.png: No space left on device"),
        (MemoryError(), "l2s: out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: 14 GiB"), "l2s: out of memory"),
        (UserError("gone", exit_code=1), "l2s: gone"),
    ],
)
def test_what_the_machine_lacks_is_one_line(error, message, monkeypatch, capsys):
    def fails(arguments):
        raise error

    monkeypatch.setattr(cli, "_command", fails)
    assert l2s("train") == 1
    assert capsys.readouterr().err.startswith(message)


def test_every_option_of_train_can_stand_in_a_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        "seeds = [3, 4]\nstrategy = 'unroll'\ndevices = 'all'\nallow_outside = true\nepochs = 7\n"
        "preset = 'release'\n"
    )
    asked = ["data", "--out", str(tmp_path / "run"), "--config", str(file)]
    command = _parse("train", asked)
    assert (command.seeds, command.strategy, command.devices) == ((3, 4), "unroll", "all")
    assert command.compile_cache and command.allow_outside
    assert command.training == replace(PRESETS["release"], epochs=7)
    command = _parse("train", [*asked, "--devices", "2", "--epochs", "9", "--preset", "labelset"])
    assert command.devices == 2 and command.training == replace(PRESETS["labelset"], epochs=9)
    file.write_text("seeds = 3\ndevices = 'some'\nepochs = 1.5\n")
    with pytest.raises(UserError) as caught:
        _parse("train", asked)
    assert "seeds = 3 must be a list, each a whole number" in str(caught.value)
    assert "devices = 'some' must be a whole number or one of all" in str(caught.value)
    assert "epochs = 1.5 must be a whole number" in str(caught.value)


def test_prepare_check_and_a_config_file(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("patches = 16\npatch_size = 32\n")
    assert l2s("prepare", "phantom", tmp_path / "data", "--config", tmp_path / "c.toml") == 0
    assert "16 patches (16 of 32 x 32)" in capsys.readouterr().out
    assert l2s("check", tmp_path / "data") == 0
    (tmp_path / "c.toml").write_text("patchs = 16\n")
    assert l2s("prepare", "phantom", tmp_path / "data2", "--config", tmp_path / "c.toml") == 2
    assert "unknown option 'patchs' (known: patches, " in capsys.readouterr().err
    (tmp_path / "c.toml").write_text("patches = 'many'\nmasks = true\n")
    assert l2s("prepare", "phantom", tmp_path / "data2", "--config", tmp_path / "c.toml") == 2
    said = capsys.readouterr().err
    assert "patches = 'many' must be a whole number" in said and "masks = True must be a number" in said
    next((tmp_path / "data" / "masks").glob("*.png")).unlink()
    assert l2s("check", tmp_path / "data") == 1
    assert "not found" in capsys.readouterr().out


BAD = {
    "no manifest": (["train", "{tmp}/absent", "--out", "{tmp}/run"], 2, "not found"),
    "not a run": (["evaluate", "{tmp}", "{data}"], 2, "holds no trained network"),
    "unknown option": (["train", "{data}", "--out", "{tmp}/run", "--percant", "5"], 2, "percant"),
    "senseless value": (
        ["train", "{data}", "--out", "{tmp}/run", "--percent", "500"], 2, "percent = 500.0 must be 0 to 100",
    ),
    "no number": (["train", "{data}", "--out", "{tmp}/run", "--epochs", "many"], 2, "many"),
    "a file in the way": (
        ["train", "{data}", "--out", "{tmp}/file/run", "--weights", "random"], 1, "cannot write",
    ),
    "a run in the way": (
        ["train", "{data}", "--out", "{run}", "--weights", "random"], 2, "already holds a run",
    ),
    "no weights file": (
        ["train", "{data}", "--out", "{tmp}/run", "--weights", "{tmp}/w.safetensors"], 2, "w.safetensors",
    ),
    "NaN in weights": (
        ["train", "{data}", "--out", "{tmp}/run", "--weights", "{tmp}/nan.safetensors"], 2, "finite",
    ),
    "no picture": (["predict", "{run}", "--out", "{tmp}/out"], 2, ""),
    "no config": (["train", "{data}", "--out", "{tmp}/run", "--config", "{tmp}/no.toml"], 2, "cannot read"),
    "a file as output folder": (["predict", "{run}", "{tmp}/file", "--out", "{tmp}/file"], 1, "file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_message_and_the_right_code(case, trained, phantom, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    save_file({"conv1.weight": np.full((64, 3, 7, 7), np.nan, np.float32)}, tmp_path / "nan.safetensors")
    arguments, code, message = BAD[case]
    filled = [argument.format(tmp=tmp_path, data=phantom, run=trained) for argument in arguments]
    assert l2s(*filled) == code
    captured = capsys.readouterr()
    text = captured.err + captured.out
    assert message in text and "Traceback" not in text
    assert not (tmp_path / "run" / CONFIG).exists()


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path):
    from l2s_jax.cli.app import _parse

    (tmp_path / "c.toml").write_text("percent = 10.0\nhead = 'a3'\n")
    arguments = ["data", "--out", "run", "--preset", "release", "--config", str(tmp_path / "c.toml")]
    training = _parse("train", [*arguments, "--percent", "20"]).training
    assert (training.percent, training.head, training.routing) == (20.0, "a3", "all")


def test_evaluate_predict_and_export_run_from_the_command_line(trained, phantom, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    assert l2s("evaluate", copy, phantom, "--batch-size", TINY.batch_size) == 0
    assert (copy / "evaluation" / "test" / "metrics.json").exists()
    picture = next((phantom / "images").glob("*.png"))
    assert l2s("predict", copy, picture, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / picture.name).exists()
    assert l2s("export", copy, tmp_path / "export") == 0
    assert (tmp_path / "export" / "model.safetensors").exists()
    assert "1 of 1 pictures segmented" in capsys.readouterr().out
