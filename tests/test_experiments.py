"""The sweeps in experiments/ are readable, and ask for what the paper did."""

import json
import runpy
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.pages import NAMES, blocks, text_of
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.reports.paper_values import paper_dataset, paper_values
from l2s_jax.sweeps.plan import cells_of
from l2s_jax.sweeps.report import report
from l2s_jax.sweeps.sweep_file import PERCENTS, SETTINGS, read_sweep

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))
PAPER = {"bach": "ICIAR BACH 2018", "gleason2019": "Gleason2019", "digestpath2019": "DigestPath2019"}
STUDIES = {"": "segmentation", "_classification": "classification"}


RESULTS = Path(__file__).parents[1] / "experiments" / "results"
VALIDATED = ["macro_f1", "validation_score"]
WITH_COMMANDS = {
    words[2].removeprefix("runs/")
    for page in NAMES
    if page.startswith("docs/experiments/")
    for block in blocks(page)
    for words in block.commands
    if words[:2] == ["l2s", "report"]
}
"""Results whose page prints the command that makes their tables: tests/docs/test_commands.py holds those."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_sweep_is_read(file):
    sweep = read_sweep(file)
    assert sweep.name == file.stem and sweep.manifest is not None and list(cells_of(sweep))


@pytest.mark.parametrize("dataset", [*PAPER, "ebhi_full", "phantom"])
@pytest.mark.parametrize("suffix", STUDIES)
def test_both_studies_of_every_data_set_are_whole(dataset, suffix):
    (file,) = (file for file in FILES if file.stem == dataset + suffix)
    sweep, study = read_sweep(file), STUDIES[suffix]
    assert sweep.study == study and sweep.draws == (0, 1, 2, 3, 4)
    assert [(variant.name, variant.preset) for variant in sweep.variants] == [
        ("paper", "paper"),
        ("release", "release"),
    ]
    for variant in sweep.variants:
        assert variant.settings == SETTINGS[study] and variant.percents == PERCENTS[study]
        assert variant.config.select == "validation"
    assert sweep.variants[1].config.head == "max" and sweep.variants[1].config.routing == "all"
    indexed = dataset in ("gleason2019", "digestpath2019")
    assert sweep.variants[1].config.class_weights == ("index" if indexed else "inverse")
    # S at 0% is not run; the paper counts it.
    assert (
        len(list(cells_of(sweep))) == 2 * 5 * ({"segmentation": 3 * 14 - 1, "classification": 3 * 12}[study])
    )
    assert paper_dataset(sweep.dataset) == PAPER.get(dataset)
    assert len(paper_values(sweep.dataset, study)) == (
        {"segmentation": 84, "classification": 36}[study] if dataset in PAPER else 0
    )


@pytest.mark.parametrize(
    "name", sorted({path.parent.name for path in RESULTS.glob("*/results.csv")} - WITH_COMMANDS)
)
def test_committed_tables_are_those_of_the_committed_results(name, tmp_path):
    folder = RESULTS / name
    report(folder, out=tmp_path, metrics=VALIDATED, pictures=False, say=lambda line: None)
    tables = [path.name for path in folder.glob("*.md")]
    assert "table_segmentation.md" in tables
    for table in tables:
        assert (tmp_path / table).read_text() == (folder / table).read_text(), table


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/results.csv")), ids=lambda path: path.parent.name)
def test_every_run_has_one_row(path):
    table = pd.read_csv(path)
    assert len(table) > 3 and not table.duplicated(["variant", "setting", "percent", "draw"]).any()
    assert (path.parents[2] / f"{path.parent.name}.toml").exists()


@pytest.mark.parametrize(
    ("name", "changed"),
    [("review", {5: {19}, 10: {38}, 20: {77}}), ("review_ebhi", {5: {12}, 10: {24}, 20: {47}})],
)
def test_tables_of_the_review_are_those_of_its_rows_and_stand_on_its_page(tmp_path, name, changed):
    """`cleanlab.csv` is another program's; all else is made anew from the chances of each label."""
    script = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "review_flips.py"))
    kept = RESULTS / name
    shutil.copytree(kept, tmp_path / "review")
    for file in ("flips.csv", "flips.md"):
        (tmp_path / "review" / file).unlink()
    script["table"](tmp_path / "review")
    for file in ("flips.csv", "flips.md"):
        assert (tmp_path / "review" / file).read_text() == (kept / file).read_text(), file
    rows = [line for line in (kept / "flips.md").read_text().splitlines() if line.startswith("| ")]
    page = text_of("docs/review.md")
    assert len(rows) == 6 + 2 * len(changed) and all(row in page for row in rows)
    chances = pd.read_csv(kept / "chances.csv")
    assert len(chances.groupby(["share", "draw"])) == 3 * len(changed)
    wrong = chances[chances["given"] != chances["true"]].groupby(["share", "draw"]).size()
    assert {share: set(wrong[share]) for share in changed} == changed


