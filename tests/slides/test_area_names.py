"""A name under `--within-only` or `--exclude-only` that no file has is said, one that some lack is not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.own_slides import write_regions
from l2s_jax.slides.area_folders import AreaFolders, require_named
from l2s_jax.slides.area_names import require_area_names, unfound_names, unfound_warnings
from l2s_jax.system.errors import UserError

SLIDES = [Path("a.svs"), Path("b.svs"), Path("c.svs")]


@pytest.fixture
def drawn(tmp_path):
    """Pen on a, pen and a fold on b, no file of c."""
    write_regions(tmp_path / "a.geojson", [("Pen", 0, 0, 9, 9)])
    write_regions(tmp_path / "b.geojson", [("Pen", 0, 0, 9, 9), ("Fold", 20, 20, 30, 30)])
    return tmp_path


@pytest.fixture
def masks(tmp_path):
    for name, value in (("a", 1), ("b", 4)):
        Image.fromarray(np.array([[7, value]], np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_names_that_any_file_has_are_found(drawn):
    assert unfound_names(AreaFolders(drawn, ("pen", "FOLD"), drawn, ("Fold",)), SLIDES) == []


def test_a_misspelled_name_among_others_is_said_with_what_there_is(drawn):
    (line,) = unfound_warnings(AreaFolders(exclude=drawn, exclude_only=("Pen", "Fould")), SLIDES)
    assert line.startswith("warning: --exclude-only Fould: in no file") and line.endswith("Pen, Fold")
    assert str(drawn) in line
    (line,) = unfound_warnings(AreaFolders(drawn, ("Penn",)), SLIDES[:1])
    assert "--within-only Penn" in line and line.endswith("there are Pen")


def test_where_all_slides_are_there_it_is_refused(drawn):
    with pytest.raises(UserError, match=r"--exclude-only Fould"):
        require_area_names(AreaFolders(exclude=drawn, exclude_only=("Pen", "Fould")), SLIDES)


def test_values_that_no_mask_has_are_a_warning(masks):
    folders = AreaFolders(exclude=masks, exclude_only=("2", "04"))
    (line,) = require_area_names(folders, SLIDES)
    assert line.startswith("warning: --exclude-only 2: ") and line.endswith("there are 1, 7, 4")


def test_files_that_cannot_be_read_are_left_to_their_slides(tmp_path):
    (tmp_path / "a.geojson").write_text("{")
    assert unfound_names(AreaFolders(tmp_path, ("Pen",)), SLIDES) == []


def test_the_corner_of_no_folders_files_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--areas-from bounds.*--within FOLDER or --exclude FOLDER"):
        require_named(AreaFolders(areas_from="bounds"))
    require_named(AreaFolders(exclude=tmp_path, areas_from="bounds"))
