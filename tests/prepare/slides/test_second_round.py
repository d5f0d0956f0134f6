"""A second round: what was predicted and corrected becomes truth, what nobody has touched does not."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import shapely

from helpers.commands import l2s
from helpers.dataset_generator import BLOCK
from helpers.own_slides import REGIONS, feature, painted, write_own_slides
from l2s_jax.data.classes import Classes
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.pictures import read_mask
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.slides.annotations.object_ids import PREDICTED_AREA
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file
from l2s_jax.system.outputs import note_made

CLASSES = Classes(("background", "Stroma", "Tumour"), ((0, 0, 0), (9, 9, 9), (8, 8, 8)), (0, 1, 2), 0)
IN_FRAME = ("Tumour", 60, 80, 80, 120)
TO_CHANGE = ("Tumour", 112, 8, 124, 40)
TO_DELETE = ("Stroma", 100, 70, 112, 88)
OVER_DRAWN = ("Stroma", 10, 10, 30, 50)
PREDICTED = (IN_FRAME, TO_CHANGE, TO_DELETE, OVER_DRAWN)
CHANGED = ("Stroma", 112, 8, 120, 40)
NEW = ("Tumour", 2, 66, 20, 74)
SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)


@pytest.fixture
def rounds(tmp_path):
    """Slides with drawn regions, predictions of them, and what QuPath exports after somebody was there."""
    slides, predictions, corrected = (tmp_path / name for name in ("slides", "predictions", "corrected"))
    write_own_slides(slides)
    corrected.mkdir()
    for name in ("s1", "s2", "s3", "s4"):
        write_predictions(predictions / f"{name}.geojson")
        features = json.loads((predictions / f"{name}.geojson").read_text())["features"]
        first, second, _, last = features
        second |= {name: feature(*CHANGED)[name] for name in ("geometry",)}
        second["properties"]["classification"]["name"] = CHANGED[0]
        drawn = [*map(dict, (feature(*one) for one in REGIONS)), first, feature(*NEW), second, last]
        (corrected / f"{name}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": drawn})
        )
    return replace(SMALL, annotations=corrected, corrected_from=(predictions,)), slides, tmp_path


def write_predictions(path):
    path.parent.mkdir(exist_ok=True)
    regions = tuple(
        Region(
            shapely.box(left * BLOCK, top * BLOCK, right * BLOCK, bottom * BLOCK), CLASSES.names.index(name)
        )
        for name, top, left, bottom, right in PREDICTED
    )
    measured = [{PREDICTED_AREA: 1.0}] * len(regions)
    write_geojson(path, Annotations(regions), CLASSES, key=path.stem, measurements=measured)
    note_made(path.parent, {path.name: sha256_of_file(path)}, ())


def require_truth(made, truth):
    for row in made.manifest.patches:
        top, left = map(int, re.search(r"at row (\d+), col (\d+)", row.source).groups())
        mask = read_mask(row.mask, made.manifest.classes)
        expected = truth[top : top + mask.shape[0], left : left + mask.shape[1]]
        known = mask != 255 if row.split != "train" else np.ones_like(mask, bool)  # windows have margins
        np.testing.assert_array_equal(mask[known], expected[known])
    held = [row for row in made.manifest.patches if row.split != "train"]
    seen = sum(int((read_mask(row.mask, made.manifest.classes) != 255).sum()) for row in held)
    assert seen == len({row.group for row in held}) * int((truth != 255).sum())


def truth_with(untouched):
    """Frames below, then predictions that nobody has touched, then all that is drawn."""
    frames, drawn = [], []
    for one in REGIONS:
        (frames if one[0] == "Region*" else drawn).append(one)
    if untouched:
        return painted([*frames, *drawn, IN_FRAME, NEW, CHANGED, OVER_DRAWN])
    unknown = [("Ignore*", *one[1:]) for one in (IN_FRAME, OVER_DRAWN)]
    return painted([*frames, *unknown, *drawn, NEW, CHANGED])


def test_what_was_corrected_is_learned_and_what_nobody_touched_is_not(rounds):
    options, slides, folder = rounds
    said = []
    made = prepare_slides(slides, folder / "out", options, HERE, say=said.append)
    assert not made.failures
    require_truth(made, truth_with(untouched=False))
    text = "\n".join(said)
    assert "16 predicted outlines: 4 corrected, 4 deleted, 8 untouched; 24 were drawn by hand" in text
    assert "8 untouched predictions are unknown" in text and "taken for true" not in text
    reading = (folder / "out" / "prepared.toml").read_text()
    assert 'untouched = "unknown"' in reading and "predictions" in reading


@pytest.mark.slow
def test_untouched_predictions_are_true_where_it_is_said(rounds):
    options, slides, folder = rounds
    prepare_slides(slides, folder / "out", options, HERE)
    said = []
    made = prepare_slides(slides, folder / "out", replace(options, untouched="truth"), HERE, say=said.append)
    require_truth(made, truth_with(untouched=True))
    assert "warning: 8 predictions are taken for true" in "\n".join(said)


def test_predictions_are_never_learned_in_silence(rounds):
    options, slides, folder = rounds
    with pytest.raises(UserError, match=r"s1\.geojson: 3 object\(s\) are a network's.*--corrected-from"):
        prepare_slides(slides, folder / "out", replace(options, corrected_from=()), HERE)
    assert not (folder / "out").exists()
    with pytest.raises(UserError, match=r"--corrected-from .*slides/none"):
        prepare_slides(slides, folder / "out", replace(options, corrected_from=(slides / "none",)), HERE)


@pytest.mark.slow
def test_what_predict_wrote_beside_slides_is_neither_annotation_nor_slide(rounds, capsys):
    _, slides, folder = rounds
    for name in ("s1", "s2"):
        (slides / f"{name}.geojson").unlink()
        write_predictions(slides / f"{name}.geojson")
    (slides / "s1.ome.tif").write_bytes((slides / "s1.svs").read_bytes())
    note_made(slides, {"s1.ome.tif": sha256_of_file(slides / "s1.ome.tif")}, ())
    words = ["--mpp", "7.5", "--patch-size", "32", "--stain", "off", "--split", "50", "50", "0"]
    assert l2s("prepare", "slides", slides, folder / "out", *words) == 0
    said = capsys.readouterr().out
    assert "predict has written" in said and "s1.geojson, s2.geojson" in said and "2 slides with" in said
    assert {row.group for row in read_manifest(folder / "out").patches} == {"s3", "s4"}


def test_inspect_tells_them_apart_too(rounds, capsys):
    options, slides, folder = rounds
    words = ["--mpp", "7.5", "--patch-size", "32", "--annotations", options.annotations / "s1.geojson"]
    inspect = ["inspect", slides / "s1.svs", *words]
    assert l2s(*inspect, "--out", folder / "a", "--corrected-from", folder / "predictions") == 0
    assert "4 predicted outlines: 1 corrected, 1 deleted, 2 untouched" in capsys.readouterr().out
    assert l2s(*inspect, "--out", folder / "b") == 2
    assert "--corrected-from" in capsys.readouterr().err


def test_what_is_left_in_frames_and_in_val_and_test_is_said(rounds):
    options, slides, folder = rounds
    said = []
    made = prepare_slides(slides, folder / "out", options, HERE, say=said.append)
    held = len({row.group for row in made.manifest.patches if row.split != "train"})
    assert held and any(f"warning: on slides of val and test {2 * held} untouched" in line for line in said)
    assert any("1 untouched predictions reach into frames: delete" in line for line in made.report)
