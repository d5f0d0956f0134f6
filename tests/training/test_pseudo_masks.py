"""Pseudo-masks that a teacher makes and another run learns from: which, where, what the run keeps."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.runs import TINY, quiet, take_out_sum
from l2s_jax.cli.app import run
from l2s_jax.config import shift_pixels, validate
from l2s_jax.data.loader import make_batch
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.forward import make_forward
from l2s_jax.models.network import Outputs
from l2s_jax.prediction.views import mean_over_shifts
from l2s_jax.runs.folder import learned_from, read_earlier_runs, read_subset
from l2s_jax.system.errors import UserError
from l2s_jax.training.lineage import read_teacher
from l2s_jax.training.plan import plan_run
from l2s_jax.training.pseudo_masks import (
    PSEUDO_MASKS,
    PseudoMasks,
    background_shares,
    codes_by_share,
    make_pseudo_masks,
    read_pseudo_masks,
    with_pseudo_masks,
    write_pseudo_masks,
)
from l2s_jax.training.train import train
from l2s_jax.types import IGNORE_PIXEL

CONFIG = replace(TINY, setting="S+C", percent=40)


@pytest.fixture(scope="module")
def manifest(phantom):
    return read_manifest(phantom)


@pytest.fixture(scope="module")
def plan(manifest):
    patches = load_patches(manifest.of_split("train"), manifest.classes, 1)
    return plan_run(CONFIG, patches, manifest.classes)


@pytest.fixture(scope="module")
def teacher(trained, manifest):
    return read_teacher(str(trained), manifest)


@pytest.fixture(scope="module")
def pseudo_masks(teacher, manifest):
    """What the teacher makes for a run's plan."""

    def masks(plan, say=quiet, **options):
        return make_pseudo_masks(
            teacher.network, teacher.run.folder, plan, manifest.classes, replace(CONFIG, **options), say
        )

    return masks


def test_each_pixel_gets_the_likeliest_class_that_can_be_there(plan, pseudo_masks, teacher, manifest):
    said = []
    masks = pseudo_masks(plan, said.append)
    assert masks.rows.tolist() == np.flatnonzero(plan.chosen.has_label & ~plan.chosen.has_mask).tolist()
    assert len(masks.rows) > 3 and f"for {len(masks.rows)} image-level patches" in said[0]
    assert masks.codes.shape == (len(masks.rows), 4, 4) and masks.codes.dtype == np.uint8
    forward = make_forward(teacher.network, 1)
    for row, codes in zip(masks.rows, masks.codes, strict=True):
        assert set(codes.ravel()) <= {manifest.classes.background, plan.patches.label[row]}
        # By brute force: each turn and flip alone, one patch at a time, only the two classes looked at.
        (image,), _ = plan.patches.fetch(np.array([row]))
        label = plan.patches.label[row]
        total = np.zeros((4, 4, 4))
        for turn in range(4):
            for flip in (False, True):
                view = np.rot90(image, turn)
                view = view[:, ::-1] if flip else view
                (logits,), _ = forward(np.ascontiguousarray(view)[None])
                odds = np.exp(logits.astype(np.float64))
                odds /= odds.sum(-1, keepdims=True)
                odds = odds[:, ::-1] if flip else odds
                total += np.rot90(odds, -turn)
        background = manifest.classes.background
        sure = abs(total[..., label] - total[..., background]) > 1e-4
        expected = np.where(total[..., label] > total[..., background], label, background)
        assert (codes == expected)[sure].all() and sure.mean() > 0.5


def test_where_a_teacher_is_not_confident_it_says_nothing(plan, pseudo_masks):
    said = []
    every = pseudo_masks(plan)
    some = pseudo_masks(plan, said.append, teacher_confidence=0.55)
    left = some.codes != IGNORE_PIXEL
    assert 0.05 < left.mean() < 0.95 and f"left out {1 - left.mean():.0%}" in said[0]
    np.testing.assert_array_equal(some.codes[left], every.codes[left])
    # Two classes can be in a patch, so one of them always has half: no place falls out.
    np.testing.assert_array_equal(pseudo_masks(plan, teacher_confidence=0.5).codes, every.codes)
    pixels = plan.patches.pixels[plan.chosen.has_mask].sum(0)
    pixels += np.bincount(some.codes[left], minlength=4) * 64
    weights = with_pseudo_masks(plan, some, CONFIG).task.seg_weights
    np.testing.assert_allclose(weights, pixels.min() / pixels, rtol=1e-6)


