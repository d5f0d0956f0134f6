import collections
import csv
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.dataset_generator import write_ebhi
from l2s_jax.data.check import check_manifest
from l2s_jax.data.pictures import read_image, read_mask, write_png
from l2s_jax.prepare.ebhi import TASKS, find_pairs, prepare_ebhi, slide_of
from l2s_jax.prepare.splits import largest_deviation
from l2s_jax.system.errors import UserError

REAL = Path(os.environ.get("L2S_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ebhi-seg"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"EBHI-Seg is not at {REAL}; set L2S_DATA")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ebhi")
    write_ebhi(folder)
    return folder


@pytest.fixture
def published(layout, tmp_path):
    return shutil.copytree(layout, tmp_path / "EBHI-SEG")


@pytest.mark.parametrize(
    "name, slide",
    [
        ("GT2012149-1-400-005.png", "GT2012149"),
        ("GTxc2012888-1-400-012.png", "GTXC2012888"),
        ("GTDC2102188-2-400-001", "GTDC2102188"),
        ("gt1 -1.png", "GT1"),
        ("2012149-1.png", None),
        ("picture.png", None),
        ("GT2012149.png", None),
    ],
)
def test_the_slide_is_read_off_the_name(name, slide):
    assert slide_of(name) == slide


@pytest.mark.parametrize("classes", [4, 7])
def test_a_manifest_of_the_published_layout(published, tmp_path, classes):
    manifest = prepare_ebhi(published, tmp_path / "out", classes=classes, patch_size=64)
    task, codes = TASKS[classes]
    assert manifest.classes == task and len(task) == classes
    assert len(manifest.patches) == 16 * len(codes)
    assert all(row.mask is not None and row.label > 0 for row in manifest.patches)
    assert check_manifest(tmp_path / "out").ok
    assert (
        largest_deviation(
            [r.label for r in manifest.patches], [r.split for r in manifest.patches], (0.5, 0.25, 0.25)
        )
        == 0
    )
    for row in manifest.patches[::17]:
        mask = read_mask(row.mask, task)
        expected = np.zeros((64, 64), np.uint8)
        expected[:32] = row.label
        np.testing.assert_array_equal(mask, expected)


def test_images_are_shrunk_without_aliasing(published, tmp_path):
    """A fine checkerboard becomes even grey; picking pixels would give black and white."""
    board = (np.indices((224, 224)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = next((published / "Normal" / "image").iterdir())
    write_png(path, np.dstack(3 * [board]))
    prepare_ebhi(published, tmp_path / "out")
    image = read_image(tmp_path / "out" / "images" / "normal" / path.name)
    assert image.shape == (128, 128, 3)
    assert np.abs(image[8:-8, 8:-8].astype(int) - 127).max() < 40


def test_an_index_is_believed_over_the_names(published, tmp_path):
    pairs, _ = find_pairs(published)
    with (published / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "file", "slide_group"])
        writer.writerows((pair.folder, pair.image.name, f"mine{n % 9}") for n, pair in enumerate(pairs[:-1]))
    slides = [pair.slide for pair in find_pairs(published)[0]]
    assert slides[:-1] == [f"mine{n % 9}" for n in range(len(pairs) - 1)] and slides[-1] == pairs[-1].slide
    (published / "index.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="index.csv: expected a CSV file with columns"):
        find_pairs(published)


def spoil(published):
    """Six faults; gives the words that must name them."""
    normal = published / "Normal"
    names = sorted(path.name for path in (normal / "image").iterdir())
    (normal / "label" / names[0]).unlink()
    (normal / "image" / names[1]).unlink()
    write_png(normal / "image" / names[2], np.zeros((100, 224, 3), np.uint8))
    write_png(normal / "label" / names[3], np.zeros((224, 224), np.uint8))
    (normal / "image" / names[4]).write_bytes(b"")
    write_png(published / "Polyp" / "image" / "nameless.png", np.zeros((224, 224, 3), np.uint8))
    write_png(published / "Polyp" / "label" / "nameless.png", np.full((224, 224), 255, np.uint8))
    return [
        f"{names[0]} has no mask",
        f"{names[1]} has no picture",
        "100 x 224; expected 224 x 224",
        "has no foreground",
        "is empty (0 bytes)",
        "tells no slide",
    ]


def test_all_faults_come_at_once_and_nothing_is_written(published, tmp_path):
    messages = spoil(published)
    with pytest.raises(UserError) as error:
        prepare_ebhi(published, tmp_path / "out")
    assert all(message in str(error.value) for message in messages)
    assert "6 faulty" in str(error.value) and "--skip-faulty" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_faulty_pictures_are_left_out_on_request_and_listed(published, tmp_path):
    messages = spoil(published)
    manifest = prepare_ebhi(published, tmp_path / "out", skip_faulty=True)
    assert len(manifest.patches) == 5 * 16 - 5
    left_out = tomllib.loads((tmp_path / "out" / "prepared.toml").read_text())["left_out"]
    assert all(any(message in line for line in left_out) for message in messages)


def test_missing_folders_are_named(published, tmp_path):
    (published / "Serrated adenoma").rename(published / "Serrated")
    assert len(prepare_ebhi(published, tmp_path / "four", classes=4, patch_size=16).patches) == 80
    with pytest.raises(UserError, match="no folder.* Serrated adenoma/image, Serrated adenoma/label"):
        prepare_ebhi(published, tmp_path / "seven", classes=7)
    with pytest.raises(UserError, match="no folder"):
        prepare_ebhi(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("options", [{"classes": 5}, {"patch_size": 100}, {"patch_size": 0}])
def test_options_out_of_range(published, tmp_path, options):
    with pytest.raises(UserError, match=next(iter(options))):
        prepare_ebhi(published, tmp_path / "out", **options)


def test_an_interrupted_run_starts_again_and_ends_the_same(published, tmp_path, monkeypatch):
    whole = prepare_ebhi(published, tmp_path / "whole", patch_size=16)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("l2s_jax.prepare.folders.write_patches", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_ebhi(published, tmp_path / "out", patch_size=16)
    with pytest.raises(UserError, match="patches.csv not found"):
        check_manifest(tmp_path / "out")
    assert prepare_ebhi(published, tmp_path / "out", patch_size=16).sha256 == whole.sha256


def test_other_folders_are_refused_and_overwritten_on_request(published, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds other files.*--overwrite"):
        prepare_ebhi(published, out, patch_size=16)
    prepare_ebhi(published, out, patch_size=16, overwrite=True)
    with pytest.raises(UserError, match="prepared with patch_size 16, now 32"):
        prepare_ebhi(published, out, patch_size=32)
    shutil.copytree(published, tmp_path / "second")
    with pytest.raises(UserError, match="prepared with source '.*', now '.*second'"):
        prepare_ebhi(tmp_path / "second", out, patch_size=16)
    assert len(check_manifest(out).manifest.patches) == 80  # still whole
    prepare_ebhi(published, out, classes=7, patch_size=32, overwrite=True)
    pictures = list((out / "images").rglob("*.png"))
    assert len(pictures) == 96 and all(read_image(path).shape[:2] == (32, 32) for path in pictures)
    assert (out / "thesis.tex").read_text() == "mine"
    with pytest.raises(UserError, match="is a file"):
        prepare_ebhi(published, out / "thesis.tex")


@needs_data
def test_the_rule_for_slides_holds_for_every_published_name():
    with (REAL / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 344
    assert [slide_of(row["file"]) for row in rows] == [row["slide_group"] for row in rows]


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("classes, patches", [(4, 296), (7, 344)])
def test_the_real_data(tmp_path, classes, patches):
    manifest = prepare_ebhi(REAL, tmp_path / "out", classes=classes, patch_size=32)
    assert len(manifest.patches) == patches
    report = check_manifest(tmp_path / "out")
    assert report.ok and not report.warnings
    labels, splits = [r.label for r in manifest.patches], [r.split for r in manifest.patches]
    assert largest_deviation(labels, splits, (0.5, 0.25, 0.25)) < 0.03  # of 48 to 120 patches a class
    counts = collections.Counter(splits)
    assert all(
        abs(counts[s] / patches - f) < 0.02 for s, f in (("train", 0.5), ("val", 0.25), ("test", 0.25))
    )


@needs_data
@pytest.mark.slow
def test_a_real_mask_against_one_made_by_hand(tmp_path):
    manifest = prepare_ebhi(
        REAL, tmp_path / "out", patch_size=112
    )  # every second pixel, to be checked by slicing
    for row in manifest.patches[::41]:
        source = row.source.removeprefix("EBHI-Seg ")
        folder, file = source.split("/")
        published = np.asarray(Image.open(REAL / folder / "label" / file))
        np.testing.assert_array_equal(
            read_mask(row.mask, manifest.classes), (published[1::2, 1::2] > 127) * row.label
        )
