"""Small pictures and figures of all slides on one page that opens offline."""

import base64
import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import shapely
from PIL import Image

from helpers.browser import CHROMIUM, chromium_page
from helpers.dataset_generator import BACH_MPP, BLOCK, draw_tissue
from helpers.own_slides import COLOURS, REGIONS, SIDE, STROMA, TUMOUR, write_own_slides, write_regions
from l2s_jax.data.classes import Classes
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.looking import Looked, with_marks
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.prepare.slides.quality_page import FIGURES, quality_page
from l2s_jax.prepare.slides.thumbnails import outline_codes
from l2s_jax.slides.annotations.types import Region
from l2s_jax.stain.patches import MACENKO

SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)
CLASSES = Classes(("background", "Tumour"), ((0, 0, 0), (200, 30, 60)), (0, 1), background=0)


def looked(name, thumbnail="", notes=(), **figures):
    return Looked(name, f"patient of {name}", "train", figures, thumbnail, notes)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Five, of which one is blurred and one has green ink on it."""
    folder = write_own_slides(tmp_path_factory.mktemp("own") / "slides", 3)
    for seed, name in ((4, "s4"), (5, "s5")):
        level0 = np.repeat(np.repeat(draw_tissue(SIDE, SIDE, seed), BLOCK, 0), BLOCK, 1)
        if name == "s4":
            small = Image.fromarray(level0).resize((SIDE // 8, SIDE // 8), Image.Resampling.BOX)
            level0 = np.asarray(small.resize((SIDE * BLOCK, SIDE * BLOCK), Image.Resampling.BICUBIC))
        else:
            level0[: 30 * BLOCK, : 60 * BLOCK] = (40, 140, 70)
        write_pyramidal_slide(folder / f"{name}.svs", level0, mpp=BACH_MPP, quality=95)
        write_regions(folder / f"{name}.geojson")
    return folder


def rows_of(out):
    with (out / "quality.csv").open(newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def pictures_of(text):
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found))))
        for found in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    ]


def test_a_page_and_a_table_of_all_slides(slides, tmp_path):
    made = prepare_slides(slides, tmp_path / "out", SMALL, HERE)
    rows, text = rows_of(tmp_path / "out"), (tmp_path / "out" / "quality.html").read_text()
    assert sorted(rows) == [f"s{n}.svs" for n in range(1, 6)]
    assert "blurred beside the others" in rows["s4.svs"]["look_at"]
    assert "colours of ink" in rows["s5.svs"]["look_at"]
    assert float(rows["s5.svs"]["ink_share"]) > 0.05 and not rows["s1.svs"]["look_at"]
    assert {rows[name]["split"] for name in rows} == {"train", "val", "test"}
    assert all(float(row["tissue_share"]) > 0 and not row["stain_angle"] for row in rows.values())
    assert any("2 of 5 slides to be looked at first" in line for line in made.report)
    # The odd ones come first.
    names = re.findall(r'<th scope="row">(s\d\.svs)</th>', text)
    assert set(names[:2]) == {"s4.svs", "s5.svs"} and names[2:] == ["s1.svs", "s2.svs", "s3.svs"]
    assert len(pictures_of(text)) == 5 and text.count('<tr class="odd">') == 2
    assert "http" not in re.sub(r'http-equiv|"http://www.w3.org[^"]*"', "", text)
    assert len(text) < 5 * 40_000 + 20_000


def test_outlines_are_where_they_were_drawn(slides, tmp_path):
    prepare_slides(slides, tmp_path / "out", SMALL, HERE)
    text = (tmp_path / "out" / "quality.html").read_text()
    picture = pictures_of(text.split(">s1.svs</th>")[1])[0].astype(int)
    scale = picture.shape[0] / SIDE
    for name, top, left, bottom, right in (TUMOUR, STROMA):
        for row, col in ((top, (left + right) / 2), ((top + bottom) / 2, right)):
            at = np.array([row, col]) * scale
            low, high = np.floor(at).astype(int) - 2, np.floor(at).astype(int) + 2
            near = picture[low[0] : high[0], low[1] : high[1]].reshape(-1, 3)
            assert np.abs(near - COLOURS[name]).max(1).min() < 40, (name, row, col)
    inside = picture[int(24 * scale), int(30 * scale)]
    assert np.abs(inside - COLOURS["Tumour"]).max() > 40


@pytest.mark.slow
def test_a_rerun_renews_the_row_of_what_changed(slides, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in slides.iterdir():
        (folder / path.name).hardlink_to(path)
    out = tmp_path / "out"
    prepare_slides(folder, out, SMALL, HERE)
    before, first = rows_of(out), (out / "quality.html").read_text()
    again = prepare_slides(folder, out, SMALL, HERE)
    assert (out / "quality.html").read_text() == first and not again.failures
    (folder / "s2.geojson").unlink()
    write_regions(folder / "s2.geojson", [*REGIONS, ("Tumour", 100, 20, 126, 60)])
    prepare_slides(folder, out, SMALL, HERE)
    after = rows_of(out)
    assert [name for name in after if after[name] != before[name]] == ["s2.svs"]
    assert float(after["s2.svs"]["known_share"]) > float(before["s2.svs"]["known_share"])


def test_what_failed_stands_below_the_others(slides, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in slides.iterdir():
        (folder / path.name).hardlink_to(path)
    (folder / "s3.geojson").unlink()
    write_regions(folder / "s3.geojson", [("Tumour", 900, 900, 950, 950)])
    prepare_slides(folder, tmp_path / "out", SMALL, HERE)
    text = (tmp_path / "out" / "quality.html").read_text()
    assert "s3.geojson" in text.split("Not in the data set")[1] and "s3.svs" not in rows_of(tmp_path / "out")


@pytest.mark.slow
def test_stains_are_compared_with_the_reference(slides, tmp_path):
    prepare_slides(slides, tmp_path / "out", replace(SMALL, stain="macenko"), HERE, stainer=MACENKO)
    angles = [float(row["stain_angle"]) for row in rows_of(tmp_path / "out").values() if row["stain_angle"]]
    assert len(angles) >= 4 and all(0 <= angle < 90 for angle in angles) and len(set(angles)) > 1


def test_marks_compare_slides_of_one_data_set():
    usual = {"sharpness": 0.3, "stain_angle": 6.0, "ink_share": 0.0, "tissue_share": 0.2, "excluded_share": 0}
    slides = [looked(f"s{n}", **usual) for n in range(4)]
    odd = {
        "blurred": {"sharpness": 0.14},
        "stains": {"stain_angle": 13.0},
        "ink": {"ink_share": 0.02},
        "little": {"tissue_share": 0.001},
        "left out": {"excluded_share": 0.7},
        "off": {"drawn_on_tissue": 0.3},
        "damaged": {"unreadable_share": 1e-6},
    }
    for name, figures in odd.items():
        found = with_marks([*slides, looked(name, **(usual | figures))])
        assert found[0].name == name and len(found[0].marks) == 1
        assert [one.name for one in found[1:]] == ["s0", "s1", "s2", "s3"]
        assert not any(one.marks for one in found[1:])
    # Two are no measure of each other, and what could not be measured is no mark.
    assert not any(one.marks for one in with_marks([slides[0], looked("b", **(usual | odd["blurred"]))]))
    nothing = dict.fromkeys(FIGURES)
    assert not any(one.marks for one in with_marks([*slides, looked("n", **nothing)]))


def test_outlines_of_every_size_are_seen():
    hole = shapely.box(320, 320, 360, 360).exterior
    ringed = shapely.Polygon(shapely.box(300, 300, 380, 380).exterior, [hole])
    regions = [
        Region(shapely.box(10, 20, 200, 120), 1),
        Region(ringed, 2),
        Region(shapely.box(500.2, 500.2, 500.4, 500.4), 3),
        Region(shapely.box(-50, 580, 90, 700), 255),
    ]  # fmt: skip
    lines = outline_codes(regions, (60, 60), (10.0, 10.0))
    assert lines[2, 1] == 1 and lines[2, 19] == 1 and lines[12, 10] == 1 and lines[7, 10] == -1
    assert lines[30, 35] == 2 and lines[32, 34] == 2 and lines[36, 36] == 2 and lines[34, 34] == -1
    assert lines[50, 50] == 3 and (lines == 255).any() and lines[58, 5] == 255
    assert (outline_codes([], (5, 5), (1.0, 1.0)) == -1).all()
    # The parts that are drawn at once do not show.
    many = [Region(shapely.Point(i * 7 % 600, i * 13 % 600).buffer(4), i % 5) for i in range(2000)]
    whole = outline_codes(many, (60, 60), (10.0, 10.0))
    assert (whole >= 0).mean() > 0.5 and set(np.unique(whole)) <= {-1, 0, 1, 2, 3, 4}


def test_names_are_no_markup():
    evil = '<img src=x onerror=alert(1)>"'
    classes = Classes((evil, "b"), ((1, 2, 3), (4, 5, 6)), (0, 1))
    one = looked(evil, thumbnail='"><script>', notes=(evil,), sharpness=0.2)
    text = quality_page([one._replace(group=evil, marks=(evil,))], classes, [evil])
    assert "<img src=x" not in text and '"><script>' not in text


def test_hundreds_of_slides_are_one_small_page(rng):
    """A page is text that is made once: what it takes grows with the pictures, and they are small."""
    noise = Image.fromarray(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8))
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=75, subsampling=0)
    worst = base64.b64encode(out.getvalue()).decode()
    text = quality_page(with_marks([looked(f"s{n}", worst, sharpness=0.2) for n in range(500)]), CLASSES)
    assert text.count("<tr") == 501 and len(text) < 500 * (len(worst) + 1000)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_page_sorts_and_asks_for_nothing(slides, tmp_path):
    prepare_slides(slides, tmp_path / "out", SMALL, HERE)
    names = 'Array.from(document.querySelectorAll("tbody th")).map(cell => cell.textContent).join()'
    with chromium_page(tmp_path / "browser") as page:
        url = (tmp_path / "out" / "quality.html").as_uri()
        page.open(url)
        loaded = "Array.from(document.images).filter(one => one.naturalWidth > 50).length"
        assert page.run(loaded) == 5
        first = page.run(names).split(",")
        heads = 'Array.from(document.querySelectorAll("thead button"))'
        page.run(f'{heads}.find(one => one.textContent === "sharpness").click()')
        assert page.run(names).split(",")[0] == "s4.svs"
        page.run(f'{heads}.find(one => one.textContent === "slide").click()')
        assert page.run(names).split(",") == sorted(first)
        assert page.requests == [url] or all(one.startswith(("data:", url)) for one in page.requests)
        assert not page.logged
