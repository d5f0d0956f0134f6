"""Valid TIFF slides of every kind: their own pixels, or a refusal by name; never other pixels."""

import io

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from helpers.slide_generator import smooth_picture, write_leica_slide
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.reading import read_region
from l2s_jax.slides.slide import open_slide
from l2s_jax.slides.tiff_tags import tile_size_fault
from l2s_jax.system.errors import UserError

HEIGHT, WIDTH, TILE = 300, 420, 128
IMAGE = smooth_picture(HEIGHT, WIDTH)
GREY = IMAGE[..., 0]
OF_GREY = np.repeat(GREY[..., None], 3, -1)
ALPHA = np.linspace(0, 255, WIDTH).astype(np.uint8)[None].repeat(HEIGHT, 0)


def write(path, *pages, orientation=None, **options):
    """A tiled TIFF that OpenSlide takes for a slide."""
    common = {"tile": (TILE, TILE), "metadata": None, "software": False, "photometric": "rgb"}
    tags = () if orientation is None else ((274, "H", 1, orientation, True),)
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, **{**common, "extratags": tags, **options})
    assert openslide.OpenSlide.detect_format(path) == "generic-tiff"
    return path


def write_jpeg(path, photometric, *, subsampling=2, colours="RGB", compression=7, tag=None):
    """The same with tiles that are compressed by Pillow; tifffile alone has no JPEG."""

    def encoded():
        padded = np.pad(IMAGE, ((0, -HEIGHT % TILE), (0, -WIDTH % TILE), (0, 0)), mode="edge")
        for row in range(0, HEIGHT, TILE):
            for col in range(0, WIDTH, TILE):
                part = Image.fromarray(padded[row : row + TILE, col : col + TILE])
                file = io.BytesIO()
                if compression == 7:
                    options = {"keep_rgb": True} if colours == "RGB" else {"subsampling": subsampling}
                    part.save(file, "JPEG", quality=98, **options)
                else:
                    part.save(file, "JPEG2000", no_jp2=True, mct=0)
                yield file.getvalue()

    tifffile.imwrite(
        path, encoded(), shape=IMAGE.shape, dtype=np.uint8, tile=(TILE, TILE), photometric=photometric,
        compression="zlib", metadata=None, software=False,
        description="Aperio Image Library v1\r\n420x300 (128x128) J2K|AppMag = 20|MPP = 0.5",
    )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[259].overwrite(compression)
        if tag is not None:
            file.pages[0].tags[530].overwrite(tag)
    return path


def pixels(path):
    return read_region(open_slide(path, mpp=0.5), (0, 0), (HEIGHT, WIDTH), 0.5)


# Read right


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
def test_rgb_as_tifffile_has_it(tmp_path, compression, predictor):
    if predictor and compression is None:
        return
    path = write(tmp_path / "a.tif", IMAGE, compression=compression, predictor=predictor)
    np.testing.assert_array_equal(pixels(path), tifffile.imread(path))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_and_sizes(tmp_path, byteorder, big):
    options = {"tile": (TILE, TILE), "photometric": "rgb", "metadata": None, "software": False}
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, byteorder=byteorder, bigtiff=big, **options)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), IMAGE)


def test_channels_in_planes(tmp_path):
    planes = np.ascontiguousarray(IMAGE.transpose(2, 0, 1))
    path = write(tmp_path / "a.tif", planes, planarconfig="separate")
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].planarconfig == 2
    np.testing.assert_array_equal(pixels(path), tifffile.imread(path).transpose(1, 2, 0))


def test_grey_is_shown_as_grey(tmp_path):
    path = write(tmp_path / "a.tif", GREY, photometric="minisblack")
    np.testing.assert_array_equal(pixels(path), OF_GREY)
    path = write(tmp_path / "b.tif", GREY, photometric="miniswhite")  # 0 is white, says the tag
    np.testing.assert_array_equal(pixels(path), 255 - OF_GREY)


