import csv
import json
import re
import shutil
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.commands import l2s
from helpers.dataset_generator import (
    BACH_MPP,
    BOXES,
    HEIGHT,
    PHOTO_PREFIXES,
    WIDTH,
    Box,
    Drawn,
    draw_tissue,
    paint_boxes,
    write_bach,
    write_boxes,
    write_slide,
)
from helpers.slide_generator import corrupt_tile, cut_off
from l2s_jax.cli import app as cli
from l2s_jax.data.check import check_manifest
from l2s_jax.data.manifest import STAIN, read_manifest
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.prepare.bach import SPLIT_TABLES, find_photos, prepare_bach
from l2s_jax.prepare.options import BachOptions, WorkOptions, extraction_of
from l2s_jax.prepare.paper_counts import compared, paper_counts
from l2s_jax.prepare.presets import BACH_PRESETS
from l2s_jax.stain.patches import MACENKO, fit_pictures
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

SIZE = 32
SMALL = BachOptions(patch_size=SIZE, stain="off")
HERE = WorkOptions(workers=1)
RELEASE = replace(BACH_PRESETS["release"], patch_size=SIZE, stain="off")

JPEG_ERROR = 6
"""Grey levels between a drawn pixel and what comes out of the JPEG pyramid at quality 98 (4:2:0 chroma in
blocks of 16 equal pixels is exact; what remains is quantisation at block borders)."""


@pytest.fixture(scope="session")
def bach(tmp_path_factory):
    """The published layout in small, and the truth of its slides."""
    folder = tmp_path_factory.mktemp("bach")
    return folder, write_bach(folder)


