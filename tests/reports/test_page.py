"""The page of a report: what it holds, where its links lead, and what a browser makes of it."""

import re
import shutil
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.browser import CHROMIUM, chromium_page
from helpers.commands import l2s
from helpers.results_generator import CURVES, PERCENTS, write_results
from l2s_jax import UserError, evaluate, report
from l2s_jax.reports.reading import read_results
from l2s_jax.reports.summary import summary_notes
from l2s_jax.sweeps.predictions import accuracy, sample_pictures
from l2s_jax.types import IGNORE_PIXEL

SEGMENTATION = [method for method in CURVES if not method[1].startswith("S2")]


class Elements(HTMLParser):
    """Ids, links and outside addresses of a page, and the text of its headings."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources, self.headings, self._in = [], [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.ids += [facts["id"]] if "id" in facts else []
        for name in ("href", "xlink:href"):
            self.links += [facts[name]] if name in facts else []
        self.sources += [facts["src"]] if "src" in facts else []
        self._in = tag == "h2"

    def handle_endtag(self, tag):
        self._in = False

    def handle_data(self, data):
        self.headings += [data] if self._in else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report on BACH with three variants, one of them chosen on test, and a run that failed."""
    folder = tmp_path_factory.mktemp("results")
    rows = write_results(folder, dataset="BACH", methods=SEGMENTATION, percents=(0.0, *PERCENTS), draws=3)
    on_test_split = write_results(folder / "more", dataset="BACH", methods=SEGMENTATION[:1], draws=3, seed=1)
    on_test_split = on_test_split.assign(
        run="x" + on_test_split["run"].str[1:], variant="release", preset="release", selection="test-maximum"
    )
    rows = pd.concat([rows, on_test_split], ignore_index=True)
    failed = rows["run"][4]
    rows[rows["run"] != failed].to_csv(folder / "results.csv", index=False)
    (folder / "failures.csv").write_text(
        f"run,variant,setting,percent,draw,error,when\n{failed},paper,S,1,1,out of <memory>,2026-01-01\n"
    )
    report(folder, say=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report" / "report.html").read_text()


def test_the_page_has_every_part(page):
    wanted = ("About these results", "Means and spreads", "Curves", "Paired differences",
              "How many masks are needed", "Confusion matrices", "What the networks do",
              "Every mean and its runs", "Every run", "Not finished")  # fmt: skip
    assert tuple(Elements(page).headings) == wanted
    assert page.count("<svg") == 5 and page.count("<script>") == 1
    assert "15 run(s): epoch chosen on the test split itself" in page
    assert "out of &lt;memory&gt;" in page and "exchanged back here" in page
    assert "the same runs as S (paper) at 100%" in page and "S (release) [chosen on test]" in page


def test_links_lead_to_rows_and_nothing_leads_out(page):
    found = Elements(page)
    assert len(found.ids) == len(set(found.ids))
    assert found.links and {link[0] for link in found.links} == {"#"} and not found.sources
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert not re.search(r"url\((?!#)|@import|https?:", page)


def test_every_mean_is_that_of_the_runs_it_leads_to(folder, page):
    runs = pd.read_csv(folder / "results.csv", dtype={"run": str}).set_index("run")
    rows = re.findall(r'<tr id="(cell-[^"]+)">(.*?)</tr>', page)
    assert len(rows) == 2 * (6 * 4 + len(PERCENTS))
    for name, cells in rows:
        metric = name.rsplit("-", 1)[1]
        means, sd = (float(value) for value in re.findall(r'data-value="([^"]*)"', cells)[1:3])
        own = runs.loc[re.findall(r'href="#run-([^"]+)"', cells), metric]
        np.testing.assert_allclose((means, sd), (own.mean(), own.std(ddof=1)), rtol=1e-6)
    main = page[page.index('id="Means_and_spreads"') : page.index('id="Curves"')]
    shown = re.findall(r'href="#(cell-[^"]+)">([\d.]+) ± ([\d.]+)', main)
    assert len(shown) == len(rows)
    values = {name: re.findall(r'data-value="([^"]*)"', cells)[1:3] for name, cells in rows}
    for name, *texts in shown:
        assert texts == [f"{100 * float(value):.1f}" for value in values[name]]


def test_files_beside_the_page(folder):
    names = {path.name for path in (folder / "report").iterdir() if not path.name.startswith(".")}
    tables = {
        f"{stem}.{form}" for stem in ("table_segmentation", "differences") for form in ("md", "csv", "tex")
    }
    figures = {f"{stem}.svg" for stem in ("curves", "relative", "differences", "plan_masks", "confusion")}
    assert names == tables | figures | {
        "report.html",
        "cells.csv",
        "confusion.csv",
        "plan_masks.csv",
        "outputs.jsonl",
    }
    differences = pd.read_csv(folder / "report" / "differences.csv")
    assert {"+", "-"} >= set(differences["difference"].astype(str).str[0]) - set("0123456789")


@pytest.mark.slow
def test_the_same_results_give_the_same_page(folder, page, tmp_path):
    report(folder, out=tmp_path, say=lambda line: None)
    assert (tmp_path / "report.html").read_text() == page


@pytest.fixture(scope="module")
def opened(folder, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium): the page was not opened")
    with chromium_page(tmp_path_factory.mktemp("browser")) as page:
        page.address = (folder / "report" / "report.html").as_uri()
        page.open(page.address)
        yield page


def test_a_browser_asks_for_nothing_and_logs_nothing(opened):
    assert opened.requests == [opened.address]
    assert opened.logged == []
    assert opened.run("document.title") == "Results: made up"


COLUMN = """
(() => {
  const table = Array.from(document.querySelectorAll("table")).find(
    one => Array.from(one.tHead.rows[0].cells).some(cell => cell.textContent === "difference"));
  const heads = Array.from(table.tHead.rows[0].cells, cell => cell.textContent);
  const column = heads.indexOf("difference");
  const values = () => Array.from(table.tBodies[0].rows, row => Number(row.cells[column].dataset.value));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  const found = [values()];
  for (let i = 0; i < 3; i++) { button.click(); found.push(values()); }
  return found;
})()
"""

EVERY_HEADING = """
Array.from(document.querySelectorAll("table.sortable"), table => {
  const order = () => Array.from(table.tBodies[0].rows, row => row.textContent).join("|");
  const before = order();
  return Array.from(table.tHead.rows[0].cells, head => {
    const button = head.querySelector("button");
    button.click(); const up = head.getAttribute("aria-sort");
    button.click(); const down = head.getAttribute("aria-sort");
    button.click();
    return up === "ascending" && down === "descending" && order() === before;
  });
})
"""


def test_tables_are_sorted_by_a_click(opened):
    written, up, down, again = opened.run(COLUMN)
    assert len(written) > 20 and written != sorted(written)
    assert up == sorted(written) and down == sorted(written, reverse=True) and again == written
    every = opened.run(EVERY_HEADING)
    assert len(every) == 7 and all(all(heads) for heads in every)
    assert opened.logged == []


@pytest.mark.parametrize("width", [1400, 420])
def test_the_page_fits_its_window(opened, width):
    opened.resize(width, 900)
    assert opened.run("document.documentElement.scrollWidth") <= width
    picture = np.asarray(Image.open(BytesIO(opened.screenshot())).convert("L"))
    assert picture.shape == (900, width) and picture.std() > 10


@pytest.fixture(scope="module")
def pictured(trained, tmp_path_factory):
    """Results of two runs whose folders, both copies of a trained one, are there."""
    folder = tmp_path_factory.mktemp("pictured")
    rows = write_results(
        folder, methods=[("paper", "S"), ("paper", "S+C")], percents=(100.0,), draws=1, shared=False
    )
    for run in rows["run"]:
        shutil.copytree(trained, folder / "runs" / run)
    return folder


@pytest.mark.slow
def test_pictures_show_the_runs_beside_the_truth(pictured, trained, phantom, tmp_path, monkeypatch):
    evaluate(trained, phantom, split="test", out=tmp_path, say=lambda line: None)
    texts = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda self, x, y, text, **look: texts.append(text))
    samples = sample_pictures(read_results(pictured), pictures=2)
    (drawing,) = samples.drawings
    assert (
        drawing.svg.count("<image") == 2 * (2 + 2) and "truth first" in drawing.caption and not samples.reason
    )
    scores = pd.read_csv(tmp_path / "per_image.csv")["accuracy"].dropna()
    known = {f"{100 * score:.0f}" for score in scores}
    assert len(texts) == 4 and set(texts) <= known and texts[:1] == texts[1:2]


