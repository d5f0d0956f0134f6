"""What a classifier says that has learned nothing is no figure, chooses nothing and is written nowhere."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from helpers.manifests import with_rows
from helpers.runs import TINY, quiet, take_out_sum
from l2s_jax import evaluate, predict, train
from l2s_jax.data.manifest import read_manifest
from l2s_jax.runs.folder import (
    FINISHED,
    SUBSET,
    read_finished,
    read_metrics,
    read_run_config,
    without_classifier,
)


@pytest.fixture(scope="module")
def unlabelled(trained, tmp_path_factory):
    """The run, as if it had learned from no label."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("unlabelled") / "run")
    rows = pd.read_csv(run / SUBSET)
    rows[rows["mask_used"] == 1].assign(label_used=0).to_csv(run / SUBSET, index=False)
    take_out_sum(run, SUBSET)
    return run


def test_it_is_not_scored(trained, unlabelled, phantom, tmp_path):
    lines = []
    found = evaluate(unlabelled, phantom, out=tmp_path / "of_none", batch_size=8, say=lines.append)
    assert found["classifier"]["n"] == 0 and found["classifier"]["untrained"]
    assert "classifier: not scored, since it was trained on no patch with a label" in lines
    assert not (tmp_path / "of_none" / "confusion_classifier.png").exists()
    assert pd.read_csv(tmp_path / "of_none" / "per_image.csv")["classifier"].isna().all()
    plain = evaluate(trained, phantom, out=tmp_path / "of_one", batch_size=8, say=quiet)
    assert plain["classifier"]["n"] and plain["classifier"]["untrained"] == ""
    assert plain["pooled"] == found["pooled"]


def test_its_class_is_not_written(trained, unlabelled, phantom, tmp_path):
    picture = read_manifest(phantom).patches[0].image
    for run, nothing in ((trained, False), (unlabelled, True)):
        predict(run, [picture], tmp_path / run.parent.name, say=quiet)
        rows = pd.read_csv(tmp_path / run.parent.name / "fractions.csv")
        assert rows["classifier"].isna().all() == nothing


def test_why(trained, unlabelled, monkeypatch):
    assert without_classifier(trained) == ""
    assert without_classifier(unlabelled) == "it was trained on no patch with a label"
    config = read_run_config(trained)
    monkeypatch.setattr("l2s_jax.runs.folder.read_run_config", lambda _: replace(config, cls_weight=0.0))
    assert "cls_weight 0" in without_classifier(trained)
    monkeypatch.setattr("l2s_jax.runs.folder.read_run_config", lambda _: replace(config, head="max"))
    assert without_classifier(unlabelled) == ""
    study = replace(config, setting="S2*+C2", percent=0.0)
    monkeypatch.setattr("l2s_jax.runs.folder.read_run_config", lambda _: study)
    assert without_classifier(unlabelled) == ""
    monkeypatch.setattr("l2s_jax.runs.folder.read_run_config", lambda _: config)
    best = {**read_finished(trained)["best"], "phase": "masks_only"}
    monkeypatch.setattr("l2s_jax.runs.folder.read_finished", lambda _: {"best": best})
    assert (trained / FINISHED).is_file() and "S's, which learned from masks" in without_classifier(trained)


@pytest.mark.slow
def test_it_chooses_no_epoch(phantom, tmp_path):
    """Where validation has labels alone: it did, by chance, before."""

    def unmasked(row):
        return replace(row, mask=None) if row.split == "val" else row

    (tmp_path / "data").mkdir()
    data = with_rows(phantom, tmp_path / "data", unmasked)
    lines = []
    run = train(data, tmp_path / "s", replace(TINY, setting="S"), allow_outside=True, say=lines.append)
    assert any("the last epoch is kept" in line for line in lines)
    rows = read_metrics(run)
    assert read_finished(run)["best"] == {"epoch": rows[-1]["epoch"], "score": None, "phase": None}
    assert pd.isna([row["val_label_accuracy"] for row in rows]).all()
    both = train(data, tmp_path / "both", TINY, allow_outside=True, say=quiet)
    assert read_finished(both)["best"]["score"] is not None
