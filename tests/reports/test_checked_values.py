"""Tables from elsewhere: percent for scores, commas for points, names that differ in case."""

import pytest

from l2s_jax import UserError
from l2s_jax.reports.reading import read_results

ROWS = """run,setting,percent,draw,dice,kappa,comment
a,S,5,0,0.4,-0.1,first
b,S,100,0,0.5,0.2,7
c,S+C,5,0,nan,,
d,S,5,1,0.45,,
"""


def read(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return read_results(tmp_path / "t.csv")


def test_scores_and_words_are_taken_as_they_are(tmp_path):
    results = read(tmp_path, ROWS)
    assert results.runs["dice"].tolist()[:2] == [0.4, 0.5] and results.runs["kappa"].min() == -0.1
    assert results.runs["comment"].tolist() == ["first", "7", "", ""] and results.notes == ()


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("0.5,", "50.0,", r"line 3: dice = 50, in 1 of 4 rows beyond 1\. .*Divide percent by 100"),
        ("0.4,", "-1.4,", "line 2: dice = -1.4"),
        ("0.5,", '"0,5",', "line 3: dice = '0,5' is no number .with a point"),
        ("c,S+C", "c,s", "line 4: setting 's' and 'S' differ in case only"),
        (
            ",",
            ";",
            "column.s. run, setting, percent, draw missing .*It is parted by semicolons: save it with commas",
        ),
        (",", "\t", "It is parted by tabs"),
    ],
)
def test_what_cannot_be_is_refused_by_line(tmp_path, old, new, said):
    with pytest.raises(UserError, match=f"(?s){said}"):
        read(tmp_path, ROWS.replace(old, new))


def test_one_field_of_words_in_a_column_of_numbers_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 2: kappa = 'n/a' is no number"):
        read(tmp_path, ROWS.replace("-0.1", "n/a").replace("nan,,", "nan,0.3,"))


def test_spaces_at_the_ends_of_names_do_not_count(tmp_path):
    assert set(read(tmp_path, ROWS.replace("a,S,", "a,S ,")).runs["setting"]) == {"S", "S+C"}


def test_percents_that_look_like_shares_of_one_are_said(tmp_path):
    text = ROWS.replace("S,100,", "S,1,").replace("S,5,", "S,0.05,").replace("S+C,5,", "S+C,0.05,")
    (note,) = read(tmp_path, text).notes
    assert note.startswith("percent is 0.05, 1: taken for at most 1% of the masks")
