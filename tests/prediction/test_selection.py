"""On what an epoch is chosen: validation; the test split itself under the release alone, and labelled."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from helpers.runs import TINY
from l2s_jax import UserError, evaluate, train
from l2s_jax.config import PRESETS, selection_split
from l2s_jax.runs.config_file import config_from_dict

RELEASE = replace(
    PRESETS["release"], weights="random", batch_size=8, epochs=3, learning_rate=1e-3, select="test-maximum"
)


def said(run, split, phantom):
    lines = []
    figures = evaluate(run, phantom, split=split, say=lines.append)
    return figures, "\n".join(lines), json.loads((run / "evaluation" / split / "metrics.json").read_text())


@pytest.mark.slow
def test_the_best_epoch_is_that_of_the_validation_split(trained, phantom):
    rows = pd.read_csv(trained / "metrics.csv")
    figures, text, context = said(trained, "val", phantom)
    assert figures["pooled"]["macro_f1"] == pytest.approx(rows["val_score"].max(), abs=1e-6)
    assert context["selection"] == "validation" and "chosen on the split val" in text
    assert "chosen" not in said(trained, "test", phantom)[1]


@pytest.mark.slow
def test_a_maximum_over_the_test_split_is_labelled(phantom, tmp_path):
    lines = []
    run = train(phantom, tmp_path / "run", RELEASE, say=lines.append)
    assert any("chosen on the test split itself" in line for line in lines)
    rows = pd.read_csv(run / "metrics.csv")
    figures, text, context = said(run, "test", phantom)
    assert figures["pooled"]["macro_f1"] == pytest.approx(rows["val_score"].max(), abs=1e-6)
    assert context["selection"] == "test-maximum" and "its figures are optimistic" in text
    page = (run / "report.html").read_text()
    assert "Chosen on the test split itself" in page and "Samples (validation)" not in page


@pytest.mark.parametrize("preset", ["paper", "labelset"])
def test_only_the_release_may_choose_on_the_test_split(preset):
    with pytest.raises(
        UserError, match=r"the preset release only, and this is another \(.*head = 'a3', not 'max'"
    ):
        config_from_dict({"select": "test-maximum"}, PRESETS[preset], "here")
    assert selection_split(config_from_dict({"select": "test-maximum"}, PRESETS["release"], "here")) == "test"
    assert selection_split(PRESETS["release"]) == "val"


@pytest.mark.slow
def test_the_classification_study_chooses_by_the_classifier(phantom, tmp_path):
    run = train(
        phantom, tmp_path / "run", replace(TINY, setting="S2+C2*", percent=25.0), say=lambda line: None
    )
    rows = pd.read_csv(run / "metrics.csv")
    figures = evaluate(run, phantom, split="val", say=lambda line: None)
    assert figures["classifier"]["macro_f1"] == pytest.approx(rows["val_score"].max(), abs=1e-6)
    assert figures["classifier"]["macro_f1"] != pytest.approx(figures["pooled"]["macro_f1"], abs=1e-3)
