import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.dataset_generator import digestpath_name, draw_tissue, write_digestpath, write_jpeg_mask
from l2s_jax.cli import app as cli
from l2s_jax.data.check import check_manifest
from l2s_jax.data.pictures import read_mask
from l2s_jax.prepare.digestpath import CLASSES, find_pictures, prepare_digestpath, slides_of
from l2s_jax.prepare.options import SLIDE_RULE, DigestPathOptions, WorkOptions
from l2s_jax.prepare.presets import DIGESTPATH_PRESETS
from l2s_jax.system.errors import UserError

SIDE, SIZE, PATCH = 256, 128, 32
HERE = WorkOptions(workers=1)
OPTIONS = DigestPathOptions(size=SIZE, patch_size=PATCH, stain="off")


@pytest.fixture
def digestpath(tmp_path):
    return tmp_path / "set", write_digestpath(tmp_path / "set", SIDE)


def file_name(name):
    """What an adapter makes of a picture's name."""
    return name.replace(" ", "_")


def positive_folder(root):
    return root / "Colonoscopy_tissue_segment_dataset" / "tissue-train-pos-v1"


def test_masks_are_recovered_without_the_ringing(digestpath, tmp_path):
    folder, truth = digestpath
    grey = np.asarray(Image.open(next(positive_folder(folder).glob("*_mask.jpg"))).convert("L"))
    assert len(np.unique(grey)) > 10  # the masks do ring
    result = prepare_digestpath(folder, tmp_path / "o", OPTIONS, HERE)
    assert result.failures == () and check_manifest(tmp_path / "o").ok
    by_file = {file_name(name): drawn.mask[1::2, 1::2] for name, drawn in truth.items()}
    kinds = set()
    for row in result.manifest.of_split("train"):
        name, top, left = re.fullmatch(r"(.+)\.jpg at row (\d+), col (\d+)", row.source).groups()
        tile = by_file[file_name(name)][int(top) : int(top) + PATCH, int(left) : int(left) + PATCH]
        share = tile.mean()
        if row.mask is None:
            assert abs(share - row.label) <= 0.1
            kinds.add(row.label)
        else:
            # JPEG moves the outline by a pixel here and there; ringing taken for lesion would be far more.
            assert (read_mask(row.mask, CLASSES) != tile).sum() < 0.02 * PATCH**2
            kinds.add("mask")
    assert kinds == {0, 1, "mask"}
    whole = [*result.manifest.of_split("val"), *result.manifest.of_split("test")]
    for row in whole:
        mask = read_mask(row.mask, CLASSES)
        assert mask.shape == (SIZE, SIZE)
        assert (mask != by_file[row.image.stem]).mean() < 0.005
    assert any(not read_mask(row.mask, CLASSES).any() for row in whole)  # negatives are evaluated too


def test_pictures_of_a_slide_stay_together(digestpath, tmp_path):
    result = prepare_digestpath(digestpath[0], tmp_path / "o", OPTIONS, HERE)
    assert f"12 slides by the rule {SLIDE_RULE!r} (paper: 324)" in result.report
    groups = {
        split: {row.group for row in result.manifest.of_split(split)} for split in ("train", "val", "test")
    }
    assert [len(groups[split]) for split in groups] == [6, 3, 3]
    assert all(re.fullmatch(r"D2017\d{5}", group) for of_split in groups.values() for group in of_split)


def test_masks_are_not_pictures_and_names_may_end_in_any_letter(digestpath):
    place = positive_folder(digestpath[0])
    for name in ("slidem", "slidek", "slide_"):
        Image.fromarray(draw_tissue(32, 32, 1)).save(place / f"{name}.jpg")
        write_jpeg_mask(place / f"{name}_mask.jpg", np.ones((32, 32), np.uint8))
    pictures, said, failures = find_pictures(digestpath[0])
    assert said == ["21 pictures: 15 with lesions, 6 without"] and not failures
    assert {"slidem", "slidek", "slide_"} <= {picture.name for picture in pictures}
    assert not [picture for picture in pictures if picture.name.endswith("_mask")]
    assert [picture.mask is None for picture in pictures].count(True) == 6


