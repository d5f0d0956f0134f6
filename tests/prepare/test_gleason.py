import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.dataset_generator import map_of, write_gleason
from l2s_jax.cli import app as cli
from l2s_jax.data.check import check_manifest
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.prepare.gleason import CLASSES, codes_of_map, find_cores, prepare_gleason, slide_of
from l2s_jax.prepare.options import GleasonOptions, WorkOptions
from l2s_jax.prepare.presets import DIGESTPATH_PRESETS, GLEASON_PRESETS
from l2s_jax.system.errors import UserError

SIDE, SIZE, PATCH = 256, 128, 32
HERE = WorkOptions(workers=1)
OPTIONS = GleasonOptions(size=SIZE, patch_size=PATCH, stain="off")


@pytest.fixture
def gleason(tmp_path):
    return tmp_path / "set", write_gleason(tmp_path / "set", SIDE)


def shrunk(mask):
    """Every second pixel, which is what the nearest one is at half the size."""
    return mask[1::2, 1::2]


def test_maps_are_recovered(gleason, tmp_path):
    folder, truth = gleason
    result = prepare_gleason(folder, tmp_path / "o", OPTIONS, HERE)
    assert result.failures == () and check_manifest(tmp_path / "o").ok
    manifest = result.manifest
    assert manifest.classes == CLASSES and len(CLASSES) == 5
    seen = set()
    for row in manifest.of_split("train"):
        core, top, left = re.fullmatch(r"(\w+)\.jpg at row (\d+), col (\d+)", row.source).groups()
        seen.add(core)
        tile = shrunk(truth[core].mask)[int(top) : int(top) + PATCH, int(left) : int(left) + PATCH]
        codes, counts = np.unique(tile, return_counts=True)
        if row.mask is None:
            assert counts.max() >= 0.9 * PATCH**2 and row.label == codes[counts.argmax()]
        else:
            np.testing.assert_array_equal(read_mask(row.mask, CLASSES), tile)
            assert len(codes) == 2 and counts.max() < 0.9 * PATCH**2
    for row in (*manifest.of_split("val"), *manifest.of_split("test")):
        core = row.image.stem
        seen.add(core)
        np.testing.assert_array_equal(read_mask(row.mask, CLASSES), shrunk(truth[core].mask))
        blocks = truth[core].image.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
        # Noise in every pixel is the worst there is for JPEG, and the filter is wider than a block.
        assert np.abs(read_image(row.image) - blocks).mean() < 12
    assert seen == set(truth)


def test_cores_of_a_slide_stay_together(gleason, tmp_path):
    manifest = prepare_gleason(gleason[0], tmp_path / "o", OPTIONS, HERE).manifest
    groups = {split: {row.group for row in manifest.of_split(split)} for split in ("train", "val", "test")}
    assert [len(groups[split]) for split in groups] == [4, 2, 2]
    assert all(row.group == slide_of(row.image.stem) for row in manifest.of_split("val"))


def test_what_is_missing_is_counted(gleason):
    pairs, found = find_cores(gleason[0])
    assert len(pairs) == 15
    assert found == [
        "16 cores, 15 with a map in Maps1_T are used",
        "1 cores without a map in Maps1_T, left out: slide001_core002",
        "1 maps without an image: slide009_core001",
    ]
    pairs, found = find_cores(gleason[0], map_number=2, exclude=("slide003_core001",))
    assert len(pairs) == 15 and found[-1] == "1 cores excluded as asked: slide003_core001"
    with pytest.raises(UserError, match="--exclude names no core of the set: slide099_core001"):
        find_cores(gleason[0], exclude=("slide099_core001",))


@pytest.mark.parametrize("folder", ["Train_imgs", "train", "Train Imgs/Train Imgs"])
def test_images_are_found_where_people_put_them(gleason, folder):
    root = gleason[0]
    (root / "Train Imgs").rename(root / "moved")
    (root / folder).parent.mkdir(exist_ok=True, parents=True)
    (root / "moved").rename(root / folder)
    (root / "Maps").mkdir()
    (root / "Maps1_T").rename(root / "Maps" / "Maps1_T")
    assert len(find_cores(root)[0]) == 15


def test_map_values():
    values = np.array([[0, 1, 3], [4, 5, 6]], np.uint8)
    np.testing.assert_array_equal(codes_of_map(values, None), [[0, 1, 2], [3, 4, 1]])
    with pytest.raises(UserError, match="x.png: 2 pixels have the value 2, which.*do not use"):
        codes_of_map(np.array([[2, 2, 9]]), "x.png")
    with pytest.raises(UserError, match=r"map values 7 \(1 px\), 255 \(2 px\) mean nothing"):
        codes_of_map(np.array([[7, 255, 255]]), "x.png")
    with pytest.raises(UserError, match="-1"):
        codes_of_map(np.array([[-1, 0]], np.int32), "x.png")


