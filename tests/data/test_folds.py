import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2s_jax.data.folds import read_folds, root_of
from l2s_jax.system.csv_text import rows_text
from l2s_jax.system.errors import UserError


def written(folder, text):
    (folder / "folds.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text, message",
    [
        ("group,fold\na,1\na,2\n", "line 3: group 'a' stands there twice"),
        ("group,fold\na,one\n", "line 2: fold 'one' is no number"),
        ("group,fold\na,0\n", "no number of a fold"),
        ("group,fold\na,1\nb,3\n", "every fold from 1"),
        ("group,fold\n", "every fold from 1"),
        ("group\na\n", "fold missing"),
        ("", "is empty"),
    ],
)
def test_faults_are_named_by_file_and_line(text, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        read_folds(written(tmp_path, text))
    assert "folds.csv" in str(caught.value)
    (tmp_path / "folds.csv").unlink()
    with pytest.raises(UserError, match="cannot read"):
        read_folds(tmp_path)


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1), min_size=1, unique=True))
def test_any_name_of_a_group_comes_back(tmp_path_factory, groups):
    folder = tmp_path_factory.mktemp("any")
    fold_of = {group: number % 2 + 1 if len(groups) > 1 else 1 for number, group in enumerate(groups)}
    written(folder, rows_text([("group", "fold"), *((group, str(of)) for group, of in fold_of.items())]))
    assert read_folds(folder) == fold_of


def test_the_root_of_a_fold_is_the_folder_of_the_folds(tmp_path, monkeypatch):
    for name in ("fold1", "fold01", "other"):
        (tmp_path / name).mkdir()
    assert root_of(tmp_path / "fold1") == tmp_path / "fold1"
    written(tmp_path, "group,fold\na,1\n")
    assert root_of(tmp_path / "fold1") == tmp_path
    assert root_of(tmp_path / "other") == tmp_path / "other"
    assert root_of(tmp_path / "fold01") == tmp_path / "fold01"
    monkeypatch.chdir(tmp_path / "fold1")
    assert str(root_of(type(tmp_path)("."))) == str(tmp_path)