def test_tables_of_what_to_draw_next_are_those_of_their_rows_and_stand_on_the_page(tmp_path):
    script = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "suggest_curve.py"))
    kept = RESULTS / "suggest"
    (tmp_path / "rows.jsonl").write_bytes((kept / "rows.jsonl").read_bytes())
    script["table"](results=tmp_path)
    for name in ("rows.jsonl", "curve.md"):
        assert (tmp_path / name).read_text() == (kept / name).read_text(), name
    assert "matplotlib" in (tmp_path / "curve.svg").read_text()
    lines = [line for line in (kept / "curve.md").read_text().splitlines() if line.startswith("| ")]
    page = text_of("docs/suggest.md")
    assert lines and all(line in page for line in lines)
    rows = [json.loads(line) for line in (kept / "rows.jsonl").read_text().splitlines()]
    first = {row["draw"]: row["chosen"] for row in rows if row["by"] == "start"}
    of_s = {(row["draw"], row["by"], row["masks"]): row["chosen"] for row in rows if row["recipe"] == "S"}
    for row in rows:
        assert row["chosen"] == of_s[row["draw"], row["by"], row["masks"]]
        chosen = row["chosen"]
        assert len(set(chosen)) == len(chosen) == row["masks"] == sum(row["labels"])
        assert set(first[row["draw"]]) <= set(chosen)
    # A difference by another hand.
    for recipe in ("S", "few-masks"):
        own = [row for row in rows if row["recipe"] == recipe]
        score = {(row["draw"], row["by"], row["masks"]): np.mean(row["macro_f1"]) for row in own}
        both = [d for d in sorted(first) if {(d, "random", 7), (d, "stratified", 7)} <= score.keys()]
        more = [100 * (score[d, "random", 7] - score[d, "stratified", 7]) for d in both]
        low, high = stats.t.interval(0.95, len(more) - 1, np.mean(more), stats.sem(more))
        assert f"| random | {np.mean(more):+.1f} ({low:+.1f} to {high:+.1f}), n = {len(more)} |" in page