def test_accuracy_counts_known_pixels():
    truth = np.array([[0, 1, IGNORE_PIXEL]])
    assert accuracy(truth, np.array([[0, 0, 0]])) == 0.5
    assert np.isnan(accuracy(np.full((1, 3), IGNORE_PIXEL), truth))


def test_pictures_are_left_out_with_a_reason(pictured, tmp_path):
    write_results(tmp_path)
    assert "does not hold the run folders" in sample_pictures(read_results(tmp_path)).reason
    write_results(tmp_path, study="classification")
    assert "they are of segmentation studies" in sample_pictures(read_results(tmp_path)).reason
    report(pictured, out=tmp_path / "bare", pictures=False, say=lambda line: None)
    assert not (tmp_path / "bare" / "samples.svg").exists()
    assert "Pictures were not asked for" in (tmp_path / "bare" / "report.html").read_text()


def test_it_says_which_runs_kept_the_network_of_their_masks_alone(tmp_path):
    rows = write_results(tmp_path, dataset="BACH", methods=SEGMENTATION, percents=(5.0, 25.0), draws=3)
    assert not any("masks alone" in note for note in summary_notes(read_results(tmp_path)))
    few = (rows["variant"] == "labelset") & (
        ((rows["percent"] == 25) & (rows["draw"] != 1)) | ((rows["percent"] == 5) & (rows["draw"] == 0))
    )
    rows.assign(best_phase=np.where(few, "masks_only", "")).to_csv(tmp_path / "results.csv", index=False)
    (said,) = (note for note in summary_notes(read_results(tmp_path)) if "masks alone" in note)
    assert said.startswith("S+C (labelset): 3 of 6 run(s) kept the network of S on their masks alone")
    assert said.endswith("(5%: draw 0; 25%: draws 0, 2)")
    report(tmp_path)
    assert "masks_only" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
