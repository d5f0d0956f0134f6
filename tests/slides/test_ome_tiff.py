"""Class maps as OME-TIFF: what the file says of itself."""

import re
import uuid

import numpy as np
import openslide
import tifffile

from l2s_jax.slides.ome_tiff import write_pyramid
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