def test_palettes_give_their_colours(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    path = write(tmp_path / "a.tif", GREY, photometric="palette", colormap=(colours * 257).astype(np.uint16))
    np.testing.assert_array_equal(pixels(path), colours.T[tifffile.imread(path)])


@pytest.mark.parametrize("extra", [1, 2])
def test_transparency_is_laid_on_white(tmp_path, extra):
    share = ALPHA[..., None] / 255
    stored = IMAGE if extra == 2 else np.round(IMAGE * share).astype(np.uint8)
    path = write(tmp_path / "a.tif", np.dstack([stored, ALPHA]), extrasamples=[extra])
    expected = IMAGE * share + 255 * (1 - share)
    # 8-bit samples are multiplied with the transparency, divided by it and multiplied again.
    assert np.abs(pixels(path) - expected).max() <= 2


@pytest.mark.parametrize("subsampling, tag", [(0, (1, 1)), (1, (2, 1)), (2, (2, 2))])
def test_jpeg_in_ycbcr(tmp_path, subsampling, tag):
    path = write_jpeg(tmp_path / "a.tif", "ycbcr", subsampling=subsampling, colours="YCbCr", tag=tag)
    # Chroma of this smooth picture loses little; a shifted or exchanged channel would be far off.
    assert np.abs(pixels(path).astype(int) - IMAGE).mean() < 3


def test_jpeg_in_rgb(tmp_path):
    assert np.abs(pixels(write_jpeg(tmp_path / "a.tif", "rgb")).astype(int) - IMAGE).mean() < 1.5


def test_jpeg_2000_of_aperio(tmp_path):
    path = write_jpeg(tmp_path / "a.svs", "rgb", compression=33005)
    assert open_slide(path).vendor == "aperio"
    assert np.abs(pixels(path).astype(int) - IMAGE).max() <= 1  # stored without loss


def test_pyramids_and_further_small_pictures_pass(tmp_path):
    for style in ("aperio", "generic"):
        path = write_pyramidal_slide(tmp_path / f"{style}.tif", smooth_picture(800, 1100), style=style)
        assert len(open_slide(path).level_sizes) == 3
    path = tmp_path / "label.tif"
    common = {"photometric": "rgb", "metadata": None, "software": False}
    with tifffile.TiffWriter(path) as writer:
        writer.write(IMAGE, tile=(TILE, TILE), **common)
        writer.write(IMAGE[:100, :90], **common)
    np.testing.assert_array_equal(pixels(path), IMAGE)
    write_leica_slide(tmp_path / "a.scn", IMAGE, canvas=(400, 500), corner=(16, 32))
    np.testing.assert_array_equal(
        read_region(open_slide(tmp_path / "a.scn"), (16, 32), (HEIGHT, WIDTH), 0.5), IMAGE
    )


# Refused by name


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_pictures(tmp_path, orientation):
    path = write(tmp_path / "a.tif", IMAGE, orientation=orientation)
    with pytest.raises(UserError, match=rf"a\.tif.*Orientation {orientation}.*Save it upright"):
        open_slide(path, mpp=0.5)
    np.testing.assert_array_equal(pixels(write(tmp_path / "b.tif", IMAGE, orientation=1)), IMAGE)


@pytest.mark.parametrize(
    "page, options, message",
    [
        (IMAGE.astype(np.uint16) * 16, {}, "16 bits a channel"),
        (IMAGE.astype(np.uint16) * 257, {}, "16 bits a channel"),
        (GREY.astype(np.uint16) * 257, {"photometric": "minisblack"}, "16 bits a channel"),
        (IMAGE.astype(np.float32), {}, "32 bits a channel"),
        (IMAGE.view(np.int8), {}, "signed"),
        (np.dstack([IMAGE, GREY]), {"extrasamples": [0]}, "no transparency"),
        (np.dstack([IMAGE, IMAGE]), {"extrasamples": [0, 0, 0]}, "6 channels"),
        (np.dstack([IMAGE, GREY, GREY]), {"extrasamples": [2, 0]}, "5 channels"),
        (np.dstack([GREY, ALPHA]), {"photometric": "minisblack", "extrasamples": [2]}, "2 channels"),
        (np.dstack([IMAGE, GREY]), {"photometric": "separated"}, "CMYK"),
        (IMAGE, {"photometric": "cielab"}, "CIELab"),
        (IMAGE, {"photometric": "icclab"}, "ICCLab"),
        (IMAGE, {"photometric": "ycbcr"}, "YCbCr without JPEG"),
        (
            np.ascontiguousarray(np.dstack([IMAGE, ALPHA]).transpose(2, 0, 1)),
            {"planarconfig": "separate", "extrasamples": [2]},
            "PlanarConfiguration 2",
        ),
    ],
)  # fmt: skip
def test_pixels_that_would_be_others(tmp_path, page, options, message):
    path = write(tmp_path / "a.tif", page, **options)
    with pytest.raises(UserError, match=rf"a\.tif: .*{message}"):
        open_slide(path, mpp=0.5)


def test_unusual_subsampling(tmp_path):
    path = write_jpeg(tmp_path / "a.tif", "ycbcr", colours="YCbCr", tag=(4, 1))
    with pytest.raises(UserError, match=r"YCbCrSubSampling"):
        open_slide(path)


def test_several_planes(tmp_path):
    of_planes = write(tmp_path / "a.tif", *IMAGE.transpose(2, 0, 1), photometric="minisblack")
    stack = write(tmp_path / "b.tif", IMAGE, 255 - IMAGE)
    for path, number in ((of_planes, 3), (stack, 2)):
        with pytest.raises(UserError, match=rf"{path.name}: it holds {number} pictures.*only the first"):
            open_slide(path, mpp=0.5)


@pytest.mark.parametrize("axes", ["CYX", "ZYX", "TYX"])
def test_ome_tiff_of_several_planes(tmp_path, axes):
    path = tmp_path / "a.ome.tif"
    options = {"photometric": "minisblack", "tile": (128, 128), "metadata": {"axes": axes}}
    tifffile.imwrite(path, np.zeros((4, 300, 420), np.uint8), ome=True, **options)
    with pytest.raises(UserError, match=r"a\.ome\.tif: it holds 4 pictures"):
        open_slide(path, mpp=0.5)


def ome(inside):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f"{inside}</OME>"
    )


