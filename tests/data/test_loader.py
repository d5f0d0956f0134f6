from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax.data.loader import balanced_schedule, batches, shuffled_schedule
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.patch_set import channel_statistics, load_patches, routed, strata
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.data.subsets import Subset
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, PADDING


@pytest.fixture(scope="module")
def patches(phantom):
    manifest = read_manifest(phantom)
    return load_patches(manifest.of_split("train"), manifest.classes, 1.0)


def everything(patches):
    return Subset(patches.can_mask.copy(), patches.label != IGNORE_LABEL)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 5))
def test_every_row_exactly_once_an_epoch(n, batch_size, seed):
    rows = np.arange(n) * 3
    schedule = shuffled_schedule(rows, batch_size, seed)
    orders = []
    for epoch in range(3):
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        drawn = [schedule.rows_of_step(step) for step in steps]
        seen = np.concatenate([row[row != PADDING] for row, _ in drawn])
        np.testing.assert_array_equal(np.sort(seen), rows)
        assert all((epochs == epoch).all() for _, epochs in drawn)
        orders.append(tuple(seen))
    if n > 8:
        assert len(set(orders)) == 3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 20), st.floats(0, 1), st.integers(0, 5))
def test_balanced_keeps_its_share_and_goes_round_evenly(n_mask, n_label, batch_size, share, seed):
    masks, labels = np.arange(n_mask), np.arange(n_mask, n_mask + n_label)
    schedule = balanced_schedule(masks, labels, batch_size, share, seed)
    drawn = [schedule.rows_of_step(step)[0] for step in range(40)]
    expected = min(max(round(share * batch_size), 1), batch_size - 1)
    assert all((rows < n_mask).sum() == expected for rows in drawn)
    times = np.bincount(np.concatenate(drawn), minlength=n_mask + n_label)
    assert np.ptp(times[:n_mask]) <= 1 and np.ptp(times[n_mask:]) <= 1


def test_balanced_of_one_kind_is_shuffled():
    rows = np.arange(7)
    schedule = balanced_schedule(rows, rows[:0], 3, 0.5, 0)
    np.testing.assert_array_equal(
        schedule.rows_of_step(2)[0], shuffled_schedule(rows, 3, 0).rows_of_step(2)[0]
    )


@pytest.mark.parametrize("threads", [2, 7])
def test_batches_do_not_depend_on_threads_and_resume_exactly(patches, threads):
    subset = everything(patches)
    schedule = shuffled_schedule(np.arange(len(patches)), 8, 0)
    alone = list(batches(patches, subset, schedule, 9, 1))
    iterator = batches(patches, subset, schedule, 9, threads)
    for step in range(4):
        _same(next(iterator), alone[step])
    state = iterator.get_state()
    again = batches(patches, subset, schedule, 9, threads)
    again.set_state(state)
    rest = list(again)
    assert len(rest) == 5
    for one, other in zip(rest, alone[4:], strict=True):
        _same(one, other)


def _same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_hold_the_pictures_that_they_name_and_no_mask_that_is_not_used(patches, phantom):
    classes = read_manifest(phantom).classes
    can_mask = patches.can_mask.copy()
    can_mask[np.flatnonzero(can_mask)[::2]] = False
    subset = Subset(can_mask, patches.label != IGNORE_LABEL)
    schedule = shuffled_schedule(np.arange(len(patches)), 8, 0)
    unused = 0
    for batch in batches(patches, subset, schedule, schedule.steps_per_epoch, 2):
        for k, row in enumerate(batch.index):
            if row == PADDING:
                assert not batch.has_mask[k] and not batch.has_label[k] and batch.label[k] == IGNORE_LABEL
                continue
            patch = patches.rows[row]
            np.testing.assert_array_equal(batch.image[k], read_image(patch.image))
            if can_mask[row]:
                np.testing.assert_array_equal(batch.mask[k], read_mask(patch.mask, classes))
            else:
                assert (batch.mask[k] == IGNORE_PIXEL).all() and not batch.has_mask[k]
                unused += 1
    assert unused


def test_on_disk_equals_in_memory(patches, phantom):
    manifest = read_manifest(phantom)
    lazy = load_patches(manifest.of_split("train"), manifest.classes, 0.0)
    assert patches.in_memory and not lazy.in_memory
    rows = np.array([0, 5, 2])
    _same(lazy.fetch(rows), patches.fetch(rows))
    np.testing.assert_array_equal(lazy.pixels, patches.pixels)


def test_routing_all_fills_masks_and_labels_mask_patches(patches, phantom):
    classes = read_manifest(phantom).classes
    subset = Subset(patches.can_mask, ~patches.can_mask)
    filled, flags = routed(patches, subset, "all", "S+C", classes.background)
    assert flags.has_mask.all() and flags.has_label.all()
    bare = np.flatnonzero(~patches.can_mask)[:3]
    _, masks = filled.fetch(bare)
    for row, mask in zip(bare, masks, strict=True):
        assert (mask == patches.label[row]).all()
    kept = np.flatnonzero(patches.can_mask)
    _same(filled.fetch(kept), patches.fetch(kept))
    _, of_s = routed(patches, Subset(patches.can_mask, np.zeros_like(patches.can_mask)), "all", "S", 0)
    assert not of_s.has_label.any()
    assert routed(patches, subset, "split", "S+C", 0) == (patches, subset)


def test_strata_are_labels_else_the_dominant_foreground(patches):
    unlabelled = replace(patches, label=np.full(len(patches), IGNORE_LABEL, np.int32))
    found = strata(unlabelled, 0)
    np.testing.assert_array_equal(strata(patches, 0), patches.label)
    for row in np.flatnonzero(patches.can_mask):
        foreground = patches.pixels[row, 1:]
        assert found[row] == (1 + foreground.argmax() if foreground.any() else 0)


def test_channel_statistics_equal_numpy(patches):
    rows = np.arange(5)
    images, _ = patches.fetch(rows)
    mean, std = channel_statistics(patches, rows)
    scaled = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, scaled.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, scaled.std(0), rtol=1e-5)
