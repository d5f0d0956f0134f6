import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from l2s_jax.data.check import MOST_LISTED, check_manifest, require_valid
from l2s_jax.data.check_findings import shared_slides, straddling, unequal_sizes
from l2s_jax.data.check_rows import Seen
from l2s_jax.data.classes import write_classes
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.pictures import ImageLook, write_png
from l2s_jax.phantom.patches import CLASSES as PHANTOM
from l2s_jax.system.errors import UserError

CLASSES = """background = "bg"
ignore_value = 255
[[class]]
name = "bg"
colour = [255, 255, 255]
[[class]]
name = "a"
colour = [255, 0, 0]
[[class]]
name = "b"
colour = [0, 0, 255]
"""
SIDE = 16


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def good_mask(label):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:8] = label
    mask[8] = 255
    return mask


@pytest.fixture
def folder(tmp_path):
    """Two patches of each class in every split; rows 2 to 13."""
    rows = []
    for number in range(12):
        label, split = 1 + number % 2, ("train", "val", "test")[number // 2 % 3]
        write_png(tmp_path / f"i{number}.png", picture(number))
        write_png(tmp_path / f"m{number}.png", good_mask(label))
        rows.append(f"i{number}.png,m{number}.png,{'ab'[label - 1]},g{number},{split}")
    (tmp_path / "classes.toml").write_text(CLASSES)
    write_rows(tmp_path, rows)
    return tmp_path


def write_rows(folder, rows):
    (folder / "patches.csv").write_text("image,mask,label,group,split\n" + "\n".join(rows) + "\n")


def rows_of(folder):
    return (folder / "patches.csv").read_text().splitlines()[1:]


def change_row(folder, number, old, new):
    rows = rows_of(folder)
    assert old in rows[number]
    rows[number] = rows[number].replace(old, new)
    write_rows(folder, rows)


def test_a_good_manifest_has_neither_problems_nor_warnings(folder):
    report = check_manifest(folder)
    assert report.ok and not report.problems and not report.warnings
    require_valid(report)
    text = str(report)
    assert "12 patches (12 of 16 x 16)" in text and "No problems." in text
    assert "train      4 patches,    4 groups: 4 mask and label, 0 mask only, 0 label only" in text


def test_the_summary_counts_labels_and_mask_pixels(folder):
    change_row(folder, 0, ",a,", ",,")
    change_row(folder, 1, "m1.png", "")
    lines = {line.split()[0]: line.split() for line in check_manifest(folder).summary if line.strip()}
    assert lines["train"][1:] == ("4 patches, 4 groups: 2 mask and label, 1 mask only, 1 label only".split())
    # Train has masks of a, a and b: 8 rows of each, 7 rows of background, 1 ignored.
    assert lines["a"][1:] == [
        "1",
        "2",
        "2",
        f"{200 * 8 / 45:.1f}%",
        f"{50 * 8 / 15:.1f}%",
        f"{50 * 8 / 15:.1f}%",
    ]
    assert lines["bg"][1:4] == ["0", "0", "0"]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "i3.png").unlink(), "i3.png not found"),
        (lambda f: (f / "m3.png").unlink(), "m3.png not found"),
        (lambda f: (f / "i3.png").write_bytes(b""), "empty"),
        (lambda f: (f / "m3.png").write_text("text"), "no picture"),
        (lambda f: (f / "i3.png").write_bytes((f / "i3.png").read_bytes()[:200]), "cut short"),
        (lambda f: write_png(f / "i3.png", np.zeros((SIDE, SIDE), np.uint16)), "more than 8 bits"),
        (lambda f: Image.new("CMYK", (SIDE, SIDE)).save(f / "i3.png", "TIFF"), "CMYK"),
        (lambda f: write_png(f / "m3.png", np.zeros((SIDE, 32), np.uint8)), "16 x 32 but its image 16 x 16"),
        (lambda f: write_png(f / "m3.png", np.full((SIDE, SIDE), 7, np.uint8)), r"7 \(256 px\)"),
        (lambda f: write_png(f / "m3.png", picture(3)), "channels differ"),
    ],
)
def test_a_bad_file_is_reported_with_its_row(folder, damage, message):
    damage(folder)
    report = check_manifest(folder)
    assert len(report.problems) == 1
    with pytest.raises(UserError, match=f"patches.csv line 5: .*{message}"):
        require_valid(report)


