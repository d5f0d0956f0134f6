"""What the README prints, runs: its data set, its commands in their order, its Python."""

import json
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
import tifffile

from helpers.dataset_generator import write_bach, write_digestpath, write_ebhi, write_gleason
from l2s_jax.cli.app import COMMANDS, _parse, run
from l2s_jax.config import TrainConfig
from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.bach import phantom_section
from l2s_jax.prediction.slides.bands import area_of
from l2s_jax.reports.confusions import COLUMN
from l2s_jax.reports.names import CELL, DEFAULT_METRICS, FACTS, REQUIRED
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.overview import find_tissue
from l2s_jax.slides.slide import open_slide

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REPRODUCIBILITY = (ROOT / "REPRODUCIBILITY.md").read_text()


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
        write_png(folder / "my_data" / image, rng.integers(0, 256, (64, 64, 3), np.uint8))
        if mask:
            write_png(folder / "my_data" / mask, rng.integers(0, 2, (64, 64)).astype(np.uint8))
    return folder


def test_every_command_is_one():
    texts = blocks("sh") + blocks("sh", REPRODUCIBILITY)
    lines = [words for text in texts for words in commands(text)]
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


def test_whole_slides_as_printed(tmp_path, monkeypatch):
    """From a generated BACH folder to outlines for QuPath, with the right names in the right places."""
    monkeypatch.chdir(tmp_path)
    (text,) = (text for text in blocks("sh") if "phantom-bach" in text)
    for words in commands(text):
        assert run(words[1:]) == 0, words
    slide = open_slide("BACH/WSI/A04.svs")
    factor = 7.5 / slide.mpp[0]
    with tifffile.TiffFile("slides/A04.ome.tif") as file:
        codes = file.asarray()
    features = json.loads(Path("slides/A04.geojson").read_text())["features"]
    names = {feature["properties"]["classification"]["name"] for feature in features}
    assert names == {BACH_CLASSES.names[code] for code in np.unique(codes)} - {"normal"} and names
    for feature in features:
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            columns, rows = np.array(ring).T
            assert 0 <= rows.min() < rows.max() <= slide.size_level0[0]
            assert 0 <= columns.min() < columns.max() <= slide.size_level0[1]
    outlines = read_annotations(Path("slides/A04.geojson"), class_table(BACH_CLASSES))
    np.testing.assert_array_equal(paint(outlines, codes.shape, (factor, factor), background=0), codes)
    # Classes are on tissue only, and that is where the phantom has its regions.
    tissue = find_tissue(slide)
    area = area_of(tissue.mask, codes.shape, 7.5 / tissue.mpp)
    inside = area.mask[np.ix_(area.rows, area.columns)]
    truth = phantom_section(codes.shape, 4).mask
    assert not codes[~inside].any() and inside[truth > 0].mean() > 0.9
    figures = json.loads(Path("figures/metrics.json").read_text())
    assert figures["n_slides"] == 1 and figures["mpp"] == 7.5
    pooled = np.array(figures["slide"]["confusion_matrix"])
    np.testing.assert_array_equal(pooled.sum(1), np.bincount(truth.ravel(), minlength=4))
    np.testing.assert_array_equal(pooled.sum(0), np.bincount(codes.ravel(), minlength=4))
    assert Path("looks/tissue.png").exists()


def test_public_data_sets_and_experiments_as_printed(tmp_path, monkeypatch):
    """On generated copies of the layouts (small slides: small patches), with a sweep that is cut down."""
    monkeypatch.chdir(tmp_path)
    write_ebhi(Path("EBHI-SEG"))
    write_bach(Path("."))
    write_gleason(Path("Gleason2019"))
    write_digestpath(Path("DigestPath2019"))
    (prepared,) = (text for text in blocks("sh") if "EBHI-SEG" in text)
    for words in commands(prepared):
        assert run([*words[1:], *(["--patch-size", "32"] if "bach" in words else [])]) == 0, words
        assert Path(next(word for word in words if word.startswith("data/")), "patches.csv").exists()
    text = (ROOT / "experiments" / "bach.toml").read_text().split("# What the authors' code does")[0]
    small = "draws = 1\npercents = [100]\n[options]\nweights = 'random'\nsteps = 2\nbatch_size = 4\n"
    Path("experiments").mkdir()
    Path("experiments/bach.toml").write_text(text.replace("[[variant]]", small + "[[variant]]"))
    (studied,) = (text for text in blocks("sh") if "l2s sweep" in text)
    for words in commands(studied):
        assert run(words[1:]) == 0, words
    assert len(pd.read_csv("runs/bach_study/results.csv")) == 2  # S and S+C*; S+C is S at 100%
    assert Path("runs/bach_study/report/report.html").exists()
    assert Path("runs/bach_study/report/plan_masks.csv").exists()


def test_the_python_as_printed(my_data, monkeypatch, capsys):
    monkeypatch.chdir(my_data)
    for text in blocks("python"):
        exec(text, {})
    assert Path("runs/seeds/seed1/report.html").exists()
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
        *DEFAULT_METRICS["segmentation"][:1],
    } <= named


def test_the_map_names_every_module():
    shown = README.split("## Map")[1]
    for path in (ROOT / "l2s_jax").glob("*.py"):
        if path.name != "__init__.py":
            assert path.name in shown, f"{path.name} is missing from the README's map"


def test_the_table_of_differences_is_whole_and_its_options_exist():
    text = (ROOT / "docs" / "paper_and_release.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.M)]
    assert numbers == list(range(1, 74))
    known = {name for command in COMMANDS.values() for name in get_type_hints(command)}
    known |= set(get_type_hints(TrainConfig))
    for option in re.findall(r"`[^`|]*?--([a-z][a-z-]*)", text):
        name = option.removeprefix("no-").replace("-", "_")
        assert name in known, option


def anchors(page):
    """The names that a page's headings have in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = ("README.md", "REPRODUCIBILITY.md", "benchmarks/README.md", "docs/scale_out.md")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert target.startswith("https://doi.org/") or there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_experiments_that_are_named_exist_and_have_results():
    for name in re.findall(r"l2s sweep ([\w/.]+)", REPRODUCIBILITY):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"python experiments/paper.py (\w+)", REPRODUCIBILITY):
        assert (ROOT / "experiments" / f"{name}.toml").exists(), name
    results = ROOT / "experiments" / "results"
    for name in (
        "ebhi",
        "ebhi_rate",
        "ebhi_labelset",
        "ebhi_few_masks",
        "ebhi_long",
        "ebhi_longer",
        "ebhi_settled",
        "ebhi_class_weights",
        "ebhi_ten_draws",
        "ebhi_share",
        "ebhi_warm_start",
        "ebhi_self_training",
    ):
        table = pd.read_csv(results / name / "results.csv")
        assert len(table) > 3, name
        assert not table.duplicated(["variant", "setting", "percent", "draw"]).any(), name
