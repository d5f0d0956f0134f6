"""Which pictures, masks, labels, patients and splits are found."""

from dataclasses import replace

import pytest

from helpers.own_patches import half, picture, save
from l2s_jax.data.pictures import write_png
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.pairing import pair_masks
from l2s_jax.prepare.patches.patients import with_groups
from l2s_jax.prepare.patches.pictures import find_pictures
from l2s_jax.system.errors import UserError

PLAIN = OwnPatchesOptions()


def find(folder, **options):
    return find_pictures(folder, folder / "out", replace(PLAIN, **options))


def files(folder, *names):
    for number, name in enumerate(names):
        save(folder / name, picture(number, 16))


def test_pictures_of_all_folders_with_the_folder_as_label(tmp_path):
    files(
        tmp_path,
        "train/tumour/images/a.png",
        "train/stroma/b.JPG",
        "val/tumour/c.tif",
        ".hidden/d.png",
        "out/e.png",
    )
    (tmp_path / "notes.txt").write_text("no picture")
    found = find(tmp_path, label_from="folder", split_from="folder")
    assert [(one.name, one.label, one.split) for one in found] == [
        ("train/stroma/b.JPG", "stroma", "train"),
        ("train/tumour/images/a.png", "tumour", "train"),
        ("val/tumour/c.tif", "tumour", "val"),
    ]
    assert [one.label for one in find(tmp_path)] == ["", "", ""]


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    files(tmp_path, "in/a.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [one.name for one in find(tmp_path / "in")] == ["a.png"]


@pytest.mark.parametrize("names", [("a.png",), ("train/val/a.png",), ("train/a.png", "else/b.png")])
def test_a_split_that_no_folder_says_is_refused(tmp_path, names):
    files(tmp_path, *names)
    with pytest.raises(UserError, match=r"--split-from folder: 1 picture\(s\) lie in no folder called train"):
        find(tmp_path, split_from="folder")


def paired(folder, **options):
    """{name of a picture: name of its mask}."""
    chosen = replace(PLAIN, **options)
    pictures = find_pictures(folder, folder / "out", chosen)
    root = options.get("masks", folder)
    found = pair_masks(pictures, folder, folder / "out", chosen)
    return {one.name: one.mask and one.mask.relative_to(root).as_posix() for one in found}


@pytest.mark.parametrize(
    "names",
    [
        {"train/images/a.jpg": "train/masks/a.png", "val/images/a.jpg": "val/masks/a_mask.png"},
        {"images/train/a.jpg": "Labels/train/a.png", "images/val/b.jpg": None},
        {"Polyp/image/a.png": "Polyp/label/a.png", "Normal/image/a.png": "Normal/label/a.png"},
        {"a.png": "masks/a.png", "b.png": "b_mask.png", "c.png": None},
    ],
)
def test_folders_of_masks_beside_those_of_pictures(tmp_path, names):
    files(tmp_path, *names, *filter(None, names.values()))
    assert paired(tmp_path) == names


def test_a_folder_of_masks_beside_another_is_refused(tmp_path):
    files(tmp_path, "images/a.png", "Masks/a.png", "gt/a.png")
    with pytest.raises(UserError, match="several masks for one picture: images/a.png"):
        paired(tmp_path)
    with pytest.raises(UserError, match="gt/a.png lies in a folder that is called as those of masks are"):
        paired(tmp_path, masks=tmp_path / "Masks")


def test_nothing_and_names_that_are_there_twice(tmp_path):
    with pytest.raises(UserError, match="none not found"):
        find(tmp_path / "none")
    with pytest.raises(UserError, match="holds no picture"):
        find(tmp_path)
    files(tmp_path, "a.png", "A.jpg")
    with pytest.raises(UserError, match="have one name but for the suffix: a"):
        find(tmp_path)


def test_a_table_says_what_is_known(tmp_path):
    files(tmp_path, "x/a.png", "x/y/b.png", "m.png")
    table = tmp_path / "t.csv"
    table.write_text(
        "Image;mask;label;group;split;mpp\nx/a.png;m.png;;P1;training;0,5\nx/y/b.png;;tumour;P2;;\n"
    )
    first, second = find_pictures(table, tmp_path / "out", PLAIN)
    assert (first.name, first.mask, first.split, first.mpp) == ("a.png", tmp_path / "m.png", "train", 0.5)
    assert (second.name, second.label, second.group, second.split) == ("y/b.png", "tumour", "P2", None)


def test_every_faulty_row_of_a_table_is_named(tmp_path):
    files(tmp_path, "a.png")
    table = tmp_path / "t.csv"
    table.write_text("image,split,mpp,mask\na.png,,,\na.png,,,\nb.png,,,\na.png,tst,-1,none.png\n,,1,\n")
    with pytest.raises(UserError) as error:
        find_pictures(table, tmp_path / "out", PLAIN)
    for text in ("line 3: a.png stands in line 2", "line 4: ", "b.png not found", "split 'tst'", "mpp '-1'",
                 "none.png not found", "line 6: no image"):  # fmt: skip
        assert text in str(error.value)
    table.write_text("image,classs\na.png,x\n")
    with pytest.raises(UserError, match="classs not known"):
        find_pictures(table, tmp_path / "out", PLAIN)


def test_masks_by_name_in_the_same_folders_or_in_none(tmp_path):
    files(tmp_path, "in/t/a.jpg", "in/s/a.jpg", "in/s/b.jpg", "in/c.png")
    write_png(tmp_path / "m/t/a_mask.png", half(16))
    write_png(tmp_path / "m/s/A.png", half(16))
    write_png(tmp_path / "m/b.png", half(16))
    assert paired(tmp_path / "in", masks=tmp_path / "m") == {
        "t/a.jpg": "t/a_mask.png",
        "s/a.jpg": "s/A.png",
        "s/b.jpg": "b.png",
        "c.png": None,
    }


def test_masks_beside_their_pictures(tmp_path):
    files(tmp_path, "a.png", "a_mask.png", "b.png", "c_mask.png")
    assert paired(tmp_path) == {
        "a.png": "a_mask.png",
        "b.png": None,
        "c_mask.png": None,  # a picture: there is no c
    }


def test_masks_of_no_picture_and_several_of_one_are_refused(tmp_path):
    files(tmp_path, "in/a.png", "in/b.png")
    for name in ("a_seg.png", "b_seg.png"):
        write_png(tmp_path / "m" / name, half(16))
    options = replace(PLAIN, masks=tmp_path / "m")
    pictures = find_pictures(tmp_path / "in", tmp_path / "out", options)
    with pytest.raises(
        UserError, match=r"2 mask\(s\) in .* are of no picture: .*With --mask-ending _seg they would be"
    ):
        pair_masks(pictures, tmp_path / "in", tmp_path / "out", options)
    assert all(
        one.mask
        for one in pair_masks(
            pictures, tmp_path / "in", tmp_path / "out", replace(options, mask_ending="_seg")
        )
    )
    write_png(tmp_path / "m" / "a.tif".replace("tif", "png"), half(16))
    with pytest.raises(UserError, match="several masks for one picture: a.png: .*a.png, .*a_seg.png"):
        pair_masks(pictures, tmp_path / "in", tmp_path / "out", replace(options, mask_ending="_seg"))
    with pytest.raises(UserError, match="is no folder"):
        pair_masks(pictures, tmp_path / "in", tmp_path / "out", replace(options, masks=tmp_path / "none"))


@pytest.mark.parametrize(
    "how, groups",
    [
        (r"^([^_]+)_", ["p1", "p1", "p2"]),
        (r"p\d", ["p1", "p1", "p2"]),
        (r"^(.)[^/]*/", ["t", "s", "s"]),
        ("folder", ["tumour", "stroma", "stroma"]),
        ("picture", ["tumour/p1_a", "stroma/p1_b", "stroma/p2_a"]),
    ],
)
def test_patients_by_names_and_folders(tmp_path, how, groups):
    files(tmp_path, "tumour/p1_a.png", "stroma/images/p1_b.png", "stroma/p2_a.png")
    found, lines = with_groups(find(tmp_path), replace(PLAIN, group_from=how))
    assert sorted(one.group.replace("/images", "") for one in found) == sorted(groups)
    assert any("a patient of its own" in line for line in lines) is (how == "picture")
    assert lines[0].startswith(f"{len({*groups})} patients or slides (")


def test_nothing_is_taken_for_a_patient_unasked(tmp_path):
    files(tmp_path, "a/p1_a.png", "b/p1_b.png", "a/p2_a.png")
    with pytest.raises(UserError) as error:
        with_groups(find(tmp_path), PLAIN)
    text = str(error.value)
    assert "finds 2: p1, p2" in text and '--group-from "folder"' in text and "--groups FILE.csv" in text
    with pytest.raises(UserError, match="nothing says of which patient 1 of 3 pictures are: a/p2_a.png"):
        with_groups(find(tmp_path), replace(PLAIN, group_from="(p1)_"))
    with pytest.raises(UserError, match="nor a regular expression"):
        with_groups(find(tmp_path), replace(PLAIN, group_from="("))


def test_patients_of_a_table(tmp_path):
    files(tmp_path, "a/x1.png", "b/x2.png")
    table = tmp_path / "g.csv"
    table.write_text("picture,group\nx1,P1\nb/x2.png,P2\nx3,P3\n")
    found, lines = with_groups(find(tmp_path), replace(PLAIN, groups=table))
    assert (
        [one.group for one in found] == ["P1", "P2"] and "warning: 1 name(s)" in lines[0] and "x3" in lines[0]
    )
    table.write_text("picture,group\nx1,P1\nX 2,P2\n")
    with pytest.raises(UserError, match=r"1 of 2 pictures are: b/x2.png.*'X 2' may mean b/x2.png"):
        with_groups(find(tmp_path), replace(PLAIN, groups=table))
    with pytest.raises(UserError, match="both say whose"):
        with_groups(find(tmp_path), replace(PLAIN, groups=table, group_from="folder"))
