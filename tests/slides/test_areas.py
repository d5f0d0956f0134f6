"""What other tools mark on slides: files as TRIDENT, HistoQC, GrandQC and QuPath write them."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.slide_generator import write_leica_slide, write_qupath_geojson
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.areas import Areas, covered, find_areas, read_areas
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

SIZE, MPP = (400, 600), 0.5


def box(top, left, bottom, right):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("areas") / "case 1.svs"
    return open_slide(write_pyramidal_slide(path, lambda *_: (180, 60, 140), size=SIZE, mpp=MPP))


def write_trident(folder, polygons):
    """`job_dir/contours_geojson/NAME.geojson`: GeoPandas' GeoJSON of level-0 pixels, a feature a piece."""
    features = [
        {
            "type": "Feature",
            "properties": {"tissue_id": number},
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]},
        }
        for number, rings in enumerate(polygons)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    content = {"type": "FeatureCollection", "name": "case 1", "crs": crs, "features": features}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case 1.geojson").write_text(json.dumps(content))
    return folder


def write_histoqc(folder, usable):
    """`OUT/case 1.svs/case 1.svs_mask_use.png`: 255 is tissue to be used, among pictures of other names."""
    place = folder / "case 1.svs"
    place.mkdir(parents=True)
    Image.fromarray(np.where(usable, 255, 0).astype(np.uint8)).save(place / "case 1.svs_mask_use.png")
    Image.new("RGB", (75, 50)).save(place / "case 1.svs_thumb.png")
    Image.new("RGB", (75, 50)).save(place / "case 1.svs_fuse.png")
    return folder


def write_grandqc(folder, values):
    """`OUT/mask_qc/case 1.svs_mask.png`: 1 is tissue, 2 to 6 are artefacts, 7 is background."""
    folder.mkdir(parents=True)
    Image.fromarray(values).save(folder / "case 1.svs_mask.png")
    return folder


def found(folder, slide, **options):
    return read_areas(find_areas(folder, slide.path), slide, **options)


def test_contours_of_trident_with_a_hole(slide, tmp_path):
    folder = write_trident(
        tmp_path / "contours_geojson",
        [[box(0, 0, 200, 300), box(40, 40, 80, 80)], [box(300, 400, 400, 600)]],
    )
    kept = covered(found(folder, slide), slide, 2.0)
    expected = np.zeros((100, 150), bool)
    expected[:50, :75] = expected[75:, 100:] = True
    expected[10:20, 10:20] = False
    np.testing.assert_array_equal(kept, expected)


def test_masks_of_histoqc_lie_in_a_folder_a_slide(slide, tmp_path):
    usable = np.zeros((50, 75), bool)
    usable[10:30, 5:70] = True
    areas = found(write_histoqc(tmp_path, usable), slide)
    assert areas.path.name == "case 1.svs_mask_use.png"
    np.testing.assert_array_equal(covered(areas, slide, 4.0), usable)
    np.testing.assert_array_equal(covered(areas, slide, 0.5), usable.repeat(8, 0).repeat(8, 1))


def test_a_map_of_grandqc_has_values_of_both_kinds(slide, tmp_path):
    values = np.full((133, 200), 7, np.uint8)  # 1.5 um/px: one row of 133.3 is lost, as there
    values[20:100, 20:180] = 1
    values[30:40, 30:60] = 4
    folder = write_grandqc(tmp_path / "mask_qc", values)
    with pytest.raises(
        UserError, match=r"_mask\.png has the values 1, 4, 7: .*--within-only.*--exclude-only"
    ):
        found(folder, slide)
    kept = covered(found(folder, slide, only=["1"]), slide, 1.5)
    np.testing.assert_array_equal(kept[:133], values == 1)
    out = found(folder, slide, only=["2", "3", "4", "5", "6"])
    np.testing.assert_array_equal(covered(out, slide, 1.5)[:133], values == 4)
    nothing = found(folder, slide, only=["9"])
    assert not covered(nothing, slide, 8.0).any() and "has none of 9; it has 1, 4, 7" in nothing.notes[0]
    with pytest.raises(UserError, match="'pen' is no number"):
        found(folder, slide, only=["pen"])


def test_the_tissue_mask_of_grandqc_says_1_where_there_is_none(slide, tmp_path):
    values = np.ones((20, 30), np.uint8)
    values[5:10] = 0
    Image.fromarray(values).save(tmp_path / "case 1.svs_MASK.png")
    np.testing.assert_array_equal(covered(found(tmp_path, slide, only=["0"]), slide, 10.0), values == 0)


