import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.parallel_work import window_mean
from helpers.slide_generator import corrupt_tile, cut_off, ellipses, smooth_picture
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.mpp import find_mpp, read_mpp_table
from l2s_jax.slides.reading import UnreadableRegion, read_region, read_window
from l2s_jax.slides.slide import _bounds, downsample_at, open_slide, size_at, windows
from l2s_jax.system.errors import UserError

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[2] / "../shared/data"))
REAL = DATA / "slides" / "CMU-1-Small-Region.svs"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not here (set L2S_DATA)")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hamming_weights(length, start, scale, count):
    """f64[count,length]: the antialiased Hamming filter written out, independently of Pillow."""
    centres = start + (np.arange(count) + 0.5) * scale
    stretch = max(scale, 1.0)
    x = (np.arange(length)[None, :] + 0.5 - centres[:, None]) / stretch
    weights = np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)
    return weights / weights.sum(1, keepdims=True)


def resampled(pixels, start, scale, size, pad=64):
    """`pixels` on white at `scale` pixels a pixel from `start`, in float64."""
    padded = np.pad(pixels.astype(float), ((pad, pad), (pad, pad), (0, 0)), constant_values=255)
    rows = hamming_weights(padded.shape[0], start[0] + pad, scale[0], size[0])
    cols = hamming_weights(padded.shape[1], start[1] + pad, scale[1], size[1])
    return np.einsum("ri,ijk,cj->rck", rows, padded, cols, optimize=True)


def difference(one, other):
    return np.abs(one.astype(float) - other.astype(float)).max()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slides")


@pytest.fixture(scope="module")
def sharp(folder):
    """Noise, exactly stored; the odd size makes OpenSlide's factor 4.007 where 4 is meant."""
    return write_pyramidal_slide(folder / "sharp.svs", noise(1003, 1501), compression="deflate")


@pytest.fixture(scope="module")
def smooth(folder):
    return write_pyramidal_slide(folder / "smooth.svs", smooth_picture(800, 1100), compression="deflate")


# Geometry and scale


@needs_real
def test_real_slide_says_its_size_and_scale():
    slide = open_slide(REAL)
    assert slide.size_level0 == (2967, 2220)
    assert slide.mpp == (0.499, 0.499) and slide.mpp_source == "openslide" and slide.notes == ()
    assert slide.level_downsamples == ((1.0, 1.0),)
    assert slide.objective_power == 20 and slide.vendor == "aperio"
    assert size_at(slide, 8.0) == (186, 139)  # 2967 * 0.499 / 8 = 185.07; 138.5


@needs_real
def test_real_slide_at_level_0_is_what_openslide_reads():
    expected = np.asarray(openslide.OpenSlide(REAL).read_region((301, 1001), 0, (333, 222)))
    assert (expected[..., 3] == 255).all()
    pixels = read_region(open_slide(REAL), (1001, 301), (222, 333), 0.499)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected[..., :3])


@needs_real
@pytest.mark.parametrize("mpp", [8.0, 2.3])
def test_real_slide_agrees_with_the_filter_written_out(mpp):
    whole = np.asarray(openslide.OpenSlide(REAL).read_region((0, 0), 0, (2220, 2967)))[..., :3]
    scale = mpp / 0.499
    size, origin = (40, 50), (100.0, 37.5)
    expected = resampled(whole[:1200, :1200], origin, (scale, scale), size)
    pixels = read_region(open_slide(REAL), origin, size, mpp)
    # Pillow rounds to 8 bits after each of its two passes.
    assert difference(pixels, expected) <= 1.01


def test_level_sizes_and_factors(sharp):
    slide = open_slide(sharp)
    assert slide.level_sizes == ((1003, 1501), (250, 375), (62, 93))
    assert openslide.OpenSlide(sharp).level_downsamples[1] != 4
    assert slide.level_downsamples == ((1, 1), (4, 4), (16, 16))


