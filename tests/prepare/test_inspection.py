import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.dataset_generator import BOXES, HEIGHT, WIDTH, Drawn, draw_tissue, paint_boxes, write_slide
from helpers.slide_generator import write_qupath_geojson
from l2s_jax.cli import app as cli
from l2s_jax.data.check import check_manifest
from l2s_jax.data.pictures import read_mask
from l2s_jax.phantom.slide_writing import write_bach_xml
from l2s_jax.prepare.bach import prepare_bach
from l2s_jax.prepare.options import BachOptions, WorkOptions
from l2s_jax.slides.slide import open_slide
from l2s_jax.stain.patches import MACENKO

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "slides" / "CMU-1-Small-Region.svs"
needs_slide = pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}; set L2S_DATA")

FIGURES = ("slide", "tissue", "mask", "centred", "tiles", "centred_and_tiled", "splitting")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    mask = paint_boxes(BOXES)
    write_slide(folder / "A01.svs", Drawn(draw_tissue(HEIGHT, WIDTH, 1, mask), mask), BOXES)
    return folder / "A01.svs"


def test_a_slide_and_its_annotation(slide, tmp_path, capsys):
    arguments = [
        "inspect",
        str(slide),
        "--bach",
        "--annotations",
        str(slide.with_suffix(".xml")),
        "--patch-size",
        "32",
    ]
    assert cli.run([*arguments, "--out", str(tmp_path / "o")]) == 0
    for name in FIGURES:
        with Image.open(tmp_path / "o" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("RGB")).std() > 5, name
    text = (tmp_path / "o" / "summary.txt").read_text()
    assert text in capsys.readouterr().out
    for line in (
        "A01.svs (aperio, 20x)",
        "level 0: 1536 x 2048 pixels (height x width), 0.72 x 0.96 mm",
        "mpp: 0.4688 um/px, from openslide",
        "level 2: 96 x 128, downsample 16.0000",
        "annotation: 4 regions",
        "annotation states 0.4688 um/px",
    ):
        assert line in text.splitlines(), line
    shares = {name: (paint_boxes(BOXES) == code).mean() for code, name in ((1, "benign"), (3, "invasive"))}
    assert f"  benign: 2 regions, {shares['benign']:.1%} of the slide" in text
    assert f"  invasive: 1 regions, {shares['invasive']:.1%} of the slide" in text
    assert re.search(r"at 7.5 um/px: 96 x 128 pixels, tissue \d+\.\d% \(0\.\d+ mm2\)", text)
    assert re.search(r"centred: \d+ mask patches, 0 image-level patches", text)
    assert re.search(r"tiles: \d+ mask patches, \d+ image-level patches", text)


def test_ignored_and_vanishing_regions_are_said(slide, tmp_path, capsys):
    regions = [("invasive", [[(0, 0), (1024, 0), (1024, 1536), (0, 1536)]])]
    regions += [("pen", [[(0, 0), (512, 0), (512, 768), (0, 768)]]), ("benign", [[(1, 1), (4, 1), (4, 4)]])]
    drawn = write_qupath_geojson(tmp_path / "a.geojson", regions)
    arguments = ["inspect", str(slide), "--bach", "--annotations", str(drawn), "--patch-size", "32"]
    assert cli.run([*arguments, "--out", str(tmp_path / "o"), "--ignore", "pen"]) == 0
    printed = capsys.readouterr().out
    assert "invasive: 1 regions, 37.5% of the slide" in printed
    assert "ignored: 1 regions, 12.5% of the slide is not known" in printed
    assert "1 regions smaller than a pixel at 7.5 um/px" in printed
    drawn = write_qupath_geojson(tmp_path / "b.geojson", regions[2:])
    arguments = ["inspect", str(slide), "--bach", "--annotations", str(drawn), "--out", str(tmp_path / "p")]
    assert cli.run(arguments) == 2
    assert "b.geojson: none of its 1 regions covers a pixel at 7.5 um/px" in capsys.readouterr().err


