"""Whether labels help: what is said of differences between recipes and S."""

import pandas as pd
import pytest

from l2s_jax.figures.svg import svg_of
from l2s_jax.reports.comparison import (
    CANNOT_SAY,
    comparison_sentences,
    draw_comparison,
    minus_baseline,
    seconds_by_method,
)
from l2s_jax.reports.curves import look_of
from l2s_jax.reports.differences import paired_differences

S, RECIPE = ("S", "S"), ("few-masks", "S+C")


def cells(gains, base=(0.40, 0.44, 0.42)):
    """Cells of S and of one recipe whose draws are so much above it, in shares of one."""
    both = [(S, 10.0, [0.0] * len(gains)), (RECIPE, 31.0, gains)]
    return pd.DataFrame(
        [
            {
                "dataset": "mine", "study": "segmentation", "variant": method[0], "setting": method[1],
                "percent": 100.0, "draw": draw, "run": f"{method[0]}{draw}", "seconds": seconds,
                "macro_f1": base[draw % 3] + gain, "selection": "best-validation",
            }
            for method, seconds, values in both
            for draw, gain in enumerate(values)
        ]
    )  # fmt: skip


def compared(gains):
    table = cells(gains)
    rows = minus_baseline(paired_differences(table, "segmentation", ["macro_f1"], against=[S]), S)
    return rows, comparison_sentences(rows, seconds_by_method(table))


@pytest.mark.parametrize(
    "gains, said, meaning",
    [
        ([0.10, 0.12, 0.11], "+11.0 points of macro F1 beside S", "the labels help"),
        ([-0.10, -0.12, -0.11], "-11.0 points", "do harm here"),
        ([0.10, -0.09, 0.02], "+1.0 points", CANNOT_SAY),
        ([0.30], "+30.0 points", CANNOT_SAY),
    ],
)
def test_the_sentence_follows_the_interval(gains, said, meaning):
    rows, (sentence,) = compared(gains)
    assert sentence.startswith("S+C (few-masks): ") and said in sentence.replace("\u2212", "-")
    assert meaning in sentence and "3.1 times as long as S" in sentence
    assert ("no interval: n = 1" in sentence) == (len(gains) == 1)
    if len(gains) > 1:
        assert f"n = {len(gains)} draws, above in {sum(gain > 0 for gain in gains)} of" in sentence
    assert rows["mean"].iloc[0] == pytest.approx(sum(gains) / len(gains))


@pytest.mark.parametrize("gains", [[0.1, 0.12, 0.11], [0.3]])
def test_the_figure_shows_every_draw(gains):
    rows = compared(gains)[0]
    figure = draw_comparison(rows, look_of(cells(gains)))
    dots = figure.axes[0].collections[0].get_offsets()
    assert sorted(dots[:, 0].tolist()) == pytest.approx(sorted(100 * gain for gain in gains))
    assert "few-masks" in figure.axes[0].get_yticklabels()[0].get_text()
    assert svg_of(figure).startswith("<?xml")