def test_one_file_of_an_ome_tiff_of_several(tmp_path):
    text = ome('<Image ID="Image:0"><Pixels SizeC="4" SizeZ="1" SizeT="1" SizeX="420" SizeY="300"/></Image>')
    path = write(tmp_path / "a.tif", GREY, photometric="minisblack", description=text)
    with pytest.raises(UserError, match=r"a\.tif: its OME-XML has 4 planes where a page holds 1"):
        open_slide(path, mpp=0.5)
    text = ome('<BinaryOnly MetadataFile="b.ome.tif" UUID="urn:uuid:1"/>')
    path = write(tmp_path / "b.tif", GREY, photometric="minisblack", description=text)
    with pytest.raises(UserError, match=r"b\.tif: it is one of several OME-TIFF files"):
        open_slide(path, mpp=0.5)


def test_rgb_ome_tiff_passes(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, IMAGE, ome=True, photometric="rgb", tile=(128, 128), metadata={"axes": "YXS"})
    np.testing.assert_array_equal(pixels(path), tifffile.imread(path))


def test_another_picture_among_the_levels(tmp_path):
    path = tmp_path / "a.tif"
    common = {"photometric": "rgb", "metadata": None, "software": False, "tile": (TILE, TILE)}
    with tifffile.TiffWriter(path) as writer:
        writer.write(IMAGE, **common)
        writer.write(IMAGE[:150, :150], subfiletype=1, **common)
    assert openslide.OpenSlide(path).level_count == 2
    with pytest.raises(UserError, match=r"a\.tif: level 1 \(150 x 150\) has other proportions"):
        open_slide(path, mpp=0.5)


def test_tags_that_cannot_be_read_are_said(tmp_path):
    path = write(tmp_path / "a.tif", IMAGE)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[277].overwrite(0)
    with pytest.raises(UserError, match=r"a\.tif"):
        open_slide(path, mpp=0.5)


# The same without tiles: OpenSlide leaves these to Pillow

TURNED = {1: IMAGE, 2: IMAGE[:, ::-1], 3: IMAGE[::-1, ::-1], 4: IMAGE[::-1]}


