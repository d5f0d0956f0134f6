"""Class maps as OME-TIFF: what the file says of itself."""

import re
import uuid

import numpy as np
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