def test_a_bad_image_does_not_hide_its_mask_s_fault(folder):
    (folder / "i3.png").unlink()
    write_png(folder / "m3.png", np.full((SIDE, SIDE), 7, np.uint8))
    of_image, of_mask = check_manifest(folder).problems
    assert "line 5: " in of_image and "i3.png not found" in of_image
    assert "line 5: " in of_mask and "7 (256 px)" in of_mask


def test_training_patches_are_square(folder):
    for number in range(12):
        write_png(folder / f"i{number}.png", np.hstack([picture(number), picture(number)]))
        write_png(folder / f"m{number}.png", np.hstack([good_mask(1 + number % 2)] * 2))
    (problem,) = check_manifest(folder).problems
    assert "training patches are 16 x 32; expected squares" in problem


def test_greyscale_and_rgba_pictures_are_accepted_and_said(folder):
    Image.fromarray(picture(0)[..., 0]).save(folder / "i0.png")
    Image.fromarray(picture(2)[..., 0]).save(folder / "i2.png")
    Image.fromarray(np.dstack([picture(1), picture(1)[..., 0]])).save(folder / "i1.png")
    report = check_manifest(folder)
    assert report.ok
    grey, transparent = report.warnings
    assert grey.startswith("patches.csv line 2 and 1 more") and "grey: read as RGB" in grey
    assert transparent.startswith("patches.csv line 3: ") and transparent.endswith("laid on white")
    Image.fromarray(picture(1)).convert("RGBA").save(folder / "i1.png")  # opaque: nothing is changed
    assert check_manifest(folder).warnings == (grey,)


@pytest.mark.parametrize(
    "number, old, new, message",
    [
        (4, ",a,", ",c,", "line 6: label 'c' is none of the classes"),
        (4, "i4", "../i4", "line 6: image '../i4.png' leads out"),
        (4, "g4", "g0", r"group 'g0' stands in test \(from line 6\) and train \(from line 2\)"),
        (4, "i4.png", "i0.png", r"lines 2 \(train\), 6 \(test\): the same picture in several splits"),
    ],
)
def test_a_bad_row_is_reported(folder, number, old, new, message):
    change_row(folder, number, old, new)
    with pytest.raises(UserError, match=message):
        require_valid(check_manifest(folder))


def test_many_faults_of_one_kind_take_no_more_passes_over_the_rows():
    """A split by patch makes every patient a leak, and cut-outs have a size each."""

    class Counted(tuple):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return super().__iter__()

        def __reversed__(self):
            self.passes += 1
            return reversed(list(super().__iter__()))

    rows = Counted(
        PatchRow(line, Path(f"{line}.png"), None, 0, f"g{line // 2}", "train" if line % 2 else "test")
        for line in range(200)
    )
    leaks = straddling(Manifest(Path("d"), PHANTOM, rows, ""))
    assert len(leaks) == 100 and rows.passes <= 3
    assert leaks[7].startswith("group 'g7' stands in test (from line 14) and train (from line 15)")
    looks = [ImageLook((16, 16 * row.line), b"", False, (), 1, None) for row in rows]
    seen = Counted(Seen(row, image=look) for row, look in zip(rows, looks, strict=True))
    sizes = unequal_sizes(seen)
    assert len(sizes) == 99 and seen.passes <= 3
    assert sizes[0].startswith("patches.csv line(s) 3: 1 patch(es) of 16 x 48 where most are 16 x 16")


def test_a_slide_under_two_names_in_two_splits_is_said():
    def row(slide, group, split):
        return PatchRow(1, Path("a.png"), None, 0, group, split, source=f"{slide} at row 0, col 16")

    rows = (row("a.svs", "p1", "train"), row("a.svs", "p2", "test"), row("b.svs", "p3", "val"))
    apart = (*rows[1:], row("b.svs", "p4", "val"), row("c.svs", "p5", "train"), row("c.svs", "p5", "test"))
    (line,) = shared_slides(Manifest(Path("d"), PHANTOM, rows, ""))
    assert "a.svs ('p1' in train, 'p2' in test). If" in line
    assert shared_slides(Manifest(Path("d"), PHANTOM, apart, "")) == []


