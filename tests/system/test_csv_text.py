import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2s_jax.system.csv_rows import (
    append_rows,
    complete_rows,
    remove_rows,
    replace_row,
    replace_rows,
    require_appendable,
)
from l2s_jax.system.csv_text import decoded, guarded, read_text_rows, rows_text, table_text, unguarded
from l2s_jax.system.errors import UserError

TEXTS = ("None", "NA", "nan", "01", "1e5", "True", "020", "", "null", "-inf", "=1+1", "+x", "@a", "-", "'=x")
FORMULAS = ("=1+1", "+x", "@SUM(A1)", "-x", "\tx", "\rx", "-1+2", "=cmd|' /C calc'!A0")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12))
def test_a_guarded_cell_comes_back(text):
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    assert guarded(text) == "'" + text


@pytest.mark.parametrize(
    "text", ["-0.5", "+3", "-1e-07", "-0.5 ± 0.1", "-12.5%", "S+C", "a=b", "nan", "-inf"]
)
def test_numbers_and_plain_text_are_left_alone(text):
    assert guarded(text) == text


@given(
    st.lists(
        st.lists(st.sampled_from([*TEXTS, 'a,"b', "x\ny"]), min_size=2, max_size=2), min_size=1, max_size=5
    )
)
def test_rows_come_back_as_text(rows):
    found = read_text_rows(rows_text([["=a", "NA"], *rows]), "f.csv")
    assert found.header == ["=a", "NA"] and found.rows == rows


def test_a_table_is_written_with_its_texts_and_numbers(tmp_path):
    frame = pd.DataFrame({"=name": list(TEXTS), "x": [1 / 3] * 14 + [np.nan]}, index=[*TEXTS])
    text = table_text(frame, index=True)
    found = read_text_rows(text, tmp_path / "f.csv")
    assert [row[0] for row in found.rows] == [row[1] for row in found.rows] == list(TEXTS)
    assert [row[2] for row in found.rows] == ["0.333333"] * 14 + [""]
    for row in csv.reader(io.StringIO(text)):
        assert not row[0].startswith(("=", "@"))


@pytest.mark.parametrize("key", TEXTS)
def test_rows_of_a_file_keep_their_text(tmp_path, key):
    path = tmp_path / "t.csv"
    others = [text for text in TEXTS if text != key]
    for name in (key, *others):
        replace_row(path, {"image": name, "classifier": name, "share": 0.1}, "image")
    replace_row(path, {"image": key, "classifier": "NA", "share": 0.25}, "image")
    rows = read_text_rows(path.read_text(), path).rows
    assert rows == [[name, name, "0.1"] for name in others] + [[key, "NA", "0.25"]]


def test_appended_rows_keep_their_text(tmp_path):
    path = tmp_path / "t.csv"
    for name in TEXTS:
        append_rows(path, [{"group": name, "f1_=x": 0.5}])
    table, cut = complete_rows(path)
    assert list(table["group"]) == list(TEXTS) and not cut
    assert list(table["f1_=x"]) == ["0.5"] * len(TEXTS)


@pytest.mark.parametrize(
    "change, spreadsheet",
    [
        (lambda text: "\ufeff" + text, True),
        (lambda text: text.replace(",", ";"), True),
        (lambda text: text.replace("\n", "\r\n"), True),
        (lambda text: "\ufeff" + text.replace(",", ";").replace("\n", "\r\n"), True),
        (lambda text: text.replace("run", '"run"'), True),
        (lambda text: text.replace("share", "other"), False),
    ],
)
def test_a_file_that_another_program_saved_is_noticed_before_a_row_is_made(tmp_path, change, spreadsheet):
    path = tmp_path / "results.csv"
    row = {"run": "a1", "share": 0.5, "+x": 1}
    require_appendable(path, list(row))
    append_rows(path, [row])
    require_appendable(path, list(row))
    path.write_bytes(change(path.read_text()).encode())
    with pytest.raises(UserError, match="other columns") as error:
        require_appendable(path, list(row))
    assert str(path) in str(error.value) and ("spreadsheet" in str(error.value)) == spreadsheet
    with pytest.raises(UserError, match="other columns"):
        append_rows(path, [row])


@pytest.mark.parametrize(
    "content, message",
    [
        ("a,b\n1\n", "line 2: 1 fields, but the header names 2"),
        ("a,b\n1,2,3\n", "line 2: 3 fields"),
        ("a,a\n1,2\n", "column.*a stand in the header twice"),
        ('a,b\n"1,2\n', "near line"),
        ("a,b\n\0,2\n", "NUL"),
    ],
)
def test_what_is_no_table_is_refused_by_line(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    for read in (lambda: complete_rows(path), lambda: replace_row(path, {"a": 1, "b": 2}, "a")):
        with pytest.raises(UserError, match=message) as error:
            read()
        assert str(path) in str(error.value)


def test_rows_of_one_key_are_replaced_and_removed_together(tmp_path):
    path = tmp_path / "table.csv"
    for key, values in (("=a", (1, 2)), ("020", (3,)), ("=a", (4, 5, 6))):
        replace_rows(path, [{"key": key, "value": value} for value in values], "key")
    assert path.read_text() == "key,value\n020,3\n'=a,4\n'=a,5\n'=a,6\n"
    remove_rows(path, "key", "=a")
    remove_rows(path, "key", "20")
    assert path.read_text() == "key,value\n020,3\n"
    remove_rows(tmp_path / "none.csv", "key", "a")
    with pytest.raises(UserError, match="other"):
        remove_rows(path, "other", "a")


def test_another_encoding_is_refused_by_line(tmp_path):
    with pytest.raises(UserError, match=r"t.csv is not UTF-8 text .*in line 3, byte 11\). Save it as UTF-8"):
        decoded("a\n1\ntumeur é\n".encode("latin-1"), tmp_path / "t.csv")
