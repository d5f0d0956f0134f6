import json
import re
import shutil

import pandas as pd
import pytest

from l2s_jax.data.manifest import read_manifest
from l2s_jax.runs.folder import write_finished
from l2s_jax.training.report import write_run_report


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_page_says_what_was_learned_from_what_and_how(trained, phantom):
    page = (trained / "report.html").read_text()
    finished = json.loads((trained / "finished.json").read_text())
    rows = read_manifest(phantom).of_split("train")
    masks = sum(row.mask is not None for row in rows)
    groups = len({row.group for row in rows})
    for text in (
        f"Best epoch {finished['best']['epoch']}, validation score {finished['best']['score']:.4f}",
        "accuracy, classifier",
        f"{masks} masks and {len(rows) - masks} labels, {len(rows)} patches of {groups} groups",
        read_manifest(phantom).sha256,
        "learning_rate = 0.001",
        "orbax-checkpoint ",
        "run `l2s evaluate` on the test split",
    ):
        assert text in page, text
    assert page.count("<img ") == 3


def test_the_page_refers_to_nothing_outside_itself(trained):
    page = (trained / "report.html").read_text()
    assert all(source.startswith("data:") for source in re.findall(r'\bsrc="([^"]*)"', page))
    assert not re.search(r"://|<link|<script|@import|url\(|\bhref=\"(?!#)", page)


def test_without_validation_and_labels_the_page_claims_neither(copy):
    rows = pd.read_csv(copy / "metrics.csv")
    rows["loss_cls"] = float("nan")
    rows.to_csv(copy / "metrics.csv", index=False)
    write_run_report(copy, ())
    page = (copy / "report.html").read_text()
    assert "accuracy, classifier" not in page and "macro F1, pixels" in page
    assert "Confusion matrix" not in page and page.count("<img ") == 1
    finished = json.loads((copy / "finished.json").read_text())
    write_finished(copy, finished["steps"], finished["seconds"], {"epoch": 3, "score": None})
    write_run_report(copy, ())
    assert "the network of the last epoch is kept" in (copy / "report.html").read_text()