@pytest.fixture(scope="session")
def prepared(bach, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    return out, prepare_bach(bach[0], out, SMALL, HERE)


def place_of(row):
    """The slide and the (row, col) that a patch says it is from."""
    slide, top, left = re.fullmatch(r"(\w+)\.svs at row (\d+), col (\d+)", row.source).groups()
    return slide, int(top), int(left)


def train_masks(manifest):
    return [row for row in manifest.of_split("train") if row.mask is not None]


def test_slides_go_to_the_splits_of_the_paper(prepared):
    _, result = prepared
    for split, names in SPLIT_TABLES["paper"].items():
        groups = {row.group for row in result.manifest.of_split(split)}
        assert {group for group in groups if not group.startswith("photo")} == set(names)
    assert result.failures == () and check_manifest(prepared[0]).ok


def test_patches_hold_the_pixels_and_the_truth_of_their_place(bach, prepared):
    truth = bach[1]
    rows = train_masks(prepared[1].manifest)
    # Per slide: two small regions, ceil(1 + area / 32^2) for the large one, one for the island in it.
    mask = paint_boxes(BOXES)
    expected = 2 + int(np.ceil(1 + (mask == 3).sum() / SIZE**2)) + 1
    assert len(rows) == 3 * expected
    for row in rows:
        slide, top, left = place_of(row)
        where = slice(top, top + SIZE), slice(left, left + SIZE)
        np.testing.assert_array_equal(
            read_mask(row.mask, prepared[1].manifest.classes), truth[slide].mask[where]
        )
        difference = np.abs(read_image(row.image).astype(int) - truth[slide].image[where])
        assert difference.max() <= JPEG_ERROR
        assert row.mpp == 7.5 and row.group == slide and row.label == -1


def test_small_regions_are_centred(prepared):
    places = [place_of(row) for row in train_masks(prepared[1].manifest)]
    for number, slide in enumerate(("A01", "A02", "A03")):
        box = BOXES[1]
        centre = (box.top + box.bottom) / 2 + number - SIZE / 2, (box.left + box.right) / 2 - SIZE / 2
        assert any(place == (slide, *map(int, centre)) for place in places)


def test_slides_of_val_and_test_stay_whole(bach, prepared):
    rows = [*prepared[1].manifest.of_split("val"), *prepared[1].manifest.of_split("test")]
    assert len(rows) == 7
    for row in rows:
        drawn = bach[1][row.group]
        np.testing.assert_array_equal(read_mask(row.mask, prepared[1].manifest.classes), drawn.mask)
        assert np.abs(read_image(row.image).astype(int) - drawn.image).max() <= JPEG_ERROR


def test_photos_are_labelled_patches_of_their_own_group(bach, prepared):
    rows = [row for row in prepared[1].manifest.of_split("train") if row.mask is None]
    assert len(rows) == 8 and len({row.group for row in rows}) == 8
    for row in rows:
        prefix = list(PHOTO_PREFIXES.values())[row.label]
        assert re.fullmatch(prefix + r"\d+", row.group.removeprefix("photo "))
        source = next(bach[0].glob(f"*/Photos/*/{row.source}"))
        squeezed = Image.open(source).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(read_image(row.image), np.asarray(squeezed))


def test_the_report_counts_and_compares_with_the_paper(prepared):
    text = "\n".join(prepared[1].report)
    masks = len(train_masks(prepared[1].manifest))
    assert "10 annotated slides; 2 without annotation are not used" in text
    assert "slides for val: A08" in text and "photos: 2 Normal, 2 Benign, 2 InSitu, 2 Invasive" in text
    assert re.search(rf"with a mask +{masks} +615 +{masks - 615}", text)
    assert re.search(r"image-level +8 +400 +-392", text)


def test_the_counts_of_the_paper():
    assert paper_counts("ICIAR BACH 2018") == (615, 400)
    assert paper_counts("Gleason2019") == (1274, 1774)
    assert paper_counts("DigestPath2019") == (1630, 1764)
    assert compared("Gleason2019", 1274, 1775)[2].split() == ["image-level", "1775", "1774", "+1"]


def test_the_printed_split(bach, tmp_path):
    result = prepare_bach(bach[0], tmp_path / "o", replace(SMALL, split="printed", photos=False), HERE)
    assert {row.group for row in result.manifest.of_split("train")} == {"A01", "A06", "A08"}
    assert not result.manifest.of_split("val") and len(result.manifest.of_split("test")) == 7
    assert not [row for row in result.manifest.patches if row.group.startswith("photo")]


def test_photos_of_one_patient_are_one_group(bach, tmp_path):
    (tmp_path / "patients.csv").write_text("photo,patient\nn001.tif,7\nb001,7\n")
    result = prepare_bach(
        bach[0] / "ICIAR2018_BACH_Challenge" / "Photos",
        tmp_path / "o",
        replace(SMALL, patients=tmp_path / "patients.csv"),
        HERE,
    )
    assert [row.source for row in result.manifest.patches if row.group == "patient 7"] == [
        "n001.tif",
        "b001.tif",
    ]
    assert "patients known of 2 of 8 photos" in result.report


def test_photos_and_rows_without_each_other_are_said(bach, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("photo,patient\nN001.tif,7\nn 002,7\nx9,8\nb001,7\n")
    _, said = find_photos(bach[0], 32, table)
    assert said[1] == "patients known of 2 of 8 photos"
    assert re.search(r"2 name\(s\) in --patients .*: n 002, x9\. 'n 002' may mean n002\.tif", said[2])
    assert re.search(
        "gives no patient for n002.tif, .* and 1 more: .* learn from one photo of a patient", said[3]
    )
    table.write_text("photo,patient\nn001.tif,7\nN001,8\n")
    with pytest.raises(UserError, match="photo n001 is of patient 7 and of patient 8"):
        find_photos(bach[0], 32, table)
    with pytest.raises(UserError, match="--patients is of photos, and --no-photos leaves them out"):
        prepare_bach(bach[0], tmp_path / "o", replace(SMALL, patients=table, photos=False), HERE)


@pytest.fixture(scope="module")
def one_slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    (folder / "WSI").mkdir()
    add_slide(folder, "B1")
    (folder / "splits.csv").write_text("slide,split\n" + "".join(f"B{n},train\n" for n in range(1, 10)))
    return folder


@pytest.fixture
def own(one_slide, tmp_path):
    """A folder with one good slide of the user's, B1, and a file of splits."""
    return shutil.copytree(one_slide, tmp_path / "own")


def add_slide(folder, name, boxes=BOXES, image=None, **options):
    mask = paint_boxes(boxes)
    image = draw_tissue(HEIGHT, WIDTH, 5, mask) if image is None else image
    return write_slide(folder / "WSI" / f"{name}.svs", Drawn(image, mask), boxes, **options)


def prepare_own(folder, out, work=HERE, base=SMALL, **options):
    options = replace(base, **{"splits_file": folder / "splits.csv"} | options)
    return prepare_bach(folder, out, options, work, stainer=MACENKO)


def test_slides_of_other_names_need_a_file_of_splits(own, tmp_path):
    with pytest.raises(UserError, match="B1 stand in no split.*--splits-file"):
        prepare_own(own, tmp_path / "o", splits_file=None)
    assert {row.group for row in prepare_own(own, tmp_path / "o").manifest.patches} == {"B1"}
    (own / "splits.csv").write_text("slide,split\nB1,training\n")
    with pytest.raises(UserError, match="split training; expected train, val, test"):
        prepare_own(own, tmp_path / "o")


def break_cut_off(folder, path):
    cut_off(folder / "WSI" / "B1.svs", path)


def break_corrupt(folder, path):
    corrupt_tile(folder / "WSI" / "B1.svs", path, 48, 64, level=2)


def break_white(folder, path):
    add_slide(folder, path.stem, image=np.full((HEIGHT, WIDTH, 3), 255, np.uint8))


def break_small(folder, path):
    box = Box(1, 4, 4, 12, 12)
    mask = paint_boxes([box], 24, 24)
    write_slide(path, Drawn(draw_tissue(24, 24, 1), mask), [box])


def break_other_xml(folder, path):
    shutil.copy(folder / "WSI" / "B1.svs", path)
    write_boxes(path.with_suffix(".xml"), [Box(1, 200, 300, 240, 340), Box(2, 150, 200, 190, 260)])


def break_empty_xml(folder, path):
    shutil.copy(folder / "WSI" / "B1.svs", path)
    write_boxes(path.with_suffix(".xml"), [])


def break_zero_xml(folder, path):
    shutil.copy(folder / "WSI" / "B1.svs", path)
    path.with_suffix(".xml").write_bytes(b"")


def break_no_mpp(folder, path):
    add_slide(folder, path.stem, mpp=None)


def break_nothing_annotated_on_tissue(folder, path):
    add_slide(folder, path.stem, boxes=[Box(1, 0, 0, 3, 3)], image=np.pad(
        draw_tissue(40, 40, 3), ((56, 0), (88, 0), (0, 0)), constant_values=240))  # fmt: skip


BREAKS = {
    break_cut_off: "cut off|damaged",
    break_corrupt: "cannot decode level 2",
    break_white: "no tissue was found",
    break_small: "24 x 24 pixels at the scale of the patches are smaller than one of 32",
    break_other_xml: "lie outside the slide.*another slide",
    break_empty_xml: "has no region to use",
    break_zero_xml: "empty",
    break_no_mpp: "the scale is not known",
    break_nothing_annotated_on_tissue: "gives no patch: too little tissue",
}


@pytest.mark.parametrize("damage", BREAKS, ids=lambda damage: damage.__name__)
def test_a_bad_slide_is_one_clear_message_and_the_rest_goes_on(own, tmp_path, damage):
    bad = own / "WSI" / "B2.svs"
    if not bad.with_suffix(".xml").exists():
        write_boxes(bad.with_suffix(".xml"), BOXES)
    damage(own, bad)
    result = prepare_own(own, tmp_path / "o")
    assert len(result.failures) == 1
    assert re.search(BREAKS[damage], result.failures[0], re.DOTALL), result.failures[0]
    assert "B2" in result.failures[0] and "Traceback" not in result.failures[0]
    assert {row.group for row in result.manifest.patches} == {"B1"}


def test_a_slide_without_pyramid_is_read_all_the_same(own, tmp_path):
    add_slide(own, "B2", downsamples=(1,))
    result = prepare_own(own, tmp_path / "o")
    by_slide = {name: [row for row in result.manifest.patches if row.group == name] for name in ("B1", "B2")}
    assert len(by_slide["B1"]) == len(by_slide["B2"])
    for one, other in zip(by_slide["B1"], by_slide["B2"], strict=True):
        np.testing.assert_array_equal(read_image(one.mask), read_image(other.mask))
        # Scanners average blocks; the filter reaches a little into the neighbouring ones.
        assert np.abs(read_image(one.image).astype(int) - read_image(other.image)).mean() < JPEG_ERROR


@pytest.mark.parametrize("how", ["xml", "option", "table"])
def test_a_missing_scale_is_taken_from_where_it_is(own, tmp_path, how):
    add_slide(own, "B2", mpp=None)
    options = {}
    if how == "xml":
        write_boxes(own / "WSI" / "B2.xml", BOXES, mpp=BACH_MPP)
    elif how == "option":
        options["slide_mpp"] = BACH_MPP
    else:
        (tmp_path / "mpp.csv").write_text(f"slide,mpp\nB2,{BACH_MPP}\n")
        options["mpp_table"] = tmp_path / "mpp.csv"
    result = prepare_own(own, tmp_path / "o", **options)
    assert result.failures == ()
    counts = [sum(row.group == name for row in result.manifest.patches) for name in ("B1", "B2")]
    assert counts[0] == counts[1]
    assert any("B2" in line and "is not from the slide" in line for line in result.report)


def test_classes_by_annotation_id(own, tmp_path):
    xml = own / "WSI" / "B1.xml"
    text = write_boxes(xml, BOXES[1:2]).read_text()
    xml.write_text(text.replace("Carcinoma in situ", "").replace('Annotation Id="1"', 'Annotation Id="2"'))
    with pytest.raises(UserError, match="class name that is not known"):
        prepare_own(own, tmp_path / "o")
    result = prepare_own(own, tmp_path / "o2", class_ids={"1": "benign", "2": "in situ"})
    # A slide may lack a class whose Id is told; an Id that is not told is refused.
    assert any(line.startswith("warning: --class-ids '1'") for line in result.report)
    assert set(np.unique(read_mask(result.manifest.patches[0].mask, result.manifest.classes))) == {0, 2}


def test_other_names_are_given_a_meaning_or_left_out(own, tmp_path, capsys):
    xml = own / "WSI" / "B1.xml"
    xml.write_text(xml.read_text().replace("Benign", "Fat").replace("Carcinoma in situ", "DCIS"))
    words = ["prepare", "bach", str(own), str(tmp_path / "o"), "--patch-size", "32", "--stain", "off"]
    words += ["--splits-file", str(own / "splits.csv")]
    assert cli.run(words) == 2
    assert "'Fat' (2), 'DCIS' (1)" in capsys.readouterr().err
    assert cli.run([*words, "--ignore", "Fat", "--rename", "DCIS=in situ"]) == 1
    assert "class 'benign' has no mask pixel and no label anywhere" in capsys.readouterr().out
    manifest = read_manifest(tmp_path / "o")
    assert manifest.classes.ignore_value == IGNORE_PIXEL  # undrawn is normal, fat is not known
    masks = [read_mask(row.mask, manifest.classes) for row in manifest.patches]
    assert set(np.unique(np.concatenate(masks))) == {0, 2, 3, IGNORE_PIXEL}
    wrong = ["--ignore", "Fat", "Faat", "--rename", "DCIS=in situ"]
    assert cli.run([*words, *wrong]) == 2
    assert "--ignore 'Faat': no region that was read has this name" in capsys.readouterr().err
    assert cli.run([*words, "--rename", "DCIS"]) == 2
    assert re.search("--rename.*'DCIS': expected NAME=CLASS", capsys.readouterr().err)


def test_started_again_it_does_only_what_is_not_finished(own, tmp_path):
    for suffix in (".svs", ".xml"):
        shutil.copy(own / "WSI" / f"B1{suffix}", own / "WSI" / f"B2{suffix}")
    cut_off(own / "WSI" / "B1.svs", own / "WSI" / "B3.svs")
    write_boxes(own / "WSI" / "B3.xml", BOXES)
    out = tmp_path / "o"
    first = prepare_own(own, out)
    assert len(first.failures) == 1
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("images/*/*.png")}
    (out / "parts" / "B2.json").write_text("{cut short")
    shutil.copy(own / "WSI" / "B1.svs", own / "WSI" / "B3.svs")
    second = prepare_own(own, out)
    assert second.failures == () and {row.group for row in second.manifest.patches} == {"B1", "B2", "B3"}
    for path, stamp in stamps.items():
        assert (path.stat().st_mtime_ns == stamp) == (path.parent.name == "B1"), path
    for suffix in (".svs", ".xml"):  # slides may come later
        shutil.copy(own / "WSI" / f"B2{suffix}", own / "WSI" / f"B4{suffix}")
    assert len({row.group for row in prepare_own(own, out).manifest.patches}) == 4
    write_boxes(own / "WSI" / "B1.xml", BOXES[:2])  # a mended annotation is noticed
    assert sum(row.group == "B1" for row in prepare_own(own, out).manifest.patches) == 2


def test_a_folder_made_otherwise_is_refused(own, tmp_path):
    prepare_own(own, tmp_path / "o")
    with pytest.raises(UserError, match="--overwrite"):
        prepare_own(own, tmp_path / "o", min_foreground=0.5)
    result = prepare_own(own, tmp_path / "o", WorkOptions(workers=1, overwrite=True), min_foreground=0.5)
    assert result.manifest.patches


def test_a_scale_given_later_mends_what_failed(own, tmp_path):
    """The message of a slide without a scale asks for an option; with it the rest is not made again."""
    add_slide(own, "B2", mpp=None)
    first = prepare_own(own, tmp_path / "o")
    assert "--mpp-table" in first.failures[0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "images" / "B1").iterdir()}
    (tmp_path / "mpp.csv").write_text(f"slide,mpp\nB2,{BACH_MPP}\n")
    second = prepare_own(own, tmp_path / "o", mpp_table=tmp_path / "mpp.csv")
    assert second.failures == () and {row.group for row in second.manifest.patches} == {"B1", "B2"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.slow
def test_overwriting_leaves_no_stains_of_another_kind(own, tmp_path):
    prepare_own(own, tmp_path / "o", stain="macenko")
    assert (tmp_path / "o" / STAIN).exists()
    prepare_own(own, tmp_path / "o", WorkOptions(workers=1, overwrite=True))
    assert not (tmp_path / "o" / STAIN).exists()


def test_the_release_cuts_otherwise(own, tmp_path):
    paper = prepare_own(own, tmp_path / "a").manifest.patches
    release = prepare_own(own, tmp_path / "b", base=RELEASE).manifest.patches
    assert {row.source for row in paper} != {row.source for row in release}
    recipe = (tmp_path / "b" / "prepared.toml").read_text()
    assert 'components = "any"' in recipe and "min_foreground = 0.0" in recipe


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch_size": 40}, "multiple of 16"),
        ({"mpp": 0.001}, "Choose a coarser scale"),
        ({"mpp": -1.0}, "mpp = -1.0 must be 0.001 to 1,000"),
        ({"work": WorkOptions(workers=0)}, "--workers 0"),
    ],
)
def test_impossible_options(own, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare_own(own, tmp_path / "o", **options)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match="holds no part of BACH"):
        prepare_bach(tmp_path, tmp_path / "o")
    with pytest.raises(UserError, match="is no folder"):
        prepare_bach(tmp_path / "nowhere", tmp_path / "o")


