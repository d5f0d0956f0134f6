import re
import shutil
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers.commands import l2s
from helpers.runs import TINY
from l2s_jax.cli import app as cli
from l2s_jax.cli.app import _parse
from l2s_jax.cli.commands import COMMANDS, summary
from l2s_jax.cli.parsing import default_of, file_options
from l2s_jax.config import PRESETS, TrainConfig
from l2s_jax.prepare.options import BachOptions
from l2s_jax.prepare.presets import BACH_PRESETS
from l2s_jax.runs.folder import CONFIG
from l2s_jax.system.errors import UserError
from l2s_jax.system.toml import typed_options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert l2s(*name.split(), "--help") == 0
    out = capsys.readouterr().out
    assert summary(name) == COMMANDS[name].__doc__.splitlines()[0]
    assert summary(name)[:30] in " ".join(out.split())


def help_of(name, columns, monkeypatch, capsys):
    """Lines of a command's help, without its boxes."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert l2s(*name.split(), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= columns for line in lines if line not in COMMANDS[name].__doc__)
    return [line.strip(" \u2502\u256d\u256e\u2570\u256f\u2500") for line in lines]


def test_the_text_of_an_option_is_a_paragraph(monkeypatch, capsys):
    """Its lines break where the terminal ends, not where the source's do: there, before `all`."""
    lines = help_of("train", 120, monkeypatch, capsys)
    (routing,) = [line for line in lines if line.startswith("--routing")]
    assert "`split`: each loss sees its own patches (section 2.2). `all`: both see every patch," in routing


def test_help_reads_as_a_table_of_contents(monkeypatch, capsys):
    lines = help_of("train", 80, monkeypatch, capsys)
    titles = {line: number for number, line in enumerate(lines) if re.fullmatch(r"[\w ]+ options", line)}
    groups = ("subset", "network", "teacher", "loss", "optimiser", "augmentation", "validation", "resource")
    assert [title for title in titles if title.split()[0] in groups] == [f"{name} options" for name in groups]
    place = {line.split()[0].strip(","): n for n, line in enumerate(lines) if line.startswith("--")}
    order = ["--percent", "--weights", "--teacher-shift", "--set-weight", "--epochs", "--colour-jitter"]
    assert [place[option] for option in order] == sorted(place[option] for option in order)
    for option, title in zip(order, groups, strict=False):
        assert place[option] > titles[f"{title} options"]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].presets])
def test_every_preset_is_explained_with_what_it_sets(name, columns, monkeypatch, capsys):
    text = " ".join(" ".join(help_of(name, columns, monkeypatch, capsys)).split())
    presets = COMMANDS[name].presets
    first = asdict(presets["paper"])
    for preset, options in presets.items():
        said = text.split(f"`{preset}`: ")[1].split("`")[0].split("(default:")[0]
        assert len(said) > 10
        named = {
            word.strip("()").removeprefix("--").replace("-", "_") for word in said.split() if "--" in word
        }
        assert named == {key for key, value in asdict(options).items() if value != first[key]}