def test_all_problems_come_at_once(folder):
    (folder / "i0.png").unlink()
    write_png(folder / "m1.png", np.full((SIDE, SIDE), 9, np.uint8))
    change_row(folder, 2, ",a,", ",nothing,")
    change_row(folder, 5, "g5", "g3")
    Image.fromarray(picture(7)).save(folder / "i6.png", optimize=True)
    Image.fromarray(picture(7)).save(folder / "i11.png", compress_level=0)  # same pixels, other bytes
    text = "\n".join(check_manifest(folder).problems)
    for words in (
        "line 2: ",
        "line 3: ",
        "line 4: ",
        "group 'g3'",
        "lines 8 (train), 9 (train), 13 (test): ",
    ):
        assert words in text


def test_a_duplicate_within_a_split_is_a_warning(folder):
    change_row(folder, 6, "i6.png", "i0.png")
    report = check_manifest(folder)
    assert report.ok
    assert report.warnings == ("patches.csv lines 2, 8: the same picture several times in train",)


def test_one_mask_for_different_pictures_is_a_warning(folder):
    change_row(folder, 6, "m6.png", "m0.png")
    report = check_manifest(folder)
    assert report.ok
    assert report.warnings == (
        "patches.csv lines 2, 8: one mask for different pictures (m0.png): whose is it?",
    )
    write_png(folder / "m0.png", np.zeros((SIDE, SIDE), np.uint8))  # all background, as many pictures may be
    assert not any("one mask" in line for line in check_manifest(folder).warnings)


def test_one_class_is_a_problem(folder):
    (folder / "classes.toml").write_text('[[class]]\nname = "a"\ncolour = [0, 0, 0]\npixel_value = 1\n')
    write_png(folder / "m0.png", np.ones((SIDE, SIDE), np.uint8))
    write_rows(folder, rows_of(folder)[:1])
    assert ["one class" in problem for problem in check_manifest(folder).problems] == [True]


def test_a_class_that_training_lacks_is_a_warning(folder):
    write_rows(folder, [row for row in rows_of(folder) if not (",b," in row and "train" in row)])
    report = check_manifest(folder)
    assert report.ok
    assert any("class 'b' has no mask pixel and no label in train" in line for line in report.warnings)
    assert any("it occurs in val and test" in line for line in report.warnings)


def test_a_class_that_occurs_nowhere_is_a_problem(folder):
    write_rows(folder, [row for row in rows_of(folder) if ",b," not in row])
    (problem,) = check_manifest(folder).problems
    assert "class 'b' has no mask pixel and no label anywhere: add patches of it, or take it out" in problem


def test_a_test_set_may_lack_a_class(folder):
    rows = [row for row in rows_of(folder) if ",b," not in row and row.endswith("test")]
    write_rows(folder, rows)
    assert check_manifest(folder).ok


def test_one_training_patch_without_anything_else_is_valid_but_warned_of(folder):
    write_png(folder / "m0.png", np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) % 3)
    write_rows(folder, rows_of(folder)[:1])
    report = check_manifest(folder)
    assert report.ok
    assert [line for line in report.warnings if "no patches in" in line] == [
        "no patches in val: no best checkpoint can be chosen",
        "no patches in test: nothing can be evaluated with --split test",
    ]


def test_no_labels_at_all_and_no_masks_at_all(folder):
    rows = rows_of(folder)
    write_rows(folder, [row.replace(",a,", ",,").replace(",b,", ",,") for row in rows])
    report = check_manifest(folder)
    assert report.ok and report.warnings == (
        "no labels in train: only setting S is possible, without a classification loss",
    )
    write_rows(folder, [",".join([row.split(",")[0], "", *row.split(",")[2:]]) for row in rows])
    report = check_manifest(folder)
    assert report.ok and sum("no masks in" in line for line in report.warnings) == 3


def test_an_empty_manifest_says_so(folder):
    write_rows(folder, [])
    with pytest.raises(UserError, match="no rows"):
        check_manifest(folder)


@pytest.mark.parametrize("side, problems", [(24, 1), (32, 0)])
def test_patches_need_one_size_that_is_a_multiple_of_16(folder, side, problems):
    for number in range(12):
        write_png(
            folder / f"i{number}.png", np.kron(picture(number), np.ones((2, 2, 1), np.uint8))[:side, :side]
        )
        write_png(folder / f"m{number}.png", np.full((side, side), 1 + number % 2, np.uint8))
    report = check_manifest(folder)
    assert len(report.problems) == problems
    assert all(
        "training patches are 24 x 24; expected squares whose side is a multiple of 16" in p
        for p in report.problems
    )
    write_png(folder / "i1.png", picture(1))
    write_png(folder / "m1.png", good_mask(2))
    assert any("line(s) 3: 1 patch(es) of 16 x 16" in line for line in check_manifest(folder).problems)