def concentrations(rows):
    return fit_pictures(np.stack([read_image(row.image) for row in rows])).max_concentration


@pytest.mark.slow
def test_stains_are_those_of_the_reference(bach, prepared, tmp_path):
    out = tmp_path / "o"
    result = prepare_bach(bach[0], out, replace(SMALL, stain="macenko"), HERE, stainer=MACENKO)
    reference, _ = load_reference(out / "stain.json")
    rows, before = train_masks(result.manifest), train_masks(prepared[1].manifest)
    assert [row.source for row in rows] == [row.source for row in before]
    # Cutting to whole grey levels and at 255 moves the 99th percentile by a few percent.
    np.testing.assert_allclose(
        concentrations(rows), np.tile(reference.max_concentration, (len(rows), 1)), rtol=0.08
    )
    spread = concentrations(before).std(0) / concentrations(before).mean(0)
    assert (spread > 0.1).all()
    # The reference itself hardly changes, and it is one of the patches.
    name = json.loads((out / "stain.json").read_text())["reference"]
    assert name in [row.source for row in before] and name.startswith("A01")
    picture = read_image(out / "stain_reference.png")
    unchanged = next(row for row in rows if row.source == name)
    assert np.abs(read_image(unchanged.image).astype(int) - picture).max() <= 12
    text = next(line for line in result.report if line.startswith("stains normalised"))
    counted = {name: int(count) for count, name in re.findall(r"(\d+) (own fit|slide's fit|unchanged)", text)}
    assert counted == {"own fit": len(rows) + 8, "slide's fit": 7}


