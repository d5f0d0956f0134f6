import dataclasses
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.commands import l2s
from l2s_jax import UserError, check_manifest, read_manifest
from l2s_jax.data.folds import read_folds
from l2s_jax.data.manifest import straddling_groups, write_classes, write_patches
from l2s_jax.data.pictures import write_png
from l2s_jax.prepare.folds import assign, of_fold, prepare_folds
from l2s_jax.system.ranges import MOST


def copied(phantom, folder, change=lambda row: row):
    """The phantom in another folder, with rows changed, or left out where `change` gives None."""
    contents = read_manifest(phantom)
    shutil.copytree(phantom, folder)
    rows = [change(row) for row in contents.patches]
    rows = [row for row in rows if row is not None]
    moved = [
        dataclasses.replace(
            row,
            image=folder / row.image.relative_to(phantom),
            mask=row.mask and folder / row.mask.relative_to(phantom),
        )
        for row in rows
    ]
    write_patches(folder, contents.classes, moved)
    return folder


def first_groups(phantom, count):
    return list(dict.fromkeys(row.group for row in read_manifest(phantom).patches))[:count]


def test_every_group_is_tested_on_once_and_no_fold_leaks(phantom, tmp_path):
    before = read_manifest(phantom)
    made, lines = prepare_folds(phantom, tmp_path / "folds", 4, seed=3)
    assert len(made) == 4 and "no group is in two splits" in "\n".join(lines)
    fold_of = read_folds(tmp_path / "folds")
    groups = {row.group for row in before.patches}
    tested = [{row.group for row in fold.of_split("test")} for fold in made]
    assert sorted(group for own in tested for group in own) == sorted(groups)
    for number, fold in enumerate(made, 1):
        assert not straddling_groups(fold.patches)
        assert {group for group, of in fold_of.items() if of == number} == tested[number - 1]
        assert {row.group for row in fold.of_split("val")} == tested[number % 4]
        assert fold.of_split("train") and check_manifest(fold.folder).ok
        for old, new in zip(before.patches, fold.patches, strict=True):
            assert new.image.samefile(old.image) and (new.label, new.group) == (old.label, old.group)
            assert (new.mask is None) == (old.mask is None)
    pictures = list((tmp_path / "folds").rglob("*.png"))
    files = {file for row in before.patches for file in (row.image, row.mask) if file}
    assert len(pictures) == len(files)  # once, and not once a fold


