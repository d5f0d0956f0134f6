import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.train_step import augment
from l2s_jax.train_step.augment import colour_jitter, random_dihedral, random_shift, row_keys, shift_hue


def all_eight(picture):
    turned = [np.rot90(picture, k) for k in range(4)]
    return turned + [np.flipud(one) for one in turned]


@pytest.mark.parametrize("group, n", [("rotate", 4), ("dihedral", 8)])
def test_image_and_mask_move_together_through_the_whole_group(group, n, rng):
    image = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    mask = image[..., 0] % 7
    keys = jax.random.split(jax.random.key(0), 200)
    images, masks = random_dihedral(keys, jnp.repeat(image, 200, 0), jnp.repeat(mask, 200, 0), group)
    seen = set()
    wanted = all_eight(image[0])[:n]
    for one, its_mask in zip(np.asarray(images), np.asarray(masks), strict=True):
        np.testing.assert_array_equal(its_mask, one[..., 0] % 7)
        matches = [k for k, turned in enumerate(wanted) if np.array_equal(turned, one)]
        assert len(matches) == 1
        seen |= set(matches)
    assert seen == set(range(n))


def test_a_shift_moves_image_and_mask_together_and_mirrors_at_the_edge(rng):
    image = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    mask = image[..., 0] % 7
    n, most = 400, 3
    keys = jax.random.split(jax.random.key(0), n)
    images, masks = random_shift(keys, jnp.repeat(image, n, 0), jnp.repeat(mask, n, 0), most)

    def mirrored(i):
        return abs(i) if i < 8 else 14 - i

    offsets = range(-most, most + 1)
    wanted = {
        (dy, dx): image[0][[mirrored(i + dy) for i in range(8)]][:, [mirrored(i + dx) for i in range(8)]]
        for dy in offsets
        for dx in offsets
    }
    seen = set()
    for one, its_mask in zip(np.asarray(images), np.asarray(masks), strict=True):
        np.testing.assert_array_equal(its_mask, one[..., 0] % 7)
        matches = [offset for offset, moved in wanted.items() if np.array_equal(moved, one)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert seen == set(wanted)  # with another key 400 draws may leave one out


@pytest.mark.parametrize("turns", [0.13, 0.0, -0.04, 0.7, -1.3])
def test_hue_shift_equals_colorsys(rng, turns):
    image = rng.random((1, 6, 5, 3)).astype(np.float32)
    image[0, 0, 0] = 0.5  # grey has no hue
    shifted = np.asarray(shift_hue(jnp.asarray(image), jnp.full((1, 1, 1), turns)))
    for pixel, got in zip(image.reshape(-1, 3), shifted.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*map(float, pixel))
        # colorsys works in float64, this in float32: 1e-5 absolute of values in 0..1.
        np.testing.assert_allclose(got, colorsys.hsv_to_rgb((h + turns) % 1, s, v), atol=1e-5)


def test_jitter_stays_in_range_varies_and_is_the_identity_without_strength(rng, monkeypatch):
    image = jnp.asarray(rng.random((16, 8, 8, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 16)
    jittered = np.asarray(colour_jitter(keys, image))
    assert jittered.min() >= 0 and jittered.max() <= 1
    changes = np.abs(jittered - np.asarray(image)).mean((1, 2, 3))
    assert (changes > 1e-3).all() and changes.std() > 1e-3
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE"):
        monkeypatch.setattr(augment, name, 0.0)
    np.testing.assert_allclose(colour_jitter(keys, image), image, atol=1e-6)


def test_contrast_and_brightness_by_hand(monkeypatch):
    monkeypatch.setattr(augment, "SATURATION", 0.0)
    monkeypatch.setattr(augment, "HUE", 0.0)
    image = jnp.asarray(np.linspace(0.2, 0.6, 12, dtype=np.float32).reshape(1, 2, 2, 3))
    key = jax.random.split(jax.random.key(3), 1)
    b, c, _, _ = np.asarray(jax.random.uniform(key[0], (4,), minval=-1.0, maxval=1.0))
    bright = np.clip(np.asarray(image) * (1 + 0.25 * b), 0, 1)
    mean = (bright @ np.array([0.299, 0.587, 0.114])).mean()
    expected = np.clip((1 + 0.75 * c) * bright - 0.75 * c * mean, 0, 1)
    np.testing.assert_allclose(colour_jitter(key, image), expected, atol=1e-6)


def test_keys_depend_on_seed_epoch_and_index_alone():
    key = jax.random.key(5)
    a = row_keys(key, jnp.asarray([0, 0, 1]), jnp.asarray([3, 4, 3]))
    b = row_keys(key, jnp.asarray([1, 0]), jnp.asarray([3, 3]))
    data = lambda k: np.asarray(jax.random.key_data(k))  # noqa: E731
    np.testing.assert_array_equal(data(a)[0], data(b)[1])
    np.testing.assert_array_equal(data(a)[2], data(b)[0])
    assert len({tuple(row) for row in data(a)}) == 3
    other = row_keys(jax.random.key(6), jnp.asarray([0]), jnp.asarray([3]))
    assert tuple(data(other)[0]) != tuple(data(a)[0])
