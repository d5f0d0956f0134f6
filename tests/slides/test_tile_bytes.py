"""Tiles that lie damaged in a slide's file: refused where they are read, and sound ones never."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from helpers.slide_generator import ellipses
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.reading import UnreadableRegion, read_region
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

DATA = Path(os.environ.get("L2S_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "slides" / "CMU-1-Small-Region.svs"

SIDE, TILE = 1100, 256
OFFSETS, COUNTS = 324, 325


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """The same picture, compressed by JPEG and by deflate."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("tiles")
    coarse = np.kron(rng.integers(0, 200, (SIDE // 4, SIDE // 4, 3)), np.ones((4, 4, 1), int))
    image = (coarse + rng.integers(0, 50, coarse.shape)).astype(np.uint8)
    return {
        (kind, style): write_pyramidal_slide(
            folder / f"{kind}-{style}.tif", image, compression=kind, style=style, tile=TILE
        )
        for kind in ("jpeg", "deflate")
        for style in ("aperio", "generic")
    }


def tile_at(path, row, col, level=0):
    """Number, offset and bytes of the tile that holds a pixel of a level."""
    with tifffile.TiffFile(path) as file:
        page = [page for page in file.pages if page.is_tiled][level]
        number = row // TILE * -(-page.imagewidth // TILE) + col // TILE
        return number, page.dataoffsets[number], page.databytecounts[number]


def damaged(path, folder, row, col, first, length, level=0, filling=None):
    """A copy in which some bytes of a tile are zeros, counted from its first one, or from its end."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    _, offset, count = tile_at(path, row, col, level)
    with copy.open("r+b") as file:
        file.seek(offset + (first if first >= 0 else count + first))
        file.write(filling or bytes(length))
    return copy


def with_tags(path, folder, number, **values):
    """A copy whose first page says something else of one tile."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    with tifffile.TiffFile(copy, mode="r+") as file:
        for name, value in values.items():
            tag = file.pages[0].tags[{"offset": OFFSETS, "count": COUNTS}[name]]
            tag.overwrite([value if one == number else old for one, old in enumerate(tag.value)])
    return copy


EACH = [("jpeg", "aperio"), ("jpeg", "generic"), ("deflate", "aperio"), ("deflate", "generic")]


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("first,length", [(0, 600), (3000, 1024), (-700, 700)])
def test_a_lost_block_of_a_tile_is_refused_by_its_place(slides, tmp_path, kind, first, length):
    path = damaged(slides[kind], tmp_path, 300, 600, first, length)
    slide = open_slide(path, mpp=0.5)
    with pytest.raises(UnreadableRegion, match=rf"{path.name}.*level 0 at level-0 row 256, col 512"):
        read_region(slide, (300, 600), (50, 50), 0.5)
    with pytest.raises(UserError, match="copy or download it again"):
        read_region(slide, (0, 0), (SIDE, SIDE), 0.5)
    # All around it, and at the other levels, the slide is read as the sound one.
    sound = open_slide(slides[kind], mpp=0.5)
    for corner, size, mpp in (((0, 0), (200, 900), 0.5), ((600, 0), (400, 1000), 0.5), ((0, 0), (60, 60), 8)):
        here, there = (read_region(one, corner, size, mpp) for one in (slide, sound))
        np.testing.assert_array_equal(here, there)


def test_openslide_alone_shows_other_pixels_without_an_error(slides, tmp_path):
    """Were this no longer so, the tiles' bytes need not be looked at."""
    for length in (64, 1024, 4096):
        path = damaged(slides["jpeg", "aperio"], tmp_path, 300, 600, 3000, length)
        shown = [
            np.asarray(openslide.OpenSlide(one).read_region((512, 256), 0, (TILE, TILE)))
            for one in (path, slides["jpeg", "aperio"])
        ]
        assert (shown[0] != shown[1]).any()
        with pytest.raises(UnreadableRegion):
            read_region(open_slide(path), (300, 600), (50, 50), 0.5)


def test_junk_in_a_tile(slides, tmp_path):
    filling = np.random.default_rng(1).integers(0, 256, 4096, np.uint8).tobytes()
    path = damaged(slides["jpeg", "generic"], tmp_path, 10, 10, 2000, 4096, filling=filling)
    with pytest.raises(UnreadableRegion, match="marker FF.. stands in its picture|Corrupt JPEG data"):
        read_region(open_slide(path), (0, 0), (50, 50), 0.5)


def test_only_the_level_that_is_read_is_looked_at(slides, tmp_path):
    path = damaged(slides["jpeg", "aperio"], tmp_path, 100, 100, 3000, 1024, level=1)
    slide = open_slide(path)
    read_region(slide, (0, 0), (300, 300), 0.5)
    with pytest.raises(
        UnreadableRegion, match=r"level 1 at level-0 row 0, col 0, 1024 x 1024 level-0 pixels"
    ):
        read_region(slide, (0, 0), (100, 100), 2.0)


@pytest.mark.parametrize("kind", EACH)
def test_a_tile_that_lies_beyond_the_end_of_the_file(slides, tmp_path, kind):
    number, offset, count = tile_at(slides[kind], 300, 600)
    beyond = slides[kind].stat().st_size - 10
    path = with_tags(slides[kind], tmp_path, number, offset=beyond)
    with pytest.raises(UnreadableRegion, match="it ends at byte .* of a file that has"):
        read_region(open_slide(path), (300, 600), (50, 50), 0.5)
    path = with_tags(slides[kind], tmp_path, number, count=count // 2)
    with pytest.raises(UnreadableRegion):
        read_region(open_slide(path), (300, 600), (50, 50), 0.5)


@pytest.mark.parametrize("kind", EACH)
def test_a_tile_that_is_not_there_is_no_damage(slides, tmp_path, kind):
    """Scanners leave out tiles of empty glass: their count is 0."""
    number, *_ = tile_at(slides[kind], 300, 600)
    path = with_tags(slides[kind], tmp_path, number, offset=0, count=0)
    shown = read_region(open_slide(path), (300, 600), (50, 50), 0.5)
    assert shown.shape == (50, 50, 3)


def test_flat_tiles_are_no_damage(tmp_path):
    parts = [(600, 600, 300, 200, (200, 90, 160))]
    for kind in ("jpeg", "deflate"):
        path = write_pyramidal_slide(
            tmp_path / f"{kind}.svs", ellipses(parts, (255, 255, 255)), size=(2048, 2048), compression=kind
        )
        slide = open_slide(path)
        for mpp in (0.5, 2.0, 8.0):
            read_region(slide, (0, 0), (int(1024 / mpp), int(1024 / mpp)), mpp)


def test_each_tile_is_looked_at_once_and_again_in_another_process(slides, monkeypatch):
    slide = open_slide(slides["jpeg", "aperio"])
    read_region(slide, (0, 0), (300, 300), 0.5)
    assert slide.tiles[0].sound.sum() == 4 and not slide.tiles[1].sound.any()
    there = pickle.loads(pickle.dumps(slide))
    assert "tiles" not in vars(there)
    read_region(there, (0, 0), (10, 10), 0.5)
    assert there.tiles[0].sound.sum() == 1


@pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}; set L2S_DATA")
def test_the_real_slide_is_sound():
    slide = open_slide(REAL)
    read_region(slide, (0, 0), slide.size_level0, slide.mpp[0])
    assert all(index is None or index.sound.all() for index in slide.tiles) and slide.tiles[0] is not None