def test_there_is_as_much_background_as_the_masks_of_a_label_show(plan, pseudo_masks, manifest):
    background = manifest.classes.background
    shares, code = background_shares(plan, manifest.classes)
    assert code == background
    # By brute force: all masks of a label side by side.
    rows = np.flatnonzero(plan.chosen.has_mask)
    _, masks = plan.patches.fetch(rows)
    labels = plan.patches.label[rows]
    for label in sorted(set(labels.tolist())):
        seen = masks[labels == label]
        expected = (seen == background).sum() / (seen != IGNORE_PIXEL).sum()
        np.testing.assert_allclose(shares[label], expected, rtol=1e-12)
    likeliest, masks = pseudo_masks(plan), pseudo_masks(plan, teacher_background="share")
    their_labels = plan.patches.label[masks.rows]
    for label in set(their_labels.tolist()):
        codes = masks.codes[their_labels == label]
        assert set(np.unique(codes)) <= {background, label}
        assert (codes == background).sum() == round(shares[label] * codes.size)
        # The other rule's background is either part of this one's, or contains it: the order is the same.
        other = likeliest.codes[their_labels == label] == background
        both = (codes == background) & other
        assert both.sum() >= min(other.sum(), (codes == background).sum()) - 2


def test_a_label_without_a_mask_takes_the_share_of_all_masks(plan, manifest):
    shares, background = background_shares(plan, manifest.classes)
    rows = np.flatnonzero(plan.chosen.has_mask)
    label = plan.patches.label[rows[0]]
    flags = plan.chosen.has_mask & (plan.patches.label != label)
    fewer = plan._replace(chosen=plan.chosen._replace(has_mask=flags))
    pixels = plan.patches.pixels[flags].sum(0)
    left, _ = background_shares(fewer, manifest.classes)
    assert left[label] == pixels[background] / pixels.sum() != shares[label]
    others = [code for code in set(plan.patches.label[rows].tolist()) if code != label]
    np.testing.assert_array_equal(left[others], shares[others])


def test_shares_rank_the_pixels_of_a_label_over_its_patches():
    chances = np.zeros((4, 1, 2, 3), np.float32)
    chances[..., 0] = [[[0.9, 0.8]], [[0.7, 0.2]], [[0.1, 0.2]], [[0.0, 0.0]]]
    chances[[0, 1], ..., 1] = 1 - chances[[0, 1], ..., 0]
    chances[2, ..., 1], chances[2, ..., 2] = [[0.5, 0.3]], [[0.4, 0.5]]
    chances[3, ..., 2] = 1  # no background can be there
    label = np.array([1, 1, 2, 2])
    codes = codes_by_share(chances, label, np.array([0.5, 0.5, 0.5]), 0)
    np.testing.assert_array_equal(codes[:, 0], [[0, 0], [1, 1], [1, 0], [2, 2]])
    none = codes_by_share(chances, label, np.zeros(3), 0)
    np.testing.assert_array_equal(none[:, 0], [[1, 1], [1, 1], [1, 2], [2, 2]])
    every = codes_by_share(chances, label, np.ones(3), 0)
    np.testing.assert_array_equal(every[:, 0], [[0, 0], [0, 0], [0, 0], [2, 2]])


def test_pixels_next_to_the_cut_can_be_left_out():
    chances = np.zeros((2, 1, 5, 2), np.float32)
    chances[..., 0] = [[[0.9, 0.1, 0.7, 0.4, 0.55]], [[0.8, 0.2, 0.6, 0.3, 0.5]]]
    chances[..., 1] = 1 - chances[..., 0]
    codes = codes_by_share(chances, np.array([1, 1]), np.array([0, 0.4]), 0, keep=0.5)
    # Of 4 places of background and 6 of the label the surest 2 and 3 stay.
    np.testing.assert_array_equal(codes[:, 0], [[0, 1, 255, 255, 255], [0, 1, 255, 1, 255]])


