"""What a killed process leaves half-written is removed, and nothing else."""

import pytest

from l2s_jax.system.errors import Unwritable
from l2s_jax.system.files import PARTIAL, remove_leftovers, write_text


def test_half_written_files_and_folders_go_and_others_stay(tmp_path):
    mine, other = tmp_path / "mine.txt", tmp_path / "elsewhere" / "kept.txt"
    other.parent.mkdir()
    for path in (mine, other):
        path.touch()
    (tmp_path / f"{PARTIAL}a").touch()
    (tmp_path / f"{PARTIAL}b").mkdir()
    (tmp_path / f"{PARTIAL}b" / "tile.png").touch()
    (tmp_path / f"{PARTIAL}c").symlink_to(other.parent, target_is_directory=True)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "kept.txt", "mine.txt"]
    remove_leftovers(tmp_path / "that is not there")


def test_a_file_where_a_folder_is_needed_is_said(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(Unwritable, match="a file is where a folder is needed"):
        write_text(tmp_path / "out" / "more" / "x.txt", "text")
