import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.forward import fake_forward, forward_of_cells
from l2s_jax.models.network import Outputs
from l2s_jax.prediction.joint import picture_joint
from l2s_jax.prediction.slides import bands as slide_inference
from l2s_jax.prediction.slides.bands import column_strips, predict_bands, tiles_over
from l2s_jax.prediction.slides.finishing import scaled_entropy
from l2s_jax.prediction.slides.job import SlideJob, area_of
from l2s_jax.prediction.slides.outlines import traced_grid
from l2s_jax.prediction.tiles import Tiling, predict_picture
from l2s_jax.slides.ome_tiff import read_strips, write_pyramid
from l2s_jax.slides.row_file import read_rows, sample, scratch_picture, write_block
from l2s_jax.types import IGNORE_PIXEL


def reader(image, broken=lambda row, column, height, width: False):
    def read(origin, size):
        (row, column), (height, width) = origin, size
        assert (
            row >= 0 and column >= 0 and row + height <= image.shape[0] and column + width <= image.shape[1]
        )
        return (
            None if broken(row, column, height, width) else image[row : row + height, column : column + width]
        )

    return read


def joined(job):
    """The bands as one picture, having checked that they cover it exactly once."""
    codes, entropy = np.zeros(job.size, np.uint8), np.zeros(job.size, np.uint8)
    times = np.zeros(job.size, int)
    bands = list(predict_bands(job))
    for band in bands:
        here = np.s_[band.row : band.row + len(band.codes), band.column : band.column + band.codes.shape[1]]
        codes[here] = band.codes
        times[here] += 1
        if band.entropy is not None:
            entropy[here] = band.entropy
    assert (times == 1).all()
    return codes, entropy, bands


def assert_same_classes(codes, logits):
    """Equal but for near-ties: the sums are the same float32 numbers added in another order at most."""
    differ = codes != logits.argmax(-1)
    top = np.sort(logits, -1)
    assert (top[differ][:, -1] - top[differ][:, -2] < 1e-3).all()  # of values up to 255
    assert differ.sum() <= 1 + 0.001 * codes.size


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (90, 130), (9, 50), (50, 7), (5, 5)])
@pytest.mark.parametrize("stride, weighting", [(16, "uniform"), (8, "gaussian"), (5, "gaussian")])
def test_equals_the_whole_picture(shape, stride, weighting, rng):
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    tiling = Tiling(16, stride, weighting, 3)
    logits, _ = predict_picture(fake_forward, image, tiling)
    codes, entropy, bands = joined(SlideJob(fake_forward, reader(image), shape, tiling, 3, entropy=True))
    assert_same_classes(codes, logits)
    assert abs(entropy.astype(int) - scaled_entropy(logits.reshape(-1, 3)).reshape(shape)).max() <= 1
    np.testing.assert_array_equal(sum(band.counts for band in bands), np.bincount(codes.ravel(), minlength=3))
    assert sum(band.unread + band.tiles_unread for band in bands) == 0


@pytest.mark.parametrize("enlargement", ["nearest", "bilinear"])
def test_cells_of_four_pixels_are_enlarged_to_four(enlargement, rng):
    """Tile by tile, as by hand: the network's cells are told by its answer, not by a constant."""
    image = rng.integers(0, 256, (32, 40, 3)).astype(np.uint8)
    forward, total, seen = forward_of_cells(4), np.zeros((32, 40, 3)), np.zeros((32, 40, 1))
    for row in (0, 8, 16):
        for column in (0, 8, 16, 24):
            here = np.s_[row : row + 16, column : column + 16]
            coarse = forward(image[here][None]).coarse_logits[0]
            place = ((np.arange(16) + 0.5) / 4 - 0.5).clip(0, 3)
            share = np.maximum(1 - np.abs(place[:, None] - np.arange(4)), 0)
            if enlargement == "nearest":
                share = np.eye(4).repeat(4, 0)
            total[here] += np.einsum("ia,jb,abc->ijc", share, share, coarse)
            seen[here] += 1
    tiling = Tiling(16, 8, "uniform", 3)
    job = SlideJob(forward, reader(image), (32, 40), tiling, 3, enlargement=enlargement)
    assert_same_classes(joined(job)[0], total / seen)