@pytest.mark.slow
def test_the_reference_is_always_the_same_patch(own, tmp_path):
    for name in "ab":
        prepare_own(own, tmp_path / name, stain="macenko")
    one, other = ((tmp_path / name / "stain_reference.png").read_bytes() for name in "ab")
    assert one == other


def test_the_reference_can_be_named(own, tmp_path):
    image = draw_tissue(SIZE, SIZE, 77)
    Image.fromarray(image).save(tmp_path / "mine.png")
    named = {"stain": "macenko", "stain_reference": tmp_path / "mine.png"}
    result = prepare_own(own, tmp_path / "o", **named)
    assert json.loads((tmp_path / "o" / "stain.json").read_text())["reference"] == "mine.png"
    target = fit_pictures(image[None]).max_concentration[0]
    found = concentrations(result.manifest.patches)
    np.testing.assert_allclose(found, np.tile(target, (len(found), 1)), rtol=0.08)
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    with pytest.raises(UserError, match="white.png cannot be the stain reference"):
        prepare_own(own, tmp_path / "p", **named | {"stain_reference": tmp_path / "white.png"})
    with pytest.raises(UserError, match="not found"):
        prepare_own(own, tmp_path / "p", **named | {"stain_reference": tmp_path / "none.png"})


def test_no_patch_fit_for_a_reference_is_said(own, tmp_path):
    grey = np.full((HEIGHT, WIDTH, 3), (200, 120, 160), np.uint8)
    add_slide(own, "B1", image=grey)
    with pytest.raises(UserError, match="no patch with two stains"):
        prepare_own(own, tmp_path / "o", stain="macenko")


