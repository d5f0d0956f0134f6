"""`l2s inspect` says what `prepare slides` does."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from shapely import Polygon
from shapely.geometry import mapping

from helpers.commands import l2s
from helpers.own_slides import TUMOUR, write_own_slides, write_regions
from l2s_jax.prepare.options import ExtractionOptions, WorkOptions
from l2s_jax.prepare.slides import inspection
from l2s_jax.prepare.slides.inspection import inspect_own
from l2s_jax.prepare.slides.options import AnnotationOptions, SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.slides.slide import open_slide

SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off", split=(100, 0, 0))
HERE = WorkOptions(workers=1)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_own_slides(tmp_path_factory.mktemp("own") / "slides", 1) / "s1.svs"


def test_as_many_patches_as_prepare_makes(slide, tmp_path, capsys):
    words = ["--annotations", slide.with_suffix(".geojson"), "--mpp", "7.5", "--patch-size", "32"]
    assert l2s("inspect", slide, *words, "--out", tmp_path / "o") == 0
    printed = capsys.readouterr().out
    assert printed.startswith((tmp_path / "o" / "summary.txt").read_text()[:200])
    for way in ("centred", "tiles"):
        out = tmp_path / way
        rows = prepare_slides(slide.parent, out, replace(SMALL, patches=way), HERE).manifest.patches
        masks = sum(row.mask is not None for row in rows)
        assert f"{way}: {masks} mask patches, {len(rows) - masks} image-level patches" in printed
    for name in ("slide", "tissue", "mask", "centred", "tiles"):
        with Image.open(tmp_path / "o" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("RGB")).std() > 5, name
    assert re.search(r"known: \d+\.\d% of the tissue", printed) and "1 windows" in printed
    assert re.search(r"Tumour +2 ", printed)


def test_an_outline_that_crosses_itself_has_the_area_that_is_painted(tmp_path, slide, capsys):
    """It was measured by its signed area: 0 for a bow-tie, and the split goes by areas."""
    left, top, right, bottom = 2000, 1000, 3000, 2000
    bowtie = Polygon([(left, top), (right, bottom), (right, top), (left, bottom)])
    drawn = tmp_path / "a.geojson"
    drawn.write_text(
        json.dumps({"type": "Feature", "geometry": mapping(bowtie), "properties": {"name": "Tumour"}})
    )
    words = ["--annotations", drawn, "--mpp", "7.5", "--patch-size", "32", "--undrawn", "background"]
    assert l2s("inspect", slide, *words, "--background", "Stroma", "--out", tmp_path / "o") == 0
    area = 2 * 0.5 * 1000 * 500 * (open_slide(slide).mpp[0] / 1000) ** 2
    assert re.search(rf"Tumour +1 +1 +{area:.3g}\b", capsys.readouterr().out)


def test_what_prepare_would_refuse_is_said(slide, tmp_path):
    drawn, said = write_regions(tmp_path / "a.geojson", [TUMOUR]), []
    options, extraction = AnnotationOptions(), ExtractionOptions(patch_size=32)
    inspect_own(slide, tmp_path / "o", drawn, 7.5, options=options, extraction=extraction, say=said.append)
    assert any("would refuse" in line and "--undrawn background" in line for line in said)


def test_a_slide_too_large_to_be_shown_is_shown_coarser(slide, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "MOST_SHOWN", 64 * 64)
    said = []
    inspect_own(
        slide,
        tmp_path / "o",
        slide.with_suffix(".geojson"),
        7.5,
        options=AnnotationOptions(),
        extraction=ExtractionOptions(patch_size=32),
        say=said.append,
    )
    with Image.open(tmp_path / "o" / "slide.png") as picture:
        assert picture.size == (64, 64)
    assert any(line.startswith("centred: ") and "0 mask" not in line for line in said)


def test_variants_of_the_release_are_not_shown_as_if_they_were_used(slide, tmp_path, capsys):
    words = ["--annotations", slide.with_suffix(".geojson"), "--preset", "release"]
    assert l2s("inspect", slide, *words, "--out", tmp_path / "o") == 2
    said = capsys.readouterr().err
    assert "--small-region" in said and "--bach" in said


@pytest.mark.parametrize("more", [["--bach"], []])
@pytest.mark.parametrize("option", [["--exclude", "pen"], ["--undrawn", "background"], ["--frame", "Area"]])
def test_options_of_own_slides_are_not_passed_over_elsewhere(slide, tmp_path, capsys, option, more):
    out = tmp_path / "out"
    assert l2s("inspect", slide, "--out", out, *more, *option) == 2
    assert option[0] in capsys.readouterr().err and not out.exists()
