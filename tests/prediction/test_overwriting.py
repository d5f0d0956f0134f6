"""No command writes over a file that it did not make itself, for this input."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.runs import quiet
from l2s_jax.cli import app as cli
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.bach import draw_bach
from l2s_jax.phantom.patches import phantom_slide, prepare_phantom
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.prediction.predict import predict
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prepare.halves import prepare_halves
from l2s_jax.sweeps.sweep import check_begun
from l2s_jax.system import outputs
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import RECORD


def contents(folder):
    """Bytes of all files below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def data(tmp_path):
    """Pictures and their drawn masks, of the same names, as the README lays them out."""
    image, mask = phantom_slide((40, 40), 3)
    for name in ("a", "b"):
        write_png(tmp_path / f"images/{name}.png", image if name == "a" else image[:, ::-1].copy())
        write_png(tmp_path / f"masks/{name}.png", mask if name == "a" else mask[:, ::-1].copy())
    return tmp_path


@pytest.fixture
def nothing_computed(monkeypatch):
    """Fails where a network is read: what is refused is refused before."""

    def fail(*arguments, **options):
        raise AssertionError("a network was read")

    from l2s_jax.prediction import predict as module

    monkeypatch.setattr(module, "load_runs", fail)


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("place", ["masks", "images"])
def test_truth_and_pictures_are_not_replaced(trained, data, capsys, place):
    before = contents(data)
    pictures = [str(data / "images/a.png"), str(data / "images/b.png")]
    assert cli.run(["predict", str(trained), *pictures, "--out", str(data / place)]) == 2
    said = capsys.readouterr().err
    assert str(data / place / "a.png") in said and str(data / place / "b.png") in said
    assert "Traceback" not in said
    assert contents(data) == before


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.ome.tif", "a_overlay.png"])
def test_a_pathologists_file_beside_a_slide_is_not_replaced(trained, data, capsys, name):
    write_png(data / "slides/a.tif.png", np.zeros((8, 8, 3), np.uint8))
    slide = (data / "slides/a.tif.png").rename(data / "slides/a.svs")
    (data / "slides" / name).write_text("drawn by hand")
    before = contents(data)
    assert cli.run(["predict", str(trained), str(slide), "--out", str(data / "slides")]) != 0
    assert str(data / "slides" / name) in capsys.readouterr().err
    assert contents(data) == before


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    "names",
    [
        ("one/x.png", "two/x.png"),
        ("one/x.png", "one/x.jpg"),
        ("one/A.svs", "one/A.tiff"),
        ("one/x.png", "one/x_overlay.png", "one/x_overlay_overlay.png"),
        ("one/x.png", "one/x.svs"),
    ],
)
def test_names_that_meet_in_one_call(trained, tmp_path, names):
    for name in names:
        write_png(tmp_path / f"{name}.png", np.full((32, 32, 3), 200, np.uint8))
        (tmp_path / f"{name}.png").rename(tmp_path / name)
    with pytest.raises(UserError) as caught:
        predict(trained, [tmp_path / name for name in names], tmp_path / "out", say=quiet)
    assert all(str(tmp_path / name) in str(caught.value) for name in names[:2])
    assert "Rename" in str(caught.value) and not (tmp_path / "out").exists()


def test_names_of_another_case_meet_where_the_file_system_says_so(trained, data, monkeypatch):
    shutil.copy(data / "images/b.png", data / "images/A.png")
    both = [data / "images/a.png", data / "images/A.png"]
    predict(trained, both, data / "apart", batch_size=8, say=quiet)
    assert {path.name for path in (data / "apart").glob("[aA].png")} == {"a.png", "A.png"}
    monkeypatch.setattr(outputs, "_folds_names", lambda folder: True)
    with pytest.raises(UserError, match="Rename"):
        predict(trained, both, data / "together", say=quiet)


