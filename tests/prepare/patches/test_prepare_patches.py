"""Folders of patches become manifests."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.commands import l2s
from helpers.dataset_generator import write_ebhi
from helpers.own_patches import CLASSES, half, picture, save
from l2s_jax import check_manifest, prepare_ebhi, prepare_patches, read_manifest
from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.figures.overlays import overlay
from l2s_jax.prepare.patches.dealing import deal
from l2s_jax.prepare.patches.looking import Seen
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.prepare.patches.sheet import chosen, draw_sheet
from l2s_jax.prepare.patches.writing import origins
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, SPLITS


def options_of(folder, **more):
    told = {"label_from": "folder", "group_from": "^([^_]+)_", "background": "stroma"}
    values = {"stroma": "0", "tumour": "1"}
    return OwnPatchesOptions(masks=folder / "masks", class_values=values, **told | more)


def made(folder, source=None, **more):
    return prepare_patches(source or folder / "pictures", folder / "out", options_of(folder, **more))


def test_pictures_masks_labels_and_patients(folder):
    found = made(folder)
    assert check_manifest(folder / "out").ok and len(found.patches) == 24
    assert sum(row.mask is not None for row in found.patches) == 12
    assert {found.classes.names[row.label] for row in found.patches} == {*CLASSES}
    assert {row.split for row in found.patches} == {*SPLITS}
    for row in found.patches:
        original = folder / "pictures" / row.source
        assert row.group == original.name[:2] and row.image.read_bytes() == original.read_bytes()
        assert not row.image.samefile(original)  # which may be worked on
        if row.mask is not None:
            mask = read_mask(folder / "masks" / f"{original.stem}_mask.png", found.classes)
            np.testing.assert_array_equal(read_mask(row.mask, found.classes), mask)


def test_the_command_says_what_it_needs_and_ends_in_a_manifest(folder, capsys):
    words = ["prepare", "patches", folder / "pictures", folder / "out"]
    assert l2s(*words) == 2 and "finds 6: p0, p1, p2" in capsys.readouterr().err
    words += ["--group-from", "^([^_]+)_"]
    assert (
        l2s(*words) == 2 and "12 of 24" not in capsys.readouterr().err
    )  # nothing is drawn, nothing labelled
    words += ["--masks", folder / "masks"]
    assert l2s(*words) == 2 and "in 6 of 12 masks" in capsys.readouterr().err
    words += ["--class-values", "stroma=0", "tumour=1", "--background", "stroma"]
    assert l2s(*words) == 2
    assert "12 of 24 picture(s) have neither a mask nor a label" in capsys.readouterr().err
    assert not (folder / "out").exists()
    assert l2s(*words, "--label-from", "folder") == 0
    assert "No problems." in capsys.readouterr().out


def test_a_value_that_is_given_twice_is_refused(folder, capsys):
    words = ["prepare", "patches", folder / "pictures", folder / "out", "--class-values"]
    assert l2s(*words, "a=1", "b=2", "a=3") == 2
    assert re.search(r"--class-values.*'a=3': 'a' is '1' already", capsys.readouterr().err, re.DOTALL)
    assert l2s(*words, "a") == 2
    assert "expected CLASS=VALUE, such as stroma=0" in capsys.readouterr().err


def test_made_again_it_is_the_same_and_follows_its_pictures(folder):
    first = made(folder)
    before = {row.image.name: row.image.read_bytes() for row in first.patches}
    again = made(folder)
    assert again.sha256 == first.sha256 and before == {
        one.image.name: one.image.read_bytes() for one in again.patches
    }
    write_png(folder / "pictures" / "tumour" / "p0_1t.png", picture(9999))
    (folder / "pictures" / "tumour" / "p1_2t.png").unlink()
    third = made(folder)
    assert len(third.patches) == 23 and not list((folder / "out").rglob("p1_2t.png"))
    row = next(row for row in third.patches if row.image.name == "p0_1t.png")
    np.testing.assert_array_equal(read_image(row.image), picture(9999))
    with pytest.raises(UserError, match=r"holds other files \(prepared with seed 0, now 1\)"):
        made(folder, seed=1)
    own = folder / "out" / "images" / "own.png"
    write_png(own, picture(1))
    with pytest.raises(UserError, match=r"own\.png is there and was not made by prepare"):
        made(folder)
    assert own.exists() and read_manifest(folder / "out").sha256 == third.sha256


def test_a_faulty_picture_costs_nothing_that_was_finished(folder):
    finished = made(folder)
    (folder / "pictures" / "tumour" / "p0_1t.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1 faulty picture\(s\) in .*--skip-faulty"):
        made(folder)
    assert read_manifest(folder / "out").sha256 == finished.sha256
    said = []
    prepare_patches(
        folder / "pictures", folder / "less", options_of(folder, skip_faulty=True), say=said.append
    )
    assert any("left out: " in line and "p0_1t.png" in line for line in said)
    assert len(read_manifest(folder / "less").patches) == 23


def test_without_a_label_the_mask_says_what_is_there(folder):
    mask = half()
    mask[0, 0] = 255
    write_png(folder / "masks" / "p0_1t_mask.png", mask)
    found = made(folder, label_from=None, skip_faulty=True, ignore_value="255")
    of = {row.image.stem: (row.label, row.allowed) for row in found.patches}
    assert len(of) == 12
    assert of["p0_1t"] == (IGNORE_LABEL, ())  # of a pixel nothing is known
    assert of["p1_1t"] == (1, (0, 1)) and of["p1_1s"] == (0, (0,))


def test_a_table_of_splits_labels_and_scale(folder):
    rows = [["image", "mask", "label", "group", "split", "mpp"]]
    for patient, split in enumerate(("train", "train", "val", "test")):
        mask = f"masks/p{patient}_1t_mask.png"
        rows.append([f"pictures/tumour/p{patient}_1t.png", mask, "tumour", f"P{patient}", split, "0.5"])
        rows.append([f"pictures/stroma/p{patient}_2s.png", "", "stroma", f"P{patient}", split, ""])
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    found = prepare_patches(
        folder / "t.csv",
        folder / "out",
        replace(options_of(folder), masks=None, group_from=None, label_from=None, mpp=0.5),
    )
    assert [(row.group, row.split, row.mpp) for row in found.patches[::2]] == [
        (f"P{patient}", split, 0.5) for patient, split in enumerate(("train", "train", "val", "test"))
    ]
    assert [row.mask is None for row in found.patches] == [False, True] * 4


def test_a_patient_in_two_splits_is_refused(folder):
    (folder / "t.csv").write_text(
        "image,label,group,split\n"
        "pictures/tumour/p0_1t.png,tumour,P0,train\npictures/stroma/p0_1s.png,stroma,P0,test\n"
    )
    options = OwnPatchesOptions(class_values={"stroma": "0", "tumour": "1"})
    with pytest.raises(UserError, match=r"1 patient\(s\) are in two splits: P0"):
        prepare_patches(folder / "t.csv", folder / "out", options)


def test_larger_training_pictures_are_cut_and_others_stay_whole(folder):
    for path in (folder / "pictures").rglob("*.png"):
        write_png(
            path, picture(int(path.stem[1]) * 10 + int(path.stem[3]) + 100 * (path.stem[-1] == "t"), 40, 70)
        )
    for path in (folder / "masks").iterdir():
        mask = half(40, 70, (0, 1 if "t_" in path.name else 0))
        mask[:, 60:] = 255
        write_png(path, mask)
    with pytest.raises(UserError, match=r"are \d+ of 40 x 70 .*--patch-size 32, or squeeze"):
        made(folder, ignore_value="255")
    found = made(folder, ignore_value="255", patch_size=32)
    assert check_manifest(folder / "out").ok
    for row in found.patches:
        source = read_image(folder / "pictures" / row.source)
        if row.split != "train":
            np.testing.assert_array_equal(read_image(row.image), source)
            continue
        top, left = map(int, row.image.stem.split("_")[-2:])
        assert (top, left) in {(4, 3), (4, 35)}
        np.testing.assert_array_equal(read_image(row.image), source[top : top + 32, left : left + 32])
        if row.mask is None and "tumour" in row.source:
            assert (row.label, row.allowed, row.bag_label) == (IGNORE_LABEL, (0, 1), 1)
        elif row.mask is None:  # background is everywhere in it
            assert (row.label, row.bag_label) == (0, IGNORE_LABEL)
        else:
            mask = read_mask(row.mask, found.classes)
            known = (mask != IGNORE_PIXEL).all()
            assert (left == 35) is not known
            assert (row.label == IGNORE_LABEL) is (left == 35)
    with pytest.raises(UserError, match=r"--patch-size 33: expected a multiple of 16"):
        made(folder, patch_size=33)
    with pytest.raises(UserError, match=r"smaller than a patch of 48"):
        made(folder, ignore_value="255", patch_size=48)
    with pytest.raises(UserError, match="Name the background with --background"):
        made(folder, ignore_value="255", patch_size=32, background=None)


def test_pictures_are_squeezed_with_their_masks(folder):
    found = made(folder, patch_size=16, fit=True, mpp=0.5)
    assert {read_image(row.image).shape for row in found.patches} == {(16, 16, 3)}
    assert {row.mpp for row in found.patches} == {1.0} and check_manifest(folder / "out").ok
    for row in found.patches:
        whole = Image.open(folder / "pictures" / row.source).resize((16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(read_image(row.image), np.asarray(whole))
        if row.mask is not None:
            np.testing.assert_array_equal(
                read_mask(row.mask, found.classes), half(16, values=(0, int("tumour" in row.source)))
            )
    with pytest.raises(UserError, match="--fit needs --patch-size"):
        made(folder, fit=True)


def test_ebhi_becomes_what_its_own_command_makes_of_it(tmp_path):
    """Soft masks in black and white, a folder a class, the slide in the name: the same pixels, bit by bit."""
    write_ebhi(tmp_path / "ebhi")
    own = prepare_ebhi(tmp_path / "ebhi", tmp_path / "own", classes=7, patch_size=128)
    options = OwnPatchesOptions(
        label_from="folder",
        group_from="^([^-]+)-",
        mask_threshold=127,
        background="background",
        patch_size=128,
        fit=True,
    )
    found = prepare_patches(tmp_path / "ebhi", tmp_path / "out", options)
    rows = {row.source.removeprefix("EBHI-Seg "): row for row in own.patches}
    assert len(found.patches) == len(rows)
    for row in found.patches:
        other = rows[row.source.replace("/image/", "/")]
        assert other.group == row.group.upper()
        np.testing.assert_array_equal(read_image(row.image), read_image(other.image))
        name = own.classes.names[other.label]
        assert found.classes.names[row.label].casefold() == name.casefold()
        mask, same = read_mask(row.mask, found.classes), read_mask(other.mask, own.classes)
        np.testing.assert_array_equal(mask == row.label, same == other.label)


def test_the_sheet_shows_each_label_with_and_without_masks(folder):
    found = made(folder)
    rows = chosen(found.patches)
    assert {(row.mask is None, row.label) for row in rows} == {
        (hidden, code) for hidden in (True, False) for code in (0, 1)
    }
    assert len(rows) == len({row.image for row in rows}) <= 24
    figure = draw_sheet(found.patches, found.classes)
    titles = [panel.get_title() for panel in figure.axes]
    assert titles.count("tumour") == sum(row.label == 1 for row in rows)
    pictures = [np.asarray(image.get_array()) for panel in figure.axes for image in panel.get_images()]
    drawn = next(row for row in rows if row.mask is not None and row.label == 1)
    shown = overlay(read_image(drawn.image), read_mask(drawn.mask, found.classes), found.classes)
    assert any(np.array_equal(shown, one) for one in pictures)
    assert (folder / "out" / "patches.png").read_bytes()[:4] == b"\x89PNG"


def test_a_mask_of_another_size_or_without_a_known_pixel(folder):
    write_png(folder / "masks" / "p0_1t_mask.png", half(16))
    write_png(folder / "masks" / "p1_1t_mask.png", np.full((32, 32), 255, np.uint8))
    with pytest.raises(UserError) as error:
        made(folder, ignore_value="255")
    assert "p0_1t_mask.png is 16 x 16, its picture 32 x 32" in str(error.value)
    assert "p1_1t_mask.png: no pixel is known" in str(error.value)


def test_a_turned_photo_keeps_its_mask(folder):
    """A camera's EXIF orientation: the copy is turned where it is read, the mask is written upright."""
    exif = Image.Exif()
    exif[274] = 6
    for path, array in (("pictures/tumour/p9_1t.jpg", picture(5)), ("masks/p9_1t.png", half())):
        save(folder / path, array, exif=exif)
    found = made(folder)
    row = next(row for row in found.patches if row.group == "p9")
    np.testing.assert_array_equal(read_mask(row.mask, found.classes), np.rot90(half(), -1))
    assert check_manifest(folder / "out").ok
    save(folder / "pictures/tumour/p9_1t.jpg", picture(5))
    with pytest.raises(UserError, match="different EXIF orientations"):
        made(folder)


