"""--within and --exclude of `prepare slides`: what they leave out is unknown."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.own_slides import SIDE, painted, write_own_slides, write_regions
from l2s_jax.data.pictures import read_mask
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.system.errors import UserError

OPTIONS = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)
PEN = ("pen", 20, 20, 36, 44)  # on the tumour
KEPT = ("tissue", 0, 0, 100, 128)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    return write_own_slides(tmp_path_factory.mktemp("own") / "slides")


def truth(*, pen=False, kept=False):
    mask = painted()
    if pen:
        mask[PEN[1] : PEN[3], PEN[2] : PEN[4]] = 255
    if kept:
        mask[KEPT[3] :] = 255
    return mask


def require_painted(made, expected):
    """Each known pixel of the masks is the truth's; what is left out is unknown in all of them."""
    for row in made.manifest.patches:
        top, left = map(int, re.search(r"at row (\d+), col (\d+)", row.source).groups())
        mask = read_mask(row.mask, made.manifest.classes)
        part = expected[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.testing.assert_array_equal(mask, part)


def write_mask(path, box, values=(0, 255)):
    """A mask at a quarter of the working scale."""
    mask = np.full((SIDE // 4, SIDE // 4), values[0], np.uint8)
    mask[box[1] // 4 : box[3] // 4, box[2] // 4 : box[4] // 4] = values[1]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize("kind", ["outlines", "mask"])
def test_what_is_excluded_is_unknown(slides, tmp_path, kind):
    for name in ("s1", "s2", "s3", "s4"):
        if kind == "outlines":
            write_regions(tmp_path / "pen" / f"{name}.geojson", [PEN])
        else:
            write_mask(tmp_path / "pen" / f"{name}.png", PEN)
    made = prepare_slides(slides, tmp_path / "out", replace(OPTIONS, exclude=tmp_path / "pen"), HERE)
    require_painted(made, truth(pen=True))
    assert any("leaves out s1" in line for line in made.report)


def test_what_lies_outside_of_what_is_kept_is_unknown(slides, tmp_path):
    for name in ("s1", "s2", "s3", "s4"):
        write_mask(tmp_path / "kept" / f"{name}_mask_use.png", KEPT)
    options = replace(OPTIONS, within=tmp_path / "kept")
    require_painted(prepare_slides(slides, tmp_path / "out", options, HERE), truth(kept=True))


def test_a_slide_is_cut_again_when_its_areas_change_and_others_are_not(slides, tmp_path):
    for name in ("s1", "s2"):
        write_regions(tmp_path / "pen" / f"{name}.geojson", [PEN])
    options, out = replace(OPTIONS, exclude=tmp_path / "pen"), tmp_path / "out"
    prepare_slides(slides, out, options, HERE)
    before = {path: path.stat().st_mtime_ns for path in (out / "masks").iterdir()}
    write_regions(tmp_path / "pen" / "s1.geojson", [("pen", 60, 20, 80, 50)])
    prepare_slides(slides, out, options, HERE)
    after = {path: path.stat().st_mtime_ns for path in (out / "masks").iterdir()}
    assert {path.name[:2] for path in before if after.get(path) != before[path]} == {"s1"}


def test_what_cannot_be_is_refused_by_name(slides, tmp_path):
    def refusal(**options):
        with pytest.raises(UserError) as error:
            prepare_slides(slides, tmp_path / "out", replace(OPTIONS, **options), HERE)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "--exclude" in refusal(exclude=tmp_path / "gone") and "folder" in refusal(
        exclude=tmp_path / "gone"
    )
    assert "s1.geojson" in refusal(exclude=tmp_path / "empty")
    assert "--within-only" in refusal(within_only=("tissue",))
    for name in ("s1", "s2", "s3", "s4"):
        write_regions(tmp_path / "all" / f"{name}.geojson", [("pen", 0, 0, SIDE, SIDE)])
        write_regions(tmp_path / "two" / f"{name}.geojson", [PEN, ("fold", 50, 50, 60, 60)])
    assert "all of its tissue" in refusal(exclude=tmp_path / "all")
    assert "--exclude-only" in refusal(exclude=tmp_path / "two") and not (tmp_path / "out").exists()
