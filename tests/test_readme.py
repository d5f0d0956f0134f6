"""What the README prints, runs: its data set, its commands in their order, its Python."""

import re
from pathlib import Path

import numpy as np
import pytest

from l2s_jax.cli import _parse, run
from l2s_jax.data.pictures import write_png
from l2s_jax.results.confusions import COLUMN
from l2s_jax.results.names import CELL, FACTS, REQUIRED, SHOWN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(text):
    return [line.split("#")[0].split() for line in text.splitlines() if line.startswith("l2s ")]


@pytest.fixture(scope="module")
def my_data(tmp_path_factory):
    """The README's manifest, with made-up pictures under the names that it lists."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_data").mkdir()
    (table,) = blocks("csv")
    (folder / "my_data" / "patches.csv").write_text(table)
    (folder / "my_data" / "classes.toml").write_text(blocks("toml")[0])
    for line in table.splitlines()[1:]:
        image, mask = line.split(",")[:2]
        write_png(folder / "my_data" / image, rng.integers(0, 256, (32, 32, 3), np.uint8))
        if mask:
            write_png(folder / "my_data" / mask, rng.integers(0, 2, (32, 32)).astype(np.uint8))
    return folder


def test_every_command_is_one():
    lines = [words for text in blocks("sh") for words in commands(text)]
    assert len(lines) >= 7
    for words in lines:
        name = " ".join(words[1:3]) if words[1] == "prepare" else words[1]
        _parse(name, words[3:] if words[1] == "prepare" else words[2:])


def test_own_data_as_printed(my_data, monkeypatch):
    monkeypatch.chdir(my_data)
    (text,) = (text for text in blocks("sh") if "my_data" in text)
    for words in commands(text):
        assert run(words[1:]) == 0, words
    for name in ("runs/first/report.html", "predictions/d1_overlay.png", "exported/model.safetensors"):
        assert Path(name).exists()


def test_the_python_as_printed(my_data, monkeypatch, capsys):
    monkeypatch.chdir(my_data)
    (text,) = blocks("python")
    exec(text, {})
    assert Path("runs/half/evaluation/test/metrics.json").exists()
    assert Path("predictions_half/d1.png").exists()


def test_the_table_of_results_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("python", (ROOT / "docs" / "results_table.md").read_text())
    exec(text, {})
    out = capsys.readouterr().out
    assert "0.504" in out and "S+C, 90%: " in out
    assert (tmp_path / "my_report" / "report.html").exists() and (
        tmp_path / "my_report" / "plan_masks.csv"
    ).exists()


def test_the_columns_are_those_that_are_read():
    text = (ROOT / "docs" / "results_table.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    assert {
        *REQUIRED,
        *CELL,
        *FACTS,
        "group",
        "selection",
        "n_mask",
        *COLUMN.values(),
        *SHOWN["segmentation"][:1],
    } <= named


def test_the_map_names_every_module():
    shown = README.split("## Map")[1]
    for path in (ROOT / "l2s_jax").glob("*.py"):
        if path.name != "__init__.py":
            assert path.name in shown, f"{path.name} is missing from the README's map"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://doi.org/") or (ROOT / target).exists(), target