def test_another_picture_of_the_same_name_in_a_later_call(trained, data):
    (data / "other").mkdir()
    shutil.copy(data / "images/b.png", data / "other/a.png")
    predict(trained, [data / "images/a.png"], data / "out", batch_size=8, say=quiet)
    before = contents(data)
    with pytest.raises(UserError) as caught:
        predict(trained, [data / "other/a.png"], data / "out", batch_size=8, say=quiet)
    said = str(caught.value)
    assert str(data / "images/a.png") in said and str(data / "other/a.png") in said
    assert "another output folder" in said
    assert contents(data) == before


def test_a_row_that_is_gone_is_made_anew(trained, data):
    pictures, out, lines = [data / "images/a.png", data / "images/b.png"], data / "out", []
    predict(trained, pictures, out, batch_size=8, say=quiet)
    before = (out / "fractions.csv").read_text()
    (out / "fractions.csv").write_text("\n".join(before.split("\n")[:2]) + "\n")
    predict(trained, pictures, out, batch_size=8, say=lines.append)
    assert lines[:2] == [
        "1 pictures were finished before",
        "1 pictures were finished before, without a row in fractions.csv now; predicted anew",
    ]
    assert (out / "fractions.csv").read_text() == before


def test_pictures_that_are_not_plain_colour_are_said(trained, data):
    picture = Image.open(data / "images/a.png")
    picture.convert("L").save(data / "images/grey.png")
    glass = picture.convert("RGBA")
    glass.putalpha(Image.new("L", picture.size, 100))
    glass.save(data / "images/glass.png")
    lines = []
    named = [data / "images" / f"{name}.png" for name in ("a", "grey", "glass")]
    predict(trained, named, data / "out", batch_size=8, say=lines.append)
    said = "\n".join(lines)
    assert "1 pictures grey: read as RGB of three equal channels. The network" in said
    assert "1 pictures transparent: laid on white. The network" in said


def test_a_folder_is_no_picture(trained, data):
    with pytest.raises(UserError, match=r"images is a folder: name the files in it, .*images/\*\.png"):
        predict(trained, [data / "images"], data / "out", say=quiet)


def test_a_repeated_call_does_what_is_missing_and_keeps_what_was_corrected(trained, data):
    pictures, out = [data / "images/a.png", data / "images/b.png"], data / "out"
    predict(trained, pictures[:1], out, batch_size=8, say=quiet)
    (out / "a.png").write_bytes((data / "masks/a.png").read_bytes())  # corrected by hand
    before, lines = contents(out), []
    predict(trained, pictures, out, batch_size=8, say=lines.append)
    after = contents(out)
    assert all(after[out / name] == before[out / name] for name in ("a.png", "a_overlay.png"))
    assert (out / "b.png").exists() and len(pd.read_csv(out / "fractions.csv")) == 2
    assert any("1 pictures were finished before and changed since" in line for line in lines)
    lines.clear()
    predict(trained, pictures[1:], out, batch_size=8, say=lines.append)
    assert any("1 pictures were finished before" in line for line in lines) and contents(out) == after
    with pytest.raises(UserError, match=r"a\.png was changed since") as caught:  # other options
        predict(trained, pictures, out, stride=32, batch_size=8, say=quiet)
    assert "1 picture(s) failed" in str(caught.value)
    assert (out / "a.png").read_bytes() == before[out / "a.png"]


def test_other_options_and_a_changed_picture_are_done_anew_and_said(trained, data):
    pictures, out, lines = [data / "images/a.png"], data / "out", []
    predict(trained, pictures, out, batch_size=8, say=quiet)
    predict(trained, pictures, out, batch_size=8, stride=8, say=lines.append)
    assert any("with other options or by another run" in line for line in lines)
    first = (out / "a_overlay.png").read_bytes()
    shutil.copy(data / "images/b.png", pictures[0])
    predict(trained, pictures, out, batch_size=8, stride=8, say=quiet)
    assert (out / "a_overlay.png").read_bytes() != first
    assert len(pd.read_csv(out / "fractions.csv")) == 1


