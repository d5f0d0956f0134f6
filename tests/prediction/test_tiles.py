import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.forward import fake_forward
from l2s_jax.prediction.tiles import (
    Tiling,
    add_tile,
    enlarge,
    predict_picture,
    reflect_to,
    tile_origins,
    tile_weights,
)


def brute_force(image, tile, stride, weighting):
    """Every pixel by itself: the weighted mean over the tiles that cover it, in float64."""
    height, width = image.shape[:2]
    weights = tile_weights(tile, weighting).astype(np.float64)
    out = np.zeros((height, width, 3))
    tiles = [
        (r, c, enlarge(fake_forward(image[None, r : r + tile, c : c + tile])[0][0], 8))
        for r in tile_origins(height, tile, stride)
        for c in tile_origins(width, tile, stride)
    ]
    for row in range(height):
        for column in range(width):
            total = weight = 0
            for r, c, logits in tiles:
                if r <= row < r + tile and c <= column < c + tile:
                    w = weights[row - r, column - c]
                    total = total + w * logits[row - r, column - c]
                    weight += w
            out[row, column] = total / weight
    return out


@pytest.mark.parametrize("weighting", ["gaussian", "uniform"])
@pytest.mark.parametrize("shape, stride", [((16, 16), 16), ((40, 23), 8), ((33, 50), 5), ((17, 16), 16)])
def test_equal_to_brute_force(shape, stride, weighting, rng):
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for batch_size in (1, 3):
        logits, _ = predict_picture(fake_forward, image, Tiling(16, stride, weighting, batch_size))
        # float32 accumulation over at most 16 tiles of values up to 255.
        np.testing.assert_allclose(logits, brute_force(image, 16, stride, weighting), rtol=1e-5, atol=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 64), st.integers(0, 200), st.integers(1, 64))
def test_tiles_cover_every_pixel_and_stay_inside(tile, extra, stride):
    length, stride = tile + extra, min(stride, tile)
    origins = tile_origins(length, tile, stride)
    covered = np.zeros(length, int)
    for origin in origins:
        assert 0 <= origin <= length - tile
        covered[origin : origin + tile] += 1
    assert covered.min() >= 1 and len(set(origins)) == len(origins)


def test_gaps_and_short_sides_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        tile_origins(10, 16, 8)
    for stride in (0, 17):
        with pytest.raises(ValueError, match="stride"):
            tile_origins(32, 16, stride)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_small_pictures_are_reflected(height, width):
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    padded = reflect_to(image, 32)
    assert padded.shape == (max(height, 32), max(width, 32), 3)
    np.testing.assert_array_equal(padded[:height, :width], image)
    logits, labels = predict_picture(fake_forward, image, Tiling(32, 16))
    assert logits.shape == (height, width, 3) and labels.shape == (3,)


def test_class_logits_are_the_mean_over_tiles(rng):
    image = rng.integers(0, 256, (16, 48, 3)).astype(np.uint8)
    _, labels = predict_picture(fake_forward, image, Tiling(16, 16, "uniform"))
    np.testing.assert_allclose(labels, image.reshape(-1, 3).mean(0), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (16, 16)])
def test_bilinear_enlargement_is_that_of_jax(shape, rng):
    coarse = rng.normal(size=(*shape, 3)).astype(np.float32)
    expected = jax.image.resize(coarse, (8 * shape[0], 8 * shape[1], 3), "linear", antialias=False)
    np.testing.assert_allclose(enlarge(coarse, 8, "bilinear"), expected, atol=1e-5)
    assert enlarge(coarse, 8, "bilinear").dtype == np.float32
    np.testing.assert_array_equal(enlarge(coarse, 8)[::8, ::8], coarse)


@pytest.mark.parametrize("column", [-20, -5, 0, 9, 30, 48])
@pytest.mark.parametrize("cells", [4, 8, 32])
def test_a_tile_is_added_to_the_last_bit_as_pixel_by_pixel(column, cells, rng):
    tile, width, classes = 32, 50, 3
    weights = tile_weights(tile, "gaussian")
    logits = rng.normal(size=(cells, cells, classes)).astype(np.float32)
    sums = rng.normal(size=(tile, width, classes)).astype(np.float32)
    expected = sums.copy()
    pixels = enlarge(logits, tile // cells) * weights[..., None]
    for across in range(tile):
        if 0 <= column + across < width:
            expected[:, column + across] += pixels[:, across]
    add_tile(sums, logits, weights.repeat(classes, axis=1), column)
    np.testing.assert_array_equal(sums, expected)
