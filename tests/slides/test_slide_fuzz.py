"""Mutated TIFF slides: the slide, or a `UserError`, and nothing else."""

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.slide_generator import smooth_picture, write_leica_slide
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.reading import read_region
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

IMAGE = smooth_picture(150, 200)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    files = [
        write_pyramidal_slide(folder / "a.svs", IMAGE, tile=64),
        write_pyramidal_slide(folder / "b.tif", IMAGE, tile=64, style="generic", compression="deflate"),
        write_leica_slide(folder / "c.scn", IMAGE, canvas=(300, 400), corner=(30, 40)),
        folder / "d.ome.tif",
    ]
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5}
    tifffile.imwrite(files[3], IMAGE, ome=True, photometric="rgb", tile=(64, 64), metadata=metadata)
    return [file.read_bytes() for file in files]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 3),
    edits=st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.binary(min_size=1, max_size=6)), max_size=6),
)
@pytest.mark.filterwarnings("ignore")
def test_mutated_slides(seeds, tmp_path_factory, seed, edits):
    content = bytearray(seeds[seed])
    for share, anywhere, junk in edits:
        # Most bytes are pixels: half of the edits go to the first 400, where header and tags lie.
        place = int(share * len(content)) if anywhere else int(share * 400)
        content[place : place + len(junk)] = junk
    path = tmp_path_factory.getbasetemp() / "fuzz.tif"
    path.write_bytes(content)
    try:
        slide = open_slide(path, mpp=0.5)
        height, width = min(slide.size_level0[0], 300), min(slide.size_level0[1], 300)
        assert read_region(slide, (0, 0), (height, width), slide.mpp[0]).dtype == np.uint8
    except UserError as error:
        assert "fuzz.tif" in str(error)