@pytest.mark.parametrize(
    "mpp, level", [(0.3, 0), (0.5, 0), (1.9, 0), (1.99, 1), (2.0, 1), (7.9, 1), (8.0, 2)]
)
def test_coarsest_level_that_is_fine_enough_is_read(folder, mpp, level):
    colours = {1: (255, 0, 0), 4: (0, 255, 0), 16: (0, 0, 255)}
    path = folder / "levels.svs"
    if not path.exists():
        write_pyramidal_slide(path, lambda *tile: colours[tile[4]], size=(2048, 2048), compression="deflate")
    pixels = read_region(open_slide(path), (512, 512), (20, 20), mpp)
    assert (pixels == colours[(1, 4, 16)[level]]).all()


def test_reading_at_the_scale_of_a_level_gives_its_pixels(sharp):
    """Also off OpenSlide's level-0 grid, where it would interpolate (its factor is 4.007)."""
    expected = np.asarray(openslide.OpenSlide(sharp).read_region((0, 0), 1, (375, 250)))[..., :3]
    slide = open_slide(sharp)
    for row, col in ((0, 0), (37, 101), (149, 274)):
        pixels = read_window(slide, (row, col), (100, 100), 2.0)
        # A read starts within 0.015 of a level pixel along each axis: 3% of the contrast of white noise.
        assert difference(pixels, expected[row : row + 100, col : col + 100]) <= 8


def test_every_reduction_agrees_with_the_filter_written_out(sharp):
    image, slide = noise(1003, 1501), open_slide(sharp)
    for mpp in (0.5, 0.61, 1.0, 1.7):
        scale = mpp / 0.5
        pixels = read_region(slide, (-20.25, -31.5), (90, 80), mpp)
        expected = resampled(image[:400, :400], (-20.25, -31.5), (scale, scale), (90, 80))
        assert difference(pixels, expected) <= 1.01, mpp


def test_finer_than_level_0_is_interpolated_in_place(smooth):
    pixels = read_region(open_slide(smooth), (100, 100), (200, 200), 0.125)
    means = pixels.reshape(50, 4, 50, 4, 3).mean((1, 3))
    # Steps of the smooth picture are below 20 grey levels a pixel; a shift by a pixel would show as such.
    assert difference(means, smooth_picture(800, 1100)[100:150, 100:150]) <= 4


def test_levels_agree_with_each_other_in_place(folder, smooth):
    flat = write_pyramidal_slide(
        folder / "flat.svs", smooth_picture(800, 1100), compression="deflate", downsamples=(1,)
    )
    for mpp in (2.0, 3.1, 8.0):
        size = size_at(open_slide(flat), mpp)
        inside = (slice(2, size[0] - 2), slice(2, size[1] - 2))
        one = read_window(open_slide(flat), (0, 0), size, mpp)[inside]
        other = read_window(open_slide(smooth), (0, 0), size, mpp)[inside]
        # Two filters after each other blur a little more than one; a half-pixel shift would be far more.
        assert np.abs(one.astype(int) - other).mean() < 3, mpp


def test_reduction_keeps_the_mean_of_the_area(smooth):
    image = smooth_picture(800, 1100)[:800, :1096]
    pixels = read_window(open_slide(smooth), (0, 0), (100, 137), 4.0)
    blocks = image.reshape(100, 8, 137, 8, 3).mean((1, 3))
    assert abs(pixels.mean() - blocks.mean()) < 0.5


@pytest.mark.parametrize("mpp", [0.5, 0.73, 2.0, 3.3, 8.0, 9.7])
@pytest.mark.parametrize("name", ["sharp", "smooth"])
def test_tiles_are_one_large_read(request, name, mpp):
    slide = open_slide(request.getfixturevalue(name))
    size = size_at(slide, mpp)
    whole = read_window(slide, (0, 0), size, mpp)
    tiled = np.zeros_like(whole)
    side = max(7, size[0] // 3)
    for row, col, height, width in windows(size, (side, side)):
        tiled[row : row + height, col : col + width] = read_window(slide, (row, col), (height, width), mpp)
    # Pillow places its window in float32. On white noise the start on OpenSlide's grid shows, see above.
    assert difference(tiled, whole) <= (12 if name == "sharp" and mpp >= 2 else 2)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-30, 220), st.integers(-30, 330), st.integers(1, 60), st.integers(1, 60), st.floats(1.0, 3.0)
)
def test_any_window_of_a_smooth_slide_is_a_crop_of_the_whole(smooth, row, col, height, width, mpp):
    slide = open_slide(smooth)
    whole = read_window(slide, (-30, -30), (300, 430), mpp)
    part = read_window(slide, (row, col), (height, width), mpp)
    expected = whole[row + 30 : row + 30 + height, col + 30 : col + 30 + width]
    assert difference(part[: expected.shape[0], : expected.shape[1]], expected) <= 1


