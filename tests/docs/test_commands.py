"""What the documents print, runs: their data sets, their commands in their order, their Python.

Each page is one test. Pages share one folder, as they do for somebody who reads them one after the other.
Those that build on others say so in `AFTER`.
"""

import json
import os
import re
import shutil
import tomllib
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from helpers.commands import l2s
from helpers.dataset_generator import (
    write_bach,
    write_digestpath,
    write_ebhi,
    write_gleason,
    write_wsss4luad,
)
from helpers.pages import NAMES, ROOT, blocks
from l2s_jax.cli.app import _parse
from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.bach import phantom_section
from l2s_jax.prediction.slides.job import area_of
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.overview import find_tissue
from l2s_jax.slides.slide import open_slide

pytestmark = pytest.mark.slow

AFTER = {
    "docs/training.md": ["README.md"],
    "docs/evaluation.md": ["README.md"],
    "docs/exports.md": ["README.md"],
    "docs/scale_out.md": ["README.md"],
    "docs/second_round.md": ["docs/own_slides.md"],
}
"""Pages that use the data or the runs of another."""

WITH_CODE = [name for name in NAMES if any(not block.why_not for block in blocks(name))]
CONTINUOUS = (ROOT / ".ci" / "run").read_text()
SMALL_SLIDES = ["--patch-size", "32"]
"""The generated BACH has slides of 96 x 128 pixels at the scale of the patches."""


def write_public_data():
    """Generated copies of the layouts, and BACH's experiment cut down to two runs of two steps."""
    write_ebhi(Path("EBHI-SEG"))
    write_wsss4luad(Path("WSSS4LUAD/validation"))
    write_bach(Path("."))
    write_gleason(Path("Gleason2019"))
    write_digestpath(Path("DigestPath2019"))
    text = (ROOT / "experiments" / "bach.toml").read_text().split("# What the authors' code does")[0]
    small = "draws = 1\npercents = [100]\n[options]\nweights = 'random'\nsteps = 2\nbatch_size = 4\n"
    Path("experiments").mkdir()
    Path("experiments/bach.toml").write_text(text.replace("[[variant]]", small + "[[variant]]"))


def copy_results():
    """The committed results, where the commands of the studies look for them."""
    for folder in (ROOT / "experiments" / "results").iterdir():
        if not (Path("runs") / folder.name).exists():
            shutil.copytree(folder, Path("runs") / folder.name)


def draw_pictures(folder, table):
    """Made-up pictures and masks under the names that a manifest lists."""
    rng = np.random.default_rng(0)
    for image, mask in (line.split(",")[:2] for line in table.splitlines()[1:]):
        write_png(folder / image, rng.integers(0, 256, (32, 32, 3), np.uint8))
        if mask:
            write_png(folder / mask, rng.integers(0, 2, (32, 32)).astype(np.uint8))


def write_table(name, block):
    """A manifest's files go into the folder that the page then checks, others where their first line says."""
    checked = [
        words[2] for other in blocks(name) for words in other.commands if words[:2] == ["l2s", "check"]
    ]
    if block.language == "csv":
        folder = Path(checked[0])
        folder.mkdir()
        (folder / "patches.csv").write_text(block.text)
        draw_pictures(folder, block.text)
    elif "class" in tomllib.loads(block.text):
        (Path(checked[0]) / "classes.toml").write_text(block.text)
    else:
        Path(block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)


def run_command(name, words):
    if words[0] == "make":
        assert f"make {words[1]}" in CONTINUOUS, f"{name}: nothing runs {' '.join(words)}"
        return
    assert words[0] == "l2s", f"{name}: {' '.join(words)} is no command that the tests know"
    words = [path for word in words for path in sorted(glob(word)) or [word]]  # as a shell does
    small = SMALL_SLIDES if name == "docs/public_data.md" and words[2] == "bach" else []
    assert l2s(*words[1:], *small) == 0, (name, words)


