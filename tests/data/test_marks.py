"""Marks of people, held against a manifest."""

import shutil
from dataclasses import replace

import pytest

from helpers.commands import l2s
from l2s_jax import UserError, read_manifest
from l2s_jax.data.manifest import write_patches
from l2s_jax.data.marks import COLUMNS, item_of, marks_text, read_marks
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.prepare.folds import prepare_folds
from l2s_jax.system.csv_text import rows_text
from l2s_jax.types import IGNORE_LABEL


def write_marks(path, contents, said):
    """Marks of some rows: (row, kind, verdict)."""
    lines = [(*item_of(row, kind, contents), verdict) for row, kind, verdict in said]
    path.write_text(rows_text([COLUMNS, *lines]), encoding="utf-8")
    return path


@pytest.fixture
def data(phantom, tmp_path):
    shutil.copytree(phantom, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def both(data):
    """Two rows with a label and a mask, and the manifest."""
    contents = read_manifest(data)
    rows = [row for row in contents.patches if row.mask is not None and row.label != IGNORE_LABEL]
    return rows[0], rows[5], contents


def test_marks_are_of_what_they_were_made_on(both, tmp_path):
    one, other, contents = both
    said = [(one, "label", "wrong"), (one, "mask", "right"), (other, "mask", "unsure")]
    marks = read_marks(write_marks(tmp_path / "marks.csv", contents, said), contents)
    assert not marks.passed
    assert [(mark.row, mark.kind, mark.verdict) for mark in marks.holding] == said
    lines = marks_text(marks, contents).splitlines()
    assert lines[0].endswith(f"3 marks of {contents.folder}")
    assert lines[1:3] == ["  labels: 0 right, 1 wrong, 0 unsure", "  masks: 1 right, 0 wrong, 1 unsure"]
    name = contents.classes.names[one.label]
    assert lines[3] == f"  patches.csv line {one.line}: the label {name!r} of {one.image} is marked wrong"
    assert lines[4] == f"  patches.csv line {other.line}: the mask {other.mask} is marked unsure"


def test_what_was_changed_since_is_not_marked_any_more(both, data, tmp_path):
    one, other, contents = both
    said = [
        (one, "label", "wrong"),
        (one, "mask", "wrong"),
        (other, "label", "wrong"),
        (other, "mask", "wrong"),
    ]
    path = write_marks(tmp_path / "marks.csv", contents, said)
    mask = read_mask(one.mask, contents.classes)
    write_png(one.mask, (mask + 1) % 4)
    corrected = replace(other, label=1 + other.label % 3)
    rows = [corrected if row.line == other.line else row for row in contents.patches]
    write_patches(data, contents.classes, rows)
    now = read_manifest(data)
    marks = read_marks(path, now)
    # The label beside another mask is the same, and so is the mask beside another label.
    assert [(mark.row.line, mark.kind) for mark in marks.holding] == [
        (one.line, "label"),
        (other.line, "mask"),
    ]
    assert len(marks.passed) == 2 and all("another one than was marked" in text for text in marks.passed)
    assert "2 marks no longer hold" in marks_text(marks, now)
    image = read_image(one.image)
    write_png(one.image, 255 - image)
    assert len(read_marks(path, now).holding) == 1
    gone = replace(now, patches=tuple(row for row in now.patches if row.line != other.line))
    marks = read_marks(path, gone)
    assert not marks.holding and sum("is not there" in text for text in marks.passed) == 2


def test_marks_of_a_data_set_are_marks_of_its_folds(both, data, tmp_path):
    one, _, contents = both
    folds, _ = prepare_folds(data, tmp_path / "folds", 3)
    path = write_marks(tmp_path / "marks.csv", contents, [(one, "mask", "wrong")])
    for fold in folds:
        marks = read_marks(path, fold)
        assert marks.holding[0].row.image.samefile(one.image) and not marks.passed
    (row,) = (row for row in folds[1].patches if row.image.samefile(one.image))
    path = write_marks(tmp_path / "of_fold.csv", folds[1], [(row, "mask", "wrong")])
    assert read_marks(path, contents).holding[0].row == one


def test_faulty_marks_are_said_by_line(both, data, tmp_path, capsys):
    one, _, contents = both
    item = item_of(one, "label", contents)
    path = tmp_path / "marks.csv"

    def said(*rows):
        path.write_text(rows_text(rows), encoding="utf-8")
        with pytest.raises(UserError) as found:
            read_marks(path, contents)
        return str(found.value)

    assert "line 2: kind 'label', mark 'bad'; expected label or mask" in said(COLUMNS, (*item, "bad"))
    assert "kind 'picture'" in said(COLUMNS, (*item[:2], "picture", *item[3:], "right"))
    twice = (COLUMNS, (*item, "right"), (*item, "right"), (*item, "wrong"))
    assert "lines 2 and 4 say right and wrong of the same label" in said(*twice)
    assert "column(s) mark missing" in said(COLUMNS[:-1], item)
    assert "of another data set" in said(COLUMNS, ("other.png", *item[1:], "right"))
    path.write_bytes(b"\xff\xfe\x00")
    assert l2s("check", data, "--review", path) == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert l2s("check", data, "--review", tmp_path / "none.csv") == 2
    assert "cannot read the marks" in capsys.readouterr().err


def test_check_reports_marks_and_changes_nothing(both, data, tmp_path, capsys):
    one, _, contents = both
    path = write_marks(tmp_path / "marks.csv", contents, [(one, "label", "wrong")])
    before = (data / "patches.csv").read_bytes()
    assert l2s("check", data, "--review", path) == 0
    out = capsys.readouterr().out
    assert "No problems." in out and "1 wrong" in out and f"line {one.line}: the label" in out
    assert (data / "patches.csv").read_bytes() == before
    empty = write_marks(tmp_path / "empty.csv", contents, [])
    assert l2s("check", data, "--review", empty) == 0 and "0 marks" in capsys.readouterr().out


def test_rows_of_windows_are_passed_over_and_that_is_said(both, data, tmp_path, capsys):
    """As they are copied from review.csv: nothing tells one from another."""
    one, _, contents = both
    window = ("", "", "window", "", "")
    path = tmp_path / "marks.csv"
    rows = [(*window, "wrong"), (*item_of(one, "label", contents), "right"), (*window, "right")]
    path.write_text(rows_text([COLUMNS, *rows]), encoding="utf-8")
    marks = read_marks(path, contents)
    assert marks.windows == (2, 4) and len(marks.holding) == 1 and not marks.passed
    assert l2s("check", data, "--review", path) == 0
    said = capsys.readouterr().out
    assert "2 rows are of windows of slides (line 2, 4) and were passed over" in said
    assert "1 marks of" in said and "1 right" in said
    path.write_text(rows_text([COLUMNS, rows[0]]), encoding="utf-8")
    assert not read_marks(path, contents).holding
    assert l2s("prepare", "reviewed", data, tmp_path / "out", "--review", path) == 2
    said = capsys.readouterr().err
    assert "nothing to leave out" in said and "a window has neither label nor mask" in said
    assert not (tmp_path / "out").exists()