def test_outside_is_white(sharp):
    slide, image = open_slide(sharp), noise(1003, 1501)
    pixels = read_region(slide, (-5, -7), (20, 20), 0.5)
    assert (pixels[:5] == 255).all() and (pixels[:, :7] == 255).all()
    np.testing.assert_array_equal(pixels[5:, 7:], image[:15, :13])
    assert (read_region(slide, (5000, -9000), (16, 16), 8.0) == 255).all()
    pixels = read_region(slide, (1000, 1495), (10, 10), 0.5)
    np.testing.assert_array_equal(pixels[:3, :6], image[1000:, 1495:])
    assert (pixels[3:] == 255).all() and (pixels[:, 6:] == 255).all()
    assert read_region(slide, (0, 0), (0, 5), 0.5).shape == (0, 5, 3)


def test_transparency_is_laid_on_white(folder):
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:, :20] = (200, 0, 0, 255)
    rgba[:, 20:] = (0, 0, 0, 51)
    Image.fromarray(rgba).save(folder / "alpha.png")
    pixels = read_region(open_slide(folder / "alpha.png", mpp=1.0), (0, 0), (40, 40), 1.0)
    assert (pixels[:, :20] == (200, 0, 0)).all()
    assert (pixels[:, 20:] == 204).all()  # 0.2 * 0 + 0.8 * 255


def test_pixels_that_are_not_square_come_out_square(folder):
    """A disc in micrometres is an ellipse in pixels of 0.5 x 0.25 um."""
    draw = ellipses([(300, 600, 200, 400, (120, 20, 120))], background=(255, 255, 255))
    path = write_pyramidal_slide(
        folder / "oblong.tif", draw, size=(600, 1200), mpp=(0.5, 0.25), style="generic", compression="deflate"
    )
    slide = open_slide(path)
    assert slide.mpp == pytest.approx((0.5, 0.25)) and slide.mpp_source == "tiff-resolution"
    assert downsample_at(slide, 2.0) == pytest.approx((4.0, 8.0))
    assert size_at(slide, 2.0) == (150, 150)
    disc = read_window(slide, (0, 0), (150, 150), 2.0)[..., 1] < 140
    assert abs(disc.sum() - np.pi * 50**2) < 60  # the area of a disc of 100 um, to half a pixel of its rim
    extent = disc.any(axis=1).sum(), disc.any(axis=0).sum()
    assert abs(extent[0] - 100) <= 1 and abs(extent[1] - 100) <= 1


def test_windows_cover_everything_once_without_overlap():
    for size, window, overlap in (((10, 7), (4, 4), 0), ((3, 3), (4, 4), 0), ((20, 20), (8, 8), 3)):
        count = np.zeros(size, int)
        for row, col, height, width in windows(size, window, overlap):
            count[row : row + height, col : col + width] += 1
        assert count.min() >= 1
        assert overlap or count.max() == 1
    with pytest.raises(ValueError, match="overlap 4"):
        next(windows((9, 9), (4, 4), 4))


def test_bounds_are_row_col_and_absurd_ones_are_left_out():
    names = ("y", "x", "height", "width")
    of = dict(zip((f"openslide.bounds-{name}" for name in names), ("20", "30", "50", "60"), strict=True))
    assert _bounds(of, (100, 100)) == (20, 30, 50, 60)
    assert _bounds({**of, "openslide.bounds-height": "500"}, (100, 100)) == (0, 0, 100, 100)
    assert _bounds({**of, "openslide.bounds-x": "left"}, (100, 100)) == (0, 0, 100, 100)
    assert _bounds({}, (100, 100)) == (0, 0, 100, 100)


# Where the scale comes from


def properties(**named):
    return {f"openslide.{name.replace('_', '-')}": value for name, value in named.items()}


TIFF_20000 = {"tiff.XResolution": "20000", "tiff.YResolution": "40000", "tiff.ResolutionUnit": "centimeter"}


