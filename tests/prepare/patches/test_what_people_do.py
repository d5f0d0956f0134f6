"""What people do with folders of patches that costs them pictures, labels or an honest split, unless it is "
"said."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.own_patches import half, picture, save
from l2s_jax import check_manifest, prepare_patches, read_manifest
from l2s_jax.data.pictures import write_png
from l2s_jax.prepare.patches.black_and_white import read_drawn
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.system.errors import UserError

PLAIN = OwnPatchesOptions(class_values={"a": "0", "b": "1"}, background="a", group_from="^([^_]+)_")


def set_of(folder, patients=4, side=16, **names):
    """images/pN_x.png with masks/pN_x.png."""
    for number in range(patients):
        save(folder / "images" / f"p{number}_x.png", picture(number, side))
        save(folder / "masks" / f"p{number}_x.png", half(side))
    return folder


def made(source, out, said=None, base=PLAIN, overwrite=False, **options):
    say = (lambda line: None) if said is None else said.append
    return prepare_patches(source, out, replace(base, **options), overwrite=overwrite, say=say)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_table_or_masks_in_the_folder_that_is_made_cost_nothing(tmp_path):
    out = tmp_path / "out"
    made(set_of(tmp_path / "in"), out)
    (out / "t.csv").write_text("image,mask,group\nimages/images/p0_x.png,masks/images/p0_x.png,p0\n")
    before = files(out)
    with pytest.raises(UserError, match=r"2 picture\(s\) and mask\(s\) lie in .*out, which is to be made"):
        made(out / "t.csv", out, overwrite=True)
    shutil.copytree(tmp_path / "in" / "images", tmp_path / "bare" / "images")
    with pytest.raises(UserError, match="lie in .*out, which is to be made"):
        made(tmp_path / "bare", out, overwrite=True, masks=out / "masks")
    assert files(out) == before


def test_other_pictures_are_another_data_set(tmp_path):
    made(set_of(tmp_path / "one"), tmp_path / "out")
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match="holds other files .prepared with source '.*one', now '.*two'"):
        made(set_of(tmp_path / "two"), tmp_path / "out")
    assert files(tmp_path / "out") == before


def test_what_was_left_out_does_not_make_it_another(tmp_path):
    folder = set_of(tmp_path / "in", 5)
    (folder / "images" / "p4_x.png").write_bytes(b"cut off")
    assert len(made(folder, tmp_path / "out", skip_faulty=True).patches) == 4
    save(folder / "images" / "p4_x.png", picture(4, 16))
    assert len(made(folder, tmp_path / "out", skip_faulty=True).patches) == 5


def test_patches_of_two_pictures_never_have_one_name(tmp_path):
    folder = set_of(tmp_path / "in", side=32)
    save(folder / "images" / "p0_x_0_0.png", picture(9, 16))
    save(folder / "masks" / "p0_x_0_0.png", half(16))
    with pytest.raises(UserError, match=r"would both be called images/p0_x_0_0: rename one picture"):
        made(folder, tmp_path / "out", patch_size=16, split=(100, 0, 0))
    assert not (tmp_path / "out").exists()


def test_a_name_of_several_pictures_says_nothing_of_their_patient(tmp_path):
    for number in range(3):
        save(tmp_path / "in" / f"q{number}" / "a.png", picture(number, 16))
        save(tmp_path / "in" / f"q{number}" / "a_mask.png", half(16))
    (tmp_path / "g.csv").write_text("picture,group\na.png,one\n")
    with pytest.raises(
        UserError, match=r"several pictures have the name 'a.png'. Write their paths, such as q0/a.png"
    ):
        made(tmp_path / "in", tmp_path / "out", group_from=None, groups=tmp_path / "g.csv")


@pytest.mark.parametrize("name", ["p0_x_mask.PNG", "p0_x_Mask.png", "P0_X_MASK.png"])
def test_case_does_not_matter_in_names_of_masks(tmp_path, name):
    for number in range(4):
        save(tmp_path / "in" / f"p{number}_x.png", picture(number, 16))
        save(tmp_path / "in" / (f"p{number}_x_mask.png" if number else name), half(16))
    found = made(tmp_path / "in", tmp_path / "out")
    assert len(found.patches) == 4 and all(row.mask for row in found.patches)


def test_a_mask_in_another_folder_is_of_no_picture(tmp_path):
    for number in range(3):
        save(tmp_path / "im" / f"P{number}" / f"a{number}.png", picture(number, 16))
        save(tmp_path / "mk" / f"P{number + 1}" / f"a{number}.png", half(16))
    with pytest.raises(UserError, match=r"3 mask\(s\) in .*mk are of no picture"):
        made(tmp_path / "im", tmp_path / "out", masks=tmp_path / "mk", group_from="folder")


def test_one_mask_is_never_of_two_pictures(tmp_path):
    folder = set_of(tmp_path / "in")
    save(folder / "tiles" / "p0_x.png", picture(77, 16))
    with pytest.raises(UserError, match=r"1 mask\(s\) are of several pictures: .*p0_x.png"):
        made(folder, tmp_path / "out")


def test_black_and_white_is_what_is_shown(tmp_path):
    drawn = half(16).astype(bool)
    Image.fromarray(drawn).save(tmp_path / "bit.png")
    grey = np.where(drawn, 255, 0).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    palette = Image.fromarray(np.where(drawn, 0, 1).astype(np.uint8), "P")  # index 0 is white
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(255 - grey).save(tmp_path / "white_is_0.tif", tiffinfo={262: 0})
    for name in ("bit.png", "grey.png", "palette.png"):
        np.testing.assert_array_equal(read_drawn(tmp_path / name, 127), drawn)
    with Image.open(tmp_path / "white_is_0.tif") as shown:
        np.testing.assert_array_equal(
            read_drawn(tmp_path / "white_is_0.tif", 127), np.asarray(shown.convert("L")) > 127
        )


def test_data_sets_that_were_made_before_are_no_pictures(tmp_path):
    folder = set_of(tmp_path / "in")
    first = made(folder, folder / "out1")
    said = []
    assert len(made(folder, folder / "out2", said).patches) == len(first.patches) == 4
    (folder / "notes.txt").write_text("")
    (folder / "images" / "q.gif").write_bytes(b"GIF89a")
    made(folder, folder / "out3", said)
    assert any(line.startswith("passed over: 1 .gif, 1 .txt") or "1 .txt, 1 .gif" in line for line in said)


def test_split_folders_are_no_patients(tmp_path):
    for split in ("train", "val", "test"):
        save(tmp_path / "in" / split / "images" / f"{split}1.png", picture(len(split), 16))
        save(tmp_path / "in" / split / "masks" / f"{split}1.png", half(16))
    with pytest.raises(UserError, match="nothing says of which patient 3 of 3"):
        made(tmp_path / "in", tmp_path / "out", group_from="folder")


def test_a_folder_is_not_class_and_patient(tmp_path):
    for name in ("tum/P1", "tum/P2", "norm/P3", "norm/P4"):
        save(tmp_path / "in" / name / "x.png", picture(len(name) + ord(name[-1]), 16))
        save(tmp_path / "in" / name / "x_mask.png", half(16))
    both = {"group_from": "folder", "class_values": {"norm": "0", "tum": "1"}, "background": "norm"}
    with pytest.raises(UserError, match="name the same folder, so that each class would be a patient"):
        made(tmp_path / "in", tmp_path / "out", label_from="folder", **both)
    found = made(tmp_path / "in", tmp_path / "out", label_from="^([^/]+)/", **both)
    assert {row.group: found.classes.names[row.label] for row in found.patches} == {
        "P1": "tum", "P2": "tum", "P3": "norm", "P4": "norm"
    }  # fmt: skip


def test_options_that_do_nothing_are_said(tmp_path):
    folder, said = set_of(tmp_path / "in"), []
    with pytest.raises(UserError, match="--label-from folder: no picture's path says a label"):
        made(folder, tmp_path / "o", label_from="folder")
    rows = [
        f"images/p{n}_x.png,masks/p{n}_x.png,P{n},{s},0.5"
        for n, s in enumerate(("train", "train", "val", "test"))
    ]
    (folder / "t.csv").write_text("\n".join(["image,mask,group,split,mpp", *rows]) + "\n")
    idle = {"split": (80, 10, 10), "seed": 5, "mask_ending": "_x1", "mpp": 3.0}
    made(folder / "t.csv", tmp_path / "out", said, **idle)
    assert (
        "warning: --group-from, --split, --seed, --mpp, --mask-ending: nothing here is decided by it" in said
    )


def test_scales_are_looked_at_before_anything_is_written(tmp_path):
    folder, said = set_of(tmp_path / "in", side=32), []
    save(folder / "images" / "p3_x.png", picture(3, 48))
    save(folder / "masks" / "p3_x.png", half(48))
    with pytest.raises(UserError, match=r"0\.5 to 0\.75 um/px, since pictures of several sizes are squeezed"):
        made(folder, tmp_path / "out", patch_size=32, fit=True, mpp=0.5)
    save(folder / "images" / "p3_x.png", picture(3, 32, 64))
    save(folder / "masks" / "p3_x.png", half(32, 64))
    made(folder, tmp_path / "out", said, patch_size=32, fit=True, mpp=0.5)
    assert any(line.startswith("warning: 1 picture(s) are not square") for line in said)


@pytest.mark.parametrize(
    "split, said", [((50, 25, 20), "50 25 20 sums to 95; expected 100"), ((0.5, 0.25, 0.2), "sums to 0.95")]
)
def test_splits_are_in_percent(tmp_path, split, said):
    with pytest.raises(UserError, match=said):
        made(tmp_path / "none", tmp_path / "out", split=split)


def test_small_pictures_that_stay_whole_are_taken(tmp_path):
    for split, side in (("train", 64), ("val", 32), ("test", 32)):
        save(tmp_path / "in" / split / f"{split}_1.png", picture(side + len(split), side))
        save(tmp_path / "in" / split / f"{split}_1_mask.png", half(side))
    found = made(tmp_path / "in", tmp_path / "out", split_from="folder", patch_size=64)
    assert len(found.patches) == 3 and check_manifest(tmp_path / "out").ok


def test_a_picture_is_no_table_and_masks_beside_are_not_passed_over(tmp_path):
    folder = set_of(tmp_path / "in")
    with pytest.raises(UserError, match="is a picture: name the folder that it lies in"):
        made(folder / "images" / "p0_x.png", tmp_path / "out")
    write_png(folder / "images" / "p0_x_mask.png", half(16))
    with pytest.raises(
        UserError, match="is called as the mask of the picture beside it, and --masks names another"
    ):
        made(folder / "images", tmp_path / "out", masks=folder / "masks")
    with pytest.raises(UserError, match="--group-from is empty"):
        made(folder / "images", tmp_path / "out", group_from="", masks=None)
    assert not (tmp_path / "out").exists()


def test_a_web_picture_is_taken(tmp_path):
    folder = set_of(tmp_path / "in")
    Image.fromarray(picture(8, 16)).save(folder / "images" / "p8_x.webp", lossless=True)
    save(folder / "masks" / "p8_x.png", half(16))
    made(folder, tmp_path / "out")
    assert len(read_manifest(tmp_path / "out").patches) == 5 and check_manifest(tmp_path / "out").ok