def test_what_is_left_out_leaves_the_shares_as_they_are(plan, pseudo_masks, manifest):
    said = []
    every = pseudo_masks(plan, teacher_background="share")
    some = pseudo_masks(plan, said.append, teacher_background="share", teacher_keep=0.5)
    left = some.codes != IGNORE_PIXEL
    np.testing.assert_array_equal(some.codes[left], every.codes[left])
    assert f"left out {1 - left.mean():.0%}" in said[0]
    labels = plan.patches.label[every.rows]
    for label in set(labels.tolist()):
        for code in (label, manifest.classes.background):
            counts = [(masks.codes[labels == label] == code).sum() for masks in (some, every)]
            assert abs(counts[0] - counts[1] / 2) <= 1
    for options, words in (
        ({"teacher_keep": 0.0}, "must be above 0"),
        ({"teacher_keep": 0.5}, "needs teacher_background = 'share'"),
    ):
        with pytest.raises(UserError, match=words):
            validate(replace(CONFIG, teacher="a", **options))


def test_shifted_views_average_out_where_in_a_patch_a_pixel_lies(rng):
    images = rng.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)

    def cells(pictures):
        return pictures.reshape(-1, 4, 8, 4, 8, 3).mean((2, 4)) / 255

    def by_colour(pictures):
        return Outputs(cells(pictures).astype(np.float32), np.zeros((len(pictures), 3)))

    def by_place(pictures):
        logits = np.zeros((len(pictures), 4, 4, 3), np.float32)
        logits[:, 0, :, 0] = logits[:, :, 0, 1] = 3.0  # the first row and column are what they are anywhere
        return Outputs(logits, np.zeros((len(pictures), 3)))

    odds = np.exp(cells(images))
    expected = odds / odds.sum(-1, keepdims=True)
    np.testing.assert_allclose(mean_over_shifts(by_colour, images, 16), expected, rtol=1e-5)

    moved = mean_over_shifts(by_place, images, 16)
    seen = by_place(images)[0]
    plain = np.exp(seen) / np.exp(seen).sum(-1, keepdims=True)
    np.testing.assert_allclose(moved.sum(-1), 1, rtol=1e-6)
    # By brute force: place (0, 0) lies in windows that start 16 or 8 pixels before it, or with it.
    windows = [(row, column, k) for k, (row, column) in enumerate(np.ndindex(5, 5)) if max(row, column) <= 2]
    corner = []
    for row, column, k in windows:
        turned = np.rot90(plain[0][:, :: 1 - 2 * (k % 2)], -(k % 8 // 2))
        corner.append(turned[2 - row, 2 - column])
    np.testing.assert_allclose(moved[0, 0, 0], np.mean(corner, 0), rtol=1e-5)
    assert np.ptp(moved[0], axis=(0, 1)).max() < np.ptp(plain[0], axis=(0, 1)).max() / 2


@pytest.mark.slow
def test_shifted_views_are_an_option_of_a_run(plan, pseudo_masks, manifest):
    as_it_is, moved = pseudo_masks(plan), pseudo_masks(plan, teacher_shift=0.5)
    assert moved.codes.shape == as_it_is.codes.shape
    assert 0.5 < (moved.codes == as_it_is.codes).mean() < 1
    assert [shift_pixels(share, 128, 16) for share in (0, 0.01, 0.25, 0.5)] == [0, 16, 32, 64]
    for name in ("teacher_shift", "augment_shift"):
        with pytest.raises(UserError, match=f"{name} = 1.0 must be at least 0 and below 1"):
            validate(replace(CONFIG, **{name: 1.0}))
        with pytest.raises(UserError, match=rf"{name} = 0\.99 comes to 32 pixels: .* sides of 32"):
            plan_run(replace(CONFIG, **{name: 0.99}), plan.patches, manifest.classes)


def test_shares_that_nothing_tells_are_refused(plan, pseudo_masks, manifest):
    bare = plan._replace(chosen=plan.chosen._replace(has_mask=np.zeros(len(plan.patches), bool)))
    assert len(pseudo_masks(bare).rows)
    with pytest.raises(UserError, match="it has none: use teacher_background = 'likeliest'"):
        pseudo_masks(bare, teacher_background="share")
    with pytest.raises(UserError, match=r"needs a background; classes\.toml names none"):
        background_shares(plan, replace(manifest.classes, background=None))


def test_pseudo_masks_stand_beside_those_that_a_run_has(plan, manifest, tmp_path):
    rows = np.flatnonzero(plan.chosen.has_label & ~plan.chosen.has_mask)[:2]
    codes = np.zeros((2, 4, 4), np.uint8)
    codes[0, 0, 1], codes[1] = 2, 3
    write_pseudo_masks(tmp_path, PseudoMasks(rows, codes, np.zeros(len(rows), np.float32)))
    masks = read_pseudo_masks(tmp_path)
    assert masks.rows.tolist() == rows.tolist() and (masks.codes == codes).all()
    new = with_pseudo_masks(plan, masks, CONFIG)
    assert new.schedule is plan.schedule and new.chosen is plan.chosen and new.steps == plan.steps
    assert (new.subset.has_mask == plan.subset.has_mask | np.isin(np.arange(len(plan.patches)), rows)).all()
    assert (new.subset.has_label == plan.subset.has_label).all()

    with_mask = np.flatnonzero(plan.chosen.has_mask)[:1]
    left = np.flatnonzero(plan.chosen.has_label & ~plan.chosen.has_mask)[2:3]
    asked = np.concatenate([rows, with_mask, left])
    before, after = (
        make_batch(each.patches, each.subset, asked, np.zeros(4, np.int32)) for each in (plan, new)
    )
    np.testing.assert_array_equal(before.image, after.image)
    assert (before.mask[[0, 1, 3]] == IGNORE_PIXEL).all() and (after.mask[3] == IGNORE_PIXEL).all()
    np.testing.assert_array_equal(before.mask[2], after.mask[2])
    expected = np.zeros((32, 32), np.uint8)
    expected[:8, 8:16] = 2
    np.testing.assert_array_equal(after.mask[0], expected)
    assert (after.mask[1] == 3).all() and after.has_mask.tolist() == [True, True, True, False]

    pixels = plan.patches.pixels[plan.chosen.has_mask].sum(0) + [1024 - 64, 0, 64, 1024]
    np.testing.assert_allclose(new.task.seg_weights, pixels.min() / pixels, rtol=1e-6)
    np.testing.assert_array_equal(new.task.cls_weights, plan.task.cls_weights)


@pytest.mark.slow
def test_what_masks_leave_unknown_is_filled_where_it_is_asked_for(plan, pseudo_masks, teacher):
    rows, fetch = np.flatnonzero(plan.chosen.has_mask), plan.patches.fetch
    holed, size = rows[:3], plan.patches.size

    def with_holes(asked):
        images, drawn = fetch(asked)
        drawn = drawn.copy()
        drawn[np.isin(asked, holed), 4:21, :] = IGNORE_PIXEL
        return images, drawn

    pixels = plan.patches.pixels.copy()
    pixels[holed] = [np.bincount(mask[mask < 4], minlength=4) for mask in with_holes(holed)[1]]
    gappy = plan._replace(patches=replace(plan.patches, fetch=with_holes, pixels=pixels))
    assert (pixels[holed].sum(1) == size[0] * size[1] - 17 * size[1]).all()
    plain = pseudo_masks(gappy)
    assert not set(plain.rows) & set(holed)
    said = []
    masks = pseudo_masks(gappy, said.append, teacher_fill=True)
    assert set(masks.rows) == set(plain.rows) | set(holed) and "and 3 masks with unknown pixels" in said[0]
    np.testing.assert_array_equal(masks.codes[np.isin(masks.rows, plain.rows)], plain.codes)
    new = with_pseudo_masks(gappy, masks, CONFIG)
    _, before = with_holes(rows)
    _, after = new.patches.fetch(rows)
    known = before != IGNORE_PIXEL
    np.testing.assert_array_equal(after[known], before[known])
    assert (after != IGNORE_PIXEL).all() and (new.subset.has_mask[rows]).all()
    for row, mask in zip(holed, after, strict=False):
        made = np.kron(masks.codes[masks.rows == row][0], np.ones((8, 8), np.uint8))
        np.testing.assert_array_equal(mask[4:21], made[4:21])
    learned = np.flatnonzero(new.subset.has_mask)
    counted = sum(np.bincount(mask[mask < 4], minlength=4) for mask in new.patches.fetch(learned)[1])
    np.testing.assert_allclose(new.task.seg_weights, counted.min() / counted, rtol=1e-6)
    # Where the share of background is asked for, masks are what tells it, and not what it is forced upon.
    shared = pseudo_masks(gappy, teacher_fill=True, teacher_background="share")
    is_mask = np.isin(masks.rows, holed)
    np.testing.assert_array_equal(shared.codes[is_mask], masks.codes[is_mask])


def test_no_patches_without_a_mask(pseudo_masks, plan):
    alone = plan._replace(chosen=plan.chosen._replace(has_label=np.zeros(len(plan.patches), bool)))
    masks = pseudo_masks(alone)
    assert len(masks.rows) == 0 and masks.codes.shape == (0, 4, 4)
    assert (with_pseudo_masks(alone, masks, CONFIG).subset.has_mask == plan.subset.has_mask).all()


@pytest.mark.slow
def test_a_run_keeps_its_pseudo_masks_and_is_resumed_without_the_teacher(trained, phantom, tmp_path):
    first, out = shutil.copytree(trained, tmp_path / "first"), tmp_path / "run"
    config, lines = replace(CONFIG, teacher=str(first), steps=4), []
    train(phantom, out, config, say=lines.append)
    assert any("pseudo-masks" in line and str(first) in line for line in lines)
    (earlier,) = read_earlier_runs(out)
    assert earlier.role == "teacher" and learned_from(out).groups >= set(earlier.groups)
    used = [record for record in read_subset(out) if record["mask_used"] == "1"]
    masks = read_pseudo_masks(out)
    assert not {int(record["index"]) for record in used} & set(masks.rows.tolist())

    shutil.rmtree(first)
    lines = []
    train(phantom, out, config, resume=True, say=lines.append)
    assert any("resuming after step 4" in line for line in lines)
    (out / PSEUDO_MASKS).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match=PSEUDO_MASKS):
        train(phantom, out, config, resume=True, say=quiet)
    words = ["train", str(phantom), "--out", str(tmp_path / "new"), "--weights", "random"]
    assert run([*words, "--teacher", str(first)]) == 2
    assert not (tmp_path / "new").exists()


def test_a_teacher_that_does_not_fit_is_refused(trained, manifest, tmp_path):
    with pytest.raises(UserError, match="teacher needs routing = 'split'"):
        validate(replace(CONFIG, teacher="a", routing="all"))
    other = shutil.copytree(trained, tmp_path / "other")
    text = (other / "classes.toml").read_text()
    (other / "classes.toml").write_text(text.replace("adenoma", "polyp"))
    take_out_sum(other, "classes.toml")
    with pytest.raises(
        UserError, match="knows the classes background, normal, polyp, carcinoma; this manifest"
    ):
        read_teacher(str(other), manifest)


def test_a_teachers_options_without_a_teacher_are_refused(phantom, tmp_path):
    idle = replace(CONFIG, teacher_shift=0.5, teacher_background="share")
    with pytest.raises(UserError, match="teacher_background and teacher_shift: how .* no teacher is named"):
        train(phantom, tmp_path / "run", idle, say=quiet)
    assert not (tmp_path / "run").exists()
