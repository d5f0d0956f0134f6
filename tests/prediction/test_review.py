"""Labels and masks beside networks that have not learned from their patient."""

import csv
import dataclasses
import io
import shutil

import numpy as np
import pytest

from helpers.commands import l2s
from helpers.manifests import with_rows
from helpers.reviews import run_that_learned_from
from helpers.runs import quiet, with_slide
from l2s_jax import read_manifest
from l2s_jax.data.origins import slide_of
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.review import review as verb
from l2s_jax.prediction.review.members import load_members, opinions
from l2s_jax.prediction.review.review import review
from l2s_jax.prediction.review.suspicion import class_chances, label_doubt, mask_doubt, probabilities_of
from l2s_jax.runs.folder import learned_from
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

PARTS = 3


@pytest.fixture(scope="module")
def runs(trained, phantom, tmp_path_factory):
    """Three, each of which has not learned from two thirds of the groups."""
    groups = sorted({row.group for row in read_manifest(phantom).patches})
    folder = tmp_path_factory.mktemp("runs")
    return [
        run_that_learned_from(groups[part::PARTS], trained, folder / f"run{part}", 0.02 * (part + 1))
        for part in range(PARTS)
    ]


@pytest.fixture(scope="module")
def reviewed(phantom, runs, tmp_path_factory):
    """What was found, the folder, and what was said."""
    out, said = tmp_path_factory.mktemp("reviewed") / "out", []
    return review(phantom, runs, out, batch_size=8, say=said.append), out, said


def test_chances_by_hand():
    """Ten cells: nine of background, one of class 1 with some of class 2 in it."""
    cells = np.zeros((2, 5, 3), np.float32)
    cells[..., 0] = 1
    cells[1, 2] = (0.2, 0.6, 0.2)
    innocent = np.array([True, False, False])
    # The tenth with most of anything is that one cell: 0.8, of which 0.6 / 0.8 is class 1.
    np.testing.assert_allclose(class_chances(cells, innocent), (0.2, 0.6, 0.2), rtol=1e-6)
    np.testing.assert_allclose(class_chances(cells, ~innocent | innocent), cells.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(class_chances(cells, np.zeros(3, bool)), cells.mean((0, 1)), rtol=1e-6)
    nothing = np.zeros((2, 5, 3), np.float32)
    nothing[..., 0] = 1
    np.testing.assert_allclose(class_chances(nothing, innocent), (1, 0, 0))


def test_a_label_is_likely_where_its_class_is_seen_and_no_other():
    cells = np.zeros((4, 4, 4), np.float32)
    cells[:2, :, 0], cells[2:, :, 1], cells[2:, :, 2] = 1, 0.75, 0.25
    found = label_doubt(cells, 1, (), 0)
    assert found.probability == pytest.approx(0.75) and found.suspicion == pytest.approx(0.25)
    assert (found.likeliest, found.likeliest_probability) == (1, pytest.approx(0.75))
    assert label_doubt(cells, 2, (), 0).probability == pytest.approx(0.25)
    assert label_doubt(cells, 3, (), 0).probability == 0
    # Class 1 may be there too: it speaks against nothing. A quarter is the most that is seen of class 2.
    assert label_doubt(cells, 2, (1, 2), 0).probability == pytest.approx(0.25)
    assert label_doubt(cells, 3, (1, 2, 3), 0).suspicion == 1
    # Background is contradicted by whatever else is there; without one, areas count.
    assert label_doubt(cells, 0, (), 0).probability == pytest.approx(0)
    assert label_doubt(cells, 1, (), None).probability == pytest.approx(0.375)
    assert label_doubt(cells, 0, (), None).likeliest == 0


@pytest.mark.parametrize("background", [None, 0, 2])
def test_chances_are_chances(background, rng):
    for _ in range(50):
        cells = rng.dirichlet(np.full(4, 0.2), (6, 7)).astype(np.float32)
        for label in range(4):
            allowed = tuple(np.flatnonzero(rng.random(4) < 0.3))
            found = label_doubt(cells, label, allowed, background)
            assert found.chances.sum() == pytest.approx(1) and (found.chances >= 0).all()
            assert 0 <= found.probability <= 1 and found.suspicion == pytest.approx(1 - found.probability)


def test_a_mask_is_contradicted_where_its_class_is_unlikely_and_unknown_pixels_never_count(rng):
    chances = np.full((4, 4, 3), (0.9, 0.06, 0.04), np.float32)
    mask = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [IGNORE_PIXEL] * 4], np.uint8)
    chances[1, 0] = (0.3, 0.5, 0.2)
    found = mask_doubt(chances, mask, 0.1)
    np.testing.assert_array_equal(found.known, (8, 4, 0))
    np.testing.assert_array_equal(found.contradicted, (0, 0.75, np.nan))
    assert found.suspicion == pytest.approx(0.375) and found.likeliest == 0
    assert found.likeliest_probability == pytest.approx(0.9)
    assert found.probability == pytest.approx((8 * 0.9 + 0.5 + 3 * 0.06) / 12)
    np.testing.assert_array_equal(found.where, (mask == 1) & (chances[..., 1] < 0.1))
    chances[3] = rng.dirichlet(np.ones(3), 4)
    other = mask_doubt(chances, mask, 0.1)
    assert other[:4] == found[:4] and not other.where[3].any()
    assert mask_doubt(chances, np.full((4, 4), IGNORE_PIXEL, np.uint8), 0.1) is None
    sure = mask_doubt(np.eye(3, dtype=np.float32)[np.where(mask > 2, 0, mask)], mask, 0.1)
    assert sure.suspicion == 0 and sure.likeliest is None and sure.likeliest_probability is None


