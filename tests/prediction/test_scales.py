import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.runs import quiet
from l2s_jax.cli import app as cli
from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
from l2s_jax.phantom.patches import phantom_slide
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.scales import TOLERANCE, Scale, is_another, stated_scale
from l2s_jax.runs.folder import read_network_facts, write_network_facts
from l2s_jax.system.errors import UserError
from l2s_jax.training.lineage import read_teacher

IMAGE = phantom_slide((40, 48), 3)[0]


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run whose patches had 0.5 um/px."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("scaled") / "run")
    write_network_facts(folder, replace(read_network_facts(folder), mpp=0.5))
    return folder


def write_tiff(path, mpp):
    dots = 1e4 / mpp
    tifffile.imwrite(path, IMAGE, resolution=(dots, dots), resolutionunit="CENTIMETER")
    return path


def test_what_files_state(tmp_path):
    assert stated_scale(write_tiff(tmp_path / "a.tif", 2.0)).mpp == pytest.approx((2, 2))
    ome = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, metadata=ome, ome=True)
    assert stated_scale(tmp_path / "a.ome.tif").mpp == pytest.approx((0.5, 0.25))  # (row, col)
    dots = 25400 / 2
    Image.fromarray(IMAGE).save(tmp_path / "a.png", dpi=(dots, dots / 2))
    assert stated_scale(tmp_path / "a.png").mpp == pytest.approx((4, 2), rel=1e-4)
    for name, options in (("b.png", {}), ("c.png", {"dpi": (300, 300)}), ("c.jpg", {"dpi": (72, 72)})):
        Image.fromarray(IMAGE).save(tmp_path / name, **options)
        assert stated_scale(tmp_path / name) is None  # none, or a print resolution
    (tmp_path / "d.png").write_text("no picture")
    assert stated_scale(tmp_path / "d.png") is None


@given(st.floats(0.05, 20), st.floats(0.3, 3.0))
def test_a_scale_is_another_beyond_the_tolerance_either_way(mpp, factor):
    limit = 1 + TOLERANCE
    if abs(factor - limit) > 1e-6 and abs(1 / factor - limit) > 1e-6:
        assert is_another(Scale((mpp * factor, mpp), ""), mpp) == (not 1 / limit <= factor <= limit)


def test_a_picture_of_another_scale_is_refused_until_told(run, tmp_path, capsys):
    coarse, right = write_tiff(tmp_path / "coarse.tif", 2.0), write_tiff(tmp_path / "right.tif", 0.5022)
    arguments = [
        "predict",
        str(run),
        str(coarse),
        str(right),
        "--out",
        str(tmp_path / "o"),
        "--batch-size",
        "8",
    ]
    assert cli.run([*arguments]) == 1
    said = capsys.readouterr()
    assert all(word in said.err for word in (str(coarse), "2 um/px", "0.5 um/px", "TIFF", "--any-scale"))
    assert str(right) not in said.err and "1 pictures state the run's scale" in said.out
    assert not (tmp_path / "o/coarse.png").exists() and (tmp_path / "o/right.png").exists()
    assert cli.run([*arguments, "--any-scale"]) == 0
    assert "1 pictures state another scale and are taken as they are" in capsys.readouterr().out
    assert (tmp_path / "o/coarse.png").exists()


def test_a_picture_that_says_nothing_is_taken_and_said(run, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    lines = []
    predict(run, [tmp_path / "a.png"], tmp_path / "o", batch_size=8, say=lines.append)
    assert any("0.5 um/px" in line and "1 pictures state no scale" in line for line in lines)


def of_scale(phantom, folder, mpp):
    manifest = read_manifest(phantom)
    write_classes(folder, manifest.classes)
    write_patches(folder, manifest.classes, [replace(row, mpp=mpp) for row in manifest.patches])
    return folder


@pytest.mark.slow
def test_a_manifest_of_another_scale_is_refused_until_told(run, phantom, tmp_path):
    coarse = of_scale(phantom, tmp_path / "coarse", 2.0)
    options = {"batch_size": 8, "allow_outside": True}
    with pytest.raises(UserError) as caught:
        evaluate(run, coarse, out=tmp_path / "o", say=quiet, **options)
    for word in ("2 um/px", "0.5 um/px", "column mpp", "--any-scale"):
        assert word in str(caught.value)
    assert not (tmp_path / "o").exists()
    lines = []
    evaluate(run, coarse, out=tmp_path / "o", any_scale=True, say=lines.append, **options)
    assert any(line.startswith("warning: ") and "2 um/px" in line for line in lines)
    assert json.loads((tmp_path / "o/metrics.json").read_text())["n_images"] > 0
    near = of_scale(phantom, tmp_path / "near", 0.52)
    evaluate(run, near, out=tmp_path / "p", say=quiet, **options)


def test_pictures_of_a_silent_manifest_are_asked(run, phantom, tmp_path):
    folder = shutil.copytree(phantom, tmp_path / "data")
    contents = read_manifest(folder)
    write_patches(folder, contents.classes, [replace(row, mpp=None) for row in contents.patches])
    row = contents.of_split("test")[0]
    with Image.open(row.image) as image:
        image.load()
    image.save(row.image, dpi=(12700, 12700))  # 2 um/px
    with pytest.raises(UserError, match=r"1 of \d+ patches") as caught:
        evaluate(run, folder, out=tmp_path / "o", batch_size=8, say=quiet)
    assert str(row.image) in str(caught.value) and "2 um/px" in str(caught.value)


def test_a_teacher_of_another_scale_is_said(run, phantom, tmp_path):
    lines = []
    read_teacher(str(run), read_manifest(of_scale(phantom, tmp_path, 2.0), allow_outside=True), lines.append)
    assert any("warning" in line and "2 um/px" in line and str(run) in line for line in lines)


def test_scales_are_not_compared_where_the_run_knows_none(trained, phantom, tmp_path):
    trained, lines = shutil.copytree(trained, tmp_path / "run"), []
    write_network_facts(trained, replace(read_network_facts(trained), mpp=None))
    coarse = of_scale(phantom, tmp_path / "coarse", 2.0)
    evaluate(trained, coarse, out=tmp_path / "o", batch_size=8, allow_outside=True, say=lines.append)
    assert any("scale: not compared" in line for line in lines)
    assert np.isfinite(json.loads((tmp_path / "o/metrics.json").read_text())["pooled"]["accuracy"])