def test_the_command_prints_and_ends_with_1_where_a_slide_failed(own, tmp_path, capsys):
    arguments = ["prepare", "bach", str(own), str(tmp_path / "o"), "--patch-size", "32", "--stain", "off"]
    arguments += ["--workers", "1", "--splits-file", str(own / "splits.csv")]
    assert cli.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "BACH at 7.5 um/px (7.5 is the paper's 1.25x)" in printed and "No problems." in printed
    write_boxes(own / "WSI" / "B2.xml", BOXES)
    cut_off(own / "WSI" / "B1.svs", own / "WSI" / "B2.svs")
    assert cli.run([*arguments, "--overwrite"]) == 1
    assert "1 failed; mend them and run the same command again" in capsys.readouterr().out


def prepared_on_the_command_line(bach, out, *options):
    arguments = ["prepare", "bach", str(bach[0]), str(out), "--patch-size", "32", "--workers", "1", *options]
    assert cli.run(arguments) == 0
    return tomllib.loads((out / "prepared.toml").read_text())


def test_the_preset_of_the_release_on_the_command_line(bach, tmp_path, capsys):
    recipe = prepared_on_the_command_line(bach, tmp_path / "o", "--preset", "release")
    assert recipe["extraction"] == asdict(extraction_of(RELEASE))
    assert recipe["stain"] == "macenko, labels" and recipe["resample"] == "nearest"
    assert recipe["split"] == "printed" and recipe["reading"]["splits"]["A06"] == "train"
    assert "stains of image-level patches only normalised" in capsys.readouterr().out
    assert not (tmp_path / "o" / STAIN).exists()  # slides are predicted as they are
    manifest = read_manifest(tmp_path / "o")
    photo = next(row for row in manifest.patches if row.source == "b001.tif")
    source = next(bach[0].glob("*/Photos/*/b001.tif"))
    squeezed = np.asarray(Image.open(source).resize((SIZE, SIZE), Image.Resampling.NEAREST))
    assert (read_image(photo.image) != squeezed).any()
    row = train_masks(manifest)[0]
    slide, top, left = place_of(row)
    drawn = bach[1][slide].image[top : top + SIZE, left : left + SIZE]
    assert np.abs(read_image(row.image).astype(int) - drawn).max() <= JPEG_ERROR


