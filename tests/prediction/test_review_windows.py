"""Windows of slides about which networks disagree that have not learned from the slide's patient."""

import csv
import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

from helpers.commands import l2s
from helpers.ensembles import plain_joint, sibling, softmax, with_temperature
from helpers.manifests import with_rows
from helpers.own_slides import BACH_MPP, BLOCK, write_own_slide
from helpers.reviews import page_data_of, run_that_learned_from
from helpers.runs import quiet
from l2s_jax import SlideOptions, read_manifest, review
from l2s_jax.data.marks import COLUMNS
from l2s_jax.data.pictures import read_image
from l2s_jax.models.forward import make_forward
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.prediction.review.disagreement import disagreement
from l2s_jax.prediction.review.review import PICTURES
from l2s_jax.prediction.review.window_files import MEASURED
from l2s_jax.prediction.slides.job import area_of
from l2s_jax.prediction.tiles import Answer
from l2s_jax.runs.network import load_network
from l2s_jax.slides.overview import find_tissue
from l2s_jax.slides.reading import read_window
from l2s_jax.slides.slide import open_slide, size_at
from l2s_jax.types import IGNORE_LABEL

MPP, PATCH = BACH_MPP * BLOCK, 32
OF_VAL = {"splits": ("val",), "options": SlideOptions(mpp=MPP), "batch_size": 8}
TEMPERATURES = (1.0, 2.0, 0.5)


@pytest.fixture(scope="module")
def groups(phantom):
    return sorted({row.group for row in read_manifest(phantom).of_split("train")})


@pytest.fixture(scope="module")
def runs(trained, groups, tmp_path_factory):
    """Three, of which the first two have learned from a group of the phantom, the last two from another."""
    folder, learned = tmp_path_factory.mktemp("runs"), ([0], [0, 1], [1])
    made = [
        run_that_learned_from(
            [groups[k] for k in own],
            sibling(trained, folder / f"other{number}", number, 0.3),
            folder / f"run{number}",
            0,
        )
        for number, own in enumerate(learned, 1)
    ]
    return [
        run if one == 1 else with_temperature(run, one) for run, one in zip(made, TEMPERATURES, strict=True)
    ]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    return [write_own_slide(folder, name, seed) for seed, name in enumerate(("new1", "new2"))]


@pytest.fixture(scope="module")
def reviewed(phantom, runs, slides, tmp_path_factory):
    out, said = tmp_path_factory.mktemp("reviewed") / "out", []
    found = review(phantom, runs, out, slides=slides, windows=12, say=said.append, **OF_VAL)
    return found, out, said


def windows_of(found):
    return [one for one in found if one.kind == "window"]


@functools.cache
def forward_of(run):
    return make_forward(load_network(run)[0], 8)


def by_hand(path, origin, runs, temperatures):
    """Mutual information of a window from each network's own cells, in NumPy, and the mean probabilities."""
    slide = open_slide(path)
    image = read_window(slide, origin, (PATCH, PATCH), MPP)
    logits = [forward_of(run)(image[None]).coarse_logits[0] for run in runs]
    each = np.stack([softmax(one / t) for one, t in zip(logits, temperatures, strict=True)])
    mean, _, shared = plain_joint(each.repeat(8, 1).repeat(8, 2))
    tissue = find_tissue(slide)
    area = area_of(tissue.mask, size_at(slide, MPP), MPP / tissue.mpp)
    inside = area.mask[np.ix_(area.rows, area.columns)]
    here = inside[origin[0] : origin[0] + PATCH, origin[1] : origin[1] + PATCH]
    return shared[here].mean(), mean[here].mean(0)


@pytest.mark.parametrize(("cells", "side"), [(4, 8), (8, 1)])
def test_disagreement_is_that_of_the_definition_over_the_tissue(cells, side, rng):
    logits = rng.normal(0, 3, (cells, cells, 3 * 4)).astype(np.float32)
    tissue = rng.random((cells * side, cells * side)) < 0.8
    found = disagreement(Answer(logits, np.zeros(12, np.float32), side), TEMPERATURES, tissue)
    each = np.stack([softmax(logits[..., 4 * k : 4 * k + 4] / TEMPERATURES[k]) for k in range(3)])
    mean, _, shared = plain_joint(each.repeat(side, 1).repeat(side, 2))
    assert found.mutual_information == pytest.approx(shared[tissue].mean(), abs=1e-6)
    np.testing.assert_allclose(found.chances, mean[tissue].mean(0), atol=1e-6)
    np.testing.assert_array_equal(found.codes, mean.argmax(-1))
    np.testing.assert_allclose(found.where, np.where(tissue, shared / np.log(3), 0), atol=1e-6)


