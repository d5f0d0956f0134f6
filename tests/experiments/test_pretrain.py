"""The study of contrastive pretraining: what it trains, how it counts time, its table."""

import importlib
import json
from pathlib import Path

import pandas as pd
import pytest

from l2s_jax import PretrainOptions, UserError
from l2s_jax.phantom.patches import prepare_phantom

SCRIPTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("pretrain")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain") / "data"
    prepare_phantom(folder, patches=40, patches_per_slide=2, patch_size=32, masks=1.0)
    return folder


def write_metrics(folder, rows):
    folder.mkdir(parents=True)
    names = "epoch,step,seconds,loss,loss_seg,loss_cls,val_score,val_macro_f1,val_accuracy,val_label_accuracy"
    lines = [f"{step},{step},{seconds},1,1,,{score},,," for step, seconds, score in rows]
    (folder / "metrics.csv").write_text("\n".join([names, *lines]) + "\n")


def test_some_arms_alone_are_trained(study, data, tmp_path, monkeypatch, capsys):
    asked = []

    def as_if(sweep_file, out, manifest):
        asked.append([(variant.name, variant.config.weights) for variant in sweep_file.variants])

    monkeypatch.setattr("l2s_jax.sweep", as_if)
    folder, pretraining = tmp_path / "out", PretrainOptions(steps=1, batch_size=6)
    study.run(data, folder, [1], [0, 1], pretraining, 2, ["few-masks"], ("pretrained",))
    assert [[name for name, _ in one] for one in asked] == [["few-masks_pretrained"]] * 2
    assert asked[0][0][1] == str(folder / study.ENCODER)
    with pytest.raises(SystemExit):
        study.main(["run", str(data), "out", "--pretrain-steps", "1", "--arms", "pretrained", "longer"])
    assert "longer is timed by random" in capsys.readouterr().err


def test_equal_time_is_counted_in_steps_without_compiling(study, tmp_path):
    assert study.equal_time_steps(400, 480.0, 0.5) == 400 + 960
    assert study.equal_time_steps(400, 480.2, 0.5) == 400 + 961  # no less time than the pretraining took
    # 30 s to compile, 0.1 s a step, validation at 10, 20, 30 and 40, and a pause before the last.
    judged = [(10, 31.0, 0.5), (15, 31.5, ""), (20, 32.0, 0.5), (30, 33.0, 0.5), (40, 99.0, 0.5)]
    write_metrics(tmp_path / "run", judged)
    assert study.seconds_a_step(tmp_path / "run") == pytest.approx(0.1)
    write_metrics(tmp_path / "run" / "phases" / "teacher", [(10, 2.0, 0.5), (20, 5.0, 0.5)])
    assert study.seconds_a_step(tmp_path / "run") == pytest.approx(0.1 + 0.3)
    write_metrics(tmp_path / "short", [(2, 3.0, 0.5)])
    assert study.seconds_a_step(tmp_path / "short") == pytest.approx(1.5)
    with pytest.raises(UserError, match="has no metrics.csv"):
        study.seconds_a_step(tmp_path / "none")


def test_the_table_is_of_pairs_draw_by_draw(study, tmp_path, capsys):
    scores = {"random": [0.30, 0.34, 0.40], "pretrained": [0.40, 0.42, 0.38], "longer": [0.35, 0.45]}
    seconds = {"random": 40, "pretrained": 42, "longer": 130}
    rows = [
        {"variant": f"S_{arm}", "draw": draw, "n_mask": 3, "steps": 400, "seconds": seconds[arm],
         "validation_score": score, "macro_f1": score}
        for arm, of_arm in scores.items() for draw, score in enumerate(of_arm)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
    note = {"steps": 1000, "batch_size": 64, "windows": 148, "seconds": 90.0}
    (tmp_path / "pretraining.json").write_text(json.dumps(note))
    study.table(tmp_path)
    text = (tmp_path / "pretrain.md").read_text()
    assert text == capsys.readouterr().out
    # Differences 10, 8, -2 to random; 5, -3 to longer.
    assert "| S | 3 | +5.3 ± 6.4 (3), above in 2 of 3 | +1.0 ± 5.7 (2), above in 1 of 2 |" in text
    assert "| S | 3 | pretrained | 40.0 ± 2.0 (3) | 40.0 ± 2.0 (3) | 400 | 42 | 132 | 72 |" in text
    assert "| S | 3 | random | 34.7 ± 5.0 (3) | 34.7 ± 5.0 (3) | 400 | 40 | 40 | 40 |" in text
    (tmp_path / "results.csv").unlink()  # what is committed is rows.csv
    study.table(tmp_path)
    assert (tmp_path / "pretrain.md").read_text() == text


@pytest.mark.slow
def test_the_study_is_run_and_goes_on(study, data, tmp_path, capsys, monkeypatch):
    timed = []
    monkeypatch.setattr(study, "equal_time_steps", lambda *args: timed.append(args) or 5)
    words = ["run", str(data), str(tmp_path / "out"), "--masks", "3", "--draws", "0", "--pretrain-steps", "2"]
    study.main([*words, "--steps", "2", "--batch", "6"])
    before = (tmp_path / "out" / "results.csv").read_text()
    rows = study.rows_of(tmp_path / "out")
    assert list(rows["arm"]) == list(study.ARMS) and list(rows["n_mask"]) == [3, 3, 3]
    assert list(rows["steps"]) == [2, 2, 5] and len(timed) == 1
    assert timed[0][0] == 2 and timed[0][1] > 0 and timed[0][2] > 0
    chosen = [(tmp_path / "out" / "runs" / run / "subset.csv").read_text() for run in rows["run"]]
    assert chosen[0] == chosen[1] == chosen[2]
    # What was cut off is done again to the same, in the same number of steps.
    lines = before.splitlines(keepends=True)
    (tmp_path / "out" / "results.csv").write_text("".join(lines[:3]))
    capsys.readouterr()
    study.main([*words, "--steps", "2", "--batch", "6"])
    again = study.rows_of(tmp_path / "out")
    assert list(again["run"]) == list(rows["run"]) and list(again["macro_f1"]) == list(rows["macro_f1"])
    with pytest.raises(UserError, match="begun with --steps 2, not 3"):
        study.main([*words, "--steps", "3", "--batch", "6"])
