"""Phantom slides have the layout that `prepare slides` takes."""

import pytest

from helpers.commands import l2s
from l2s_jax.phantom.slides import draw_slides
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.inputs import find_inputs
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.prepare.slides.table import read_groups
from l2s_jax.system.errors import UserError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_slides(tmp_path_factory.mktemp("phantom") / "drawn", slides=2, labelled=1)


def test_the_same_arguments_draw_the_same(drawn, tmp_path):
    again = draw_slides(tmp_path / "again", slides=2, labelled=1)
    names = sorted(path.relative_to(drawn) for path in drawn.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        if name.suffix in (".geojson", ".csv", ".png"):
            assert (drawn / name).read_bytes() == (again / name).read_bytes()


def test_it_becomes_a_data_set(drawn, tmp_path):
    groups = read_groups(drawn / "groups.csv")
    assert {one.group for one in find_inputs(drawn / "slides", None, groups).slides} == {"patient 1"}
    options = SlidesOptions(
        mpp=7.5,
        patch_size=32,
        stain="off",
        split=(100, 0, 0),
        labelled=drawn / "labelled",
        labelled_mpp=7.5,
        rename={"Stroma": "background"},
    )
    made = prepare_slides(drawn / "slides", tmp_path / "out", options, WorkOptions(workers=1))
    assert made.failures == ()
    assert set(made.manifest.classes.names) == {"background", "Gland", "Adenoma", "Carcinoma"}
    assert made.manifest.classes.background == 0


def test_the_command_refuses_a_folder_that_is_not_empty(drawn, capsys):
    assert l2s("phantom-slides", drawn) == 2
    assert "--overwrite" in capsys.readouterr().err
    with pytest.raises(UserError, match="patch_size"):
        draw_slides(drawn.parent / "x", patch_size=20)
