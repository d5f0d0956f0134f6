"""Every mean, every difference and every score in the documents is one of the committed results."""

import re
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from helpers.pages import NAMES, ROOT, text_of
from l2s_jax.reports.aggregation import aggregate
from l2s_jax.reports.names import askable_columns
from l2s_jax.reports.reading import read_results

RESULTS = ROOT / "experiments" / "results"
STUDIES = [name for name in NAMES if name.startswith("docs/experiments/")]

PARTS_OF_DRAWS = (
    {0, 1},
    set(range(5)),
    set(range(10)),
    set(range(5, 10)),
    {*range(5), *range(10, 15)},
    {*range(10, 15)},
)
"""Draws that the documents also give figures of: those of longer runs, the first five and ten, those on which
options were decided on validation, those that took no part in that, and the last."""

COMPARED = ("macro_f1", "validation_score", "f1_background")
NUMBER = r"[+-]?\d+\.\d"


@cache
def parts():
    """The committed rows: of each results folder all draws, and those parts of them that it has."""
    found = []
    for path in sorted(RESULTS.glob("*/results.csv")):
        cells = read_results(path.parent).cells
        draws = set(cells["draw"])
        chosen = [draws, *(part for part in PARTS_OF_DRAWS if part & draws and part & draws != draws)]
        found += [cells[cells["draw"].isin(part)] for part in chosen]
    return found


@cache
def known_means():
    """'62.5 ± 3.1' of every cell and metric, in percent; of a distance in pixels. And those of the study of
    pretraining, whose table tests/test_experiments.py holds against its rows."""
    texts = set[str]()
    for table in RESULTS.glob("pretrain*/pretrain.md"):
        texts.update(re.findall(r"\d+\.\d ± \d+\.\d", table.read_text()))
    for cells in parts():
        means = aggregate(cells, askable_columns(cells))
        for row in means.itertuples():
            unit = 1 if row.metric.startswith("hd95") else 100
            texts.add(f"{unit * row.mean:.1f} ± {unit * row.sd:.1f}")
    return texts


@cache
def known_differences():
    """('30.1 (27.0 to 33.2)', '15 of 15') of every two methods, and ('+2.8', '-4.3') of their draws.

    Student's t over draws, worked out here by itself: not what `l2s report` is made with.
    """
    intervals, by_draw = set(), set()
    for cells in parts():
        for metric in (name for name in COMPARED if name in cells):
            keys = ["percent", "variant", "setting"]
            table = 100 * cells.pivot_table(index=keys, columns="draw", values=metric)
            for _, methods in table.groupby(level="percent"):
                for one, other in permutations(methods.to_numpy(), 2):
                    values = (one - other)[~np.isnan(one - other)]
                    by_draw.add(tuple(f"{value:+.1f}" for value in values))
                    if len(values) < 2:
                        continue
                    mean = values.mean()
                    half = student(len(values)) * values.std(ddof=1) / np.sqrt(len(values))
                    text = f"{mean:.1f} ({mean - half:.1f} to {mean + half:.1f})".replace("-0.0", "0.0")
                    intervals.add((text, f"{(values > 0).sum()} of {len(values)}"))
    return intervals, by_draw


@cache
def student(n):
    return stats.t.ppf(0.975, n - 1)


@pytest.mark.parametrize("name", ["README.md", "REPRODUCIBILITY.md", *STUDIES])
def test_every_mean_is_one_of_the_committed_results(name):
    written = re.findall(r"\d+\.\d ± \d+\.\d", text_of(name).replace("**", ""))
    assert not set(written) - known_means()


def test_there_are_means_to_look_at():
    for name in ("README.md", "REPRODUCIBILITY.md"):
        assert len(re.findall(r"\d+\.\d ± \d+\.\d", text_of(name))) > 10, name


@pytest.mark.parametrize("name", STUDIES)
def test_every_difference_is_one_of_the_committed_results(name):
    text = re.sub(r"\s+", " ", text_of(name).replace("**", ""))
    intervals, by_draw = known_differences()
    bare = {difference for difference, _ in intervals}
    for difference, better in re.findall(rf"({NUMBER} \({NUMBER} to {NUMBER}\))(?:, (\d+ of \d+))?", text):
        assert difference in bare, difference
        assert not better or (difference, better) in intervals, (difference, better)
    for values in re.findall(r"(?<![\d.])[+-]\d+\.\d(?:, [+-]\d+\.\d){2}", text):
        assert tuple(values.split(", ")) in by_draw, values


def test_every_pair_of_scores_of_single_runs_is_one_of_the_committed_results():
    """Those of the study of the label-set objective: on validation, and on test."""
    rows = [tuple(f"{100 * value:.1f}" for value in pair) for cells in parts()
            for pair in cells[["validation_score", "macro_f1"]].to_numpy()]  # fmt: skip
    written = re.findall(r"\| (\d\d\.\d) \| (\d\d\.\d) \|$", text_of("docs/experiments/labelset.md"), re.M)
    assert len(written) >= 13 and not set(written) - set(rows)
