"""Names that a terminal can't show, and names of files that are no text."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from helpers.commands import l2s
from helpers.dataset_generator import write_digestpath
from helpers.runs import take_out_sum
from l2s_jax.cli.app import main
from l2s_jax.data.check import check_manifest

CLASS = "железа Ж"
NO_TEXT = os.fsdecode(b"caf\xe9.png")  # as a disk that was written under Latin-1 has it


@pytest.fixture(scope="module")
def foreign(phantom, trained, tmp_path_factory):
    """The phantom and a run on it, whose first class has a name that not every terminal can show."""
    folder = tmp_path_factory.mktemp("foreign")
    for source, name in ((phantom, "data"), (trained, "run")):
        shutil.copytree(source, folder / name)
    before = (phantom / "classes.toml").read_text()
    old = before.split('name = "')[1].split('"')[0]
    for path in (folder / "data" / "classes.toml", folder / "run" / "classes.toml"):
        path.write_text(path.read_text().replace(f'"{old}"', f'"{CLASS}"'), encoding="utf-8")
    take_out_sum(folder / "run", "classes.toml")
    table = folder / "data" / "patches.csv"
    table.write_text(table.read_text().replace(f",{old},", f",{CLASS},"), encoding="utf-8")
    return folder


def on_a_terminal(encoding, words, monkeypatch):
    """Exit code of a command, and what such a terminal is sent."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    monkeypatch.undo()
    for stream in streams.values():
        stream.flush()
    sent = b"".join(stream.buffer.getvalue() for stream in streams.values())
    return end.value.code, sent.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_class_that_the_terminal_cannot_show_is_shown_by_its_codes(foreign, encoding, monkeypatch):
    shown = CLASS if encoding == "utf-8" else CLASS.encode("ascii", "backslashreplace").decode()
    code, sent = on_a_terminal(encoding, ["check", foreign / "data"], monkeypatch)
    assert code == 0 and shown in sent and "No problems" in sent, sent
    words = ["evaluate", foreign / "run", foreign / "data", "--batch-size", "8"]
    code, sent = on_a_terminal(encoding, words, monkeypatch)
    assert code == 0 and f"{shown}: F1" in sent
    written = foreign / "run" / "evaluation" / "test" / "metrics.json"
    assert CLASS in json.loads(written.read_text(encoding="utf-8"))["classes"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_help_and_errors_on_such_a_terminal(encoding, tmp_path, monkeypatch):
    code, sent = on_a_terminal(encoding, ["train", "--help"], monkeypatch)
    assert code == 0 and "--set-weight" in sent
    code, sent = on_a_terminal(encoding, ["check", tmp_path / CLASS], monkeypatch)
    assert code == 2 and "\\u0416" in sent and "not found" in sent


def test_a_picture_whose_name_is_no_text_costs_no_other(phantom, trained, tmp_path, capsys):
    first, last = sorted((phantom / "images").glob("*.png"))[:2]
    shutil.copy(first, tmp_path / NO_TEXT)
    out = tmp_path / "out"
    assert l2s("predict", trained, first, tmp_path / NO_TEXT, last, "--out", out, "--batch-size", "8") == 1
    said = capsys.readouterr()
    assert repr(NO_TEXT)[1:-1] in said.err and "UTF-8" in said.err and "2 of 3 pictures" in said.out
    assert (out / first.name).exists() and (out / last.name).exists()
    assert l2s("predict", trained, tmp_path / NO_TEXT, "--out", out) == 1
    assert l2s("evaluate-slides", trained, tmp_path / NO_TEXT) == 1


def test_a_picture_of_a_data_set_whose_name_is_no_text_costs_no_other(tmp_path, capsys):
    write_digestpath(tmp_path / "set", 256)
    pictures = sorted(tmp_path.glob("set/**/tissue-train-neg*/*.jpg"))
    pictures[0].rename(pictures[0].with_name(NO_TEXT.replace(".png", ".jpg")))
    words = ["--size", "128", "--patch-size", "32", "--stain", "off", "--workers", "1"]
    assert l2s("prepare", "digestpath2019", tmp_path / "set", tmp_path / "out", *words) == 1
    said = capsys.readouterr().out
    assert "1 failed" in said and "caf\\udce9.jpg" in said and "UTF-8" in said
    assert check_manifest(tmp_path / "out").ok


def test_a_name_that_is_no_text_where_it_must_be_written_is_one_message(slide_named, tmp_path, capsys):
    assert l2s("inspect", slide_named, "--slide-mpp", "7.5", "--out", tmp_path / "looks") == 2
    assert "caf\\udce9.png" in capsys.readouterr().err


@pytest.fixture
def slide_named(phantom, tmp_path):
    path = tmp_path / NO_TEXT
    shutil.copy(next((phantom / "images").glob("*.png")), path)
    return Path(path)