def test_bad_cores_are_told_and_the_rest_goes_on(gleason, tmp_path, capsys):
    folder, truth = gleason
    maps = folder / "Maps1_T"
    two = map_of(truth["slide002_core001"].mask)
    two[5, 5:9] = 2
    Image.fromarray(two).save(maps / "slide002_core001_classimg_nonconvex.png")
    Image.fromarray(two[:100]).save(maps / "slide003_core001_classimg_nonconvex.png")
    image = folder / "Train Imgs" / "slide004_core001.jpg"
    image.write_bytes(image.read_bytes()[:2000])
    Image.new("RGB", (SIDE, SIDE), "white").save(folder / "Train Imgs" / "slide005_core001.jpg")
    arguments = ["prepare", "gleason2019", str(folder), str(tmp_path / "o"), "--workers", "1"]
    arguments += ["--size", str(SIZE), "--patch-size", str(PATCH), "--stain", "off"]
    assert cli.run(arguments) == 1
    printed = capsys.readouterr().out
    failures = printed.split("4 failed;")[1].splitlines()[1:]
    assert len(failures) == 4
    for line, message in zip(
        failures,
        (
            "slide002_core001.* 4 pixels have the value 2",
            "slide003_core001.*100 x 256 pixels, its image .* 256 x 256",
            "slide004_core001.*cut short or damaged",
            "slide005_core001.*no tissue was found",
        ),
        strict=True,
    ):
        assert re.search(message, line)
    assert re.search(r"with a mask +\d+ +1274 +-\d+", printed) and "No problems." in printed
    assert cli.run([*arguments, "--exclude", "slide002_core001", "slide003_core001"]) == 2  # another recipe


def test_sizes_and_folders_that_cannot_be(gleason, tmp_path):
    with pytest.raises(UserError, match="--size 16 is smaller than a patch of 32"):
        prepare_gleason(gleason[0], tmp_path / "o", replace(OPTIONS, size=16), HERE)
    with pytest.raises(UserError, match="Maps5_T/slide001_core003_classimg_nonconvex.png was found"):
        prepare_gleason(gleason[0], tmp_path / "o", GleasonOptions(map_number=5))
    with pytest.raises(UserError, match="no Train Imgs/slide001_core003.jpg was found"):
        prepare_gleason(tmp_path / "set" / "Maps1_T", tmp_path / "o")
    assert not (tmp_path / "o").exists()


VARIANTS = [
    ("dominance", 0.0), ("seg_from", "perimeter"), ("max_overlap", 0.1), ("drop_last", True),
]  # fmt: skip


@pytest.mark.parametrize("name, value", VARIANTS, ids=[name for name, _ in VARIANTS])
def test_single_variants_of_the_release(name, value):
    words = ["folder", "out", f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    for command, options in (("gleason2019", GLEASON_PRESETS), ("digestpath2019", DIGESTPATH_PRESETS)):
        paper = options["paper"]
        assert cli._parse(f"prepare {command}", words).part(type(paper)) == replace(paper, **{name: value})


@pytest.mark.parametrize("preset", GLEASON_PRESETS)
def test_from_python_as_on_the_command_line(gleason, tmp_path, preset):
    options = replace(GLEASON_PRESETS[preset], size=SIZE, patch_size=PATCH, stain="off")
    prepare_gleason(gleason[0], tmp_path / "python", options, HERE)
    words = ["prepare", "gleason2019", str(gleason[0]), str(tmp_path / "command"), "--preset", preset]
    words += ["--size", str(SIZE), "--patch-size", str(PATCH), "--stain", "off", "--workers", "1"]
    assert cli.run(words) == 0
    for name in ("patches.csv", "classes.toml", "prepared.toml"):
        assert (tmp_path / "python" / name).read_text() == (tmp_path / "command" / name).read_text()


def test_the_preset_of_the_release_measures_on_patches(gleason, tmp_path, capsys):
    words = ["prepare", "gleason2019", str(tmp_path / "set"), str(tmp_path / "o"), "--preset", "release"]
    words += ["--size", str(SIZE), "--patch-size", str(PATCH), "--workers", "1"]
    assert cli.run([*words, "--fractions", "0.75", "0.25", "0"]) == 0
    manifest = read_manifest(tmp_path / "o")
    assert not manifest.of_split("test") and len({row.group for row in manifest.of_split("train")}) == 6
    held_out = manifest.of_split("val")
    assert held_out and all(row.mask is not None for row in held_out)
    assert {read_image(row.image).shape for row in manifest.patches} == {(PATCH, PATCH, 3)}
    assert "val: 4 pictures of 2 groups, cut into patches" in capsys.readouterr().out
    assert not list((tmp_path / "o").glob("stain*"))
    for row in held_out:
        core, top, left = re.fullmatch(r"(\w+)\.jpg at row (\d+), col (\d+)", row.source).groups()
        tile = shrunk(gleason[1][core].mask)[int(top) : int(top) + PATCH, int(left) : int(left) + PATCH]
        np.testing.assert_array_equal(read_mask(row.mask, CLASSES), tile)