def run_page(name):
    """Runs a page from top to bottom in the working folder."""
    if name == "docs/public_data.md":
        write_public_data()
    if name.startswith("docs/experiments/"):
        copy_results()
    for block in blocks(name):
        if block.why_not:
            continue
        if block.language in ("csv", "toml"):
            write_table(name, block)
        elif block.language == "sh":
            for words in block.commands:
                run_command(name, words)
        elif block.language == "python":
            exec(block.text, {})
        else:
            assert block.language == "bibtex", f"{name}: what is {block.language}?"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Runs a page and those that it builds on, each once, and gives the folder in which they were run."""
    folder, done = tmp_path_factory.mktemp("reader"), set()

    def read(name):
        for page in [*AFTER.get(name, []), name]:
            if page not in done:
                done.add(page)
                before = Path.cwd()
                os.chdir(folder)
                try:
                    run_page(page)
                finally:
                    os.chdir(before)
        return folder

    return read


STUDIES = [name for name in WITH_CODE if name.startswith("docs/experiments/")]
EXAMINED = {
    "README.md", "docs/training.md", "docs/whole_slides.md", "docs/public_data.md", "docs/results_table.md",
    "docs/experiments_and_reports.md", *STUDIES,
}  # fmt: skip
"""Pages with a test of their own."""


@pytest.mark.parametrize("name", [name for name in WITH_CODE if name not in EXAMINED])
def test_a_page_runs_as_printed(name, reader):
    reader(name)


def test_the_readme_as_printed(reader):
    folder = reader("README.md")
    for name in (
        "runs/first/report.html", "predictions/d1_overlay.png", "exported/model.safetensors",
        "runs/half/evaluation/test/metrics.json", "predictions_half/d1_overlay.png",
    ):  # fmt: skip
        assert (folder / name).exists(), name
    figures = json.loads((folder / "runs/half/evaluation/test/metrics.json").read_text())
    assert 0 <= figures["pooled"]["macro_f1"] <= 1 and figures["per_group"]["macro_f1"]["n"] == 1


def test_training_as_printed(reader):
    runs = reader("docs/training.md") / "runs"
    config = tomllib.loads((runs / "taught" / "config.toml").read_text())
    assert config["teacher_shift"] == 0.5 and config["cls_weight"] == 0
    assert tomllib.loads((runs / "teacher" / "config.toml").read_text())["presence_weight"] > 0


def test_whole_slides_as_printed(reader):
    """From a generated BACH folder to outlines for QuPath, with the right names in the right places."""
    folder = reader("docs/whole_slides.md")
    slide = open_slide(folder / "BACH/WSI/A04.svs")
    factor = 7.5 / slide.mpp[0]
    with tifffile.TiffFile(folder / "slides/A04.ome.tif") as file:
        codes = file.asarray()
    features = json.loads((folder / "slides/A04.geojson").read_text())["features"]
    names = {feature["properties"]["classification"]["name"] for feature in features}
    assert names == {BACH_CLASSES.names[code] for code in np.unique(codes)} - {"normal"} and names
    for feature in features:
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            columns, rows = np.array(ring).T
            assert 0 <= rows.min() < rows.max() <= slide.size_level0[0]
            assert 0 <= columns.min() < columns.max() <= slide.size_level0[1]
    outlines = read_annotations(folder / "slides/A04.geojson", class_table(BACH_CLASSES))
    # Outlines may leave the edges of pixels by two of them, but not more.
    painted = paint(outlines, codes.shape, (factor, factor), background=0)
    near = ndimage.maximum_filter(codes, 5) != ndimage.minimum_filter(codes, 5)
    np.testing.assert_array_equal(painted[~near], codes[~near])
    # Classes are on tissue only, and that is where the phantom has its regions.
    tissue = find_tissue(slide)
    area = area_of(tissue.mask, codes.shape, 7.5 / tissue.mpp)
    inside = area.mask[np.ix_(area.rows, area.columns)]
    truth = phantom_section(codes.shape, 4).mask
    assert not codes[~inside].any() and inside[truth > 0].mean() > 0.9
    figures = json.loads((folder / "figures/metrics.json").read_text())
    assert figures["n_slides"] == 1 and figures["mpp"] == 7.5
    pooled = np.array(figures["slide"]["confusion_matrix"])
    np.testing.assert_array_equal(pooled.sum(1), np.bincount(truth.ravel(), minlength=4))
    np.testing.assert_array_equal(pooled.sum(0), np.bincount(codes.ravel(), minlength=4))
    assert (folder / "inspected/tissue.png").exists()


def test_public_data_sets_as_printed(reader):
    folder = reader("docs/public_data.md")
    for words in (words for block in blocks("docs/public_data.md") for words in block.commands):
        if words[1] == "prepare":
            out = words[3] if words[2] == "phantom" else words[4]
            assert (folder / out / "patches.csv").exists()
    study = folder / "runs" / "bach_study"
    assert len(pd.read_csv(study / "results.csv")) == 2  # S and S+C*; S+C is S at 100%
    assert (study / "report" / "report.html").exists() and (study / "report" / "plan_masks.csv").exists()


def test_experiments_as_printed(reader):
    results = reader("docs/experiments_and_reports.md") / "runs" / "my_sweep"
    rows = pd.read_csv(results / "results.csv")
    assert set(rows[["variant", "setting", "percent"]].itertuples(index=False, name=None)) == {
        ("paper", "S", 50), ("paper", "S", 100), ("labelset", "S+C", 50),
    } and len(rows) == 6  # fmt: skip
    assert (results / "report" / "report.html").exists()
    of_folds = results.with_name("my_folds")
    assert len(pd.read_csv(of_folds / "results.csv")) == 8  # two methods, four folds
    assert set(pd.read_csv(of_folds / "report" / "out_of_fold.csv")["n_test"]) == {40}


def test_the_table_of_results_as_printed(reader, capsys):
    folder = reader("docs/results_table.md")
    out = capsys.readouterr().out
    assert "0.504" in out and "S+C, 90%: " in out
    assert (folder / "my_report" / "report.html").exists()
    assert (folder / "my_report" / "plan_masks.csv").exists()


@pytest.mark.parametrize("name", STUDIES)
def test_studies_as_printed(name, reader):
    """Their commands make the tables that are committed, from the rows that are committed."""
    folder = reader(name)
    for words in (words for block in blocks(name) if not block.why_not for words in block.commands):
        made, kept = folder / words[2] / "report", ROOT / "experiments" / "results" / Path(words[2]).name
        for table in kept.glob("*.md" if words[1] == "report" else "plan_masks.csv"):
            assert (made / table.name).read_text() == table.read_text(), table


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_are_not_run_could_be(name):
    """They say why they are not run, their options exist, and so do the files that they name."""
    for block in blocks(name):
        if block.why_not is None or block.language != "sh":
            continue
        assert len(block.why_not) > 8, name
        for words in block.commands:
            words = words[1:] if words[0] == "srun" else words
            if words[0] == "l2s":
                split = 3 if words[1] == "prepare" else 2
                _parse(" ".join(words[1:split]), words[split:])
            for word in words:
                if re.match(r"(experiments|benchmarks|tests)/.*\.\w+$", word) and "{" not in word:
                    assert (ROOT / word).exists(), (name, word)