def write_strips(path, *pages, orientation=1, **options):
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            tags = ((274, "H", 1, orientation, True),)
            common = {"metadata": None, "software": False, "photometric": "rgb", "extratags": tags}
            writer.write(page, **{**common, **options})
    assert openslide.OpenSlide.detect_format(path) is None
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_without_tiles(tmp_path, orientation):
    path = write_strips(tmp_path / "a.tif", IMAGE, orientation=orientation)
    if orientation in TURNED:
        np.testing.assert_array_equal(pixels(path), TURNED[orientation])
    else:
        with pytest.raises(UserError, match=r"a\.tif .*turned by its tag"):
            open_slide(path, mpp=0.5)


@pytest.mark.parametrize(
    "pages, options, message",
    [
        ([IMAGE.astype(np.uint16) * 16], {}, "more than 8 bits"),
        ([GREY.astype(np.uint16) * 257], {"photometric": "minisblack"}, "more than 8 bits"),
        ([IMAGE.astype(np.float32)], {}, "32-bit RGB of type float32"),
        ([IMAGE.view(np.int8)], {}, "int8"),
        (list(IMAGE.transpose(2, 0, 1)), {"photometric": "minisblack"}, "3 pages"),
        ([np.dstack([IMAGE, GREY])], {"extrasamples": [0]}, "4 channels, 1 of them of no stated meaning"),
        ([np.dstack([GREY, ALPHA])], {"photometric": "minisblack", "extrasamples": [0]}, "2 (channels|x)"),
        ([np.dstack([IMAGE, GREY])], {"photometric": "separated"}, "CMYK"),
    ],
)  # fmt: skip
def test_pixels_that_would_be_others_without_tiles(tmp_path, pages, options, message):
    path = write_strips(tmp_path / "a.tif", *pages, **options)
    with pytest.raises(UserError, match=rf"a\.tif .*{message}"):
        open_slide(path, mpp=0.5)


# Pyramids


def write_levels(path, levels, where, **options):
    """An OME-TIFF with its levels in SubIFDs, or a TIFF with them in further pages."""
    common = {"photometric": "rgb", "tile": (TILE, TILE)}
    if where == "subifds":
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        first = {"subifds": len(levels) - 1, "metadata": metadata}
    else:
        common |= {"metadata": None, "software": False}
        first = {"resolution": (20000.0, 20000.0), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, ome=where == "subifds") as writer:
        writer.write(levels[0], **common, **first)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **{**common, **options})
    return path


@pytest.mark.parametrize(
    "where, count, source", [("pages", 3, "tiff-resolution"), ("subifds", 1, "ome")], ids=["pages", "ome"]
)
def test_pyramids_say_their_scale_and_read_right_at_any(tmp_path, where, count, source):
    """OpenSlide does not follow SubIFDs: level 0 is there, and is right, but slow."""
    levels = [IMAGE, IMAGE[::2, ::2].copy(), IMAGE[::4, ::4].copy()]
    slide = open_slide(write_levels(tmp_path / "a.ome.tif", levels, where))
    assert slide.mpp == pytest.approx((0.5, 0.5)) and slide.mpp_source == source
    assert len(slide.level_sizes) == count
    np.testing.assert_array_equal(read_region(slide, (0, 0), (HEIGHT, WIDTH), 0.5), IMAGE)
    coarse = read_region(slide, (0, 0), (HEIGHT // 4, WIDTH // 4), 2.0).astype(int)
    expected = np.asarray(Image.fromarray(IMAGE).resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BOX))
    assert np.abs(coarse - expected)[1:-1, 1:-1].mean() < 4


def test_a_level_of_other_pixels_is_seen(tmp_path):
    """The first page is sound, a reduced one is turned."""
    turned = {"extratags": ((274, "H", 1, 6, True),)}
    path = write_levels(tmp_path / "a.tif", [IMAGE, IMAGE[::2, ::2].copy()], "pages", **turned)
    with pytest.raises(UserError, match=r"a\.tif: .*Orientation 6"):
        open_slide(path)


def test_tiles_that_no_memory_holds_are_refused_before_they_are_read():
    """OpenSlide's process ends at such; the slide is not opened with it."""
    for side in (64, 512, 4096, 8192):
        assert tile_size_fault(side, side) is None
    said = tile_size_fault(1_000_000, 90_000)
    assert "1,000,000 x 90,000 pixels" in said and "download it again" in said
