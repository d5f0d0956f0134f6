"""From a folder of somebody's slides to a manifest whose pixels are what was drawn."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from helpers.commands import l2s
from helpers.dataset_generator import BACH_MPP, BLOCK, draw_tissue
from helpers.dicom_slides import write_dicom
from helpers.own_slides import (
    FRAME,
    IN_FRAME,
    REGIONS,
    SIDE,
    STROMA,
    TUMOUR,
    painted,
    write_own_slides,
    write_regions,
)
from helpers.slide_generator import corrupt_tile
from l2s_jax.data.check import check_manifest
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.pictures import read_mask
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides import drawn
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.stain.patches import MACENKO
from l2s_jax.system.errors import UserError

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[4] / "shared" / "data"))
REAL = DATA / "slides" / "CMU-1-Small-Region.svs"
SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    return write_own_slides(tmp_path_factory.mktemp("own") / "slides")


@pytest.fixture(scope="module")
def prepared(slides, tmp_path_factory):
    said = []
    out = tmp_path_factory.mktemp("prepared") / "out"
    return prepare_slides(slides, out, SMALL, HERE, say=said.append), said


@pytest.fixture
def copy(slides, tmp_path):
    """The slides again, to be changed: pictures are links."""

    def make(number=4):
        for path in sorted(slides.iterdir()):
            if int(path.stem[1]) <= number:
                (tmp_path / path.name).hardlink_to(path)
        return tmp_path

    return make


def redrawn(folder, name, regions):
    """A new file, so that the link to the old one is not written through."""
    (folder / f"{name}.geojson").unlink()
    return write_regions(folder / f"{name}.geojson", regions)


def place_of(row):
    return tuple(map(int, re.search(r"at row (\d+), col (\d+)", row.source).groups()))


def test_classes_and_colours_are_those_of_the_annotations(prepared):
    classes = prepared[0].manifest.classes
    assert classes.names == ("background", "Stroma", "Tumour")
    assert classes.colours[1:] == ((150, 200, 150), (200, 30, 60))
    assert classes.background == 0 and classes.ignore_value == 255
    assert check_manifest(prepared[0].manifest.folder).ok


def test_masks_are_what_was_drawn_and_unknown_elsewhere(prepared):
    manifest, truth = prepared[0].manifest, painted()
    rows = [row for row in manifest.patches if row.mask]
    assert len(rows) == len(manifest.patches) and {row.split for row in rows} == {"train", "val", "test"}
    for row in rows:
        top, left = place_of(row)
        mask = read_mask(row.mask, manifest.classes)
        expected = truth[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.testing.assert_array_equal(mask, expected)
        assert row.mpp == 7.5


def test_drawn_background_is_a_region_too(prepared):
    """Nothing else would say what background looks like."""
    manifest = prepared[0].manifest
    patches = [read_mask(row.mask, manifest.classes) for row in manifest.of_split("train")]
    assert any((mask == 0).mean() > 0.6 for mask in patches)


def test_windows_of_val_and_test_hold_each_known_pixel_once(prepared):
    rows = [*prepared[0].manifest.of_split("val"), *prepared[0].manifest.of_split("test")]
    seen = Counter()
    for row in rows:
        mask = read_mask(row.mask, prepared[0].manifest.classes)
        seen[row.group] += int((mask != 255).sum())
    assert set(seen.values()) == {int((painted() != 255).sum())}


def test_what_is_known_and_drawn_is_printed(prepared):
    text, printed = "\n".join(prepared[0].report), "\n".join(prepared[1])
    assert re.search(r"known tissue +\d+\.\d% +\d+\.\d% +\d+\.\d%", text)
    assert re.search(r"Tumour +8 +4 ", printed) and re.search(r"\(ignored\) +4 +4", printed)
    assert "s1.svs: s1.geojson" in printed


def test_undrawn_is_background_where_it_is_asked_for(copy, tmp_path_factory):
    out = tmp_path_factory.mktemp("undrawn") / "out"
    made = prepare_slides(copy(), out, replace(SMALL, undrawn="background"), HERE)
    truth = painted(undrawn=0)
    for row in made.manifest.patches:
        top, left = place_of(row)
        mask = read_mask(row.mask, made.manifest.classes)
        known = mask != 255  # windows have margins
        expected = truth[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.testing.assert_array_equal(mask[known], expected[known])


def test_tiles(copy, tmp_path_factory):
    out = tmp_path_factory.mktemp("tiles") / "out"
    made = prepare_slides(copy(), out, replace(SMALL, patches="tiles", dominance=0.99), HERE)
    truth = painted()
    for row in made.manifest.of_split("train"):
        top, left = place_of(row)
        assert top % 32 == 0 and left % 32 == 0
        expected = truth[top : top + 32, left : left + 32]
        if row.mask:
            np.testing.assert_array_equal(read_mask(row.mask, made.manifest.classes), expected)
        else:
            assert (expected == row.label).mean() >= 0.99


def test_only_what_changed_is_done_again(copy, tmp_path_factory):
    folder, out = copy(3), tmp_path_factory.mktemp("again") / "out"
    first = prepare_slides(folder, out, SMALL, HERE).manifest
    splits = {row.group: row.split for row in first.patches}
    written = {path: path.stat().st_mtime_ns for path in out.rglob("images/*/*.png")}
    write_own_slides(folder, 1, first=4)
    redrawn(folder, "s2", [*REGIONS, ("Necrosis", 114, 40, 126, 60)])
    second = prepare_slides(folder, out, SMALL, HERE).manifest
    assert {row.group: row.split for row in second.patches}.items() >= splits.items()
    assert second.classes.names == ("background", "Stroma", "Tumour", "Necrosis")
    for path, when in written.items():
        assert path.parent.name == "s2" or path.stat().st_mtime_ns == when
    assert {row.group for row in second.patches} == {"s1", "s2", "s3", "s4"}
    assert check_manifest(out).ok


@pytest.mark.slow
def test_workers_make_the_same(copy, prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("workers") / "out"
    made = prepare_slides(copy(), out, SMALL, WorkOptions(workers=2))
    assert made.manifest.sha256 == prepared[0].manifest.sha256


def test_a_slide_that_fails_costs_no_other(copy, tmp_path_factory):
    folder, out = copy(), tmp_path_factory.mktemp("fails") / "out"
    redrawn(folder, "s2", [("Tumour", 900, 900, 950, 950)])
    made = prepare_slides(folder, out, SMALL, HERE)
    assert len(made.failures) == 1 and "s2.geojson" in made.failures[0] and "outside" in made.failures[0]
    assert {row.group for row in made.manifest.patches} == {"s1", "s3", "s4"}
    redrawn(folder, "s2", REGIONS)
    assert {row.group for row in prepare_slides(folder, out, SMALL, HERE).manifest.patches} == {
        "s1", "s2", "s3", "s4",
    }  # fmt: skip


def test_derived_classes_are_renamed(copy, tmp_path_factory):
    folder, out = copy(), tmp_path_factory.mktemp("derived") / "out"
    redrawn(folder, "s1", [("Tumour: Positive", *TUMOUR[1:]), STROMA, FRAME])
    names = prepare_slides(folder, out, SMALL, HERE).manifest.classes.names
    assert "Tumour: Positive" in names
    options = replace(SMALL, rename={"Tumour: Positive": "Tumour"})
    work = replace(HERE, overwrite=True)
    assert prepare_slides(folder, out / "b", options, work).manifest.classes.names == (
        "background", "Stroma", "Tumour",
    )  # fmt: skip


def test_a_background_may_be_named_and_frames_called_otherwise(copy, tmp_path_factory):
    folder, out = copy(), tmp_path_factory.mktemp("frames") / "out"
    for name in ("s1", "s2", "s3", "s4"):
        redrawn(folder, name, [TUMOUR, STROMA, ("Done", *FRAME[1:]), IN_FRAME])
    options = replace(SMALL, frame=("Done",), background="Stroma")
    made = prepare_slides(folder, out, options, HERE).manifest
    assert made.classes.names == ("Stroma", "Tumour") and made.classes.background == 0
    truth = painted([TUMOUR, STROMA, FRAME, IN_FRAME], {"Stroma": 0, "Tumour": 1})
    for row in made.of_split("train"):
        top, left = place_of(row)
        np.testing.assert_array_equal(
            read_mask(row.mask, made.classes), truth[top : top + 32, left : left + 32]
        )


def test_given_classes_are_kept_with_their_codes(copy, tmp_path_factory, tmp_path):
    folder, out = copy(), tmp_path_factory.mktemp("given") / "out"
    file = folder / "classes.toml"
    file.write_text(
        'background = "other"\n[[class]]\nname = "Tumour"\ncolour = [1, 2, 3]\npixel_value = 7\n'
        '[[class]]\nname = "Stroma"\ncolour = [4, 5, 6]\npixel_value = 9\n'
        '[[class]]\nname = "other"\ncolour = [7, 8, 9]\npixel_value = 3\n'
    )
    made = prepare_slides(folder, out, replace(SMALL, classes=file), HERE).manifest
    assert made.classes.names == ("Tumour", "Stroma", "other") and made.classes.colours[0] == (1, 2, 3)
    assert check_manifest(out).ok
    found = np.unique(np.concatenate([read_mask(row.mask, made.classes).ravel() for row in made.patches]))
    assert found.tolist() == [0, 1, 2, 255]


def test_a_mask_knows_all_of_its_slide(copy, tmp_path_factory):
    from l2s_jax.data.pictures import write_png

    folder, out = copy(), tmp_path_factory.mktemp("masks") / "out"
    values = np.array([30, 10, 20], np.uint8)
    mask = values[np.where(painted() == 255, 0, painted())]
    for name in ("s1", "s2", "s3", "s4"):
        (folder / f"{name}.geojson").unlink()
        write_png(folder / f"{name}_mask.png", mask)
    file = folder / "classes.toml"
    file.write_text(
        'background = "rest"\n[[class]]\nname = "rest"\ncolour = [1, 2, 3]\npixel_value = 30\n'
        '[[class]]\nname = "Stroma"\ncolour = [4, 5, 6]\npixel_value = 10\n'
        '[[class]]\nname = "Tumour"\ncolour = [7, 8, 9]\npixel_value = 20\n'
    )
    with pytest.raises(UserError, match="--classes"):
        prepare_slides(folder, out, SMALL, HERE)
    made = prepare_slides(folder, out, replace(SMALL, classes=file), HERE).manifest
    truth = np.where(painted() == 255, 0, painted())
    for row in made.of_split("train"):
        top, left = place_of(row)
        np.testing.assert_array_equal(
            read_mask(row.mask, made.classes), truth[top : top + 32, left : left + 32]
        )


def test_the_command_says_what_scales_show(slides, tmp_path, capsys):
    assert l2s("prepare", "slides", slides, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "--mpp" in said and all(f"{mpp:g} " in said for mpp in (0.5, 1, 2, 8)) and "64 um" in said
    assert not (tmp_path / "out").exists()


def test_the_command(slides, tmp_path, capsys):
    words = ["--mpp", "7.5", "--patch-size", "32", "--stain", "off", "--workers", "1"]
    assert l2s("prepare", "slides", slides, tmp_path / "out", *words, "--split", "50", "25", "25") == 0
    splits = Counter(row.group and row.split for row in read_manifest(tmp_path / "out").patches)
    assert set(splits) == {"train", "val", "test"}
    assert "No problems" in capsys.readouterr().out


def test_a_slide_whose_file_states_a_wrong_scale(slides, tmp_path, capsys):
    """It is overridden where that is asked for, by the CSV file's column too, and never in silence."""
    twice, words = 2 * BACH_MPP, ["--mpp", "7.5", "--patch-size", "32", "--stain", "off", "--workers", "1"]
    drawn = slides / "s1.geojson"
    asked = ["inspect", slides / "s1.svs", "--annotations", drawn, *words[:4]]
    assert l2s(*asked, "--out", tmp_path / "a", "--slide-mpp", twice) == 0
    assert "if that is wrong, --slide-mpp-from given takes the other" in capsys.readouterr().out
    asked += ["--slide-mpp-from", "given"]
    assert l2s(*asked, "--out", tmp_path / "b", "--slide-mpp", twice) == 0
    asks = "as --slide-mpp-from given asks"
    said = f"mpp {twice:.4g} from {{}} is used, not {BACH_MPP:.4g} from openslide, {asks}"
    summary = (tmp_path / "b" / "summary.txt").read_text()
    assert said.format("option") in summary and f"{twice:.4g} um/px, from option" in summary
    assert l2s(*asked, "--out", tmp_path / "c") == 2
    assert "--slide-mpp-from given: no scale is given" in capsys.readouterr().err
    table = tmp_path / "own.csv"
    rows = [f"{slides / f's{n}.svs'},{twice}" for n in range(1, 5)]
    table.write_text("\n".join(["slide,mpp", *rows]) + "\n")
    assert l2s("prepare", "slides", table, tmp_path / "d", *words, "--slide-mpp-from", "given") == 0
    assert said.format("table") in capsys.readouterr().out
    assert 'slide_mpp_from = "given"' in (tmp_path / "d" / "prepared.toml").read_text()
    assert l2s("prepare", "slides", slides, tmp_path / "e", *words, "--slide-mpp-from", "given") == 2
    assert not (tmp_path / "e").exists() and "no scale is given" in capsys.readouterr().err


