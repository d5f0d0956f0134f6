import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from helpers.results_generator import CLASSES, write_results
from l2s_jax import UserError, aggregate, plan_masks, report
from l2s_jax.reports.confusions import by_truth, confusion_rows, spread_percents, summed
from l2s_jax.reports.curves import Look, draw_study, look_of, reference_means
from l2s_jax.reports.difference_figure import against_reference, draw_differences
from l2s_jax.reports.differences import differences_table, paired_differences
from l2s_jax.reports.paper_tables import paper_confusion_html, with_printed
from l2s_jax.reports.paper_values import paper_confusion, paper_dataset, paper_values
from l2s_jax.reports.reading import read_results
from l2s_jax.reports.study_table import study_table
from l2s_jax.reports.text_table import Entry, Notes, TextTable, to_csv, to_latex, to_markdown

TWO = [("paper", "S"), ("paper", "S+C")]
METRICS = ("macro_f1", "micro_f1")


def table_of(folder, study="segmentation", metrics=METRICS, **options):
    write_results(folder, study=study, **options)
    results = read_results(folder)
    return study_table(aggregate(results.cells), results.cells, study, metrics), results


def line(table, *labels):
    (row,) = (row for row in table.rows if tuple(e.text for e in row[: len(labels)]) == labels)
    return dict(zip(table.header, row, strict=True))


def test_the_table_has_the_form_of_d5(tmp_path):
    table, results = table_of(tmp_path, methods=TWO)
    assert table.header == ("method", "metric", "1%", "5%", "10%", "25%", "100%")
    rows = results.cells.query("setting == 'S' and percent == 5")["macro_f1"]
    entry = line(table, "S (paper)", "macro F1")["5%"]
    assert entry.text == f"{100 * rows.mean():.1f} ± {100 * rows.std(ddof=1):.1f}"
    assert "n = 3 in every cell" in table.caption and "ddof 1" in table.caption
    assert "no values for ebhi" in table.caption and not table.quiet


def test_runs_shown_twice_say_so(tmp_path):
    table, _ = table_of(tmp_path, methods=TWO)
    notes = dict(table.notes)
    s, s_c = (line(table, f"{name} (paper)", "macro F1")["100%"] for name in ("S", "S+C"))
    assert s.text == s_c.text
    assert "the same runs as S+C (paper) at 100%" in notes[s.marks[0]]
    assert "the same runs as S (paper) at 100%" in notes[s_c.marks[0]]
    assert not line(table, "S (paper)", "macro F1")["25%"].marks


def test_s_without_masks_is_explained_where_it_is_missing(tmp_path):
    rows = write_results(tmp_path, dataset="BACH", methods=TWO, percents=(0.0, 100.0))
    rows[(rows["setting"] != "S") | (rows["percent"] > 0)].to_csv(tmp_path / "results.csv", index=False)
    results = read_results(tmp_path)
    table = study_table(aggregate(results.cells), results.cells, "segmentation", METRICS)
    own = line(table, "S (paper)", "macro F1")["0%"]
    assert own.text == "–" and "nothing to learn from" in dict(table.notes)[own.marks[0]]
    assert line(table, "S, as printed", "macro F1")["0%"].text == "26.4 ± 6.1"