def test_the_rule_for_slides():
    names = [digestpath_name(1, 0), digestpath_name(1, 1), digestpath_name(2, 0), "picture 7 1"]
    slides, said = slides_of(names, SLIDE_RULE)
    assert slides == ["D201700001", "D201700001", "D201700002", "picture 7 1"]
    assert said[0].startswith("3 slides") and "warning: 1 names do not fit the rule" in said[1]
    assert "picture 7 1" in said[1]
    assert slides_of(names[3:], r"picture (\d+)")[0] == ["7"]
    assert slides_of(["2018_64982_1-1_2018-04-25 18_35_03-lv1-2435"], SLIDE_RULE)[0] == ["2018_64982_1-1"]
    with pytest.raises(UserError, match="is no regular expression"):
        slides_of(names, "(")
    with pytest.raises(UserError, match="has 2 groups; expected one"):
        slides_of(names, "(a)(b)")


def test_bad_pictures_are_told_and_the_rest_goes_on(digestpath, tmp_path, capsys):
    folder, _ = digestpath
    place = positive_folder(folder)
    names = sorted(path.stem for path in place.glob("*.jpg") if not path.stem.endswith("_mask"))
    (place / f"{names[0]}_mask.jpg").unlink()
    Image.fromarray(np.ones((SIDE, SIDE), np.uint8)).save(place / f"{names[1]}_mask.jpg")
    write_jpeg_mask(place / f"{names[2]}_mask.jpg", np.ones((SIDE, SIDE // 2), np.uint8))
    (place / f"{names[3]}.jpg").write_bytes(b"")
    write_jpeg_mask(place / "alone_mask.jpg", np.ones((32, 32), np.uint8))
    arguments = ["prepare", "digestpath2019", str(folder), str(tmp_path / "o"), "--workers", "1"]
    arguments += ["--size", str(SIZE), "--patch-size", str(PATCH), "--stain", "off"]
    assert cli.run(arguments) == 1
    printed = capsys.readouterr().out
    failures = printed.split("5 failed;")[1].splitlines()[1:]
    for line, message in zip(
        failures,
        (
            "lies among the lesions but has no .*_mask.jpg",
            "alone_mask.jpg is a mask without a picture",
            "has no lesion: its brightest pixel is 1, below 128",
            "256 x 128 pixels, its image 256 x 256",
            r"is empty \(0 bytes\)",
        ),
        strict=True,
    ):
        assert re.search(message, line), line
    assert "No problems." in printed


@pytest.mark.parametrize("preset", DIGESTPATH_PRESETS)
def test_from_python_as_on_the_command_line(digestpath, tmp_path, preset):
    options = replace(DIGESTPATH_PRESETS[preset], size=SIZE, patch_size=PATCH, stain="off")
    prepare_digestpath(digestpath[0], tmp_path / "python", options, HERE)
    words = ["prepare", "digestpath2019", str(digestpath[0]), str(tmp_path / "command"), "--preset", preset]
    words += ["--size", str(SIZE), "--patch-size", str(PATCH), "--stain", "off", "--workers", "1"]
    assert cli.run(words) == 0
    for name in ("patches.csv", "classes.toml", "prepared.toml"):
        assert (tmp_path / "python" / name).read_text() == (tmp_path / "command" / name).read_text()


def test_pictures_can_be_left_out(digestpath):
    names = [digestpath_name(0, 0), digestpath_name(8, 0)]
    pictures, said, _ = find_pictures(digestpath[0], tuple(names))
    assert len(pictures) == 16 and "2 excluded as asked" in said[0]
    with pytest.raises(UserError, match="not all of .*nothing.* are names of pictures"):
        find_pictures(digestpath[0], ("nothing",))


def test_another_layout_is_told(tmp_path):
    with pytest.raises(UserError, match="no picture in tissue-train-pos-v1/"):
        prepare_digestpath(tmp_path, tmp_path / "o")