def test_pictures_of_val_and_test_may_have_any_size(folder):
    for number, (height, width) in ((2, (21, 70)), (4, (9, 5))):
        rng = np.random.default_rng(number)
        write_png(folder / f"i{number}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        write_png(folder / f"m{number}.png", np.ones((height, width), np.uint8))
    assert check_manifest(folder).ok


def test_a_label_that_its_mask_lacks_and_an_ignored_mask_are_warnings(folder):
    change_row(folder, 0, ",a,", ",b,")
    write_png(folder / "m1.png", np.full((SIDE, SIDE), 255, np.uint8))
    report = check_manifest(folder)
    assert report.ok
    assert "line 2: label 'b' has no pixel in" in report.warnings[0]
    assert "line 3:" in report.warnings[1] and "nothing but ignored" in report.warnings[1]
    scribble = np.full((SIDE, SIDE), 255, np.uint8)
    scribble[0] = 0
    write_png(folder / "m0.png", scribble)
    assert not any("has no pixel in" in line for line in check_manifest(folder).warnings)


def test_a_turned_image_whose_mask_is_not_turned_is_a_problem(folder):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(picture(3)).save(folder / "i3.png", exif=exif)
    assert ["different EXIF orientations" in line for line in check_manifest(folder).problems] == [True]
    Image.fromarray(good_mask(2)).save(folder / "m3.png", exif=exif)
    assert check_manifest(folder).ok


def test_training_is_refused_with_the_first_problems_the_check_lists_all(folder):
    rows = [f"absent{number}.png,,{'ab'[number % 2]},g{number},train" for number in range(MOST_LISTED + 3)]
    write_rows(folder, rows)
    report = check_manifest(folder)
    assert str(report).count("not found") == MOST_LISTED + 3 and f"{MOST_LISTED + 3} problems:" in str(report)
    with pytest.raises(UserError) as refused:
        require_valid(report)
    message = str(refused.value)
    assert message.startswith(f"{folder} has {MOST_LISTED + 3} problems:")
    assert message.count("not found") == MOST_LISTED and f"and 3 more: `l2s check {folder}`" in message


@pytest.mark.slow
def test_three_thousand_patches_are_checked_in_seconds(tmp_path):
    """Generous: 5 s on two busy cores here. A check that is quadratic in the rows would take minutes."""
    for number in range(10):
        write_png(tmp_path / f"m{number}.png", good_mask(1 + number % 2))
    write_png(tmp_path / "i.png", picture(0))
    write_rows(tmp_path, [f"i.png,m{n % 10}.png,,g{n},train" for n in range(3000)])
    (tmp_path / "classes.toml").write_text(CLASSES)
    start = time.monotonic()
    assert check_manifest(tmp_path).ok
    assert time.monotonic() - start < 30


MEMORY = """
import sys
from l2s_jax.data.check import check_manifest

def kib(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

before = kib("VmHWM")
assert len(check_manifest(sys.argv[1]).manifest.patches) == 3
print((kib("VmHWM") - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the most memory held")
def test_three_pictures_that_unfold_to_79_megapixels_take_the_memory_of_one(tmp_path):
    """Six took 4.9 GB once. Pillow keeps four bytes a pixel of RGB, 302 MiB of one; threads keep the rest."""
    Image.new("RGB", (8900, 8900), (240, 240, 240)).save(tmp_path / "i0.png")
    assert (tmp_path / "i0.png").stat().st_size < 400_000
    for number in range(1, 3):
        (tmp_path / f"i{number}.png").hardlink_to(tmp_path / "i0.png")
    (tmp_path / "classes.toml").write_text(CLASSES)
    write_rows(tmp_path, [f"i{number}.png,,a,g{number},train" for number in range(3)])
    out = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 420


def write_scales(folder, scales):
    fields = [row.split(",")[:5] for row in rows_of(folder)]
    rows = [",".join([*row, mpp]) for row, mpp in zip(fields, scales, strict=True)]
    (folder / "patches.csv").write_text("image,mask,label,group,split,mpp\n" + "\n".join(rows) + "\n")


def test_patches_of_several_scales_are_a_problem_unless_they_are_asked_for(folder):
    write_scales(folder, 4 * ["0.25", "0.5", "2"])
    (problem,) = check_manifest(folder).problems
    assert "0.25 (4, from line 2), 0.5 (4, from line 3), 2 (4, from line 4)" in problem
    assert "mixed_scales = true" in problem
    (folder / "classes.toml").write_text("mixed_scales = true\n" + CLASSES)
    report = check_manifest(folder)
    assert report.ok and not report.warnings
    write_classes(folder, report.manifest.classes)
    assert check_manifest(folder).ok


def test_scales_of_one_kind_of_scanner_are_one(folder):
    write_scales(folder, 4 * ["0.2500", "0.2525", "0.2600"])
    assert check_manifest(folder).ok


def test_an_mpp_that_some_patches_lack_is_said(folder):
    write_scales(folder, 4 * ["0.25", "", "0.25"])
    (warning,) = check_manifest(folder).warnings
    assert "mpp is given for 8 of 12 patches (not in line 3)" in warning


def test_a_scale_that_the_file_contradicts_is_said(folder):
    rows = rows_of(folder)
    for number in (0, 3):
        tifffile.imwrite(
            folder / f"i{number}.tif",
            picture(number),
            photometric="rgb",
            resolution=(20000, 20000),
            resolutionunit="CENTIMETER",
        )
        rows[number] = rows[number].replace(f"i{number}.png", f"i{number}.tif")
    write_rows(folder, rows)
    assert not check_manifest(folder).warnings
    write_scales(folder, 12 * ["0.25"])
    (warning,) = check_manifest(folder).warnings
    assert warning.startswith("patches.csv line 2 and 1 more: ") and "states 0.5 um/px" in warning
    assert "says 0.25" in warning
    write_scales(folder, 12 * ["0.5"])
    assert not check_manifest(folder).warnings


@pytest.mark.parametrize("near", ["G0", "g-0", "g00", "g0-01Z-00-DX1", "\uff470"])
def test_groups_that_may_be_one_patient_are_named(folder, near):
    change_row(folder, 4, "g4", near)
    report = check_manifest(folder)
    (warning,) = report.warnings
    assert report.ok and "train and test" in warning and "'g0'" in warning and repr(near) in warning


def test_names_that_look_alike_are_shown_so_that_they_differ(folder):
    change_row(folder, 0, "g0", "Andr\u00e9")
    change_row(folder, 4, "g4", "Andre\u0301")
    (warning,) = check_manifest(folder).warnings
    assert r"'Andr\xe9'" in warning and r"'Andre\u0301'" in warning


def test_the_same_empty_tile_in_two_splits_is_no_leak(folder):
    for number in (0, 2, 4, 6):
        write_png(folder / f"i{number}.png", np.full((SIDE, SIDE, 3), 244, np.uint8))
    report = check_manifest(folder)
    assert report.ok
    (warning,) = report.warnings
    assert warning.startswith("patches.csv line 2 and 3 more: ") and "one colour throughout" in warning


def test_no_line_is_longer_than_people_read(folder):
    """A warning of 29 kB once: 3,000 copies of one picture."""
    rows = []
    for number in range(300):
        (folder / f"c{number}.png").hardlink_to(folder / "i0.png")
        rows.append(f"c{number}.png,m0.png,a,p{number},train")
    rows += [f"c{number}.png,m0.png,a,{number}p,{'test' if number else 'val'}" for number in range(2)]
    write_rows(folder, rows_of(folder)[1:] + rows)
    report = check_manifest(folder)
    assert max(map(len, report.problems + report.warnings)) < 500
    (problem,) = report.problems
    assert "(train)" in problem and "(val)" in problem and "(test)" in problem and "more" in problem


def test_classes_that_are_easily_taken_for_each_other_are_said(folder):
    text = CLASSES.replace('"b"', '"A"').replace("[0, 0, 255]", "[255, 0, 0]")
    (folder / "classes.toml").write_text(text)
    write_rows(folder, [row.replace(",b,", ",A,") for row in rows_of(folder)])
    report = check_manifest(folder)
    assert report.ok
    by_case, by_colour = report.warnings
    assert "'a' and 'A'" in by_case and "two classes" in by_case
    assert "[255, 0, 0]" in by_colour