def test_different_n_stand_in_the_cells(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    rows.iloc[1:].to_csv(tmp_path / "results.csv", index=False)
    results = read_results(tmp_path)
    table = study_table(aggregate(results.cells), results.cells, "segmentation", METRICS)
    own = line(table, "S (paper)", "macro F1")
    assert own["1%"].text.endswith(" (2)") and own["5%"].text.endswith(" (3)")


def test_rows_chosen_on_test_are_labelled(tmp_path):
    table, _ = table_of(tmp_path, methods=TWO, selection="test-maximum")
    entry = line(table, "S (paper) [chosen on test]", "macro F1")["method"]
    assert "optimistic" in dict(table.notes)[entry.marks[0]]
    assert "chosen on the validation" not in table.caption


def test_bach_labels_are_exchanged_back_and_it_says_so(tmp_path):
    values = paper_values("bach", "segmentation").set_index(["setting", "metric", "percent"])
    # Table D.5 prints "F1 micro" 42.0 +- 0.5 and "F1 macro" 80.8 +- 0.6 for S at 100%.
    assert values.loc[("S", "macro_f1", 100), "mean"] == pytest.approx(0.42)
    assert values.loc[("S", "micro_f1", 100), "mean"] == pytest.approx(0.808)
    assert values.loc[("S", "micro_f1", 100), "printed_as"] == "F1_macro"
    gleason = paper_values("Gleason2019", "segmentation").set_index(["setting", "metric", "percent"])
    assert gleason.loc[("S", "micro_f1", 100), "mean"] == pytest.approx(0.395)
    table, _ = table_of(tmp_path, dataset="BACH", methods=TWO)
    printed = line(table, "S, as printed", "macro F1")
    assert printed["100%"].text == "42.0 ± 0.5"
    assert any("exchanged back" in dict(table.notes)[mark] for mark in printed["method"].marks)


def test_doubtful_values_are_marked_where_they_stand(tmp_path):
    table, _ = table_of(tmp_path, dataset="gleason2019", methods=TWO)
    printed, notes = line(table, "S, as printed", "macro F1"), dict(table.notes)
    assert "one run of five" in notes[printed["25%"].marks[0]] and not printed["10%"].marks
    values = paper_values("digestpath", "segmentation")
    assert all("two-class" in reasons[0] for reasons in values["doubts"])
    missing = paper_values("bach", "segmentation").query("sd.isna()")
    assert list(missing[["setting", "percent", "printed_as"]].iloc[0]) == ["S", 75, "F1_micro"]
    assert len(missing) == 1 and any("no standard deviation" in text for text in missing["doubts"].iloc[0])


def test_the_classification_study_has_the_form_of_d4(tmp_path):
    table, _ = table_of(
        tmp_path, "classification", ["classifier_accuracy"], dataset="DigestPath2019", percents=(0.0, 50.0)
    )
    printed = line(table, "S2+C2, as printed", "classifier accuracy")
    assert printed["50%"].text == "82.0 ± 2.5"
    assert any("same experiment" in dict(table.notes)[mark] for mark in printed["50%"].marks)
    assert "label patches" in table.caption


def test_paper_values_stand_beside_their_data_set_only():
    assert paper_values("ebhi", "segmentation").empty and paper_confusion("ebhi") is None
    assert paper_dataset("ICIAR-BACH 2018") == "ICIAR BACH 2018" and paper_dataset("bachelor") is None
    assert [len(paper_values(name, "segmentation")) for name in ("bach", "gleason", "digestpath")] == [84] * 3
    assert len(paper_values("bach", "classification")) == 36


def test_every_doubt_applies_somewhere():
    used = set()
    for name in ("bach", "gleason2019", "digestpath2019"):
        for study in ("segmentation", "classification"):
            used |= {reason for reasons in paper_values(name, study)["doubts"] for reason in reasons}
        used |= set(paper_confusion(name)[2])
    from l2s_jax.reports.paper_values import _read

    assert used == set(_read("doubts.csv")["reason"])


def test_table_1_of_bach_has_its_truth_in_rows():
    matrix, accuracy, doubts = paper_confusion("bach")
    np.testing.assert_array_equal(matrix.sum(1), [50] * 4)
    assert np.trace(matrix) == 161 and accuracy == 0.8 and "turned" in doubts[0]
    html = paper_confusion_html("digestpath2019")
    assert "cannot be read" in html and html.count("–") == 2 and "256" in html


def test_the_long_table_holds_the_printed_values(tmp_path):
    write_results(tmp_path, dataset="bach", methods=TWO)
    long = with_printed(aggregate(read_results(tmp_path).cells, ["macro_f1"]), "segmentation")
    row = long.query("setting == 'S' and percent == 100").iloc[0]
    assert row["paper_mean"] == pytest.approx(0.42) and row["paper_printed_as"] == "F1_micro"
    assert "exchanged" in row["paper_doubts"]


TABLE = TextTable(
    "t",
    "50% & more",
    "a_b",
    ("name", "n"),
    ((Entry("x_1", ("a",)), Entry("5.0 ± 1.0")),),
    (("a", "why | not"),),
)


def test_forms_escape_what_they_must():
    assert "| x\\_1<sup>a</sup> | 5.0 ± 1.0 |" in to_markdown(TABLE) and "why \\| not" in to_markdown(TABLE)
    latex = to_latex(TABLE)
    assert r"x\_1\textsuperscript{a} & 5.0 $\pm$ 1.0 \\" in latex and r"50\% \& more" in latex
    assert latex.count("{") == latex.count("}")
    assert to_csv(TABLE) == "name,n,notes\nx_1,5.0 ± 1.0,name: why | not\n"


@pytest.mark.parametrize(
    "name",
    ["$x^$", "a|b", "[b", "*c", "a\nb", "a\r\nb", "<i>d</i>", "%", "&amp;", r"\input{x}", "~_^{}#", "=1+1"],
)
def test_no_name_is_markup(name):
    table = TextTable("t", name, name, (name, "n"), ((Entry(name, ("a",)), Entry("1")),), (("a", name),))
    markdown = to_markdown(table)
    (row,) = [line for line in markdown.splitlines() if line.startswith("| ") and line.endswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    for letter in "$<*[~&":
        assert not re.search(
            rf"(?<!\\){re.escape(letter)}(?!sup>|/sup>|\*)", re.sub(r"\*\*(.*)\*\*\n", r"\1", markdown)
        )
    latex = to_latex(table)
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    assert body.count("\n") == 2 and not re.search(r"^[*\[]", body, re.M)
    plain = re.sub(r"\\[$%&#_{}]|\\text\w+\{\}|\$\\\w+\$", "", body.replace(r"\textsuperscript{a}", ""))
    assert not re.search(r"[$%#_^~]|\\input", plain) and plain.count("&") == 1
    header, cells, *_ = csv.reader(io.StringIO(to_csv(table), newline=""))
    assert header[0].lstrip("'") == cells[0].lstrip("'") == name and not cells[0].startswith("=")


def test_notes_are_lettered_in_order():
    notes = Notes()
    assert [notes.mark(str(number)) for number in range(28)][-3:] == ["z", "aa", "ab"]
    assert notes.mark("0") == "a" and len(notes.all()) == 28


def test_confusions_are_summed_over_draws(tmp_path):
    rows = write_results(tmp_path, methods=[("paper", "S")], percents=(5.0, 100.0))
    matrices = summed(read_results(tmp_path).cells, "segmentation")
    expected = sum(np.array(json.loads(text)) for text in rows[rows["percent"] == 5]["confusion"])
    found = matrices["ebhi", "paper", "S", 5.0]
    np.testing.assert_array_equal(found.matrix, expected)
    assert len(found.runs) == 3 and found.selection == "validation"
    long = confusion_rows(matrices, {"ebhi": CLASSES})
    np.testing.assert_allclose(long.groupby(["percent", "truth"])["share_of_truth"].sum(), 1)
    np.testing.assert_array_equal(by_truth(np.array([[0, 0], [1, 3]])), [[0, 0], [0.25, 0.75]])


def test_three_percentages_are_shown():
    assert spread_percents([0.0, 1.0, 5.0, 10.0, 25.0, 100.0]) == [1, 10, 100]
    assert spread_percents([0.0]) == [0]


def drawn(axes):
    return {label: one.get_ydata() for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}


def test_curves_show_means_and_what_was_printed(tmp_path):
    write_results(tmp_path, dataset="bach", methods=TWO)
    results = read_results(tmp_path)
    means = aggregate(results.cells)
    axes = draw_study(means, results.cells, "segmentation", METRICS).axes
    lines = drawn(axes[0])
    own = means.query("setting == 'S' and metric == 'macro_f1'").sort_values("percent")["mean"]
    np.testing.assert_allclose(lines["S (paper)"], 100 * own)
    assert lines["S, as printed"][-1] == pytest.approx(42.0)
    relative = drawn(draw_study(means, results.cells, "segmentation", METRICS, relative=True).axes[0])
    np.testing.assert_allclose(relative["S (paper)"], 100 * own / own.iloc[-1])
    assert relative["S (paper)"][-1] == pytest.approx(100)
    assert relative["S, as printed"][0] == pytest.approx(100 * 31.3 / 42.0)
    ticks = [tick.get_text() for tick in axes[0].get_xticklabels()]
    assert ticks[0] == "1\n6" and ticks[-1] == "100\n615"


def test_no_two_methods_look_alike():
    methods = [("paper", "S"), ("paper", "S+C"), ("paper", "S+C*")]
    methods += [(name, "S+C") for name in ("labelset", "balanced", "split_max", "all_a3", "all_max")]
    look = Look(methods)
    looks = [look.of(*method) for method in methods]
    assert len({one["color"] for one in looks}) == len({one["marker"] for one in looks}) == len(methods)
    assert Look(methods * 2).of("all_max", "S+C") == looks[-1]


def test_a_figure_shows_every_draw_s_difference(tmp_path):
    write_results(tmp_path, methods=[*TWO, ("labelset", "S+C")])
    cells = read_results(tmp_path).cells
    differences = paired_differences(cells, "segmentation", METRICS)
    own = against_reference(differences, "segmentation")
    assert set(own["minus_setting"]) == {"S"} and len(own) < len(differences)
    (panel, _) = draw_differences(own, "segmentation", METRICS, look_of(cells)).axes
    dots = [one for one in panel.collections if isinstance(one, PathCollection)]
    points = np.sort(np.concatenate([one.get_offsets()[:, 1] for one in dots]))
    values = " ".join(own[own["metric"] == "macro_f1"]["by_draw"]).split()
    np.testing.assert_allclose(points, np.sort(100 * np.array(values, float)))
    low, high = panel.get_ylim()
    assert low <= points.min() and points.max() <= high


def test_a_variant_without_s_is_related_to_the_first(tmp_path):
    write_results(tmp_path, methods=[*TWO, ("labelset", "S+C")])
    means = aggregate(read_results(tmp_path).cells, ["macro_f1"])
    references = reference_means(means, "segmentation")
    assert references["labelset", "macro_f1"] == references["paper", "macro_f1"]
    assert reference_means(means[means["percent"] < 100], "segmentation") == {}


def reading(folder, **files):
    for name, change in files.items():
        path = folder / f"{name}.csv"
        path.write_text(change(path.read_text()))
    return read_results(folder)


def test_a_half_written_last_line_is_left_out_and_said(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    results = reading(tmp_path, results=lambda text: text[:-40])
    assert len(results.runs) == len(rows) - 1
    assert f"results.csv line {len(rows) + 1} does not end with a line break" in results.notes[0]
    assert len(results.waiting) == 1


BROKEN = {
    "empty": (lambda text: "", "is empty: expected a header with the columns run, setting, percent, draw"),
    "header only": (lambda text: text.splitlines()[0] + "\n", "holds no finished run"),
    "one half line": (lambda text: text.splitlines()[0] + "\nabc,", "holds no finished run.*half-written"),
    "column missing": (lambda text: text.replace("setting", "sitting", 1), "setting missing from the header"),
    "column twice": (
        lambda text: text.replace("micro_f1", "macro_f1", 1),
        "macro_f1 stand in the header twice",
    ),
    "short line": (lambda text: text + "a,b\n", r"line \d+: 2 fields, but the header names"),
    "no number": (lambda text: text.replace("S,1,0,", "S,one,0,", 1), "line 2: percent = 'one' is no number"),
    "too much": (
        lambda text: text.replace("S,1,0,", "S,101,0,", 1),
        "percent must be a number from 0 to 100",
    ),
    "matrix": (lambda text: text.replace("[[", "[", 1), "line 2: confusion is no"),
    "binary": (lambda text: "\0" + text, "NUL bytes"),
    "quote": (lambda text: text + 'a,"b\n', "Mend or remove that line"),
}


@pytest.mark.parametrize("change, message", BROKEN.values(), ids=BROKEN)
def test_broken_results_are_named_by_line(tmp_path, change, message):
    write_results(tmp_path, methods=TWO)
    with pytest.raises(UserError, match=f"(?s){message}"):
        reading(tmp_path, results=change)


def test_runs_of_two_manifests_are_refused(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    rows.loc[:3, "manifest_sha256"] = "a" * 64
    rows.to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(UserError, match=r"ebhi segmentation were made on 2 versions .* 4 of aaaaaaaaaaaa…"):
        read_results(tmp_path)


def test_missing_folders_and_undecodable_files(tmp_path):
    with pytest.raises(UserError, match="results.csv not found. Expected the folder of a sweep"):
        read_results(tmp_path / "absent")
    (tmp_path / "results.csv").write_bytes(b"run\xff\xfe\n")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_results(tmp_path)
    write_results(tmp_path, methods=TWO)
    (tmp_path / "sweep.json").write_text('{"ddof": "many"}')
    with pytest.raises(UserError, match="sweep.json is no table with a whole number"):
        read_results(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="cannot read .*sweep.json"):
        read_results(tmp_path)


def test_runs_without_a_plan_are_their_own_cells(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    (tmp_path / "plan.csv").unlink()
    assert len(read_results(tmp_path).cells) == len(rows)


def test_a_run_that_finished_twice_counts_once(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    pd.concat([rows.assign(macro_f1=0.1).iloc[:1], rows]).to_csv(tmp_path / "results.csv", index=False)
    results = read_results(tmp_path)
    assert len(results.runs) == len(rows) and results.runs["macro_f1"].min() > 0.1
    assert "finished more than once" in results.notes[0]


def test_failures_that_were_mended_are_forgotten(tmp_path):
    rows = write_results(tmp_path, methods=TWO)
    header = "run,variant,setting,percent,draw,error,when\n"
    done = f"{rows['run'][0]},paper,S,1,0,out of memory,2026-01-01\n"
    (tmp_path / "failures.csv").write_text(f"{header}{done}feed00000000,paper,S,1,9,no disk,2026-01-01\n")
    assert list(read_results(tmp_path).failures["run"]) == ["feed00000000"]


def test_groups_of_a_foreign_table_are_averaged_within_runs(tmp_path):
    lines = ["run,setting,percent,draw,group,dice"]
    lines += [f"r{draw},S,{percent},{draw},g{group},{0.1 * group + 0.5}"
              for percent in (10,) for draw in (0, 1) for group in (0, 2)]  # fmt: skip
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    results = read_results(tmp_path / "mine.csv")
    assert list(results.runs["dice"]) == pytest.approx([0.6, 0.6]) and results.folder == tmp_path


def with_distances(folder):
    """Results in which S has an HD95 of 10 pixels and S+C one of 7, by draw a tenth more."""
    rows = write_results(folder, methods=TWO)
    base = rows["setting"].map({"S": 10.0, "S+C": 7.0})
    rows.assign(hd95=base + 0.1 * rows["draw"]).to_csv(folder / "results.csv", index=False)
    return read_results(folder)


def test_distances_are_shown_in_pixels_and_less_is_better(tmp_path):
    results = with_distances(tmp_path)
    metrics = ("macro_f1", "hd95")
    table = study_table(aggregate(results.cells), results.cells, "segmentation", metrics)
    entry = line(table, "S (paper)", "HD95")["5%"]
    assert entry.text == "10.1 ± 0.1" and entry.value == pytest.approx(10.1)
    assert table.caption.startswith("Percent (HD95: pixels, the smaller the better); mean")
    differences = paired_differences(results.cells, "segmentation", metrics)
    of_distance = differences[(differences["metric"] == "hd95") & (differences["percent"] == 5)].iloc[0]
    assert of_distance["mean"] == pytest.approx(-3) and (of_distance.better, of_distance.worse) == (3, 0)
    found = differences_table(differences)
    assert found.caption.startswith("Points of a percent (HD95: pixels")
    texts = [entry.text for row in found.rows if row[3].text == "HD95" for entry in row]
    assert "−3.0" in texts and "3 of 3" in texts
    figure = draw_study(aggregate(results.cells), results.cells, "segmentation", metrics)
    panel = figure.axes[1]
    assert panel.get_ylabel() == "HD95, pixels" and 6 < panel.get_ylim()[0] < panel.get_ylim()[1] < 11
    figure = draw_differences(
        against_reference(differences, "segmentation"), "segmentation", metrics, look_of(results.cells)
    )
    panel = figure.axes[1]
    assert panel.get_ylabel() == "difference in HD95, pixels" and -5 < panel.get_ylim()[0] < -3


def test_a_report_of_distances_plans_masks_by_a_score(tmp_path):
    with_distances(tmp_path)
    report(tmp_path, metrics=["hd95"], pictures=False, say=lambda line: None)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "HD95" in page and "of HD95 below 0" in page
    with pytest.raises(UserError, match="--metric hd95 is a distance, less being better: plan needs a score"):
        plan_masks(tmp_path, "hd95", say=lambda line: None)