def test_made_again_it_is_the_same_and_another_number_is_refused_or_replaces_it(phantom, tmp_path):
    first, _ = prepare_folds(phantom, tmp_path / "folds", 5)
    (tmp_path / "folds" / "folds.csv").unlink()  # as if it had been killed before the end
    (tmp_path / "folds" / "prepared_files.jsonl").unlink()
    assert prepare_folds(phantom, tmp_path / "folds", 5)[0] == first
    with pytest.raises(UserError, match="folds 5, now 3"):
        prepare_folds(phantom, tmp_path / "folds", 3)
    prepare_folds(phantom, tmp_path / "folds", 3, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "folds").glob("fold?")) == ["fold1", "fold2", "fold3"]
    with (tmp_path / "folds" / "fold2" / "patches.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"fold2.patches.csv was changed"):
        prepare_folds(phantom, tmp_path / "folds", 3, overwrite=True)


def test_a_folder_with_other_files_keeps_them(phantom, tmp_path):
    (tmp_path / "folds" / "fold1").mkdir(parents=True)
    (tmp_path / "folds" / "fold1" / "patches.csv").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not made by prepare|holds other files"):
            prepare_folds(phantom, tmp_path / "folds", 3, overwrite=overwrite)
    assert (tmp_path / "folds" / "fold1" / "patches.csv").read_text() == "mine"
    with pytest.raises(UserError, match="own folder"):
        prepare_folds(phantom, phantom, 3)


def test_paths_of_a_fold_lead_into_the_folder_of_the_folds_and_no_further(phantom, tmp_path):
    folds, outside = tmp_path / "folds", tmp_path / "outside.png"
    prepare_folds(phantom, folds, 3)
    shutil.copy(next(folds.rglob("*.png")), outside)
    table = folds / "fold1" / "patches.csv"
    lines = table.read_text().splitlines()
    assert lines[1].startswith("../images/")
    name = lines[1].split(",")[0]
    table.write_text("\n".join([lines[0], lines[1].replace(name, "../../outside.png"), *lines[2:]]) + "\n")
    with pytest.raises(UserError, match="leads out of the manifest's folder"):
        read_manifest(folds / "fold1")
    assert read_manifest(folds / "fold1", allow_outside=True)
    read_manifest(folds / "fold2")
    (folds / "folds.csv").unlink()  # a folder beside others, and not one of theirs
    with pytest.raises(UserError, match="leads out of the manifest's folder"):
        read_manifest(folds / "fold2")


def test_pictures_outside_stay_there_where_it_is_allowed(phantom, tmp_path):
    contents = read_manifest(phantom)
    (tmp_path / "data").mkdir()
    write_classes(tmp_path / "data", contents.classes)
    write_patches(tmp_path / "data", contents.classes, contents.patches)
    with pytest.raises(UserError, match="leads out"):
        prepare_folds(tmp_path / "data", tmp_path / "folds", 3)
    made, lines = prepare_folds(tmp_path / "data", tmp_path / "folds", 3, allow_outside=True)
    assert made[0].patches[0].image == contents.patches[0].image
    assert not list((tmp_path / "folds").rglob("*.png")) and "--allow-outside" in lines[-1]


def test_where_files_cannot_be_linked_they_are_copied_once(phantom, tmp_path, monkeypatch):
    """And a picture that is a link itself is followed."""
    data = copied(phantom, tmp_path / "data")
    (data / "stain.json").write_text("{}")
    image = read_manifest(data).patches[0].image
    image.rename(data / "raw.png")
    image.symlink_to("../raw.png")

    def other_file_system(*arguments, **more):
        raise OSError("cross-device link")

    linked, _ = prepare_folds(data, tmp_path / "linked", 3)
    monkeypatch.setattr(os, "link", other_file_system)
    made, _ = prepare_folds(data, tmp_path / "folds", 3)
    for fold, other in zip(made, linked, strict=True):
        assert check_manifest(fold.folder).ok and (fold.folder / "stain.json").read_text() == "{}"
        assert fold.patches[0].image.read_bytes() == (data / "raw.png").read_bytes()
        assert not fold.patches[0].image.is_symlink() and not fold.patches[0].image.samefile(data / "raw.png")
        assert other.patches[0].image.samefile(data / "raw.png")
    assert made[0].patches[0].image.samefile(made[1].patches[0].image)


def test_a_fold_can_be_divided_again(phantom, tmp_path):
    prepare_folds(phantom, tmp_path / "folds", 3)
    made, _ = prepare_folds(tmp_path / "folds" / "fold2", tmp_path / "again", 4)
    assert all(check_manifest(fold.folder).ok for fold in made)
    assert made[0].patches[0].image.resolve().is_relative_to((tmp_path / "again").resolve())


@pytest.mark.parametrize(
    "groups, folds, message",
    [
        (1, 3, r"1 patient\(s\) or slide\(s\).*add slides"),
        (4, 5, "4 patients or slides.*--folds 4"),
        (9, 2, "folds = 2: expected 3"),
    ],
)
def test_too_few_groups_are_said_with_what_can_be_done(groups, folds, message, phantom, tmp_path):
    kept = first_groups(phantom, groups)
    data = copied(phantom, tmp_path / "data", lambda row: row if row.group in kept else None)
    with pytest.raises(UserError, match=message):
        prepare_folds(data, tmp_path / "folds", folds)
    assert not (tmp_path / "folds").exists()


def test_what_would_leak_or_cannot_be_trained_is_refused_before_anything_is_written(phantom, tmp_path, rng):
    data = copied(phantom, tmp_path / "data")
    one, *others = read_manifest(data).patches
    other = next(row for row in others if row.group != one.group)
    shutil.copy(one.image, other.image)
    with pytest.raises(UserError, match="the same picture in several splits"):
        prepare_folds(data, tmp_path / "folds", 3)
    write_png(one.image, rng.integers(0, 256, (64, 32, 3), np.uint8))
    with pytest.raises(UserError, match="64 x 32"):
        prepare_folds(data, tmp_path / "folds", 3)
    assert not (tmp_path / "folds").exists()


def test_splits_of_the_manifest_do_not_count(phantom, tmp_path):
    """Not even where they leak, or where there is but one."""
    turns = iter(range(1000))
    data = copied(
        phantom,
        tmp_path / "data",
        lambda row: dataclasses.replace(row, split=("train", "test")[next(turns) % 2]),
    )
    assert not check_manifest(data).ok
    made, _ = prepare_folds(data, tmp_path / "folds", 3)
    assert all(check_manifest(fold.folder).ok for fold in made)
    # The hash is that of the manifest, so only the columns but `split` are the same.
    same, _ = prepare_folds(phantom, tmp_path / "same", 3)
    assert [row.split for row in made[0].patches] == [row.split for row in same[0].patches]


def test_the_command_says_what_folds_lack(phantom, tmp_path, capsys):
    rare = first_groups(phantom, 1)[0]
    names = read_manifest(phantom).classes.names
    data = copied(
        phantom,
        tmp_path / "data",
        lambda row: dataclasses.replace(row, mask=None, label=3 if row.group == rare else 1),
    )
    assert l2s("prepare", "folds", data, tmp_path / "folds", "--folds", 3) == 2
    said = capsys.readouterr().err
    assert names[2] in said and "nowhere" not in said  # a class without a patch

    def without_class_2(row):
        return dataclasses.replace(row, mask=None, label=(2 if row.group == rare else 1 + 2 * (row.line % 2)))

    shutil.rmtree(data)
    data = copied(phantom, tmp_path / "data", without_class_2)
    assert l2s("prepare", "folds", data, tmp_path / "folds", "--folds", 3) == 0
    said = capsys.readouterr().out
    assert f"class {names[2]!r} is of 1 patient(s) or slide(s)" in said
    (fold,) = {of for group, of in read_folds(tmp_path / "folds").items() if group == rare}
    assert f"fold {fold}: class {names[2]!r} has no mask pixel and no label in train" in said
    assert l2s("check", tmp_path / "folds") == 2
    assert "fold1" in capsys.readouterr().err


@st.composite
def contents(draw):
    """What each group holds of two kinds, and the total."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=24))
    return np.array([(a, b, a + b + 1) for a, b in sizes], float)


@settings(deadline=None, max_examples=80)
@given(contents(), st.integers(3, 8), st.integers(0, MOST))
def test_any_groups_are_dealt_whole_to_all_folds(counts, folds, seed):
    folds = min(folds, len(counts))
    dealt = assign(counts, folds, seed)
    assert set(dealt) == set(range(1, folds + 1)) and dealt == assign(counts, folds, seed)


@given(st.integers(3, 9), st.data())
def test_any_group_is_test_once_val_once_and_else_train(folds, data):
    row = dataclasses.make_dataclass("Row", ["split"])("train")
    tested_in = data.draw(st.integers(1, folds))
    splits = [of_fold(row, tested_in, fold, folds).split for fold in range(1, folds + 1)]
    assert splits[tested_in - 1] == "test" and splits.count("test") == splits.count("val") == 1


def test_classes_are_spread_where_groups_allow():
    counts = np.array([(2.0, 0, 2), (0, 2, 2)] * 5)
    dealt = np.array(assign(counts, 5, 0))
    for fold in range(1, 6):
        np.testing.assert_array_equal(counts[dealt == fold].sum(0), (2, 2, 4))
