import json
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from sklearn import metrics as sk

from helpers.dicom_writer import write_dicom_level
from helpers.runs import with_slide
from helpers.slide_generator import corrupt_tile, cut_off, ellipses, write_qupath_geojson
from l2s_jax.cli import app as cli
from l2s_jax.config import TrainConfig
from l2s_jax.data.classes import Classes, write_classes
from l2s_jax.data.manifest import STAIN, read_manifest, write_patches
from l2s_jax.models.network import Outputs
from l2s_jax.phantom.slide_writing import write_bach_xml, write_pyramidal_slide
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.predictor import Predictor, load_predictor
from l2s_jax.prediction.slides.evaluate import evaluate_slides, find_annotation
from l2s_jax.prediction.slides.figures import Judged, judge_slide
from l2s_jax.prediction.slides.job import SlideJob, area_of
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outlines import traced_grid, write_outlines
from l2s_jax.prediction.slides.predict import predict_slides
from l2s_jax.prediction.stains import fit_slide, in_stains_of
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.runs.folder import EarlierRun, learned_from, open_run, read_run_classes, write_earlier_runs
from l2s_jax.runs.leaks import Leak
from l2s_jax.slides.annotations.class_names import class_table
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import read_annotations
from l2s_jax.slides.one_slide import each_once
from l2s_jax.slides.overview import find_tissue
from l2s_jax.slides.row_file import scratch_picture, write_block
from l2s_jax.slides.slide import is_slide, open_slide
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.reference_file import save_reference
from l2s_jax.system.csv_rows import replace_row
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

ROOT = Path(__file__).parents[2]
GLASS, PINK, PURPLE = (243, 240, 244), (220, 120, 170), (110, 60, 150)
CLASSES = Classes(
    ("stroma", "pink gland", "purple gland"), ((9, 9, 9), (255, 0, 0), (0, 0, 255)), (0, 1, 2), 0
)
SIZE, MPP, WORKING = (1200, 1600), 1.0, 4.0
PARTS = [(400, 450, 250, 300, PINK), (800, 1150, 250, 300, PURPLE)]
"""(row, col, row radius, col radius, colour) in level-0 pixels."""