def test_strips_change_nothing(rng, monkeypatch):
    image = rng.integers(0, 256, (50, 200, 3)).astype(np.uint8)
    job = SlideJob(fake_forward, reader(image), (50, 200), Tiling(16, 6, "gaussian", 4), 3)
    whole = joined(job)[0]
    monkeypatch.setattr(slide_inference, "MAX_OPEN_BYTES", 4 * 16 * 3 * 37)
    assert [b - a for a, b in column_strips(200, 16, 3)] == [37, 37, 37, 37, 37, 15]
    np.testing.assert_array_equal(joined(job)[0], whole)
    monkeypatch.setattr(slide_inference, "FINISHED_BYTES", 4 * 3 * 37 * 2)
    parts, _, bands = joined(job)
    np.testing.assert_array_equal(parts, whole)
    assert {len(band.codes) for band in bands if band.codes.shape[1] == 37} == {2}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from([3, 8, 16]), st.floats(0.1, 3), st.integers(0, 99)
)
def test_every_tissue_pixel_is_covered_as_without_a_mask(height, width, stride, scale, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    coarse = max(1, round(height * scale)), max(1, round(width * scale))
    area = area_of(rng.random(coarse) < 0.1, (height, width), scale)
    tiling = Tiling(16, stride, "gaussian", 5)
    job = SlideJob(fake_forward, reader(image), (height, width), tiling, 3, area=area, outside=77)
    codes, _, bands = joined(job)
    inside = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):  # one by one, from the definition
            place = (int((row + 0.5) * scale), int((column + 0.5) * scale))
            inside[row, column] = area.mask[tuple(np.minimum(place, np.array(coarse) - 1))]
    assert (codes[~inside] == 77).all() and (codes[inside] < 3).all()
    logits, _ = predict_picture(fake_forward, image, tiling)
    assert_same_classes(codes[inside], logits[inside])
    assert sum(band.counts.sum() for band in bands) == inside.sum()
    whole = tiles_over((height, width), tiling, None, (0, width))
    kept = tiles_over((height, width), tiling, area, (0, width))
    touching = [
        (run.row, column)
        for run in whole
        for column in run.columns
        if inside[run.row : run.row + 16, column : column + 16].any()
    ]
    found = [(run.row, column) for run in kept for column in run.columns]
    assert set(found) >= set(touching)
    if scale <= 1:  # finer masks may have a pixel between two centres
        assert found == touching


def test_a_damaged_place_costs_only_the_tiles_that_touch_it(rng):
    image = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)

    def broken(row, column, height, width):
        return row <= 30 < row + height and column <= 30 < column + width

    tiling = Tiling(16, 16, "uniform", 4)
    codes, _, bands = joined(SlideJob(fake_forward, reader(image, broken), (64, 64), tiling, 3, entropy=True))
    logits, _ = predict_picture(fake_forward, image, tiling)
    lost = np.zeros((64, 64), bool)
    lost[16:32, 16:32] = True
    assert (codes[lost] == IGNORE_PIXEL).all()
    np.testing.assert_array_equal(codes[~lost], logits.argmax(-1)[~lost])
    assert sum(band.tiles_unread for band in bands) == 1
    assert sum(band.unread for band in bands) == 256
    assert sum(band.counts.sum() for band in bands) == 64 * 64 - 256


def test_nothing_to_predict_runs_no_network():
    def forward(images):
        raise AssertionError("no tile should have been predicted")

    area = area_of(np.zeros((5, 5), bool), (100, 90), 0.05)
    job = SlideJob(forward, reader(np.zeros((100, 90, 3), np.uint8)), (100, 90), Tiling(16, 8), 3, area, 2)
    assert (joined(job)[0] == 2).all()


def test_open_rows_are_those_of_a_tile_however_tall_the_picture(monkeypatch):
    seen = set()

    def watch(job, columns, row, total, weight, unread):
        seen.add((total.base.shape, total.shape[1]))
        return finish(job, columns, row, total, weight, unread)

    finish = slide_inference.finish
    monkeypatch.setattr(slide_inference, "finish", watch)
    grey = np.zeros((20_000, 64, 3), np.uint8)
    peaks = []
    for height in (1_000, 20_000):
        job = SlideJob(fake_forward, reader(grey), (height, 64), Tiling(32, 32, "uniform", 4), 3, readers=1)
        tracemalloc.start()
        for _ in predict_bands(job):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert {shape for shape, _ in seen} == {(1, 32, 64, 3)} and max(number for _, number in seen) == 32
    # The result alone would be 1.2 million bytes more, the logits 15 million.
    assert peaks[1] - peaks[0] < 50_000