def test_every_label_and_mask_is_judged_by_those_that_never_saw_its_group(reviewed, phantom, runs):
    found, _, said = reviewed
    contents = read_manifest(phantom)
    assert sum(one.kind == "label" for one in found) == len(contents.patches)
    assert sum(one.kind == "mask" for one in found) == sum(row.mask is not None for row in contents.patches)
    suspicion = [one.doubt.suspicion for one in found]
    assert suspicion == sorted(suspicion, reverse=True) and len(set(suspicion)) > 10
    assert {one.members for one in found} == {PARTS - 1}
    assert f"{runs[0]} has not learned from" in "\n".join(said) and "60 labels and" in "\n".join(said)
    # By hand: the mean of the two that have not learned from the patch's group.
    row = next(row for row in contents.patches if row.mask is not None and row.label != IGNORE_LABEL)
    asked = [run for run in runs if row.group not in learned_from(run).groups]
    assert len(asked) == PARTS - 1
    forwards = [make_forward(load_network(run)[0], 8) for run in asked]
    outputs = [forward(read_image(row.image)[None]) for forward in forwards]
    cells = np.mean([probabilities_of(one.coarse_logits[0]) for one in outputs], axis=0)
    heads = np.mean([probabilities_of(one.class_logits[0]) for one in outputs], axis=0)
    label, mask = (
        next(one for one in found if one.row == row and one.kind == kind) for kind in ("label", "mask")
    )
    assert label.doubt.probability == pytest.approx(
        label_doubt(cells, row.label, row.allowed, contents.classes.background).probability, abs=1e-5
    )
    np.testing.assert_allclose(label.classifier, heads, atol=1e-5)
    truth = read_mask(row.mask, contents.classes)
    given = np.take_along_axis(cells.repeat(8, 0).repeat(8, 1), truth[..., None].astype(int), -1)
    assert mask.doubt.probability == pytest.approx(given[truth != IGNORE_PIXEL].mean(), abs=1e-5)