def test_the_folder_of_the_pictures_is_not_written_into(folder):
    with pytest.raises(UserError, match="holds the pictures themselves"):
        prepare_patches(folder / "pictures", folder / "pictures", options_of(folder))
    with pytest.raises(UserError, match="holds the pictures themselves"):
        prepare_patches(folder / "pictures", folder, options_of(folder), overwrite=True)


def test_too_few_patients_with_masks(folder):
    for path in (folder / "masks").iterdir():
        if not path.name.startswith(("p0", "p1")):
            path.unlink()
    with pytest.raises(UserError, match=r"2 patient\(s\) with masks cannot be split into train, val, test"):
        made(folder)
    found = made(folder, split=(75, 25, 0))
    assert {row.group for row in found.of_split("val")} <= {"p0", "p1"} and not found.of_split("test")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_patients_are_dealt_whole_and_those_without_masks_are_trained_on(data):
    number = data.draw(st.integers(3, 15))
    seen = []
    for group in range(number):
        for one in range(data.draw(st.integers(1, 4))):
            masked = group < 3 or data.draw(st.booleans())
            pixels = np.zeros(3, np.int64)
            pixels[data.draw(st.integers(0, 2))] = 100 * masked
            image = Picture(
                f"{group}_{one}", "x", "m" if masked else None, "b" if not masked else "", f"g{group}"
            )
            seen.append(Seen(image, (16, 16), pixels))
    classes = Classes(("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2))
    seed = data.draw(st.integers(0, 99))
    dealt = deal(seen, classes, OwnPatchesOptions(seed=seed))
    splits = {}
    for one in dealt:
        assert splits.setdefault(one.picture.group, one.picture.split) == one.picture.split
    with_masks = {one.picture.group for one in seen if one.picture.mask}
    assert {splits[group] for group in with_masks} == {*SPLITS}
    assert all(split == "train" for group, split in splits.items() if group not in with_masks)
    assert [one.picture.name for one in dealt] == [one.picture.name for one in seen]


@settings(deadline=None)
@given(st.integers(16, 200), st.integers(16, 200), st.sampled_from([16, 32]))
def test_cut_patches_lie_side_by_side_in_the_middle(height, width, size):
    cover = np.zeros((height, width), int)
    for row, col in origins((height, width), size):
        cover[row : row + size, col : col + size] += 1
    assert cover.max(initial=0) <= 1 and cover.sum() == height // size * (width // size) * size**2
    rows = np.flatnonzero(cover.any(1))
    if len(rows):
        assert abs(rows[0] - (height - 1 - rows[-1])) <= 1