def test_a_failing_reader_fails_loudly_and_leaves_no_thread(rng):
    def read(origin, size):
        raise ValueError("no such place")

    with pytest.raises(ValueError, match="no such place"):
        list(predict_bands(SlideJob(fake_forward, read, (64, 64), Tiling(16, 8), 3)))


@pytest.mark.parametrize("step", [1, 3])
def test_probabilities_are_those_of_the_sampled_pixels(rng, monkeypatch, step):
    """Whatever the bands and strips; none where nothing is predicted, or could be read."""
    image = rng.integers(0, 256, (70, 101, 3), np.uint8)
    mask = np.ones(image.shape[:2], bool)
    mask[:, 80:] = False
    monkeypatch.setattr("l2s_jax.prediction.slides.outlines.MAX_TRACED_PIXELS", image[..., 0].size // step**2)
    grid = traced_grid(image.shape[:2])
    assert grid.step >= step
    small = lambda images: Outputs(*(one / 40 for one in fake_forward(images)))  # noqa: E731, no softmax of 0 and 1
    logits, _ = predict_picture(small, image, Tiling(16, 8))
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    expected = 255 * exponents / exponents.sum(-1, keepdims=True) * mask[..., None]
    expected = expected[np.ix_(grid.rows, grid.columns)]
    job = SlideJob(small, reader(image), image.shape[:2], Tiling(16, 8), 3, area_of(mask, mask.shape, 1.0))
    job = job._replace(sampled=(grid.rows, grid.columns))
    for limit in (2**27, 1):  # one strip, and many
        monkeypatch.setattr(slide_inference, "MAX_OPEN_BYTES", limit)
        found = np.zeros(expected.shape, np.uint8)
        for band in predict_bands(job):
            height, width = band.sample.probabilities.shape[:2]
            here = np.s_[band.sample.row : band.sample.row + height]
            found[here, band.sample.column : band.sample.column + width] = band.sample.probabilities
        np.testing.assert_allclose(found, expected, atol=0.51)


def test_a_temperature_changes_probabilities_and_no_class(rng):
    """As if the network's logits were divided by it."""
    image = rng.integers(0, 256, (48, 40, 3), np.uint8)
    grid = traced_grid(image.shape[:2])
    small, smaller = (
        lambda images, by=by: Outputs(*(one / np.float32(by) for one in fake_forward(images)))
        for by in (40, 40 * 2.5)
    )
    job = SlideJob(small, reader(image), image.shape[:2], Tiling(16, 8), 3, entropy=True)
    job = job._replace(sampled=(grid.rows, grid.columns))
    jobs = job, job._replace(forward=smaller), job._replace(temperatures=(2.5,))
    codes, entropies, bands = zip(*map(joined, jobs), strict=True)
    plain, expected, found = (
        np.concatenate([band.sample.probabilities for band in one]).astype(int) for one in bands
    )
    assert abs(found - expected).max() <= 1 and abs(found - plain).max() > 20
    assert abs(entropies[2].astype(int) - entropies[1]).max() <= 1
    assert entropies[2].mean() > entropies[0].mean() + 2
    np.testing.assert_array_equal(codes[2], codes[0])


@pytest.mark.parametrize("open_bytes", [slide_inference.MAX_OPEN_BYTES, 4 * 16 * 6 * 37])
def test_several_networks_are_the_mean_of_their_probabilities(rng, monkeypatch, open_bytes):
    """In strips and parts too, on what is tissue, with a temperature for each."""
    monkeypatch.setattr(slide_inference, "MAX_OPEN_BYTES", open_bytes)
    image = rng.integers(0, 256, (90, 70, 3), np.uint8)

    def two(images):
        logits, labels = fake_forward(images)
        logits, labels = logits / 40, labels / 40
        return Outputs(np.concatenate([logits, 3 - logits], -1), np.concatenate([labels, -labels], -1))

    tiling, temperatures, grid = Tiling(16, 6, "gaussian", 4), (0.7, 1.5), traced_grid((90, 70))
    area = area_of(rng.random((9, 7)) < 0.7, (90, 70), 0.1)
    options = {"area": area, "temperatures": temperatures, "sampled": (grid.rows, grid.columns)}
    job = SlideJob(two, reader(image), (90, 70), tiling, 3, entropy=True, probabilities=True, **options)
    codes, entropy, bands = joined(job)
    shares = np.zeros((4, 90, 70), np.uint8)
    for band in bands:
        here = np.s_[
            :, band.row : band.row + len(band.codes), band.column : band.column + band.codes.shape[1]
        ]
        shares[:3][here], shares[3][here[1:]] = band.probabilities, band.mutual_information
        np.testing.assert_array_equal(np.moveaxis(band.sample.probabilities, -1, 0), shares[here])
    said = picture_joint(predict_picture(two, image, tiling)[0], temperatures)
    inside = area.mask[np.ix_(area.rows, area.columns)]
    np.testing.assert_allclose(shares[:3, inside] / 255, said.probabilities[:, inside], atol=0.51 / 255)
    for found, values in ((shares[3], said.mutual_information), (entropy, said.entropy)):
        np.testing.assert_allclose(found[inside], values[inside] * 255 / np.log(3), atol=0.6)
        assert not found[~inside].any()
    assert (codes == said.codes)[inside].mean() > 0.999 and not shares[:, ~inside].any()
    counts = [np.bincount(one[inside], minlength=3) for one in said.own_codes]
    assert abs(sum(band.own_counts for band in bands) - counts).max() <= 2
    assert sum(band.counts for band in bands).sum() == inside.sum()


def test_entropy_is_scaled_to_bytes():
    logits = np.array([[0, 0, 0, 0], [900, 0, 0, 0], [5, 5, -99, -99]], np.float32)
    assert scaled_entropy(logits).tolist() == [255, 0, 128]  # ln 4, 0 and ln 2 of ln 4


@pytest.mark.parametrize("shape", [(1, 1), (700, 1300), (2100, 90)])
def test_class_maps_survive_the_file(shape, tmp_path, rng):
    import tifffile

    codes = rng.integers(0, 4, shape).astype(np.uint8)
    palette = [(1, 2, 3), (40, 50, 60), (255, 0, 0), (0, 0, 255)]
    with scratch_picture(tmp_path, shape) as picture:
        half = shape[1] // 2
        for row in range(0, shape[0], 100):
            write_block(picture, row, half, codes[row : row + 100, half:])
            write_block(picture, row, 0, codes[row : row + 100, :half])
        np.testing.assert_array_equal(read_rows(picture, 0, shape[0]), codes)
        np.testing.assert_array_equal(
            sample(picture, np.array([0, shape[0] - 1]), np.array([0])), codes[[0, -1], :1]
        )
        write_pyramid(tmp_path / "a.ome.tif", picture, 2.5, name="a", description="0 b < 1", palette=palette)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]
    strips = list(read_strips(tmp_path / "a.ome.tif"))
    assert [row for row, _ in strips] == list(range(0, shape[0], 512))
    np.testing.assert_array_equal(np.concatenate([strip for _, strip in strips]), codes)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome and 'PhysicalSizeX="2.5"' in file.ome_metadata
        assert "<Description>0 b &lt; 1</Description>" in file.ome_metadata
        levels = file.series[0].levels
        for level, step in enumerate((1, 4, 16)[: len(levels)]):
            expected = codes[min(step // 2, shape[0] - 1) :: step, min(step // 2, shape[1] - 1) :: step]
            part = tuple(slice(0, side) for side in expected.shape)
            np.testing.assert_array_equal(levels[level].asarray()[part], expected)
            assert levels[level].shape == tuple(-(-side // step) for side in shape)
        assert len(levels) == 1 + (max(shape) > 512) + (max(shape) > 2048)
        np.testing.assert_array_equal(file.pages[0].colormap[:, :4] // 257, np.array(palette).T)