def test_a_range_is_in_the_help_and_held(phantom, tmp_path, monkeypatch, capsys):
    lines = help_of("train", 120, monkeypatch, capsys)
    assert any("Adam's step size (section 2.3). (above 0 and below 10)" in line for line in lines)
    assert l2s("train", phantom, "--out", tmp_path / "run", "--learning-rate", "10") == 2
    assert "learning_rate = 10.0 must be above 0 and below 10" in capsys.readouterr().err
    assert l2s("prepare", "bach", tmp_path, tmp_path / "out", "--min-foreground", "1.5") == 2
    assert "min_foreground = 1.5 must be 0 to 1" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    "words, parts",
    [
        (["trian", "data"], ["no such command: trian", "train?"]),
        (["prepare", "bahc", "x"], ["no such command: prepare bahc", "prepare bach?"]),
        (["train", "data", "--out", "r", "--percant", "5"], ["--percant", "--percent FLOAT"]),
        (["train", "data", "--out", "r", "--epochs", "many"], ["--epochs", "'many'", "--epochs INT"]),
        (["train", "data", "--out", "r", "--steps", "five"], ["--steps: 'five': expected a whole number"]),
        (["train", "data", "--out", "r", "--steps", "1.5"], ["--steps: '1.5': expected a whole number"]),
        (["train", "data", "--out", "r", "--percent", "5%"], ["--percent: '5%': expected a number, such"]),
        (["train", "data", "--out", "r", "--seeds", "0", "b"], ["--seeds: 'b': expected a whole number"]),
        (["train", "data", "--out", "r", "--devices", "x"], ["--devices: 'x': expected", "2, or all"]),
        (["report", "r", "--draw", "0", "1,2"], ["--draw: '1,2': expected a whole number"]),
        (["prepare", "slides", "a", "b", "--mpp", "0,5"], ["--mpp: '0,5': expected a number", "0.5"]),
        (["prepare", "slides", "a", "b", "--split", "a", "1", "1"], ["--split: 'a': expected a number"]),
        (["train", "data", "--out", "r", "--preset", "nature"], ["'nature'", "--preset", "labelset"]),
        (["train", "data", "--out", "r", "--config"], ["--config", "Missing value"]),
        (["train", "data"], ["--out PATH", "Run folder", "required"]),
        (["train", "--out", "r"], ["MANIFEST", "patches.csv", "required"]),
        (["prepare", "bach", "a", "b", "--rename", "Tumour"], ["--rename", "'Tumour'", "NAME=CLASS"]),
    ],
)
def test_wrong_words_are_told_with_what_was_expected(words, parts, capsys):
    assert l2s(*words) == 2
    said = capsys.readouterr().err.replace("\u2502", " ")
    said = " ".join(said.split())
    assert all(part in said for part in parts), said
    assert "NoneType" not in said and "invalid literal" not in said


def test_a_file_holds_presets_and_tables_too(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("preset = 'release'\nmin_foreground = 0.5\nrename = { DCIS = 'in situ' }\n")
    words = ["a", "b", "--config", str(file)]
    options = _parse("prepare bach", words).part(BachOptions)
    assert options == replace(BACH_PRESETS["release"], min_foreground=0.5, rename={"DCIS": "in situ"})
    options = _parse("prepare bach", [*words, "--preset", "paper", "--rename", "Fat=normal"]).part(
        BachOptions
    )
    assert options == BachOptions(min_foreground=0.5, rename={"Fat": "normal"})
    file.write_text("rename = ['DCIS=in situ']\npreset = 'nature'\nfolder = 'a'\n")
    with pytest.raises(UserError) as caught:
        _parse("prepare bach", words)
    for part in (
        "rename = ",
        "a table, each value text in quotes",
        "preset = 'nature'",
        "paper, release",
        "'folder'",
    ):
        assert part in str(caught.value)


def as_toml(value):
    """A default as a TOML file holds it."""
    if isinstance(value, tuple):
        return [as_toml(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_of_every_command_can_stand_in_a_file(name):
    defaults = default_of(COMMANDS[name], name, [])
    table = {key: as_toml(value) for key, value in defaults.items() if key != "config" and value is not None}
    values = typed_options(table, file_options(COMMANDS[name]), name)
    assert values == {key: defaults[key] for key in table}


@pytest.mark.parametrize(
    "error, message",
    [
        (OSError(28, "No space left on device", "out/a.png"), "l2s: out/a.png: No space left on device"),
        (MemoryError(), "l2s: out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: 14 GiB"), "l2s: out of memory"),
        (RuntimeError("can't start new thread"), "l2s: out of memory"),
        (ImportError("a.so: failed to map segment from shared object"), "l2s: out of memory"),
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
    assert command.part(TrainConfig) == replace(PRESETS["release"], epochs=7)
    command = _parse("train", [*asked, "--devices", "2", "--epochs", "9", "--preset", "labelset"])
    assert command.devices == 2 and command.part(TrainConfig) == replace(PRESETS["labelset"], epochs=9)
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
    (tmp_path / "c.toml").write_text("percent = 10.0\nhead = 'a3'\n")
    arguments = ["data", "--out", "run", "--preset", "release", "--config", str(tmp_path / "c.toml")]
    training = _parse("train", [*arguments, "--percent", "20"])
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