def test_without_an_annotation_only_the_tissue_is_drawn(slide, tmp_path):
    assert cli.run(["inspect", str(slide), "--out", str(tmp_path / "o")]) == 0
    shown = {path.name for path in (tmp_path / "o").iterdir() if not path.name.startswith(".")}
    assert shown == {"slide.png", "tissue.png", "summary.txt", "outputs.jsonl"}


def test_a_blank_picture_is_described(tmp_path, capsys):
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.png")
    arguments = ["inspect", str(tmp_path / "white.png"), "--slide-mpp", "7.5", "--out", str(tmp_path / "o")]
    assert cli.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "no tissue was found" in printed and "no pyramid" in printed and "from option" in printed


@pytest.mark.parametrize(
    "options, message",
    [
        (["--annotations", "none.xml"], "cannot read none.xml"),
        (["--classes", "none.toml"], "--classes: a slide without --annotations has no such option"),
        (["--mpp", "0.001"], "Choose a coarser scale"),
        (["--patch-size", "0"], "patch_size = 0 must be 1 to"),
    ],
)
def test_what_cannot_be(slide, tmp_path, options, message, capsys):
    assert cli.run(["inspect", str(slide), "--out", str(tmp_path / "o"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """CMU-1-Small-Region in BACH's layout, with three made-up regions; level-0 pixels, (x, y)."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "WSI").mkdir()
    (folder / "WSI" / "CMU.svs").symlink_to(REAL)
    small = [(966, 550), (1210, 545), (1200, 770), (980, 740)]
    large = [(950, 900), (1500, 880), (1480, 2150), (970, 2200)]
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = [(1100 + 200 * np.cos(a), 2650 + 150 * np.sin(a)) for a in angle]
    regions = [("Benign", small), ("Invasive carcinoma", large), ("Carcinoma in situ", ring)]
    write_bach_xml(folder / "WSI" / "CMU.xml", regions, mpp=0.499)
    (folder / "splits.csv").write_text("slide,split\nCMU,train\n")
    return folder


@needs_slide
def test_the_real_slide_becomes_patches(real, tmp_path):
    """2967 x 2220 level-0 pixels of 0.499 um are 198 x 148 at 7.5 um/px: patches of 32."""
    out = tmp_path / "o"
    options = BachOptions(patch_size=32, min_foreground=0.3, splits_file=real / "splits.csv")
    result = prepare_bach(real, out, options, WorkOptions(workers=1), stainer=MACENKO)
    assert result.failures == () and check_manifest(out).ok
    classes = result.manifest.classes
    pixels = sum(
        np.bincount(read_mask(row.mask, classes).ravel(), minlength=4) for row in result.manifest.patches
    )
    assert (pixels[1:] > 0).all()
    # Region areas at 7.5 um/px by the shoelace formula; a small region lies wholly in its patch.
    scale = (open_slide(REAL).mpp[0] / 7.5) ** 2
    assert pixels[2] == pytest.approx(np.pi * 200 * 150 * scale, rel=0.05)
    assert any("own fit" in line for line in result.report)


@needs_slide
def test_the_real_slide_is_inspected(real, tmp_path, capsys):
    arguments = [
        "inspect",
        str(REAL),
        "--bach",
        "--annotations",
        str(real / "WSI" / "CMU.xml"),
        "--patch-size",
        "32",
    ]
    assert cli.run([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "level 0: 2967 x 2220 pixels" in printed and "mpp: 0.499 um/px, from openslide" in printed
    assert all((tmp_path / f"{name}.png").is_file() for name in FIGURES)


def test_no_file_of_another_origin_is_drawn_over(slide, tmp_path, capsys):
    (tmp_path / "mask.png").write_text("drawn by hand")
    assert cli.run(["inspect", str(slide), "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "mask.png") in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
    assert cli.run(["inspect", str(slide), "--out", str(tmp_path / "o")]) == 0
    other = tmp_path / "other.svs"
    other.write_bytes(slide.read_bytes())
    capsys.readouterr()
    assert cli.run(["inspect", str(other), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert str(slide) in said and str(other) in said