@pytest.mark.parametrize("whole", [False, True])
def test_maps_of_other_options_do_not_stay_beside_new_ones(trained, data, whole):
    pictures, out, kept = [data / "images/a.png"], data / "out", data / "out/a_probabilities.ome.tif"
    options = SlideOptions(slide=True, slide_mpp=1.0, mpp=1.0, within="slide") if whole else SlideOptions()
    plain = {"slides": options, "batch_size": 8, "say": quiet}
    maps = plain | {"slides": dataclasses.replace(options, probabilities=True)}
    predict(trained, pictures, out, **maps)
    more = dataclasses.replace(options, grey_map=whole)
    predict(trained, pictures, out, **plain | {"slides": more})
    assert kept.is_file()  # it still says what this network says
    predict(trained, pictures, out, stride=8, **plain)
    assert not kept.exists() and (out / ("a.ome.tif" if whole else "a.png")).is_file()
    predict(trained, pictures, out, **maps)
    if whole:
        predict(trained, pictures, out, **plain | {"slides": dataclasses.replace(options, simplify=9.0)})
        assert kept.is_file()  # other outlines, the same pixels
        mask = np.zeros((40, 40), np.uint8)
        mask[:8] = 255
        write_png(data / "pen/a.png", mask)
        left_out = dataclasses.replace(options, exclude=data / "pen")
        predict(
            trained, pictures, out, **plain | {"slides": dataclasses.replace(left_out, probabilities=True)}
        )
        predict(trained, pictures, out, **plain)
        assert not kept.exists()  # what it left out is not left out any more
        predict(trained, pictures, out, **maps)
    kept.write_bytes(b"changed by hand")
    predict(trained, pictures, out, stride=8, **plain)
    assert kept.read_bytes() == b"changed by hand"


def test_a_folder_that_was_moved_is_gone_on_with(trained, data):
    predict(trained, [data / "images/a.png"], data / "out", batch_size=8, say=quiet)
    (data / "images").rename(data / "moved")
    (data / "out").rename(data / "out2")
    pictures = [data / "moved/a.png", data / "moved/b.png"]
    predict(trained, pictures, data / "out2", batch_size=8, say=quiet)
    assert len(pd.read_csv(data / "out2/fractions.csv")) == 2


def test_a_table_of_another_origin_is_not_added_to(trained, data):
    (data / "out").mkdir()
    (data / "out/fractions.csv").write_text("image,share\nmine.png,0.5\n")
    before = contents(data)
    with pytest.raises(UserError, match=r"fractions\.csv"):
        predict(trained, [data / "images/a.png"], data / "out", batch_size=8, say=quiet)
    assert contents(data) == before


@pytest.mark.slow
def test_figures_of_another_run_manifest_or_split_are_not_replaced(trained, phantom, tmp_path):
    out, other = tmp_path / "figures", tmp_path / "other"
    shutil.copytree(phantom, other)
    evaluate(trained, phantom, out=out, batch_size=8, say=quiet)
    evaluate(trained, phantom, out=out, batch_size=8, say=quiet)
    before = contents(out)
    run = shutil.copytree(trained, tmp_path / "run")
    for arguments in ((run, phantom, "test"), (trained, other, "test"), (trained, phantom, "val")):
        with pytest.raises(UserError, match=r"metrics\.json was made from"):
            evaluate(arguments[0], arguments[1], split=arguments[2], out=out, batch_size=8, say=quiet)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/per_image.csv").write_text("image,mine\n")
    with pytest.raises(UserError, match=r"per_image\.csv is there"):
        evaluate(trained, phantom, out=tmp_path / "mine", batch_size=8, say=quiet)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["per_image.csv"]
    assert contents(out) == before
    (out / "per_group.csv").write_text("group,note\n")
    with pytest.raises(UserError, match=r"per_group\.csv was changed since"):
        evaluate(trained, phantom, out=out, batch_size=8, say=quiet)


SMALL = {"patches": 12, "patches_per_slide": 3, "patch_size": 32}


