"""`predict` and `evaluate-slides` with files of what is to be kept and what is to be left out."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from helpers.slide_generator import ellipses, write_qupath_geojson
from l2s_jax.data.classes import Classes
from l2s_jax.models.network import Outputs
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.predict import predict as predict_files
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.figures import judge_slide
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import predict_slides
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.slides.annotations.class_names import class_table
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.marked import part_of, read_marked
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

GLASS, PINK = (243, 240, 244), (200, 90, 150)
CLASSES = Classes(("glass", "gland"), ((255, 255, 255), (255, 0, 0)), (0, 1), background=0)
SIZE, WORKING = (768, 1024), 8.0  # at 8 um/px 48 x 64 pixels, the scale of the tissue mask


def all_gland(images):
    logits = np.zeros((len(images), images.shape[1] // 8, images.shape[2] // 8, 2), np.float32)
    logits[..., 1] = 1
    return Outputs(logits, logits.mean((1, 2)))


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "a.svs"
    scene = ellipses([(384, 512, 340, 460, PINK)], GLASS)
    return write_pyramidal_slide(path, scene, size=SIZE, mpp=0.5, compression="deflate")


def predict(slide, out, lines=None, **options):
    predictor = Predictor(all_gland, CLASSES, Tiling(32, 16, "gaussian", 8), WORKING, None, "", "network 1")
    say = (lines if lines is not None else []).append
    records, failures = predict_slides([slide], out, predictor, SlideOptions(readers=1, **options), say)
    return records.get(slide), failures, out / "a.ome.tif"


def box(top, left, bottom, right):
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def folder_of(path, mask):
    path.mkdir()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path / "a.png")
    return path


def test_what_is_left_out_has_no_class_and_no_area(slide, tmp_path):
    everything, _, class_map = predict(slide, tmp_path / "all")
    before = tifffile.imread(class_map)
    pen = np.zeros((48, 64), bool)
    pen[10:40, 20:30] = pen[:2, :2] = True  # over tissue, and in a corner of the glass
    lines = []
    record, failures, class_map = predict(
        slide, tmp_path / "out", lines, exclude=folder_of(tmp_path / "pen", pen)
    )
    assert not failures
    codes = tifffile.imread(class_map)
    np.testing.assert_array_equal(codes, np.where(pen, 255, before))
    assert record["areas_mm2"]["gland"] == pytest.approx((codes == 1).sum() * 64e-6)
    assert record["excluded_mm2"] == pytest.approx((pen & (before == 1)).sum() * 64e-6)
    assert record["tissue_mm2"] == everything["tissue_mm2"]
    share = (pen & (before == 1)).sum() / (before == 1).sum()
    assert any(f"leaves out a.png: {share:.1%} of the tissue" in line for line in lines)
    row = pd.read_csv(tmp_path / "out/areas.csv").iloc[0]
    assert row["mm2 excluded"] == pytest.approx(record["excluded_mm2"]) and row["within"] == "tissue"
    # The same with all of the slide predicted.
    _, _, class_map = predict(slide, tmp_path / "slide", exclude=tmp_path / "pen", within="slide")
    np.testing.assert_array_equal(tifffile.imread(class_map), np.where(pen, 255, 1))


def test_what_is_kept_takes_the_place_of_the_tissue(slide, tmp_path):
    kept = np.zeros((48, 64), bool)
    kept[:, 30:] = True
    lines = []
    record, failures, class_map = predict(
        slide, tmp_path / "out", lines, within=str(folder_of(tmp_path / "kept", kept))
    )
    assert not failures
    np.testing.assert_array_equal(tifffile.imread(class_map), kept)
    assert record["tissue_mm2"] == pytest.approx(kept.sum() * 64e-6) and record["within"] == "areas"
    assert "kept" in record["outside"]
    assert any("within a.png: 53.1% of the slide" in line for line in lines)


def test_a_file_of_the_other_polarity_is_said(slide, tmp_path):
    record, _, class_map = predict(slide, tmp_path / "all")
    tissue = tifffile.imread(class_map) == 1
    folder = folder_of(tmp_path / "wrong", ~tissue)
    lines = []
    predict(slide, tmp_path / "a", lines, within=str(folder))
    assert any("warning" in line and "holds less than half of the tissue" in line for line in lines)
    folder = folder_of(tmp_path / "keep", tissue)
    _, failures, _ = predict(slide, tmp_path / "b", exclude=folder)
    assert "leaves out all of its tissue" in failures[0] and "--within" in failures[0]
    _, failures, _ = predict(slide, tmp_path / "c", within=str(folder_of(tmp_path / "none", tissue & False)))
    assert "keeps nothing" in failures[0]


def test_a_changed_file_is_predicted_anew_and_the_same_one_is_not(slide, tmp_path):
    pen = np.zeros((48, 64), bool)
    pen[20:30, 20:30] = True
    folder = folder_of(tmp_path / "pen", pen)
    for expected in (False, True):
        lines = []
        predict(slide, tmp_path / "out", lines, exclude=folder)
        assert any("finished before" in line for line in lines) == expected
    Image.fromarray(np.roll(pen, 5).astype(np.uint8)).save(folder / "a.png")
    lines = []
    predict(slide, tmp_path / "out", lines, exclude=folder)
    assert any("predicted anew" in line for line in lines)
    lines = []
    predict(slide, tmp_path / "out", lines)
    assert any("predicted anew" in line for line in lines)


def test_folders_without_a_file_of_a_slide(slide, tmp_path):
    for options in ({"within": str(tmp_path)}, {"exclude": tmp_path}):
        with pytest.raises(
            UserError, match=r"holds no file named after any of the slides, such as a\.geojson"
        ):
            predict(slide, tmp_path / "out", **options)
    for options in ({"within": "tisue"}, {"exclude": tmp_path / "nowhere"}):
        with pytest.raises(UserError, match="is no folder; expected"):
            predict(slide, tmp_path / "out", **options)
    with pytest.raises(UserError, match="give --exclude FOLDER"):
        SlideOptions(exclude_only=("Pen",))
    # One slide of two has a file: what is to be left out may be missing, what is to be kept may not.
    other = slide.with_name("b.svs")
    if not other.exists():
        other.write_bytes(slide.read_bytes() + b"\0")
    marks = tmp_path / "marks"
    folder_of(marks, np.ones((48, 64), bool))
    predictor = Predictor(all_gland, CLASSES, Tiling(32, 16, "gaussian", 8), WORKING, None, "", "network 1")
    lines = []
    records, failures = predict_slides(
        [slide, other], tmp_path / "two", predictor, SlideOptions(within=str(marks)), lines.append
    )
    assert list(records) == [slide] and "b.svs" in failures[0] and "holds no file of it" in failures[0]
    (marks / "a.png").unlink()
    write_qupath_geojson(marks / "a.geojson", [("Pen", box(0, 0, 384, 512))])
    records, failures = predict_slides(
        [slide, other], tmp_path / "three", predictor, SlideOptions(exclude=marks), lines.append
    )
    assert len(records) == 2 and not failures
    assert any("b.svs" in line and "nothing is left out" in line for line in lines)


def test_a_name_that_no_file_has_is_said_before_slides_are_predicted(slide, tmp_path):
    write_qupath_geojson(tmp_path / "a.geojson", [("Pen", box(0, 0, 100, 100))])
    (tmp_path / "mpp.csv").write_text("slide,mpp\nA.SVS,0.5\nother,0.5\n")
    lines = []
    asked = {"exclude": tmp_path, "exclude_only": ("Pen", "Fold"), "mpp_table": tmp_path / "mpp.csv"}
    record, failures, _ = predict(slide, tmp_path / "out", lines, **asked)
    assert record and not failures
    assert lines[0].startswith("warning: --mpp-table") and "'A.SVS' may mean a.svs" in lines[0]
    assert lines[1].startswith("warning: --exclude-only Fold: in no file") and lines[1].endswith("are Pen")
    assert any("a.geojson has no Fold; it has Pen" in line for line in lines[2:])


def test_areas_are_not_passed_over_with_pictures(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    for options in (SlideOptions(exclude=tmp_path), SlideOptions(within=str(tmp_path))):
        with pytest.raises(UserError, match=r"a\.png is taken for a picture.*--slide"):
            predict_files(tmp_path, [tmp_path / "a.png"], tmp_path / "out", slides=options)


def test_what_is_left_out_is_not_scored(slide, tmp_path):
    write_qupath_geojson(tmp_path / "pen.geojson", [])
    marks = tmp_path / "marks"
    marks.mkdir()
    write_qupath_geojson(marks / "a.geojson", [("Pen", box(0, 0, 768, 512))])
    options = SlideOptions(exclude=marks)
    record, _, class_map = predict(slide, tmp_path / "out", exclude=marks)
    truth = write_qupath_geojson(tmp_path / "truth.geojson", [("gland", box(0, 0, 768, 1024))])
    opened = open_slide(slide)
    regions = read_annotations(truth, class_table(CLASSES))
    marked = read_marked(opened.path, opened, options.folders)
    tissue = part_of(opened, overview_of(opened), options.folders, marked).tissue
    judged = judge_slide(opened, class_map, record, regions, CLASSES, "unknown", tissue)
    right = tissue.mask[:, 32:].sum()
    np.testing.assert_array_equal(judged["tissue"].matrix, [[0, 0], [0, right]])
    assert judged["tissue"].pixels == tissue.mask.sum()
    assert judged["slide"].matrix.sum() == 48 * 32
    assert json.loads((tmp_path / "out/a.json").read_text())["exclude_areas"]