def test_scale_is_the_slides_then_the_tags_then_the_tables_then_the_options():
    path = Path("A01.svs")
    own, table = properties(mpp_x="0.4", mpp_y="0.5"), {"A01.svs": (0.7, 0.8)}
    found = find_mpp(path, own | TIFF_20000, table=table, option=0.9)
    assert found.value == (0.5, 0.4) and found.source == "openslide"
    found = find_mpp(path, TIFF_20000, table=table, option=0.9)
    assert found.value == (0.25, 0.5) and found.source == "tiff-resolution"
    found = find_mpp(path, {}, table=table, option=0.9)
    assert found.value == (0.7, 0.8) and found.source == "table"
    assert find_mpp(path, {}, table={"A01": (0.3, 0.3)}).source == "table"
    found = find_mpp(path, {}, table={"A02": (0.7, 0.8)}, option=0.9)
    assert found.value == (0.9, 0.9) and found.source == "option"
    assert find_mpp(path, {}, option=(0.9, 0.8)).value == (0.9, 0.8)


def test_a_value_that_is_not_used_is_noted_and_may_override():
    own = properties(mpp_x="0.25", mpp_y="0.25")
    kept = find_mpp(Path("a.svs"), own, option=0.5)
    assert kept.value == (0.25, 0.25) and "0.5 from option" in kept.notes[0]
    forced = find_mpp(Path("a.svs"), own, option=0.5, override=True)
    assert (
        forced.value == (0.5, 0.5) and forced.source == "option" and "0.25 from openslide" in forced.notes[0]
    )
    assert find_mpp(Path("a.svs"), own, option=0.2501).notes == ()


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "1000", "1e-6", "wide", ""])
def test_implausible_scales_count_as_missing_and_are_named(value):
    own = properties(mpp_x=value, mpp_y=value)
    found = find_mpp(Path("a.svs"), own, option=0.5)
    assert found.value == (0.5, 0.5) and found.source == "option"
    assert any(repr(value) in note for note in found.notes)
    with pytest.raises(UserError, match=r"a\.svs: the scale is not known.*--mpp"):
        find_mpp(Path("a.svs"), own)


def test_one_axis_stands_in_for_the_other():
    assert find_mpp(Path("a.svs"), properties(mpp_x="0.4", mpp_y="0")).value == (0.4, 0.4)


def test_print_resolutions_are_not_believed():
    dpi = {"tiff.XResolution": "72", "tiff.YResolution": "72", "tiff.ResolutionUnit": "inch"}
    with pytest.raises(UserError, match="352.8 um/px, which is not plausible"):
        find_mpp(Path("photo.tif"), dpi)


def test_power_that_contradicts_the_scale_is_noted():
    found = find_mpp(Path("a.svs"), properties(mpp_x="5", mpp_y="5", objective_power="20"))
    assert "20x" in found.notes[0]
    assert not find_mpp(Path("a.svs"), properties(mpp_x="0.467", mpp_y="0.467", objective_power="20")).notes


@pytest.mark.parametrize("option", [0.0, -1.0, float("nan"), (0.5, float("inf"))])
def test_options_that_are_no_scale_are_refused(option):
    with pytest.raises(UserError, match="no positive number"):
        find_mpp(Path("a.svs"), {}, option=option)


def test_slides_without_a_scale(folder):
    path = write_pyramidal_slide(folder / "unknown.svs", noise(300, 300), mpp=None)
    with pytest.raises(UserError, match=r"unknown\.svs.*mpp-x is missing.*--mpp"):
        open_slide(path)
    assert open_slide(path, mpp=0.467).mpp_source == "option"
    assert open_slide(path, mpp_table={"unknown": (0.4, 0.4)}).mpp == (0.4, 0.4)