def test_the_table_has_a_row_for_each(reviewed, phantom):
    found, out, _ = reviewed
    with (out / "review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = read_manifest(phantom).classes.names
    assert len(rows) == len(found)
    for one, row in zip(found, rows, strict=True):
        assert (row["image"], row["mask"], row["kind"], row["label"], row["content"]) == one.item
        assert (row["group"], row["split"]) == (one.row.group, one.row.split)
        assert float(row["suspicion"]) == pytest.approx(one.doubt.suspicion, rel=1e-5)
        assert int(row["members"]) == one.members
        shares = [row[f"contradicted {name}"] for name in names]
        if one.kind == "label":
            assert not any(shares) and row["classifier"] in names and not row["known_pixels"]
            assert row["likeliest"] == names[one.doubt.likeliest]
        else:
            assert int(row["known_pixels"]) == one.doubt.known.sum() and not row["classifier"]
            assert [bool(share) for share in shares] == [bool(n) for n in one.doubt.known]
    lines = {one.row.line for one in found}
    assert {path.name for path in (out / "pictures").iterdir()} == {f"{line:06d}.jpg" for line in lines}
    assert (out / "review.html").stat().st_size > 5000


@pytest.mark.slow
def test_what_is_asked_in_which_batches_changes_nothing(reviewed, phantom, runs, tmp_path):
    again = review(phantom, runs, tmp_path / "out", batch_size=3, splits=("test",), say=quiet)
    before = {one.item: one.doubt.suspicion for one in reviewed[0]}
    assert {one.row.split for one in again} == {"test"}
    for one in again:
        assert one.doubt.suspicion == pytest.approx(before[one.item], abs=1e-4)


def test_a_review_is_written_whole_or_not_at_all(phantom, runs, tmp_path, monkeypatch):
    count, write = iter(range(1000)), verb.write_strip

    def failing(*arguments):
        if next(count) == 20:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(verb, "write_strip", failing)
    with pytest.raises(KeyboardInterrupt):
        review(phantom, runs, tmp_path / "out", batch_size=8, say=quiet)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_made_again_it_is_the_same(reviewed, phantom, runs, tmp_path):
    out = shutil.copytree(reviewed[1], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.rglob("*.*") if path.suffix in (".csv", ".jpg")}
    review(phantom, runs, out, batch_size=8, say=quiet)
    assert all((next(out.rglob(name))).read_bytes() == content for name, content in before.items())


def test_files_of_other_origin_are_not_replaced(reviewed, phantom, runs, tmp_path, capsys):
    out = shutil.copytree(reviewed[1], tmp_path / "out")
    (out / "review.csv").write_text("mine")
    assert l2s("review", phantom, "--runs", *runs, "--out", out) == 2
    assert "was changed since l2s made it" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "review.html").write_text("mine")
    assert l2s("review", phantom, "--runs", *runs, "--out", other) == 2
    assert "was not made by l2s" in capsys.readouterr().err and (other / "review.html").read_text() == "mine"


