from types import SimpleNamespace

import numpy as np
import pytest

from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Classes, PatchRow
from l2s_jax.prediction.judging import Judged, figures, write_evaluation
from l2s_jax.reports.names import BEST_PHASE
from l2s_jax.sweeps.plan import Cell
from l2s_jax.sweeps.results_row import BOUNDARIES, appendable_columns, result_columns, result_row
from l2s_jax.system.csv_rows import append_rows, complete_rows, require_appendable
from l2s_jax.system.errors import UserError

NAMES = ("None", "01", "=1+1")
CLASSES = Classes(NAMES, ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (0, 1, 2))


def judged(tmp_path):
    return [
        Judged(
            PatchRow(2 + code, tmp_path / f"{group}.png", None, code, group, "test"), np.eye(3, dtype=int), 1
        )
        for code, group in enumerate(("020", "NA", "1e5"))
    ]


@pytest.mark.parametrize("fold", [0, 2])
def test_the_columns_of_a_row_are_known_before_it_is_there(fold, tmp_path):
    planned = SimpleNamespace(
        run="a1",
        preset="paper",
        config=TrainConfig(),
        n_mask=1,
        n_label=2,
        cells=[Cell("+x", "S", 1.0, 0, fold)],
    )
    row = result_row(
        SimpleNamespace(dataset="NA", study="segmentation"),
        planned,
        figures(judged(tmp_path), CLASSES),
        {"steps": 3, "best": {"epoch": 1, "score": 0.5}, "seconds": 2.0},
        {"packages": {"jax": "1"}, "devices": ["cpu"]},
        "sha",
    )
    assert list(row) == result_columns(NAMES, fold > 0)
    append_rows(tmp_path / "results.csv", [row])
    require_appendable(tmp_path / "results.csv", result_columns(NAMES, fold > 0))
    (found,) = complete_rows(tmp_path / "results.csv")[0].to_dict("records")
    assert (found["dataset"], found["variant"], found["f1_=1+1"]) == ("NA", "+x", "1")


@pytest.mark.parametrize("unknown", [(BEST_PHASE,), (*BOUNDARIES, BEST_PHASE)])
def test_a_sweep_that_an_earlier_version_began_goes_on_without_its_later_columns(unknown, tmp_path):
    path, columns = tmp_path / "results.csv", result_columns(NAMES)
    assert appendable_columns(path, columns) == columns and len(BOUNDARIES) == 4
    append_rows(path, [dict.fromkeys(columns, 1)])
    assert appendable_columns(path, columns) == columns
    older = [name for name in columns if name not in unknown]
    assert len(older) + len(unknown) == len(columns)
    path.write_text(",".join(older) + "\n")
    require_appendable(path, older)
    assert appendable_columns(path, columns) == older
    path.write_text("run,draw\n")
    with pytest.raises(UserError, match="has other columns, run,draw"):
        appendable_columns(path, columns)


def test_groups_and_classes_of_an_evaluation_are_read_back_as_they_are(tmp_path):
    write_evaluation(tmp_path, judged(tmp_path), figures(judged(tmp_path), CLASSES), CLASSES, {})
    assert list(complete_rows(tmp_path / "per_group.csv")[0]["group"]) == ["020", "1e5", "NA"]
    assert list(complete_rows(tmp_path / "per_class.csv")[0]["class"]) == list(NAMES)
    assert list(complete_rows(tmp_path / "confusion_matrix.csv")[0].columns[1:]) == list(NAMES)
    images = complete_rows(tmp_path / "per_image.csv")[0]
    assert list(images["label"]) == list(NAMES) and list(images["group"]) == ["020", "NA", "1e5"]
    assert ",'=1+1" in (tmp_path / "confusion_matrix.csv").read_text()
