"""Class maps as OME-TIFF: what the file says of itself."""

import contextlib
import re
import uuid

import numpy as np
import openslide
import pytest
import tifffile

from l2s_jax.slides.ome_tiff import write_channels, write_pyramid
from l2s_jax.slides.row_file import scratch_picture, write_block


def written(path, codes, **more):
    with scratch_picture(path.parent, codes.shape) as picture:
        write_block(picture, 0, 0, codes)
        write_pyramid(path, picture, 8.0, name="a", **more)
    return path.read_bytes()


def identifier(path):
    with tifffile.TiffFile(path) as file:
        return uuid.UUID(re.search(r'UUID="urn:uuid:([^"]+)"', file.ome_metadata)[1])


def test_the_same_picture_gives_the_same_file_and_tells_nothing_of_the_machine(tmp_path, rng):
    codes = rng.integers(0, 4, (700, 600), np.uint8)
    first = written(tmp_path / "a.ome.tif", codes)
    assert written(tmp_path / "b.ome.tif", codes) == first
    assert identifier(tmp_path / "a.ome.tif").version == 5  # 1: the network card's address, the time
    codes[-1, -1] ^= 1
    written(tmp_path / "c.ome.tif", codes)
    written(tmp_path / "d.ome.tif", codes, description="other words")
    assert len({identifier(path) for path in tmp_path.glob("*.ome.tif")}) == 3


def test_levels_as_pages_are_codes_in_openslide_at_every_level(tmp_path):
    """As one level in SubIFDs it would blend neighbouring classes into others."""
    codes = np.zeros((1300, 2100), np.uint8)
    codes[:, ::3], codes[::5] = 1, 3
    written(tmp_path / "a.tif", codes, description="codes: 1 épithélium", pages=True)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.level_dimensions == ((2100, 1300), (525, 325), (132, 82))
        assert float(slide.properties["openslide.mpp-x"]) == 8.0
        for level, size in enumerate(slide.level_dimensions):
            seen = np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
            assert set(np.unique(seen)) <= {0, 1, 3} and (seen == seen[..., :1]).all()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.pages[0].asarray(), codes)
        assert "1 épithélium" in file.pages[0].description
        assert [page.is_tiled and page.photometric.name for page in file.pages] == ["MINISBLACK"] * 3
    first = (tmp_path / "a.tif").read_bytes()
    assert written(tmp_path / "b.tif", codes, description="codes: 1 épithélium", pages=True) == first


@pytest.mark.parametrize("shape, mpp", [((40, 30), None), ((700, 1300), 8.0)])
def test_channels_have_names_and_levels_of_their_own(shape, mpp, tmp_path, rng):
    values = rng.integers(0, 256, (3, *shape), np.uint8)
    for name in ("a", "b"):
        with contextlib.ExitStack() as stack:
            pictures = [stack.enter_context(scratch_picture(tmp_path, shape)) for _ in values]
            for picture, one in zip(pictures, values, strict=True):
                write_block(picture, 0, 0, one)
            channels = dict(zip(("stroma", "tumour & co", "glass"), pictures, strict=True))
            write_channels(tmp_path / f"{name}.ome.tif", channels, mpp, name="x", description="0..255")
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        series = file.series[0]
        assert series.axes == "CYX" and file.is_ome and len(file.series) == 1
        np.testing.assert_array_equal(series.asarray(), values)
        assert re.findall(r'<Channel[^>]* Name="([^"]*)"', file.ome_metadata) == [
            "stroma", "tumour &amp; co", "glass",
        ]  # fmt: skip
        assert ("PhysicalSizeX" in file.ome_metadata) == (mpp is not None)
        assert len(series.levels) == 1 + (max(shape) > 512)
        for level, step in zip(series.levels, (1, 4), strict=False):
            expected = values[:, step // 2 :: step, step // 2 :: step]
            np.testing.assert_array_equal(
                level.asarray()[:, : expected.shape[1], : expected.shape[2]], expected
            )
