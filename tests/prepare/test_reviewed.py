"""A manifest without what people have marked as wrong."""

import shutil
from dataclasses import replace

import pytest

from helpers.commands import l2s
from l2s_jax import UserError, check_manifest, read_manifest
from l2s_jax.data.manifest import write_classes, write_patches
from l2s_jax.data.marks import COLUMNS, Mark, Marks, item_of
from l2s_jax.prepare.reviewed import prepare_reviewed, without_marked
from l2s_jax.system.csv_text import rows_text
from l2s_jax.types import IGNORE_LABEL


def write_marks(path, contents, said):
    lines = [(*item_of(row, kind, contents), verdict) for row, kind, verdict in said]
    path.write_text(rows_text([COLUMNS, *lines]), encoding="utf-8")
    return path


@pytest.fixture
def chosen(phantom):
    """Two rows with mask and label, one with a label only, of the training split, and the manifest."""
    contents = read_manifest(phantom)
    masked = [row for row in contents.of_split("train") if row.mask is not None]
    bare = next(row for row in contents.of_split("train") if row.mask is None)
    return masked[0], masked[1], bare, contents


def test_what_is_wrong_is_left_out_and_all_else_stays(chosen, phantom, tmp_path, capsys):
    one, other, bare, contents = chosen
    said = [
        (one, "label", "wrong"),
        (other, "mask", "wrong"),
        (bare, "label", "wrong"),
        (one, "mask", "right"),
    ]
    path = write_marks(tmp_path / "marks.csv", contents, said)
    before = (phantom / "patches.csv").read_bytes()
    out = tmp_path / "out"
    assert l2s("prepare", "reviewed", phantom, out, "--review", path) == 0
    printed = capsys.readouterr().out
    assert (
        "left out: 2 of 60 labels, 1 of" in printed
        and "1 of 60 patches, of which nothing was left" in printed
    )
    assert (phantom / "patches.csv").read_bytes() == before
    made = {row.image.name: row for row in read_manifest(out).patches}
    assert check_manifest(out).ok and len(made) == 59 and bare.image.name not in made
    assert not (out / "images" / bare.image.name).exists()
    assert made[one.image.name].label == IGNORE_LABEL and made[one.image.name].mask.samefile(one.mask)
    assert made[other.image.name].mask is None and made[other.image.name].label == other.label
    for row in contents.patches:
        if row not in (one, other, bare):
            now = made[row.image.name]
            assert (now.label, now.group, now.split) == (row.label, row.group, row.split)
            assert (now.mask is None) == (row.mask is None) and now.image.samefile(row.image)
    # The same again is the same; what is unsure is left out where that is asked for.
    assert l2s("prepare", "reviewed", phantom, out, "--review", path) == 0
    unsure = write_marks(tmp_path / "unsure.csv", contents, [(bare, "label", "unsure")])
    with pytest.raises(UserError, match="marks nothing in .* as wrong"):
        prepare_reviewed(phantom, tmp_path / "none", unsure)
    made, _ = prepare_reviewed(phantom, tmp_path / "two", unsure, leave_out=("wrong", "unsure"))
    assert len(made.patches) == 59


def test_labels_go_with_what_they_allow_and_what_can_stand_alone_stays(chosen):
    one, _, bare, contents = chosen
    one, bare = replace(one, allowed=(0, one.label)), replace(bare, allowed=(0, bare.label))
    rows = (one, bare)

    def kept(*said):
        marks = Marks("marks.csv", tuple(Mark(row, kind, "wrong") for row, kind in said), ())
        return without_marked(rows, marks, ("wrong",))

    assert kept((one, "label")) == (replace(one, label=IGNORE_LABEL, allowed=()), bare)
    assert kept((one, "mask")) == (replace(one, mask=None), bare)
    assert kept((one, "label"), (one, "mask"), (bare, "label")) == ()
    neither = replace(one, label=IGNORE_LABEL)
    assert without_marked(
        (neither,), Marks("marks.csv", (Mark(neither, "mask", "wrong"),), ()), ("wrong",)
    ) == (replace(neither, mask=None),)
    assert without_marked(rows, Marks("marks.csv", (Mark(one, "mask", "unsure"),), ()), ("wrong",)) == rows


def test_folders_are_not_written_over(chosen, phantom, tmp_path, capsys):
    one, _, _, contents = chosen
    path = write_marks(tmp_path / "marks.csv", contents, [(one, "mask", "wrong")])
    data = tmp_path / "data"
    shutil.copytree(phantom, data)
    assert l2s("prepare", "reviewed", data, data, "--review", path) == 2
    assert "own folder" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "patches.csv").write_text("mine")
    assert l2s("prepare", "reviewed", data, other, "--review", path) == 2
    assert (other / "patches.csv").read_text() == "mine"
    alone = tmp_path / "alone"
    alone.mkdir()
    write_classes(alone, contents.classes)
    write_patches(alone, contents.classes, [one])
    path = write_marks(
        tmp_path / "all.csv", read_manifest(alone, allow_outside=True),
        [(one, kind, "wrong") for kind in ("label", "mask")],
    )  # fmt: skip
    with pytest.raises(UserError, match="nothing would be left"):
        prepare_reviewed(alone, tmp_path / "none", path, allow_outside=True)
    assert not (tmp_path / "none").exists()