def test_table_of_the_temperatures_is_that_of_its_rows_and_stands_on_its_page(tmp_path):
    script = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "calibration.py"))
    kept = RESULTS / "calibration"
    shutil.copy(kept / "rows.csv", tmp_path)
    script["table"](tmp_path)
    text = (tmp_path / "calibration.md").read_text()
    assert text == (kept / "calibration.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 and all(row in text_of("docs/evaluation.md") for row in rows)
    table = pd.read_csv(kept / "rows.csv")
    sweep = pd.read_csv(RESULTS / "ebhi_skip" / "results.csv").set_index("run")
    for row in table.itertuples():  # the same network, evaluated by itself; a temperature moves no class
        assert row.macro_f1_before == pytest.approx(sweep.loc[row.run, "macro_f1"], abs=2e-6)
        assert row.macro_f1_after == row.macro_f1_before
    plain = table[table["variant"] == "S-skip"]["ece_after"]
    assert f"| {plain.mean():.3f} ± {plain.std():.3f} ({len(plain)}) |" in rows[1]


def test_what_scribbles_gain_and_lose_is_that_of_their_rows():
    def scores(name):
        table = pd.read_csv(RESULTS / name / "results.csv")
        return 100 * table.set_index(["variant", "percent", "draw"])["macro_f1"]

    page = text_of("docs/experiments/scribbles.md")
    tenth, fiftieth = (scores(f"ebhi_scribbles_{share}") - scores("ebhi_scribbles") for share in (10, 2))
    assert len(tenth.loc["labelset"]) == 9 and round(tenth.loc["S"].mean(), 1) == 0.5
    gain, s = tenth.loc["labelset"], tenth.loc["S"]
    assert (
        f"gains {gain.mean():.1f} points on average over the nine pairs, the least of them {gain.min():.1f}"
        in page
    )
    assert f"S half a point, between {s.min():.1f} and {s.max():.1f}" in page
    loss, s = fiftieth.loc["labelset"], fiftieth.loc["S"]
    assert (
        f"loses {-loss.mean():.1f} points on average, between {loss.min():.1f} and {loss.max():.1f}" in page
    )
    assert f"S {-s.mean():.1f}, between {s.min():.1f} and {s.max():.1f}" in page


@pytest.mark.slow
def test_what_to_draw_next_is_measured_and_goes_on(tmp_path):
    prepare_phantom(tmp_path / "data", patches=60, patch_size=32, masks=1.0)
    script = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "suggest_curve.py"))
    values = script["run_draw"].__globals__
    values |= {"WAYS": ("coverage",), "STAGES": (4, 6), "SEEDS": {"S": 1, "few-masks": 1}}
    values["SHARED"] |= {"steps": 2, "validate_steps": 2}
    script["go"](script["run_draw"], tmp_path / "data", tmp_path / "out", "1")
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    assert [(row["by"], row["masks"]) for row in rows] == [("start", 3), ("coverage", 4), ("coverage", 6)]
    assert all(set(few["chosen"]) < set(more["chosen"]) for few, more in pairwise(rows))
    # What is left undone is done again, to the same; what was done is not.
    (tmp_path / "out" / "rows.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
    script["go"](script["run_draw"], tmp_path / "data", tmp_path / "out", "1")
    again = (tmp_path / "out" / "rows.jsonl").read_text()
    assert again.startswith("".join(lines[:2])) and again.endswith(lines[2])


@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_scribbles_are_a_share_of_each_class_and_nothing_else(share):
    draw = runpy.run_path(str(FILES[0].parent / "scribbles.py"))["scribbles"]
    rows, columns = np.indices((40, 48))
    mask = np.where(rows < 20, np.where(columns < 30, 0, 3), 1).astype(np.uint8)
    mask[5, 5], mask[30:, 40:] = 2, 255
    drawn = draw(mask, share, np.random.default_rng(0))
    known = drawn != 255
    assert (drawn[known] == mask[known]).all() and (mask[known] != 255).all()
    for code in range(4):
        assert (drawn == code).sum() == max(1, round(share * (mask == code).sum()))
    np.testing.assert_array_equal(drawn, draw(mask, share, np.random.default_rng(0)))
    if share == 0.1:  # strokes: most of what is drawn has a neighbour that is
        beside = np.pad(known, 1)[:-2, 1:-1] | np.pad(known, 1)[1:-1, :-2]
        assert beside[known].mean() > 0.6


@pytest.mark.parametrize("kept", sorted(RESULTS.glob("pretrain*")), ids=lambda kept: kept.name)
def test_the_table_of_pretraining_is_that_of_its_rows_and_stands_on_its_page(kept, tmp_path):
    for name in ("rows.csv", "pretraining.json"):
        shutil.copy(kept / name, tmp_path)
    runpy.run_path(str(RESULTS.parent / "pretrain.py"))["table"](tmp_path)
    for name in ("rows.csv", "pretrain.md"):
        assert (tmp_path / name).read_text() == (kept / name).read_text(), name
    lines = [line for line in (kept / "pretrain.md").read_text().splitlines() if line.startswith("| ")]
    page = text_of("docs/experiments/pretraining.md")
    assert lines and all(line in page for line in lines)