def test_one_slide_alone_cannot_be_split(copy, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    folder = copy(1)
    with pytest.raises(UserError, match=r"1 group.*--split 100 0 0"):
        prepare_slides(folder, out, SMALL, HERE)
    made = prepare_slides(folder, out / "b", replace(SMALL, split=(100, 0, 0)), HERE).manifest
    assert {row.split for row in made.patches} == {"train"}


def test_a_slide_smaller_than_a_patch_is_refused(copy, tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "out"
    with pytest.raises(UserError, match=rf"{SIDE} x {SIDE} pixels.*--mpp"):
        prepare_slides(copy(), out, replace(SMALL, patch_size=256), HERE)


def test_what_failed_before_anything_was_made_leaves_the_folder_free(copy, tmp_path_factory):
    folder, out = copy(1), tmp_path_factory.mktemp("free") / "out"
    with pytest.raises(UserError):
        prepare_slides(folder, out, SMALL, HERE)
    assert not out.exists()
    assert prepare_slides(folder, out, replace(SMALL, mpp=3.75, split=(100, 0, 0)), HERE).failures == ()


def test_other_shares_split_anew(copy, tmp_path_factory):
    out = tmp_path_factory.mktemp("shares") / "out"
    folder = copy()
    prepare_slides(folder, out, replace(SMALL, split=(100, 0, 0)), HERE)
    made = prepare_slides(folder, out, replace(SMALL, split=(50, 25, 25)), HERE).manifest
    assert Counter(split for _, split in {(row.group, row.split) for row in made.patches}) == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    assert check_manifest(out).ok


def test_dicom_slides_go_the_same_way(copy, tmp_path_factory):
    folder, out = copy(2), tmp_path_factory.mktemp("dicom") / "out"
    level0 = np.repeat(np.repeat(draw_tissue(SIDE, SIDE, 77), BLOCK, 0), BLOCK, 1)
    write_dicom(folder / "d" / "1.dcm", level0, series="1.2.3.9", mpp=BACH_MPP)
    write_regions(folder / "d.geojson")
    made = prepare_slides(folder, out, SMALL, HERE)
    assert made.failures == ()
    rows = [row for row in made.manifest.patches if row.group == "d"]
    truth = painted()
    for row in rows:
        top, left = place_of(row)
        mask = read_mask(row.mask, made.manifest.classes)
        expected = truth[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.testing.assert_array_equal(mask, expected)
    assert rows and check_manifest(out).ok
    # A file of the folder that is written over leaves the folder as it was.
    before = rows[0].image.read_bytes()
    write_dicom(folder / "d" / "1.dcm", level0[::-1], series="1.2.3.9", mpp=BACH_MPP)
    again = prepare_slides(folder, out, SMALL, HERE).manifest
    row = next(row for row in again.patches if row.image == rows[0].image)
    assert row.image.read_bytes() != before


@pytest.mark.parametrize("stain", ["off", "macenko"])
def test_a_slide_with_a_lost_block_is_refused_by_its_place(copy, tmp_path_factory, stain):
    """OpenSlide draws it without a word. The stain reference is not chosen from it either."""
    folder, out = copy(), tmp_path_factory.mktemp("lost") / "out"
    for name in ("s1", "s2", "s3", "s4"):
        with (folder / "splits.csv").open("a") as table:
            table.write("slide,split\n" if name == "s1" else "")
            table.write(f"{name}.svs,{'val' if name == 's3' else 'test' if name == 's4' else 'train'}\n")
    content = bytearray((folder / "s1.svs").read_bytes())
    with tifffile.TiffFile(folder / "s1.svs") as file:  # level 1 is what 3.75 um/px is read from
        page = [page for page in file.pages if page.is_tiled][1]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    content[offset + count // 2 : offset + count // 2 + 512] = bytes(512)
    (folder / "s1.svs").unlink()
    (folder / "s1.svs").write_bytes(content)
    options = replace(SMALL, mpp=3.75, stain=stain)
    stainer = None if stain == "off" else MACENKO
    made = prepare_slides(folder / "splits.csv", out, options, HERE, stainer=stainer)
    (failure,) = made.failures
    assert re.search(
        r"s1\.svs: cannot decode level 1 at level-0 row 0, col 0.*zeros.*copy or download", failure
    )
    assert {row.group for row in made.manifest.patches} == {"s2", "s3", "s4"} and check_manifest(out).ok


def test_a_slide_that_fails_now_leaves_nothing_of_an_earlier_time(copy, tmp_path_factory):
    folder, out = copy(), tmp_path_factory.mktemp("stale") / "out"
    prepare_slides(folder, out, SMALL, HERE)
    kept = (folder / "s2.geojson").stat()
    text = (folder / "s2.geojson").read_bytes()
    redrawn(folder, "s2", [("Tumour", 900, 900, 950, 950)])
    made = prepare_slides(folder, out, SMALL, HERE)
    assert len(made.failures) == 1 and not (out / "parts" / "s2.json").exists()
    # The old annotation put back as it was, its time too, is worked on again, since its pictures may be gone.
    (folder / "s2.geojson").unlink()
    (folder / "s2.geojson").write_bytes(text)
    os.utime(folder / "s2.geojson", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert prepare_slides(folder, out, SMALL, HERE).failures == () and check_manifest(out).ok


def test_a_slide_that_fails_half_way_is_named(copy, tmp_path_factory):
    folder, out = copy(), tmp_path_factory.mktemp("half") / "out"
    (folder / "s1.svs").rename(folder / "whole")
    # Level 1 is what 3.75 um/px is read from, and the overview is not.
    corrupt_tile(folder / "whole", folder / "s1.svs", 20 * BLOCK // 4, 20 * BLOCK // 4, level=1)
    (folder / "whole").unlink()
    made = prepare_slides(folder, out, replace(SMALL, mpp=3.75), HERE)
    assert len(made.failures) == 1 and "s1.svs" in made.failures[0] and "decode" in made.failures[0]
    assert {row.group for row in made.manifest.patches} == {"s2", "s3", "s4"}


def test_an_annotation_is_parsed_once(copy, tmp_path_factory, monkeypatch):
    out = tmp_path_factory.mktemp("once") / "out"
    calls, read = [], drawn.read_outlines
    monkeypatch.setattr(drawn, "read_outlines", lambda path: calls.append(path.name) or read(path))
    folder = copy()
    prepare_slides(folder, out, SMALL, HERE)
    prepare_slides(folder, out, SMALL, HERE)
    assert sorted(calls) == ["s1.geojson", "s2.geojson", "s3.geojson", "s4.geojson"]


def test_imagescope_layers_without_names(copy, tmp_path_factory):
    folder, out = copy(2), tmp_path_factory.mktemp("ids") / "out"
    for name in ("s1", "s2"):
        (folder / f"{name}.geojson").unlink()
        layers = "".join(
            f'<Annotation Id="{ident}" LineColor="{colour}"><Regions><Region Type="0"><Vertices>'
            + "".join(
                f'<Vertex X="{x * BLOCK}" Y="{y * BLOCK}"/>'
                for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
            )
            + "</Vertices></Region></Regions></Annotation>"
            for ident, colour, (_, top, left, bottom, right) in ((1, 255, TUMOUR), (2, 65280, STROMA))
        )
        (folder / f"{name}.xml").write_text(f"<Annotations>{layers}</Annotations>")
    options = replace(SMALL, split=(50, 0, 50))
    with pytest.raises(UserError, match="--class-ids"):
        prepare_slides(folder, out, options, HERE)
    options = replace(options, class_ids={"1": "Tumour", "2": "background"})
    made = prepare_slides(folder, out, options, HERE).manifest
    assert made.classes.names == ("background", "Tumour") and made.classes.colours[1] == (255, 0, 0)


@pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}; set L2S_DATA")
def test_the_real_slide(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / REAL.name).symlink_to(REAL)
    regions = [("Epithelium", 40, 62, 70, 90), ("Stroma", 80, 60, 120, 110), ("Ignore*", 150, 90, 160, 99)]
    write_regions(tmp_path / "in" / f"{REAL.stem}.geojson", regions)
    with pytest.raises(UserError, match="cannot be split"):
        prepare_slides(tmp_path / "in", tmp_path / "out", replace(SMALL, mpp=1), HERE)
    options = replace(SMALL, mpp=1, patch_size=64, split=(100, 0, 0))
    made = prepare_slides(tmp_path / "in", tmp_path / "out", options, HERE)
    assert made.failures == () and check_manifest(tmp_path / "out").ok
    assert made.manifest.classes.names == ("Epithelium", "Stroma") and len(made.manifest.patches) > 20