def test_prepare_keeps_what_was_corrected_and_what_is_not_its_own(tmp_path):
    out = tmp_path / "data"
    prepare_phantom(out, **SMALL)
    first = contents(out)
    prepare_phantom(out, **SMALL)
    assert contents(out) == first
    for name in ("patches.csv", sorted(path.name for path in (out / "masks").iterdir())[0]):
        path = out / name if name.endswith("csv") else out / "masks" / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        before = contents(out)
        for options in ({}, {"overwrite": True}, {"overwrite": True, "seed": 1}):
            with pytest.raises(UserError, match=f"{path.name} was changed since prepare made it"):
                prepare_phantom(out, **SMALL | options)
        assert contents(out) == before
        path.write_bytes(content)
    (out / "images/mine.png").write_bytes(b"mine")
    before = contents(out)
    with pytest.raises(UserError, match=r"mine\.png is there and was not made by prepare"):
        prepare_phantom(out, **SMALL, seed=1, overwrite=True)
    assert contents(out) == before
    (out / "images/mine.png").unlink()
    (out / "notes.txt").write_text("mine")
    prepare_phantom(out, **SMALL, seed=1, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["patches.csv", "classes.toml", "images/a.png", "masks/a.png"])
def test_prepare_writes_into_no_data_set_of_somebody_else(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UserError, match=f"{path.name} is there and was not made by prepare"):
        prepare_phantom(tmp_path, **SMALL, overwrite=True)
    assert contents(tmp_path) == {path: b"mine"}


def test_an_interrupted_prepare_goes_on(tmp_path):
    prepare_phantom(tmp_path / "data", **SMALL)
    whole = contents(tmp_path / "data")
    (tmp_path / "data/patches.csv").unlink()
    (tmp_path / "data/prepared_files.jsonl").unlink()
    sorted((tmp_path / "data/images").iterdir())[0].unlink()
    prepare_phantom(tmp_path / "data", **SMALL)
    assert contents(tmp_path / "data").keys() == whole.keys()


def test_halves_take_no_folder_that_holds_pictures_of_the_same_names(tmp_path):
    prepare_phantom(tmp_path / "data", patches=24, patches_per_slide=3, patch_size=32, masks=0.5)
    manifest = tmp_path / "data/patches.csv"
    rows = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    rows.loc[rows["split"] == "test", "label"] = ""
    rows.to_csv(manifest, index=False)
    with pytest.raises(UserError, match="own folder"):
        prepare_halves(tmp_path / "data", tmp_path / "data", overwrite=True)
    image = rows["image"][0]
    target = tmp_path / "out" / image
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match="was not made by prepare"):
        prepare_halves(tmp_path / "data", tmp_path / "out", overwrite=True)
    assert target.read_bytes() == b"mine"
    prepare_halves(tmp_path / "data", tmp_path / "new")
    prepare_halves(tmp_path / "data", tmp_path / "new")


@pytest.mark.parametrize("name", ["plan.csv", "failures.csv", "per_group.csv"])
def test_a_sweep_takes_no_folder_that_holds_files_of_its_names(phantom, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is there and was not made by a sweep"):
        check_begun(tmp_path, read_manifest(phantom))


def test_the_phantom_of_bach_is_not_drawn_over_bach(tmp_path):
    slide = tmp_path / "WSI/A01.svs"
    slide.parent.mkdir()
    slide.write_bytes(b"a real slide")
    with pytest.raises(UserError, match=r"A01\.svs is there and was not made by l2s"):
        draw_bach(tmp_path, photos=0, overwrite=True)
    assert contents(tmp_path) == {slide: b"a real slide"}


def test_the_record_says_what_each_file_was_made_from(trained, data):
    out = predict(trained, [data / "images/a.png"], data / "out", batch_size=8, say=quiet)
    entries = [json.loads(line) for line in (out / RECORD).read_text().splitlines()]
    made = {entry["file"]: entry for entry in entries}
    assert {"a.png", "a_overlay.png", "fractions.csv"} == set(made)
    assert made["a.png"]["from"][0][0] == str((data / "images/a.png").resolve())
    assert Path(made["a.png"]["from"][0][0]).is_file()