def test_drawings_of_qupath_are_chosen_by_class(slide, tmp_path):
    drawn = [("Pen", [box(0, 0, 100, 100)]), ("Fold", [box(200, 200, 300, 300)])]
    write_qupath_geojson(tmp_path / "case 1.geojson", drawn)
    with pytest.raises(UserError, match=r"regions of the classes Pen, Fold: say which"):
        found(tmp_path, slide)
    both = covered(found(tmp_path, slide, only=["pen", "FOLD"]), slide, 2.0)
    assert both.sum() == 2 * 25 * 25 and both[0, 0] and both[50, 50]
    one = found(tmp_path, slide, only=["pen", "bubble"])
    assert "case 1.geojson has no bubble; it has Pen, Fold" in one.notes[0]
    assert (
        covered(one, slide, 2.0).sum() == 25 * 25
        and one.digest != found(tmp_path, slide, only=["pen"]).digest
    )
    assert not any("it has" in note for note in found(tmp_path, slide, only=["pen"]).notes)


def test_an_empty_file_marks_nothing(slide, tmp_path):
    (tmp_path / "case 1.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert not covered(found(tmp_path, slide), slide, 2.0).any()


def test_files_are_found_by_name(slide, tmp_path):
    assert find_areas(tmp_path, slide.path) is None
    (tmp_path / "case 12.geojson").touch()
    assert find_areas(tmp_path, slide.path) is None
    (tmp_path / "case 1.svs.png").touch()
    assert find_areas(tmp_path, slide.path).name == "case 1.svs.png"
    (tmp_path / "case 1.geojson").touch()
    with pytest.raises(UserError, match=r"several files for case 1\.svs .*case 1\.geojson"):
        find_areas(tmp_path, slide.path)
    picture = tmp_path / "b.ome.tif"
    tifffile.imwrite(picture, np.zeros((8, 8, 3), np.uint8))
    assert find_areas(tmp_path, picture) is None  # the slide is not its own mask
    (tmp_path / "b.geojson").touch()  # as TRIDENT names it
    assert find_areas(tmp_path, picture).name == "b.geojson"


def test_files_of_other_slides_are_refused(slide, tmp_path):
    Image.new("L", (50, 50)).save(tmp_path / "case 1.png")
    with pytest.raises(UserError, match=r"case 1\.png: a mask of 50 x 50 .*proportions"):
        found(tmp_path, slide)
    (tmp_path / "case 1.png").unlink()
    write_trident(tmp_path, [[box(5000, 5000, 6000, 6000)]])
    with pytest.raises(UserError, match=r"case 1\.geojson: 100% of the vertices lie outside"):
        found(tmp_path, slide)


def test_masks_that_are_too_large_say_how_to_make_them_smaller(slide, tmp_path, monkeypatch):
    from l2s_jax.slides import areas as module

    Image.new("L", (60, 40)).save(tmp_path / "case 1.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 2000)
    with pytest.raises(UserError, match=r"a mask of 40 x 60 .*-sample"):
        found(tmp_path, slide)


def test_on_slides_with_bounds_one_says_from_where_geojson_counts(tmp_path):
    image = np.full((200, 300, 3), 150, np.uint8)
    path = write_leica_slide(tmp_path / "case 1.scn", image, canvas=(600, 900), corner=(100, 200))
    slide = open_slide(path)
    write_trident(tmp_path, [[box(0, 0, 100, 100)]])
    with pytest.raises(UserError, match=r"non-empty area from row 100, column 200.*--areas-from bounds"):
        found(tmp_path, slide)
    for areas_from, corner in (("bounds", (25, 50)), ("whole", (0, 0))):
        marked = covered(found(tmp_path, slide, areas_from=areas_from), slide, 2.0)
        rows, columns = np.nonzero(marked)
        assert (rows.min(), columns.min()) == corner and marked.sum() == 25 * 25
    (tmp_path / "case 1.geojson").unlink()
    Image.new("L", (150, 110), 255).save(tmp_path / "case 1.png")
    with pytest.raises(UserError, match="proportions"):
        found(tmp_path, slide)


@settings(deadline=None, max_examples=40)
@given(
    mpp=st.floats(0.4, 40), top=st.integers(0, 12), left=st.integers(0, 20),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), of_mask=st.booleans(),
)  # fmt: skip
def test_a_window_is_the_crop_of_the_whole(slide, mpp, top, left, size, of_mask):
    rng = np.random.default_rng(0)
    mask = rng.random((40, 60)) < 0.5
    from shapely import box as rectangle

    areas = Areas(slide.path, "", (rectangle(33, 70, 401, 333),))
    areas = areas._replace(polygons=(), mask=mask, place=(0, 0, *SIZE)) if of_mask else areas
    whole = np.zeros((60, 60), bool)
    full = covered(areas, slide, mpp)
    whole[: full.shape[0], : full.shape[1]] = full[:60, :60]
    part = covered(areas, slide, mpp, origin=(top, left), size=size)
    inside = np.zeros_like(part)
    shape = [max(0, min(size[axis], full.shape[axis] - (top, left)[axis])) for axis in (0, 1)]
    inside[: shape[0], : shape[1]] = full[top : top + shape[0], left : left + shape[1]]
    np.testing.assert_array_equal(part[: shape[0], : shape[1]], inside[: shape[0], : shape[1]])