def test_networks_that_have_seen_a_patient_are_no_judges_of_it(phantom, runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert l2s("review", phantom, "--runs", runs[0], "--out", out) == 2
    said = capsys.readouterr().err
    assert "the run has learned from 7 of the 20 patients or slides" in said
    assert "l2s prepare folds" in said and "slide000" in said and said.count("\n") == 1
    groups = sorted(learned_from(runs[0]).groups)
    both = with_rows(
        phantom,
        tmp_path / "both",
        lambda row: dataclasses.replace(row, group=groups[0]) if row.split == "train" else row,
    )
    assert l2s("review", both, "--runs", runs[0], "--out", out, "--allow-outside") == 2
    assert not out.exists()


def test_bad_input_is_one_message_each(phantom, runs, tmp_path, capsys):
    out = tmp_path / "out"

    def said(data, *words):
        assert l2s("review", data, *words, "--out", out, "--allow-outside") == 2
        text = capsys.readouterr().err
        assert not out.exists() and text.count("\n") == 1, text
        return text

    assert "are one network. Name it once" in said(phantom, "--runs", runs[0], runs[1], runs[0])
    assert "unlikely = 1.5 must be above 0 and below 1" in said(phantom, "--runs", *runs, "--unlikely", "1.5")
    assert "no trained network" in said(phantom, "--runs", tmp_path)
    bare = with_rows(phantom, tmp_path / "bare", lambda row: row)
    text = (bare / "classes.toml").read_text()
    (bare / "classes.toml").write_text(text.replace('"carcinoma"', '"cancer"'))
    table = (bare / "patches.csv").read_text()
    (bare / "patches.csv").write_text(table.replace(",carcinoma,", ",cancer,"))
    text = said(bare, "--runs", *runs)
    assert "cancer" in text and str(runs[0]) in text and "They must be the same" in text
    unlabelled = with_rows(
        phantom,
        tmp_path / "unlabelled",
        lambda row: (
            dataclasses.replace(row, label=IGNORE_LABEL, mask=None, allowed=(0, 1, 2, 3))
            if row.split == "test"
            else row
        ),
    )
    assert "no patch with a label or a mask in the split test" in said(
        unlabelled, "--runs", *runs, "--split", "test"
    )
    scaled = with_rows(phantom, tmp_path / "scaled", lambda row: dataclasses.replace(row, mpp=3.0))
    text = said(scaled, "--runs", *runs)
    assert str(runs[0]) in text and "--any-scale" in text


def test_no_run_is_a_message_too(phantom, tmp_path):
    with pytest.raises(UserError, match="no run named"):
        review(phantom, [], tmp_path / "out", say=quiet)


def test_the_slide_is_what_prepare_has_written_down(phantom):
    row = read_manifest(phantom).patches[0]
    assert slide_of(row) == ""
    assert slide_of(dataclasses.replace(row, source="a at row b.svs at row 3, col 5")) == "a at row b.svs"


def test_strips_show_what_is_contradicted(rng, tmp_path):
    from PIL import Image

    from l2s_jax.data.classes import Classes
    from l2s_jax.prediction.review.strips import GAP, SIDE, write_strip

    classes = Classes(("a", "b"), ((255, 255, 255), (200, 30, 60)), (0, 1), background=0)
    image = np.full((400, 300, 3), 180, np.uint8)
    mask = np.zeros((400, 300), np.uint8)
    mask[100:300, 50:250] = 1
    where = np.zeros((400, 300), bool)
    where[100:200, 50:250] = True
    for given, contradicted in ((mask, where), (None, None)):
        path = tmp_path / "strip.jpg"
        write_strip(path, image, given, contradicted, mask.astype(np.int64), classes)
        strip = np.asarray(Image.open(io.BytesIO(path.read_bytes())), int)
        wide = (strip.shape[1] - 2 * GAP) // 3
        assert strip.shape == (SIDE, 3 * wide + 2 * GAP, 3) and wide == 144
        picture, middle, predicted = (strip[:, k * (wide + GAP) :][:, :wide] for k in range(3))
        assert np.abs(picture - 180).max() < 12
        assert predicted[SIDE // 2, wide // 2, 0] > predicted[SIDE // 2, wide // 2, 1] + 30
        if given is None:
            assert np.ptp(middle[10:-10, 10:-10]) < 12
        else:
            hatched, plain = middle[SIDE * 5 // 16, 30:114], middle[SIDE * 5 // 8, 30:114]
            assert np.ptp(hatched[:, 1]) > 120 > 40 > np.ptp(plain[:, 1])


def test_names_that_are_nearly_those_of_training_are_said(phantom, runs, tmp_path):
    """And a run that knows all of the patients takes no part."""
    learned = sorted(learned_from(runs[0]).groups)
    renamed = {group: group.replace("slide", "Slide ") for group in learned}
    data = with_rows(
        phantom,
        tmp_path / "data",
        lambda row: dataclasses.replace(row, group=renamed[row.group]) if row.group in renamed else None,
    )
    contents, said = read_manifest(data, allow_outside=True), []
    options = {"stride": None, "weighting": "gaussian", "batch_size": 8, "any_scale": False}
    members = load_members(runs[:1], contents, contents.patches, **options, say=said.append)
    assert len(members) == 1 and any("nearly those of what it is judged on" in line for line in said)
    plain = read_manifest(phantom)
    rows = [row for row in plain.patches if row.group in learned]
    said.clear()
    members = load_members(runs[:2], plain, rows, **options, say=said.append)
    assert f"{runs[0]} has not learned from 0 of {len(learned)} patients or slides: it takes no part" in said
    (opinion,) = {opinion.members for _, opinion in opinions(members, rows[:9], plain)}
    assert opinion == 1


def test_a_slide_that_a_run_knows_under_another_patients_name_is_not_judged_by_it(phantom, runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    with_slide(run, "a.svs")
    contents, plain = read_manifest(phantom), learned_from(run).groups
    rows = [row for row in contents.patches if row.group not in plain]
    options = {"stride": None, "weighting": "gaussian", "batch_size": 8, "any_scale": False, "say": quiet}
    (member,) = load_members([run], contents, rows, ["a", "b"], **options)
    assert member.learned == plain | {"a"}
    (member,) = load_members([run], contents, rows, ["b"], **options)
    assert member.learned == plain