def by_colour(images):
    """A network that is surest of the class whose colour an 8x8 cell has."""
    k, height, width, _ = images.shape
    cells = images.reshape(k, height // 8, 8, width // 8, 8, 3).astype(np.float32).mean((2, 4))
    colours = np.array([GLASS, PINK, PURPLE], np.float32)
    logits = -np.abs(cells[..., None, :] - colours).sum(-1) / 20
    return Outputs(logits, logits.mean((1, 2)))


def no_network(images):
    raise AssertionError("nothing should have been predicted")


def predictor(forward=by_colour, classes=CLASSES, mpp=WORKING):
    return Predictor(forward, classes, Tiling(32, 16, "gaussian", 8), mpp, None, "", "network 1")


def options(**changes):
    return SlideOptions(**{"readers": 2, "enlargement": "nearest", "simplify": 0.0} | changes)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "case 1.svs"
    return write_pyramidal_slide(path, ellipses(PARTS, GLASS), size=SIZE, mpp=MPP, compression="deflate")


def truth_at(step, parts=PARTS, size=SIZE):
    """Class codes by the ellipses' equation at the centres of pixels of `step` level-0 pixels."""
    rows = (np.arange(size[0] // step) + 0.5)[:, None] * step
    columns = (np.arange(size[1] // step) + 0.5)[None] * step
    codes = np.zeros((size[0] // step, size[1] // step), np.uint8)
    for code, (y, x, row_radius, col_radius, _) in enumerate(parts, 1):
        codes[((rows - y) / row_radius) ** 2 + ((columns - x) / col_radius) ** 2 < 1] = code
    return codes


def run_one(path, out, lines=None, forward=by_colour, classes=CLASSES, mpp=WORKING, **changes):
    say = (lines if lines is not None else []).append
    records, failures = predict_slides([path], out, predictor(forward, classes, mpp), options(**changes), say)
    return records.get(path), failures


@pytest.fixture(scope="module")
def done(slide, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    record, failures = run_one(slide, out, entropy=True)
    assert not failures
    return out, record


def test_the_class_map_is_right_and_opens_elsewhere(slide, done):
    out, record = done
    with tifffile.TiffFile(out / "case 1.ome.tif") as file:
        codes = file.asarray()
        assert file.is_ome and 'PhysicalSizeX="4.0"' in file.ome_metadata
        assert "0 stroma, 1 pink gland, 2 purple gland; 255 no class" in file.ome_metadata
    truth = truth_at(4)
    assert codes.shape == truth.shape == tuple(record["size"])
    # A cell of 8 pixels that is mostly of one class may take its neighbours along.
    near = ndimage.maximum_filter(truth, 17) != ndimage.minimum_filter(truth, 17)
    np.testing.assert_array_equal(codes[~near], truth[~near])
    assert (codes == truth).mean() > 0.97
    with openslide.OpenSlide(out / "case 1.ome.tif") as opened:
        assert opened.dimensions == (400, 300)
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(4)
        shown = np.asarray(opened.read_region((0, 0), 0, (400, 300)))[..., :3]
    np.testing.assert_array_equal(shown, np.array(CLASSES.colours)[codes])
    reopened = open_slide(out / "case 1.ome.tif")
    assert reopened.mpp == pytest.approx((4, 4)) and reopened.mpp_source == "ome"


def test_outlines_have_the_right_names_and_places(slide, done):
    out, _ = done
    content = json.loads((out / "case 1.geojson").read_text())
    found = {feature["properties"]["classification"]["name"]: feature for feature in content["features"]}
    assert set(found) == {"pink gland", "purple gland"}  # the background is left out
    assert found["pink gland"]["properties"]["classification"]["color"] == [255, 0, 0]
    for feature in content["features"]:
        assert feature["geometry"]["type"] == "Polygon"
        assert all(ring[0] == ring[-1] for ring in feature["geometry"]["coordinates"])
    regions = read_annotations(out / "case 1.geojson", class_table(CLASSES)).regions
    for code, (row, col, row_radius, col_radius, _) in enumerate(PARTS, 1):
        area = sum(region.polygon.area for region in regions if region.code == code)
        # The outline runs along cells of 8 pixels of 4 level-0 pixels: half a cell on its perimeter is 12%.
        assert area == pytest.approx(np.pi * row_radius * col_radius, rel=0.12)
        largest = max((r.polygon for r in regions if r.code == code), key=lambda polygon: polygon.area)
        # One cell of the network is 8 pixels of 4 level-0 pixels.
        assert (largest.centroid.y, largest.centroid.x) == pytest.approx((row, col), abs=32)
    painted = paint(read_annotations(out / "case 1.geojson", class_table(CLASSES)), (300, 400), (4, 4))
    np.testing.assert_array_equal(painted, tifffile.imread(out / "case 1.ome.tif"))


def test_areas_overlay_entropy_and_record(slide, done):
    out, record = done
    codes = tifffile.imread(out / "case 1.ome.tif")
    table = pd.read_csv(out / "areas.csv", index_col="slide")
    for code, name in ((1, "pink gland"), (2, "purple gland")):
        area = (codes == code).sum() * 0.004**2
        assert table.loc["case 1", f"mm2 {name}"] == pytest.approx(area, rel=1e-5)
        assert record["areas_mm2"][name] == pytest.approx(area)
        assert area == pytest.approx(np.pi * 0.25 * 0.3, rel=0.12)
    assert table.loc["case 1", "mm2 tissue"] == pytest.approx(sum(record["areas_mm2"].values()), rel=0.01)
    assert table.loc["case 1", "within"] == "tissue" and table.loc["case 1", "mm2 unreadable"] == 0
    assert record == json.loads((out / "case 1.json").read_text())
    assert record["outside"] == "not predicted: 0 (stroma) outside the tissue mask at 8 um/px"
    assert record["stain"].startswith("as they are")
    with Image.open(out / "case 1_overlay.png") as picture:
        shown = np.asarray(picture)
    assert shown.shape == (300, 400, 3)
    assert tuple(shown[5, 5]) == GLASS and shown[100, 112, 0] > PINK[0]  # red laid over pink
    entropy = tifffile.imread(out / "case 1_entropy.ome.tif")
    assert entropy[5, 5] == 0 and entropy[100, 112] < 40
    edge = np.argmax(entropy[100])
    assert codes[100, edge - 12] != codes[100, edge + 12]  # least sure at an outline
    left = sorted(path.name for path in out.iterdir() if not path.name.endswith(".lock"))
    assert left == sorted(
        ["areas.csv", "outputs.jsonl", "quality.csv"]
        + [f"case 1{end}" for end in (".geojson", ".json", ".ome.tif", "_entropy.ome.tif", "_overlay.png")]
    )


def test_a_grey_map_holds_the_same_codes(slide, done, tmp_path):
    record, failures = run_one(slide, tmp_path, grey_map=True)
    assert not failures and record["key"] != done[1]["key"]
    codes = tifffile.imread(tmp_path / "case 1_codes.tif")
    np.testing.assert_array_equal(codes, tifffile.imread(done[0] / "case 1.ome.tif"))
    lines = []
    run_one(slide, tmp_path, lines, grey_map=True)
    assert "finished before" in lines[0]


def test_rows_that_are_gone_come_back_and_files_that_are_gone_are_named(slide, done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    before = {name: (out / name).read_bytes() for name in ("areas.csv", "quality.csv")}
    for name, content in before.items():  # the header alone is left of one, nothing of the other
        (out / name).write_bytes(content.split(b"\n")[0] + b"\n")
    (out / "quality.csv").unlink()
    lines = []
    run_one(slide, out, lines, no_network, entropy=True)
    assert lines == ["case 1.svs (1 of 1): finished before; its row was put back into areas.csv, quality.csv"]
    assert before == {name: (out / name).read_bytes() for name in before}
    (out / "case 1.geojson").unlink()
    lines.clear()
    run_one(slide, out, lines, entropy=True)
    assert any("case 1.geojson is gone; predicted anew" in line for line in lines)
    assert (out / "case 1.geojson").read_bytes() == (done[0] / "case 1.geojson").read_bytes()


def test_finished_slides_are_skipped_and_others_are_not(slide, done):
    out, record = done
    lines = []
    again, failures = run_one(slide, out, lines, no_network, entropy=True)
    assert again == record and not failures and "finished before" in lines[0]
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    for change in ({"within": "slide", "entropy": True}, {"mpp": 5.0}):
        with pytest.raises(AssertionError, match="nothing should have been predicted"):
            run_one(slide, out, forward=no_network, **change)
    assert whole == {
        path.name: path.read_bytes() for path in out.iterdir()
    }  # it stays until there is a new one
    (out / "case 1.geojson").unlink()
    with pytest.raises(AssertionError, match="nothing should have been predicted"):
        run_one(slide, out, forward=no_network, entropy=True)
    run_one(slide, out, entropy=True)
    assert len(pd.read_csv(out / "areas.csv")) == 1


def write_dicom_slide(folder):
    """Two levels of the slide with two ellipses, a file each."""
    image = np.broadcast_to(ellipses(PARTS, GLASS)(0, 0, 1216, 1600, 1), (1216, 1600, 3))
    for name, step in (("1-1", 1), ("1-2", 4)):
        level = np.ascontiguousarray(image[::step, ::step])
        uids = {"series": "1.2.840.99.7", "instance": f"1.2.840.99.7.{step}"}
        write_dicom_level(folder / f"{name}.dcm", level, mpp=MPP * step, tile=16, original=step == 1, **uids)
    return folder / "1-1.dcm", folder / "1-2.dcm"


@pytest.mark.slow
def test_two_files_of_a_dicom_slide_are_one_slide(trained, tmp_path, capsys):
    paths = write_dicom_slide(tmp_path)
    arguments = ["predict", str(trained), *map(str, paths), "--out", str(tmp_path / "out"), "--mpp", "4"]
    assert cli.run([*arguments, "--batch-size", "8"]) == 0
    said = capsys.readouterr().out
    assert "one DICOM slide" in said and str(paths[0]) in said and str(paths[1]) in said
    areas = pd.read_csv(tmp_path / "out/areas.csv", dtype={"slide": str})
    assert list(areas["slide"]) == ["1-1"] and "1 of 1 pictures" in said
    # In a later call, by its other file.
    assert cli.run([*arguments[:2], *map(str, paths[1:]), *arguments[4:]]) == 1
    said = capsys.readouterr().err
    assert str(paths[0]) in said and "counted twice" in said
    assert len(pd.read_csv(tmp_path / "out/areas.csv")) == 1


def test_a_file_named_twice_is_done_once(slide, tmp_path):
    (tmp_path / "link.svs").symlink_to(slide)
    lines = []
    assert each_once([slide, tmp_path / "link.svs", slide], lines.append) == [slide]
    assert len(lines) == 2 and "the same file" in lines[0]


def test_a_corrected_outline_is_never_replaced(slide, tmp_path):
    record, _ = run_one(slide, tmp_path)
    path, lines = tmp_path / "case 1.geojson", []
    path.write_text(path.read_text().replace("pink gland", "purple gland"))
    corrected = path.read_bytes()
    again, failures = run_one(slide, tmp_path, lines, no_network)
    assert again == record and not failures and "finished before" in lines[0]
    record, failures = run_one(slide, tmp_path, forward=no_network, mpp=5.0)
    assert (
        record is None and len(failures) == 1 and str(path) in failures[0] and "changed since" in failures[0]
    )
    assert path.read_bytes() == corrected
    path.rename(tmp_path / "corrected.geojson")
    lines.clear()
    record, failures = run_one(slide, tmp_path, lines, mpp=5.0)
    assert not failures and any("predicted anew" in line for line in lines)


@pytest.mark.parametrize("name", ["case 1.geojson", "case 1.json", "case 1_overlay.png", "areas.csv"])
def test_files_of_another_origin_stop_all_slides(slide, tmp_path, name):
    (tmp_path / name).write_text("drawn by hand")
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        run_one(slide, tmp_path, forward=no_network)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_slide_of_the_same_name_is_refused(slide, tmp_path):
    run_one(slide, tmp_path / "out")
    other = write_pyramidal_slide(tmp_path / "case 1.svs", ellipses([], GLASS), size=SIZE, mpp=MPP)
    with pytest.raises(UserError) as caught:
        run_one(other, tmp_path / "out", forward=no_network)
    assert str(slide) in str(caught.value) and str(other) in str(caught.value)
    with pytest.raises(UserError, match="Rename one of the two"):
        predict_slides([slide, other], tmp_path / "both", predictor(no_network), options(), str)


def test_a_real_slide(tmp_path):
    path = Path(os.environ.get("L2S_DATA", ROOT.parent / "shared/data")) / "slides/CMU-1-Small-Region.svs"
    if not path.is_file():
        pytest.skip(f"{path} is not there (set L2S_DATA to a folder that holds slides/)")
    record, failures = run_one(path, tmp_path)
    assert not failures and record["slide_mpp_source"] == "openslide" and record["size"] == [371, 277]
    assert 0.2 < record["tissue_mm2"] < 2220 * 2967 * 0.499e-3**2
    assert sum(record["areas_mm2"].values()) == pytest.approx(record["tissue_mm2"], rel=0.02)
    opened = open_slide(tmp_path / f"{path.stem}.ome.tif")
    assert opened.mpp == pytest.approx((4, 4)) and opened.size_level0 == (371, 277)
    painted = paint(
        read_annotations(tmp_path / f"{path.stem}.geojson", class_table(CLASSES)),
        (371, 277),
        (4 / 0.499,) * 2,
    )
    assert (painted == tifffile.imread(tmp_path / f"{path.stem}.ome.tif")).mean() > 0.999


def test_the_whole_slide_can_be_predicted(slide, tmp_path):
    record, _ = run_one(slide, tmp_path, within="slide", simplify=8.0)
    assert sum(record["areas_mm2"].values()) == pytest.approx(1.2 * 1.6)
    assert record["outside"] == "predicted like the tissue"
    regions = read_annotations(tmp_path / "case 1.geojson", class_table(CLASSES)).regions
    exact = paint(read_annotations(tmp_path / "case 1.geojson", class_table(CLASSES)), (300, 400), (4, 4))
    assert (exact == tifffile.imread(tmp_path / "case 1.ome.tif")).mean() > 0.98
    assert sum(len(region.polygon.exterior.coords) for region in regions) < 200


def test_without_a_background_class_glass_has_no_class(slide, tmp_path):
    classes = replace(CLASSES, background=None)
    record, _ = run_one(slide, tmp_path, classes=classes)
    codes = tifffile.imread(tmp_path / "case 1.ome.tif")
    assert codes[0, 0] == IGNORE_PIXEL and "255 (no class)" in record["outside"]
    assert (codes != IGNORE_PIXEL).sum() * 0.004**2 == pytest.approx(sum(record["areas_mm2"].values()))


def test_a_white_slide_has_no_tissue_and_says_so(tmp_path):
    path = write_pyramidal_slide(
        tmp_path / "white.svs", ellipses([], (255, 255, 255)), size=(600, 700), mpp=MPP
    )
    lines = []
    record, failures = run_one(path, tmp_path / "out", lines, no_network)
    assert not failures and record["tissue_mm2"] == 0 and record["outlines"] == 0
    assert not tifffile.imread(tmp_path / "out/white.ome.tif").any()
    assert any("no tissue was found" in line for line in lines)
    assert json.loads((tmp_path / "out/white.geojson").read_text())["features"] == []


def test_a_slide_smaller_than_a_patch(tmp_path):
    path = write_pyramidal_slide(
        tmp_path / "small.svs", ellipses([(45, 40, 400, 400, PINK)]), size=(88, 80), mpp=MPP, downsamples=(1,)
    )
    record, failures = run_one(path, tmp_path / "out")
    assert not failures and record["size"] == [22, 20]
    assert (tifffile.imread(tmp_path / "out/small.ome.tif") == 1).all()
    regions = read_annotations(tmp_path / "out/small.geojson", class_table(CLASSES)).regions
    assert [region.polygon.bounds for region in regions] == [(0, 0, 80, 88)]


def test_a_slide_without_mpp_is_refused_until_it_is_given(tmp_path):
    path = write_pyramidal_slide(
        tmp_path / "a.svs", ellipses(PARTS, GLASS), size=SIZE, mpp=None, compression="deflate"
    )
    _, failures = run_one(path, tmp_path / "out")
    assert len(failures) == 1 and "--slide-mpp" in failures[0] and "--mpp-table" in failures[0]
    given, failures = run_one(path, tmp_path / "out", slide_mpp=1.0)
    assert not failures and given["slide_mpp_source"] == "option"
    (tmp_path / "table.csv").write_text("slide,mpp\na.svs,2.0\n")
    listed, failures = run_one(path, tmp_path / "out", mpp_table=tmp_path / "table.csv")
    assert not failures and listed["slide_mpp"] == [2, 2]
    assert listed["tissue_mm2"] == pytest.approx(4 * given["tissue_mm2"], rel=0.05)


def test_a_scale_that_the_file_states_wrongly_is_overridden_where_that_is_asked_for(slide, tmp_path):
    lines = []
    own, failures = run_one(slide, tmp_path / "own", lines, slide_mpp=2 * MPP)
    assert not failures and own["slide_mpp_source"] == "openslide" and own["slide_mpp"] == [MPP, MPP]
    assert any("if that is wrong, --slide-mpp-from given takes the other" in line for line in lines)
    lines.clear()
    given, failures = run_one(slide, tmp_path / "given", lines, slide_mpp=2 * MPP, slide_mpp_from="given")
    assert not failures and given["slide_mpp_source"] == "option" and given["slide_mpp"] == [2 * MPP, 2 * MPP]
    said = f"mpp {2 * MPP:g} from option is used, not {MPP:g} from openslide, as --slide-mpp-from given asks"
    assert said in given["slide_mpp_notes"] and any(said in line for line in lines)
    assert "slide_mpp_notes" not in own and given["key"] != own["key"]
    with pytest.raises(UserError, match="--slide-mpp-from given: no scale is given"):
        options(slide_mpp_from="given")


def test_a_run_without_mpp_needs_the_option(slide, tmp_path):
    with pytest.raises(UserError, match="--mpp: the micrometres a pixel of the training patches"):
        run_one(slide, tmp_path, mpp=None)
    records, failures = predict_slides([slide], tmp_path, predictor(mpp=None), options(mpp=8.0), str)
    assert not failures and records[slide]["size"] == [150, 200]


@pytest.mark.slow
def test_damage_in_the_middle_is_counted_and_has_no_class(tmp_path):
    parts = [(*(2 * value for value in part[:4]), part[4]) for part in PARTS]
    whole = write_pyramidal_slide(
        tmp_path / "whole.svs", ellipses(parts, GLASS), size=(2400, 3200), mpp=MPP, downsamples=(1,), tile=64
    )
    path = corrupt_tile(whole, tmp_path / "damaged.svs", 800, 900)  # 768..831, 896..959
    lines = []
    record, failures = run_one(path, tmp_path / "out", lines, mpp=4.0)
    assert not failures
    codes = tifffile.imread(tmp_path / "out/damaged.ome.tif")
    lost = codes == IGNORE_PIXEL
    assert record["unreadable_tiles"] > 0 and lost.sum() * 0.004**2 == pytest.approx(record["unreadable_mm2"])
    # All tiles of 32 that touch the 16 damaged pixels are lost, and a pixel is if it lies in no other tile.
    assert lost[192:208, 224:240].all() and lost.sum() <= 48**2
    assert any("could not be decoded" in line and "have no class (255)" in line for line in lines)
    assert any("um/px from openslide, read at 4 um/px" in line for line in lines)
    run_one(whole, tmp_path / "out", mpp=4.0)
    expected = tifffile.imread(tmp_path / "out/whole.ome.tif")
    near = ndimage.maximum_filter(lost, 65)  # tiles of 32 that are missing from the mean
    np.testing.assert_array_equal(codes[~near], expected[~near])
    assert pd.read_csv(tmp_path / "out/areas.csv").set_index("slide").loc["damaged", "mm2 unreadable"] > 0


def test_a_slide_cut_off_half_way_fails_and_leaves_no_result(tmp_path, slide):
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    whole = write_pyramidal_slide(tmp_path / "whole.svs", noise, mpp=MPP, downsamples=(1,))
    for share in (0.5, 0.9):
        path = cut_off(whole, tmp_path / f"cut{share}.svs", share)
        assert is_slide(path)
        record, failures = run_one(path, tmp_path / "out")
        assert record is None and len(failures) == 1 and path.name in failures[0], failures
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_one_slide_that_fails_costs_no_other(trained, slide, tmp_path, capsys):
    (tmp_path / "text.svs").write_text("this is no slide")
    Image.new("RGB", (40, 40), PINK).save(tmp_path / "picture.png")
    names = [str(tmp_path / "text.svs"), str(slide), str(tmp_path / "picture.png")]
    arguments = ["predict", str(trained), *names, "--out", str(tmp_path / "out"), "--mpp", "4"]
    assert cli.run([*arguments]) == 1
    assert "text.svs" in capsys.readouterr().err
    assert (tmp_path / "out/case 1.json").exists() and (tmp_path / "out/picture.png").exists()
    assert cli.run([*arguments[:2], names[1], *arguments[5:]]) == 0
    assert "finished before" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"case 1\.png and .*case 1\.svs"):
        predict(trained, [slide, tmp_path / "case 1.png"], tmp_path / "out")


def test_options_that_make_no_sense_are_refused(trained, slide, tmp_path, capsys):
    for bad in (["--mpp", "0"], ["--slide-mpp", "-1"], ["--readers", "0"], ["--simplify", "-3"]):
        assert cli.run(["predict", str(trained), str(slide), "--out", str(tmp_path), *bad]) == 2
        assert f"{bad[0][2:].replace('-', '_')} = {float(bad[1]):g}" in capsys.readouterr().err


def test_a_full_disk_is_an_error_and_not_half_a_result(slide, tmp_path):
    noisy = write_pyramidal_slide(
        tmp_path / "a.svs", ellipses(PARTS, GLASS), size=SIZE, mpp=MPP, compression="deflate"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # files of more than 50 kB cannot be written
    try:
        record, failures = run_one(noisy, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert record is None and f"cannot write {tmp_path / 'out'}" in failures[0]
    assert "free some space" in failures[0] and ".partial" not in failures[0]
    assert not list((tmp_path / "out").glob("*"))
    (tmp_path / "file").write_text("")
    assert "cannot write" in run_one(noisy, tmp_path / "file")[1][0]


def outlines_of(picture, opened, mpp, folder):
    grid = traced_grid(picture.size)
    with scratch_picture(folder, (len(grid.rows), len(grid.columns) * len(CLASSES))) as probabilities:
        path = folder / "a.geojson"
        return write_outlines(path, picture, probabilities, grid, opened, mpp, CLASSES, 0.0, "key")


def test_outlines_are_bounded_in_memory_and_count_from_the_bounds(slide, tmp_path, monkeypatch):
    from l2s_jax.prediction.slides import outlines as module

    monkeypatch.setattr(module, "MAX_TRACED_PIXELS", 300 * 400 // 9 + 1)
    opened = replace(open_slide(slide), bounds_level0=(100, 200, 900, 1000))
    codes = truth_at(4)
    with scratch_picture(tmp_path, codes.shape) as picture:
        write_block(picture, 0, 0, codes)
        written = outlines_of(picture, opened, 4.0, tmp_path)
    assert (written.objects, written.mpp) == (2, 12.0)
    regions = read_annotations(tmp_path / "a.geojson", class_table(CLASSES), offset_level0=(100, 200)).regions
    for region, (row, col, row_radius, col_radius, _) in zip(regions, PARTS, strict=True):
        assert (region.polygon.centroid.y, region.polygon.centroid.x) == pytest.approx((row, col), abs=6)
        assert region.polygon.area == pytest.approx(np.pi * row_radius * col_radius, rel=0.01)


def test_outlines_end_at_the_slides_edge(slide, tmp_path):
    with scratch_picture(tmp_path, (134, 178)) as picture:  # of 9 level-0 pixels: 1206 x 1602
        write_block(picture, 0, 0, np.ones((134, 178), np.uint8))
        outlines_of(picture, open_slide(slide), 9.0, tmp_path)
    regions = read_annotations(tmp_path / "a.geojson", class_table(CLASSES)).regions
    assert [region.polygon.bounds for region in regions] == [(0, 0, 1600, 1200)]


def he_picture(size, seed):
    """Haematoxylin and eosin in random amounts on blocks of 4x4 pixels."""
    rng = np.random.default_rng(seed)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = rng.gamma(1.2, 0.4, (*size, 2)).repeat(4, 0).repeat(4, 1)
    return np.clip(240 * np.exp(-amounts @ stains) - 1, 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_tiles_get_the_reference_stains_by_one_fit_of_the_slide():
    image, other = he_picture((60, 60), 1), he_picture((60, 60), 2)
    reference = type(fit_stain(other[None]))(*(np.asarray(leaf)[0] for leaf in fit_stain(other[None])))
    mask = np.zeros(image.shape[:2], bool)
    mask[:, 100:] = True
    dirty = image.copy()
    dirty[:, :100] = (0, 90, 255)  # ink outside the tissue must not count

    def read(origin, size):
        return dirty[origin[0] : origin[0] + size[0], origin[1] : origin[1] + size[1]]

    area = area_of(mask, mask.shape, 1.0)
    fit = fit_slide(SlideJob(no_network, read, mask.shape, Tiling(32, 16, batch_size=3), 3, area))
    exact = fit_stain(image[None, :, 100:])
    # 64 tiles at most, and no more than 65,536 of their pixels: a sample, not all of the tissue.
    np.testing.assert_allclose(fit.stain_matrix, exact.stain_matrix[0], atol=0.02)
    np.testing.assert_allclose(fit.max_concentration, exact.max_concentration[0], rtol=0.05)
    seen = []

    def forward(images):
        seen.append(images)
        return by_colour(images)

    tiles = np.stack([image[:32, 100 + 8 * i : 132 + 8 * i] for i in range(7)])
    in_stains_of(forward, fit, reference, 3)(tiles)
    np.testing.assert_array_equal(np.concatenate(seen), normalise_stain(tiles, fit, reference))
    blank = SlideJob(no_network, read, mask.shape, Tiling(32, 16), 3, area_of(~mask, mask.shape, 1.0))
    assert not fit_slide(blank).usable  # one colour only


def test_the_run_keeps_the_manifests_stains(trained, phantom, tmp_path):
    assert load_predictor(trained, None, "gaussian", 4).reference is None
    manifest = read_manifest(phantom)
    write_classes(tmp_path / "data", manifest.classes)
    write_patches(tmp_path / "data", manifest.classes, manifest.patches)
    fit = fit_stain(he_picture((60, 60), 1)[None])
    save_reference(tmp_path / "data" / STAIN, type(fit)(*(leaf[0] for leaf in fit)), "a.png", "ab" * 32)
    stained = replace(manifest, folder=tmp_path / "data")
    (tmp_path / "run").mkdir()
    open_run(tmp_path / "run", TrainConfig(), stained, resume=False)
    assert (tmp_path / "run" / STAIN).read_bytes() == (tmp_path / "data" / STAIN).read_bytes()


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Two slides and their annotations: one as GeoJSON, one as XML, in the phantom's classes."""
    folder = tmp_path_factory.mktemp("annotated")
    parts = [(300, 300, 200, 220, PINK), (420, 700, 150, 160, PURPLE)]
    for name in ("one", "two"):
        write_pyramidal_slide(folder / f"{name}.svs", ellipses(parts, GLASS), size=(700, 960), mpp=MPP)
    square = [(100, 100), (500, 100), (500, 520), (100, 520)]
    write_qupath_geojson(
        folder / "one.geojson", [("adenoma", [square]), ("Tumour", [[(600, 300), (800, 300), (800, 500)]])]
    )
    write_bach_xml(folder / "two.xml", [("carcinoma", square)], mpp=MPP)
    return folder


def test_figures_equal_scikit_learn_on_the_files(trained, annotated, tmp_path):
    slides = [annotated / "one.svs", annotated / "two.svs"]
    lines = []
    arguments = {"rename": {"Tumour": "carcinoma"}, "options": options(mpp=4.0), "batch_size": 8}
    arguments |= {"undrawn": "background"}
    result = evaluate_slides(trained, slides, out=tmp_path / "out", say=lines.append, **arguments)
    table = class_table(read_run_classes(trained), synonyms={"tumour": "carcinoma"})
    truths, predicted, tissues = [], [], []
    for name, suffix in (("one", "geojson"), ("two", "xml")):
        codes = tifffile.imread(tmp_path / f"out/predictions/{name}.ome.tif")
        truths.append(paint(read_annotations(annotated / f"{name}.{suffix}", table), codes.shape, (4, 4)))
        predicted.append(codes)
        tissues.append(
            find_tissue(open_slide(annotated / f"{name}.svs")).mask.repeat(2, 0).repeat(2, 1)[:175, :240]
        )
    for region, chosen in (("slide", [np.ones_like(tissue) for tissue in tissues]), ("tissue", tissues)):
        truth, guess = (
            [part[keep] for part, keep in zip(parts, chosen, strict=True)] for parts in (truths, predicted)
        )
        pooled, part = result[region]["pooled"], result[region]
        all_truth, all_guess = np.concatenate(truth), np.concatenate(guess)
        np.testing.assert_array_equal(
            part["confusion_matrix"], sk.confusion_matrix(all_truth, all_guess, labels=range(4))
        )
        f1 = sk.f1_score(all_truth, all_guess, average="macro", labels=np.unique(all_truth), zero_division=0)
        assert pooled["macro_f1"] == pytest.approx(f1)
        counted = (all_truth > 0) | (all_guess > 0)
        error = np.abs(all_truth[counted].astype(int) - all_guess[counted]).sum()
        worst = np.maximum(all_truth[counted], 3 - all_truth[counted].astype(int)).sum()
        assert pooled["bach_score"] == pytest.approx(1 - error / worst if worst else np.nan, nan_ok=True)
        each = [sk.accuracy_score(t, g) for t, g in zip(truth, guess, strict=True)]
        assert part["per_slide"]["accuracy"]["mean"] == pytest.approx(np.mean(each))
        assert part["per_slide"]["accuracy"] | {"n": 2, "ddof": 1} == part["per_slide"]["accuracy"]
        assert part["pixels"] == len(all_truth) and part["scored_share"] == 1
    rows = pd.read_csv(tmp_path / "out/per_slide.csv")
    assert list(rows["slide"]) == ["one", "one", "two", "two"] and {"tissue", "slide"} == set(
        rows["pixels_of"]
    )
    assert json.loads((tmp_path / "out/metrics.json").read_text())["slide"] == result["slide"]
    assert any("pixels of the tissue" in line for line in lines) and any(
        "BACH score" in line for line in lines
    )
    for name in ("per_class.csv", "confusion_tissue.png", "confusion_slide.png"):
        assert (tmp_path / "out" / name).stat().st_size
    assert not any("no region that was read" in line for line in lines)
    lines.clear()  # a second time nothing is predicted
    arguments |= {"ignore": ("Adenma",), "frame": ("Done",)}
    again = evaluate_slides(trained, slides, out=tmp_path / "out", say=lines.append, **arguments)
    assert sum("finished before" in line for line in lines) == 2 and again == result
    unmatched = [line for line in lines if "no region that was read has this name" in line]
    assert [line.split("'")[1] for line in unmatched] == ["Adenma", "Done"]
    assert all(line.startswith("warning: ") and "'adenoma', 'Tumour'" in line for line in unmatched)


def test_a_prediction_never_takes_the_place_of_the_truth(trained, annotated, tmp_path):
    for path in annotated.iterdir():
        shutil.copy(path, tmp_path / path.name)
    slides, truth = [tmp_path / "one.svs"], (tmp_path / "one.geojson").read_bytes()
    common = {"rename": {"Tumour": "carcinoma"}, "options": options(mpp=4.0), "batch_size": 8, "say": str}
    for place in ({}, {"annotations": tmp_path}):
        with pytest.raises(UserError, match=r"one\.geojson is there and was not made by l2s"):
            evaluate_slides(trained, slides, predictions=tmp_path, out=tmp_path / "o", **common, **place)
    assert (tmp_path / "one.geojson").read_bytes() == truth
    found = evaluate_slides(trained, slides, out=tmp_path / "o", **common)
    assert found["slide"]["pooled"]["accuracy"] < 0.999
    # A prediction is no truth, until somebody has corrected it.
    predicted = tmp_path / "o/predictions"
    with pytest.raises(UserError, match=r"found none \(not counting what predict has written: one\.geojson"):
        evaluate_slides(trained, slides, annotations=predicted, out=tmp_path / "p", **common)
    content = json.loads((predicted / "one.geojson").read_text())
    (predicted / "one.geojson").write_text(json.dumps({**content, "corrected": "by hand"}))
    assert find_annotation(slides[0], predicted) == predicted / "one.geojson"


@pytest.mark.slow
def test_a_dicom_slide_is_judged_once_by_the_file_that_has_the_annotation(trained, tmp_path):
    paths = write_dicom_slide(tmp_path)
    write_qupath_geojson(tmp_path / "1-2.geojson", [("adenoma", [[(0, 0), (800, 0), (800, 900), (0, 900)]])])
    lines = []
    result = evaluate_slides(
        trained, paths, out=tmp_path / "o", options=options(mpp=4.0), batch_size=8, say=lines.append
    )
    assert result["n_slides"] == 1 and any("one DICOM slide" in line for line in lines)


@pytest.mark.slow
def test_figures_of_other_slides_are_not_replaced(trained, annotated, tmp_path):
    for path in annotated.iterdir():
        shutil.copy(path, tmp_path / path.name)
    with (tmp_path / "two.svs").open("ab") as file:
        file.write(b"\0")  # another file, not a copy of the first
    one, two, out = tmp_path / "one.svs", tmp_path / "two.svs", tmp_path / "o"
    common = {"rename": {"Tumour": "carcinoma"}, "options": options(mpp=4.0), "batch_size": 8, "say": str}
    evaluate_slides(trained, [one], out=out, **common)
    evaluate_slides(trained, [one, two], out=out, **common)
    with pytest.raises(UserError, match=r"metrics\.json was made from .*two\.svs"):
        evaluate_slides(trained, [one], out=out, **common)
    assert json.loads((out / "metrics.json").read_text())["n_slides"] == 2


@pytest.mark.slow
def test_slides_that_cannot_be_judged_cost_no_other(trained, annotated, tmp_path, capsys):
    shared = ["--mpp", "4", "--batch-size", "8", "--out", str(tmp_path)]
    slides = [str(annotated / "one.svs"), str(annotated / "two.svs")]
    assert cli.run(["evaluate-slides", str(trained), *slides, *shared]) == 1
    captured = capsys.readouterr()
    assert "Tumour" in captured.err and "1 slide(s) failed" in captured.err
    assert json.loads((tmp_path / "metrics.json").read_text())["n_slides"] == 1
    more = ["--annotations", str(tmp_path)]
    assert cli.run(["evaluate-slides", str(trained), *slides, *shared, *more]) == 1
    assert "expected one annotation" in capsys.readouterr().err
    assert cli.run(["evaluate-slides", str(trained), *slides, *shared, "--rename", "Tumour"]) == 2
    assert "NAME=CLASS" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_not_drawn_is_scored_only_where_it_is_known(trained, annotated, tmp_path, capsys):
    shutil.copy(annotated / "two.svs", tmp_path / "two.svs")
    square = [[(100, 100), (500, 100), (500, 500), (100, 500)]]
    command = ["evaluate-slides", str(trained), str(tmp_path / "two.svs"), "--mpp", "4", "--batch-size", "8"]
    command += ["--predictions", str(tmp_path / "predicted"), "--out"]
    write_qupath_geojson(tmp_path / "two.geojson", [("carcinoma", square)])
    assert cli.run([*command, str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "what is not drawn is unknown" in said and "the background, is known" in said
    share = 10000 / (175 * 240)
    assert f"{share:.1%} of the slide is known and scored" in said
    figures = json.loads((tmp_path / "a/metrics.json").read_text())
    assert figures["slide"]["scored_share"] == pytest.approx(share) and figures["slide"]["pixels"] == 10000
    rows = pd.read_csv(tmp_path / "a/per_slide.csv")
    assert set(rows["undrawn"]) == {"unknown"} and rows["scored_share"].iloc[1] == pytest.approx(share)
    assert cli.run([*command, str(tmp_path / "b"), "--undrawn", "background"]) == 0
    assert json.loads((tmp_path / "b/metrics.json").read_text())["slide"]["scored_share"] == 1
    frame = [[(0, 0), (960, 0), (960, 500), (0, 500)]]
    write_qupath_geojson(tmp_path / "two.geojson", [("carcinoma", square), ("seen", frame)])
    assert cli.run([*command, str(tmp_path / "c"), "--frame", "seen"]) == 0
    assert "inside 1 frame(s)" in capsys.readouterr().out
    assert json.loads((tmp_path / "c/metrics.json").read_text())["slide"]["pixels"] == 125 * 240
    # Nothing drawn is refused, until it is said to mean background.
    write_qupath_geojson(tmp_path / "two.geojson", [])
    assert cli.run([*command, str(tmp_path / "d")]) == 1
    assert cli.run([*command, str(tmp_path / "d"), "--allow-empty"]) == 0
    assert json.loads((tmp_path / "d/metrics.json").read_text())["slide"]["scored_share"] == 1


def test_slides_that_were_trained_on_are_refused(trained, annotated):
    group = sorted(learned_from(trained).groups)[0]
    with pytest.raises(Leak) as caught:
        evaluate_slides(trained, [annotated / f"{group}.svs"])
    assert caught.value.groups == (group,)
    lines = []
    with pytest.raises(UserError, match="no slide could be evaluated"):
        evaluate_slides(trained, [annotated / f"{group}-01Z-00-DX1.svs"], say=lines.append)
    assert any("warning" in line and repr(group) in line and f"{group}-01Z-00-DX1" in line for line in lines)


def test_a_slide_that_was_trained_on_under_its_patients_name_is_refused(trained, annotated, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    with_slide(run, "one.svs")
    with pytest.raises(Leak) as caught:
        evaluate_slides(run, [annotated / "one.svs", annotated / "two.svs"])
    assert caught.value.groups == ("one",)
    # So it is where only the encoder has read it, or it has become another format; near names are said.
    run = shutil.copytree(trained, tmp_path / "from_encoder")
    write_earlier_runs(run, [EarlierRun("weights", "e.safetensors", "the encoder", ("p1",), ("two",))])
    with pytest.raises(Leak) as caught:
        evaluate_slides(run, [annotated / "two.ndpi"])
    assert caught.value.groups == ("two",)
    lines = []
    with pytest.raises(UserError, match="no slide could be evaluated"):
        evaluate_slides(run, [annotated / "Two.ome.tif"], say=lines.append)
    assert any("warning" in line and "'two'" in line and "'Two.ome'" in line for line in lines)


@pytest.mark.parametrize("origin", ["bounds", "whole"])
def test_outlines_count_from_where_one_says(trained, annotated, tmp_path, monkeypatch, origin):
    from l2s_jax.prediction.slides import evaluate as module

    bounds = (100, 200, 500, 600)
    monkeypatch.setattr(
        module, "open_slide", lambda *a, **k: replace(open_slide(*a, **k), bounds_level0=bounds)
    )
    shutil.copy(annotated / "one.svs", tmp_path / "one.svs")
    square = [(0, 0), (100, 0), (100, 80), (0, 80)]
    write_qupath_geojson(tmp_path / "one.geojson", [("adenoma", [square])])
    seen = {}

    def judge(slide, codes, record, regions, classes, undrawn, tissue):
        seen["bounds"] = regions.regions[0].polygon.bounds
        return {name: Judged(np.eye(4, dtype=int), 4) for name in ("tissue", "slide")}

    monkeypatch.setattr(module, "judge_slide", judge)
    lines = []
    common = {"options": options(mpp=8.0), "batch_size": 8, "say": lines.append}
    evaluate_slides(trained, [tmp_path / "one.svs"], out=tmp_path / "o", outlines_from=origin, **common)
    row, col = (100, 200) if origin == "bounds" else (0, 0)
    assert seen["bounds"] == (col, row, col + 100, row + 80)
    assert not any("--outlines-from" in line for line in lines)
    evaluate_slides(trained, [tmp_path / "one.svs"], out=tmp_path / "o", **common)
    assert seen["bounds"] == (200, 100, 300, 180) and any("--outlines-from whole" in line for line in lines)


def test_annotations_are_found_by_name(tmp_path):
    slide = tmp_path / "a.tif"
    slide.touch()
    with pytest.raises(UserError, match="found none"):
        find_annotation(slide, None)  # the slide is not its own mask
    (tmp_path / "a.xml").touch()
    assert find_annotation(slide, None).name == "a.xml"
    assert find_annotation(slide, tmp_path).name == "a.xml"
    (tmp_path / "a.geojson").touch()
    with pytest.raises(UserError, match="found a.geojson, a.xml"):
        find_annotation(slide, None)


def test_pixels_without_a_prediction_take_no_part(slide, tmp_path):
    classes = replace(CLASSES, background=None)
    record, _ = run_one(slide, tmp_path, classes=classes)
    write_qupath_geojson(
        tmp_path / "truth.geojson", [("pink gland", [[(0, 0), (800, 0), (800, 1200), (0, 1200)]])]
    )
    regions = read_annotations(tmp_path / "truth.geojson", class_table(classes))
    judged = judge_slide(open_slide(slide), tmp_path / "case 1.ome.tif", record, regions, classes)
    codes = tifffile.imread(tmp_path / "case 1.ome.tif")[:, :200]
    expected = np.zeros((3, 3), int)
    expected[1] = np.bincount(codes[codes < 3], minlength=3)
    for one in judged.values():
        np.testing.assert_array_equal(one.matrix, expected)


def test_rows_are_replaced_and_other_columns_refused(tmp_path):
    path = tmp_path / "a.csv"
    for name, value in (("007", 1.5), ("b", 2.0), ("007", 3.0)):
        replace_row(path, {"slide": name, "value": value}, "slide")
    assert path.read_text() == "slide,value\nb,2\n007,3\n"
    with pytest.raises(UserError, match="other columns"):
        replace_row(path, {"slide": "c", "other": 1}, "slide")