def test_mpp_table(folder):
    path = folder / "mpp.csv"
    path.write_text("slide,mpp\nA01.svs,0.467\nA02,0.25\n")
    assert read_mpp_table(path) == {"A01.svs": (0.467, 0.467), "A02": (0.25, 0.25)}
    path.write_text("slide,mpp_row,mpp_col\nA01.svs,0.4,0.5\n")
    assert read_mpp_table(path) == {"A01.svs": (0.4, 0.5)}
    for text, message in (
        ("slide,scale\nA01,1\n", "expected the columns"),
        ("slide,mpp\nA01,zero\n", "line 2"),
        ("slide,mpp\nA01,0\n", "line 2"),
        ("slide,mpp\nA01\n", "line 2"),
        ("slide,mpp\nA01,1\nA01,2\n", "line 3: A01 stands twice"),
        ("", "expected the columns"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_mpp_table(path)
    with pytest.raises(UserError, match="cannot read"):
        read_mpp_table(folder / "none.csv")


# Pictures


@pytest.mark.parametrize("name", ["p.png", "p.tif", "p.jpg"])
def test_plain_pictures(folder, name):
    image = smooth_picture(300, 200)
    Image.fromarray(image).save(folder / name, quality=95)
    slide = open_slide(folder / name, mpp=0.5)
    assert slide.vendor == "picture" and slide.size_level0 == (300, 200) and slide.mpp_source == "option"
    assert difference(read_region(slide, (10, 20), (50, 60), 0.5), image[10:60, 20:80]) <= (
        9 if "j" in name else 0
    )
    with pytest.raises(UserError, match="scale is not known"):
        open_slide(folder / name)


def test_resolution_of_a_plain_tiff(folder):
    tifffile.imwrite(
        folder / "strips.tif", noise(64, 64), photometric="rgb", resolution=(20000, 25000), resolutionunit=3
    )
    slide = open_slide(folder / "strips.tif")
    assert slide.vendor == "picture" and slide.mpp == pytest.approx((0.4, 0.5))
    assert slide.mpp_source == "tiff-resolution"


# Threads, processes, memory


@pytest.mark.parametrize("kind", ["slide", "picture"])
def test_threads_and_processes_read_the_same(folder, sharp, kind):
    path = sharp
    if kind == "picture":
        path = folder / "noise.png"
        Image.fromarray(noise(1003, 1501)).save(path)
    slide = open_slide(path, mpp=0.5)
    rows = list(range(0, 400, 25))
    expected = [window_mean(slide, row) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(window_mean, [slide] * len(rows), rows)) == expected
    restored = pickle.loads(pickle.dumps(slide))
    assert restored == slide and [window_mean(restored, row) for row in rows] == expected
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(window_mean, [slide] * 4, rows[:4])) == expected[:4]


@pytest.mark.slow
def test_a_slide_without_a_pyramid_is_reduced_in_little_memory(folder):
    """8000 x 8000 at 4 bytes would be 256 MB at once, several times over."""
    draw = ellipses([(4000, 4000, 3000, 2500, (180, 90, 160))], background=(255, 255, 255))
    path = write_pyramidal_slide(
        folder / "flat8k.svs", draw, size=(8000, 8000), downsamples=(1,), compression="deflate", tile=512
    )
    code = f"""
import resource
from l2s_jax.slides.slide import open_slide, size_at
from l2s_jax.slides.reading import read_window
slide = open_slide({str(path)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = read_window(slide, (0, 0), size_at(slide, 8.0), 8.0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, (pixels[..., 1] < 172).sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    megabytes, tissue = map(float, done.stdout.split())
    assert megabytes < 150
    assert tissue == pytest.approx(np.pi * 3000 * 2500 / 16**2, rel=2e-3)


@pytest.mark.slow
def test_a_huge_slide(folder):
    draw = ellipses([(30000, 20000, 4000, 6000, (180, 90, 160))])
    path = write_pyramidal_slide(
        folder / "huge.svs", draw, size=(60000, 60000), mpp=0.5, compression="deflate", tile=1024
    )
    slide = open_slide(path)
    assert size_at(slide, 8.0) == (3750, 3750)
    overview = read_window(slide, (0, 0), (3750, 3750), 8.0)
    assert (overview[..., 1] < 150).sum() == pytest.approx(np.pi * 4000 * 6000 / 16**2, rel=2e-3)
    assert (read_region(slide, (29990, 19990), (20, 20), 0.5) == (180, 90, 160)).all()
    assert (read_region(slide, (59980, 59980), (40, 40), 0.5)[20:, 20:] == 255).all()


# Bad input


def test_files_that_are_no_slides(folder):
    (folder / "empty.svs").write_bytes(b"")
    (folder / "text.svs").write_text("not a slide\n" * 100)
    for name, message in (
        ("empty.svs", r"empty\.svs is empty"),
        ("text.svs", r"text\.svs is no picture"),
        ("nothing.svs", r"nothing\.svs not found"),
        ("", "not a file"),
    ):
        with pytest.raises(UserError, match=message):
            open_slide(folder / name, mpp=0.5)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.9, 0.97, 0.99, 0.999])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_cut_off_slides(folder, smooth, share):
    path = cut_off(smooth, folder / f"cut{share}.svs", share)
    with pytest.raises(UserError, match=path.name):
        slide = open_slide(path)
        read_region(slide, (0, 0), slide.size_level0, 0.5)


def test_a_slide_of_a_kind_that_openslide_does_not_read(folder, smooth, monkeypatch):
    """It is whole, so that copying it again would not help: valid files of Zeiss (CZI) end so."""

    def detect(path):
        raise openslide.OpenSlideError("Unrecognized dimension")

    monkeypatch.setattr(openslide.OpenSlide, "detect_format", detect)
    with pytest.raises(UserError, match=r"Unrecognized dimension.*convert it to a tiled TIFF or to DICOM"):
        open_slide(smooth)


@pytest.mark.parametrize("name", ["slide.isyntax", "slide.vsi"])
def test_a_slide_of_a_kind_that_nothing_knows(folder, name):
    (folder / name).write_bytes(b"of another scanner" * 500)
    with pytest.raises(UserError, match=r"no picture.*convert it to a tiled TIFF or to DICOM"):
        open_slide(folder / name)


@needs_real
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
@pytest.mark.filterwarnings("ignore")
def test_real_slide_cut_off(folder, share):
    path = cut_off(REAL, folder / f"real{share}.svs", share)
    with pytest.raises(UserError, match=path.name):
        slide = open_slide(path)
        read_region(slide, (0, 0), slide.size_level0, 0.499)


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_a_damaged_tile_spoils_only_its_region(folder, compression):
    image = smooth_picture(1000, 1000)
    sound = write_pyramidal_slide(folder / f"sound-{compression}.svs", image, compression=compression)
    path = corrupt_tile(sound, folder / f"damaged-{compression}.svs", 600, 600)
    slide = open_slide(path)
    with pytest.raises(UnreadableRegion, match=rf"{path.name}.*level 0 at level-0 row 5\d\d, col 5\d\d"):
        read_region(slide, (550, 550), (50, 50), 0.5)
    # OpenSlide's handle is dead now; ours must not be.
    np.testing.assert_array_equal(
        read_region(slide, (0, 0), (200, 200), 0.5), read_region(open_slide(sound), (0, 0), (200, 200), 0.5)
    )
    assert read_region(slide, (0, 0), (60, 60), 8.0).shape == (60, 60, 3)  # another level


def test_a_slide_that_goes_away(folder, sharp):
    path = folder / "gone.svs"
    path.write_bytes(sharp.read_bytes())
    slide = pickle.loads(pickle.dumps(open_slide(path)))
    path.unlink()
    with pytest.raises(UserError, match=r"gone\.svs could be opened before"):
        read_region(slide, (0, 0), (10, 10), 0.5)


def test_scales_that_cannot_be_read(sharp):
    slide = open_slide(sharp)
    for mpp in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="no positive number"):
            read_region(slide, (0, 0), (10, 10), mpp)
    with pytest.raises(UserError, match="coarsest level has 8"):
        read_region(slide, (0, 0), (1, 1), 1e5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40), st.booleans())
@example(286, b"\x80", False)  # a property whose name is no text
@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_never_give_a_traceback(tiny_slide, position, junk, at_end):
    """Bytes of the file overwritten, near its beginning or its end (where the directories are)."""
    content = bytearray(tiny_slide.read_bytes())
    start = max(0, len(content) - 1 - position) if at_end else position % len(content)
    content[start : start + len(junk)] = junk
    path = tiny_slide.with_name("mutated.svs")
    path.write_bytes(content)
    try:
        slide = open_slide(path, mpp=0.5)
        read_region(slide, (0, 0), (32, 32), 4.0)
    except UserError as error:
        assert "mutated.svs" in str(error)


@pytest.fixture(scope="module")
def tiny_slide(folder):
    return write_pyramidal_slide(folder / "tiny.svs", noise(100, 100), downsamples=(1, 4), tile=64)
