import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from helpers.dataset_generator import write_wsss4luad
from l2s_jax.cli.app import run
from l2s_jax.data.check import check_manifest
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.prepare.wsss4luad import CLASSES, prepare_wsss4luad
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

REAL = Path(os.environ.get("L2S_DATA", Path(__file__).parents[3] / "shared" / "data")) / "luad"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"WSSS4LUAD is not at {REAL}; set L2S_DATA")


@pytest.fixture
def published(tmp_path):
    write_wsss4luad(tmp_path / "published")
    return tmp_path / "published"


def test_training_pictures_are_cut_and_the_others_stay_whole(published, tmp_path):
    made = prepare_wsss4luad(published, tmp_path / "out", patch_size=64)
    assert check_manifest(tmp_path / "out").ok
    assert {row.split for row in made.patches} == {"train", "val", "test"}
    tiles = Counter()
    for row in made.patches:
        picture, mask = read_image(row.image), read_mask(row.mask, CLASSES)
        whole = read_image(published / "img" / f"{row.group}.png")
        of_whole = read_mask(published / "mask" / f"{row.group}.png", CLASSES)
        top, left = 0, 0
        if row.split == "train":
            top, left = map(int, row.image.stem.split("_")[1:])
            assert mask.shape == (64, 64)
            tiles[row.group] += 1
            # Centred: what is left at two opposite rims differs by a pixel at most.
            for start, length in ((top, whole.shape[0]), (left, whole.shape[1])):
                assert start % 64 == (length % 64) // 2
        else:
            assert picture.shape == whole.shape
        height, width = mask.shape
        np.testing.assert_array_equal(picture, whole[top : top + height, left : left + width])
        np.testing.assert_array_equal(mask, of_whole[top : top + height, left : left + width])
        if row.split == "train":
            fit = (whole.shape[0] // 64) * (whole.shape[1] // 64)
            assert tiles[row.group] <= fit
    for group, count in tiles.items():
        height, width = read_image(published / "img" / f"{group}.png").shape[:2]
        assert count == (height // 64) * (width // 64)


def test_a_label_is_the_set_of_what_the_mask_shows(published, tmp_path):
    for row in prepare_wsss4luad(published, tmp_path / "out", patch_size=64).patches:
        held = set(np.unique(read_mask(row.mask, CLASSES)).tolist())
        assert set(row.allowed) == held
        tissue = held - {3}
        expected = min(tissue or held) if len(tissue) < 2 else IGNORE_LABEL
        assert row.label == expected


def test_each_split_has_its_share_of_each_class(published, tmp_path):
    made = prepare_wsss4luad(published, tmp_path / "out", patch_size=16)
    pixels = {split: np.zeros(4) for split in ("train", "val", "test")}
    for group, split in {(row.group, row.split) for row in made.patches}:
        mask = read_mask(published / "mask" / f"{group}.png", CLASSES)
        pixels[split] += np.bincount(mask.reshape(-1), minlength=4)[:4]
    shares = pixels["train"] / sum(pixels.values())
    assert (abs(shares - 0.5) < 0.1).all()


def test_all_faults_come_at_once(published, tmp_path):
    (published / "mask" / "00.png").unlink()
    (published / "img" / "01.png").unlink()
    write_png(published / "img" / "02.png", np.zeros((200, 200, 3), np.uint8))
    write_png(published / "img" / "03.png", np.zeros((20, 200, 3), np.uint8))
    write_png(published / "mask" / "04.png", np.full((198, 264), 4, np.uint8))
    (published / "img" / "05.png").write_bytes(b"")
    messages = [
        "00.png has no mask",
        "01.png has no picture",
        "its picture 200 x 200",
        "expected 128 pixels a side at least",
        "holds the value(s) 4",
        "is empty (0 bytes)",
    ]
    with pytest.raises(UserError) as error:
        prepare_wsss4luad(published, tmp_path / "out")
    for message in messages:
        assert message in str(error.value)
    assert not (tmp_path / "out").exists()
    made = prepare_wsss4luad(published, tmp_path / "out", skip_faulty=True)
    assert {row.group for row in made.patches} == {f"{number:02d}" for number in range(6, 16)}


def test_what_is_no_such_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no folder\(s\) img, mask"):
        prepare_wsss4luad(tmp_path, tmp_path / "out")
    for name in ("img", "mask"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="hold no PNG files"):
        prepare_wsss4luad(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="patch_size 100: expected a multiple of 16"):
        prepare_wsss4luad(tmp_path, tmp_path / "out", patch_size=100)


def test_the_command_says_what_is_in_the_splits(published, tmp_path, capsys):
    assert run(["prepare", "wsss4luad", str(published), str(tmp_path / "out"), "--patch-size", "64"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"val: (\d) patches of \1 pictures \(tumour epithelium in \d", said)
    assert "a picture is taken for a group" in said.lower()


@needs_data
@pytest.mark.slow
def test_the_real_pictures(tmp_path):
    made = prepare_wsss4luad(REAL, tmp_path / "out")
    assert check_manifest(tmp_path / "out").ok
    assert len({row.group for row in made.patches}) == 98
    assert len(made.of_split("train")) > 98 and len(made.of_split("val")) + len(made.of_split("test")) > 30
    assert sum(len(row.allowed) > 2 for row in made.of_split("train")) > 20