def test_two_studies_stand_in_one_page(tmp_path):
    one = write_results(tmp_path, methods=[("paper", "S")], percents=PERCENTS[-2:])
    other = write_results(tmp_path, study="classification", percents=(5.0, 50.0))
    (tmp_path / "plan.csv").unlink()
    pd.concat([one, other]).to_csv(tmp_path / "results.csv", index=False)
    page = report(tmp_path, say=lambda line: None).read_text()
    found = Elements(page)
    assert {"Curves (segmentation)", "Curves (classification)"} <= set(found.headings)
    assert len(found.ids) == len(set(found.ids)) and {link[1:] for link in found.links} <= set(found.ids)


def test_the_command_reports_a_table_from_elsewhere(tmp_path, capsys):
    lines = ["run,setting,percent,draw,dice"]
    lines += [
        f"r{s}{p}{d},{s},{p},{d},{0.5 + p / 300 + d / 50}"
        for s in ("S", "S+C")
        for p in (5, 100)
        for d in (0, 1)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    assert l2s("report", tmp_path / "mine.csv", "--out", tmp_path / "o", "--ddof", "0") == 0
    assert "8 runs, 8 of 8 planned cells" in capsys.readouterr().out
    assert "± 1.0" in (tmp_path / "o" / "table_segmentation.md").read_text()
    with pytest.raises(UserError, match=r"no metric 'iou' in the results \(known: dice\)"):
        report(tmp_path / "mine.csv", metrics=["iou"])


@pytest.mark.slow
def test_the_command_compares_with_what_is_named_and_looks_at_some_draws(tmp_path, capsys):
    write_results(tmp_path, methods=SEGMENTATION, percents=PERCENTS[1:2])
    options = ("--against", "labelset S+C", "--draw", "0", "2")
    assert l2s("report", tmp_path, "--out", tmp_path / "o", *options) == 0
    said = capsys.readouterr().out
    assert "only draws 0, 2 are looked at" in said and "8 runs, 8 of 8 planned cells" in said
    rows = pd.read_csv(tmp_path / "o" / "differences.csv")
    asked = rows[rows["minus"] == "S+C (labelset)"]
    assert list(asked["method"].unique()) == ["S+C* (paper)"]  # the others stand there the other way round
    assert set(rows["n"]) == {2} and asked["draw by draw"].str.contains("0: .*, 2: ").all()
    assert l2s("report", tmp_path, "--out", tmp_path / "v", "--metric", "validation_score") == 0
    assert "score on validation" in (tmp_path / "v" / "table_segmentation.md").read_text()
    assert l2s("report", tmp_path, "--against", "S+C") == 2
    assert "no method 'S+C' in the results (there are 'paper S', 'paper S+C'," in capsys.readouterr().err
    assert l2s("report", tmp_path, "--draw", "7") == 2
    assert "no finished run of draw 7 in the results (there are 0, 1, 2" in capsys.readouterr().err