def test_windows_come_by_how_far_networks_disagree_over_tissue(reviewed, runs, slides):
    found = windows_of(reviewed[0])
    assert len(found) == 12 and reviewed[0][-12:] == found
    assert [one.rank for one in found] == list(range(1, 13))
    values = [one.disagreement for one in found]
    assert values == sorted(values, reverse=True) and values[0] > 1.1 * values[-1] > 0
    assert {one.slide for one in found} == {"new1.svs", "new2.svs"} and {one.members for one in found} == {3}
    for one in (found[0], found[-1]):
        path = slides[one.window.slide]
        shared, chances = by_hand(path, one.window.origin, runs, TEMPERATURES)
        assert one.disagreement == pytest.approx(shared, rel=1e-3)
        assert one.likeliest == chances.argmax()
        assert one.likeliest_probability == pytest.approx(chances.max(), abs=1e-5)


def test_the_table_the_frames_and_the_page_have_them(reviewed, phantom):
    found, out, said = reviewed
    with (out / "review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names, windows = read_manifest(phantom).classes.names, windows_of(found)
    assert [row["kind"] for row in rows] == [one.kind for one in found] and {row["kind"] for row in rows} == {
        "label",
        "mask",
        "window",
    }
    frames = {}
    for name in ("new1", "new2"):
        content = json.loads((out / f"{name}_disagreement.geojson").read_text())
        for one in content["features"]:
            assert "classification" not in one["properties"]
            frames[one["properties"]["name"]] = name, one
    for one, row in zip(windows, rows[-12:], strict=True):
        assert not any(row[column] for column in (*COLUMNS[:2], "label", "content", "suspicion", "split"))
        assert (row["slide"], row["group"]) == (one.slide, one.slide.removesuffix(".svs"))
        assert float(row["disagreement"]) == pytest.approx(one.disagreement, rel=1e-5)
        assert row["likeliest"] == names[one.likeliest] and row["members"] == "3"
        slide, frame = frames.pop(f"Disagreement {one.rank}")
        corners = frame["geometry"]["coordinates"][0]
        (left, top), (right, bottom) = np.min(corners, 0), np.max(corners, 0)
        assert f"{slide}.svs" == one.slide and (right - left, bottom - top) == (PATCH * BLOCK,) * 2
        assert (left, top) == (one.window.origin[1] * BLOCK, one.window.origin[0] * BLOCK)
        assert (float(row["x"]), float(row["y"]), float(row["width"])) == (left, top, PATCH * BLOCK)
        measured = {each["name"]: each["value"] for each in frame["properties"]["measurements"]}
        assert measured == {"Rank": one.rank, MEASURED: one.disagreement, "Runs": 3}
    assert not frames
    data = page_data_of((out / "review.html").read_text())
    assert data["kinds"] == ["label", "mask", "window"] and data["slides"][-2:] == ["new1.svs", "new2.svs"]
    for one, row in zip(windows, data["rows"][-12:], strict=True):
        assert row[1:4] == [one.name, None, 2] and row[6] == -1 and row[11] == []
        assert row[7] == pytest.approx(one.disagreement, abs=1e-4)
        assert read_image(out / row[0]).shape == (PATCH, 3 * PATCH + 8, 3)
    assert "12 windows of 2 slides" in "\n".join(said)


def test_those_that_have_learned_from_a_slides_patient_are_not_asked(
    phantom, groups, runs, slides, tmp_path, capsys
):
    """Of the first group two of three have learned, so one is left."""
    words = ("--runs", *runs, "--mpp", MPP, "--out", tmp_path / "out", "--split", "val")
    seen = shutil.copy(slides[0], tmp_path / f"{groups[0]}.svs")
    assert l2s("review", phantom, "--slides", seen, slides[1], *words) == 2
    said = capsys.readouterr().err
    assert f"1 of the slides: {seen} (1)" in said and "It takes two to disagree" in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists()
    # By the slide that `prepare` has noted, not by its name: its patches are of a group that one has seen.
    one_seen = [
        run_that_learned_from([groups[number]], run, tmp_path / f"run{number}", 0)
        for number, run in enumerate(runs)
    ]
    noted = with_rows(
        phantom,
        tmp_path / "noted",
        lambda row: (
            dataclasses.replace(row, source="new1.svs at row 0, col 0") if row.group == groups[0] else row
        ),
    )
    out = tmp_path / "noted_out"
    found = review(noted, one_seen, out, slides=slides, windows=12, allow_outside=True, say=quiet, **OF_VAL)
    assert {one.slide for one in windows_of(found)} == {"new1.svs", "new2.svs"}
    for one in windows_of(found):
        own = one.slide == "new1.svs"
        assert (one.group, one.split, one.members) == ((groups[0], "train", 2) if own else ("new2", "", 3))
        asked = slice(1 if own else 0, 3)
        shared, _ = by_hand(slides[one.window.slide], one.window.origin, runs[asked], TEMPERATURES[asked])
        assert one.disagreement == pytest.approx(shared, rel=1e-3)


def test_no_window_meets_what_is_judged_as_a_patch(phantom, groups, runs, slides, tmp_path):
    """A patch with a label, cut where four windows of the grid meet."""
    unseen = [row for row in read_manifest(phantom).patches if row.group not in groups[:2]]
    labelled = next(row for row in unseen if row.mask is None)

    def cut(row):
        source = "new1.svs at row 16, col 16" if row.line == labelled.line else row.source
        return dataclasses.replace(row, source=source, mpp=MPP)

    noted, counts = with_rows(phantom, tmp_path / "noted", cut), []
    for data in (phantom, noted):
        said = []
        found = review(data, runs, tmp_path / data.name, slides=slides[:1], windows=1, any_scale=True,
                       allow_outside=True, say=said.append, **OF_VAL)  # fmt: skip
        counts.append(next(int(line.split()[1]) for line in said if "windows of 32 pixels" in line))
    row, column = windows_of(found)[0].window.origin
    assert counts[0] - 4 <= counts[1] < counts[0] and max(row, column) >= 48


def test_slides_alone_are_enough(phantom, runs, slides, tmp_path, capsys):
    """Patches with neither label nor mask are no reason to stop where slides are named."""

    def bare(row):
        return dataclasses.replace(row, label=IGNORE_LABEL, mask=None, allowed=(0, 1, 2, 3))

    data = with_rows(phantom, tmp_path / "bare", lambda row: bare(row) if row.split == "val" else row)
    words = ("--runs", *runs, "--out", tmp_path / "out", "--allow-outside", "--split", "val")
    assert l2s("review", data, *words) == 2 and "nothing can be judged" in capsys.readouterr().err
    assert l2s("review", data, *words, "--slides", slides[0], "--windows", 2, "--mpp", MPP) == 0
    assert "windows of slides only" in capsys.readouterr().out
    assert len((tmp_path / "out/review.csv").read_text().splitlines()) == 3


def test_what_an_earlier_call_made_of_other_slides_is_taken_away(reviewed, phantom, runs, slides, tmp_path):
    out = shutil.copytree(reviewed[1], tmp_path / "out")

    def again(*paths, **options):
        own = OF_VAL if paths else {"splits": OF_VAL["splits"], "batch_size": OF_VAL["batch_size"]}
        review(phantom, runs, out, slides=paths, say=quiet, **own, **options)
        pictures = {path.name for path in (out / PICTURES).glob("window*")}
        return {path.name for path in out.glob("*.geojson")}, pictures

    assert again(slides[1], windows=1) == ({"new2_disagreement.geojson"}, {"window0001.jpg"})
    corrected = out / "new2_disagreement.geojson"
    corrected.write_text("mine")
    assert again() == ({"new2_disagreement.geojson"}, set()) and corrected.read_text() == "mine"
    assert "window" not in (out / "review.csv").read_text()


def test_bad_input_is_one_message_each(phantom, runs, slides, tmp_path, capsys):
    out = tmp_path / "out"

    def said(*words):
        assert l2s("review", phantom, *words, "--out", out) == 2
        text = capsys.readouterr().err
        assert not out.exists() and text.count("\n") == 1, text
        return text

    some = ("--runs", *runs, "--slides", slides[0])
    assert "--slides needs two runs or more" in said("--runs", runs[0], "--slides", slides[0])
    for option in ("--windows", "--window", "--mpp"):
        assert f"{option}: no slide is named" in said("--runs", *runs, option, 64)
    assert "windows = 0 must be 1 to" in said(*some, "--windows", 0, "--mpp", MPP)
    assert "looked for on tissue" in said(*some, "--within", "slide")
    assert "must be at least the runs' patch size" in said(*some, "--mpp", MPP, "--window", 16)
    assert "are there. Ask for fewer" in said(*some, "--mpp", MPP, "--windows", 1000)
    twin = tmp_path / "other" / slides[0].name
    twin.parent.mkdir()
    shutil.copy(slides[0], twin)
    assert "have one name" in said(*some, twin, "--mpp", MPP)
    unknown = write_own_slide(tmp_path, "unknown", 3, mpp=None)
    assert "unknown.svs" in said("--runs", *runs, "--slides", unknown, "--mpp", MPP)
    blank = write_pyramidal_slide(tmp_path / "blank.svs", np.full((256, 256, 3), 244, np.uint8), mpp=BACH_MPP)
    assert "tissue" in said("--runs", *runs, "--slides", blank, "--mpp", MPP)
    assert "no window of 256 pixels" in said(*some, "--mpp", MPP, "--window", 256)


def test_a_slide_named_twice_is_looked_at_once(phantom, runs, slides, tmp_path):
    said = []
    twice = [slides[0], slides[0]]
    found = review(phantom, runs, tmp_path / "out", slides=twice, windows=2, say=said.append, **OF_VAL)
    assert len({one.window for one in windows_of(found)}) == 2 and "done once" in "\n".join(said)