VARIANTS = [
    ("min_foreground", 0.0), ("morphology", "close"), ("components", "any"), ("small_region", "nextpow2"),
    ("centre", "centroid"), ("kmeans_area", "box"), ("kmeans_step", 16), ("label_rule", "three_to_one"),
]  # fmt: skip


@pytest.mark.parametrize("name, value", VARIANTS, ids=[name for name, _ in VARIANTS])
def test_single_variants_of_the_release(name, value):
    words = ["folder", "out", f"--{name.replace('_', '-')}", str(value)]
    paper = cli._parse("prepare bach", words).part(BachOptions)
    assert paper == replace(BACH_PRESETS["paper"], **{name: value})
    release = cli._parse("prepare bach", [*words, "--preset", "release"]).part(BachOptions)
    assert release == BACH_PRESETS["release"]  # each is the release's own value


@pytest.mark.parametrize("preset", BACH_PRESETS)
def test_from_python_as_on_the_command_line(own, tmp_path, preset):
    """Whole, by its name, and with a variant over it."""
    options = replace(BACH_PRESETS[preset], patch_size=SIZE, splits_file=own / "splits.csv", mpp=8.0)
    prepare_bach(own, tmp_path / "python", options, HERE, stainer=MACENKO)
    words = ["prepare", "bach", own, tmp_path / "command", "--preset", preset, "--patch-size", SIZE]
    l2s(*words, "--splits-file", own / "splits.csv", "--mpp", "8", "--workers", "1")
    one, other = (contents(tmp_path / name) for name in ("python", "command"))
    assert one == other and "patches.csv" in one and len(one) > 6


def test_a_preset_by_its_name(own, tmp_path):
    with pytest.raises(UserError, match="'relase' is none of paper, release"):
        prepare_bach(own, tmp_path / "o", "relase")
    with pytest.raises(UserError, match="B1 stand in no split"):
        prepare_bach(own, tmp_path / "o", "release", stainer=MACENKO)  # its slides are BACH's
    with pytest.raises(UserError, match="give stainer=l2s_jax.MACENKO"):
        prepare_bach(own, tmp_path / "o", BachOptions(patch_size=SIZE, splits_file=own / "splits.csv"), HERE)


def contents(folder):
    """Bytes of every file of a manifest's folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_manifest_rows_are_in_the_order_of_the_sources(prepared):
    with (prepared[0] / "patches.csv").open() as file:
        groups = [row["group"] for row in csv.DictReader(file)]
    assert groups == sorted(groups, key=lambda name: name.startswith("photo"))
    assert not list(Path(prepared[0]).rglob(".partial-*"))
