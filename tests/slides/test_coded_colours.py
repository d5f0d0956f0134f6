"""Frames and tiles that say other colours than the tags around them are refused, and no others."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers.dicom_slides import write_dicom
from l2s_jax.data.coded_colours import jpeg_2000_coding, jpeg_colours
from l2s_jax.data.pictures import read_image
from l2s_jax.slides.reading import read_region
from l2s_jax.slides.slide import open_slide
from l2s_jax.system.errors import UserError

TILE = 128
IMAGE = np.empty((2 * TILE, 2 * TILE, 3), np.uint8)
IMAGE[:TILE], IMAGE[TILE:] = (240, 200, 230), (200, 60, 120)

JPEG, LOSSLESS_2000, JPEG_2000 = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 90, 91))


def saved(pixels, kind, **options):
    """A picture file's bytes."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()


def jpeg_ycbcr(pixels):
    return saved(pixels, "JPEG", quality=98)


def jpeg_rgb(pixels):
    return saved(pixels, "JPEG", quality=98, keep_rgb=True)


def transformed(pixels):
    return saved(pixels, "JPEG2000", no_jp2=True, mct=1)


def plain(pixels):
    return saved(pixels, "JPEG2000", no_jp2=True, mct=0)


def irreversible(pixels):
    return saved(pixels, "JPEG2000", no_jp2=True, mct=1, irreversible=True)


def ycbcr(pixels):
    """Stored YCbCr that nothing but a tag can tell from RGB."""
    return plain(np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("YCbCr")))


def shown(path):
    """What `open_slide` shows of the whole slide, as whole numbers."""
    return read_region(open_slide(path, mpp=0.5), (0, 0), IMAGE.shape[:2], 0.5).astype(int)


@pytest.mark.parametrize(
    "syntax, photometric, coding",
    [
        (JPEG, "YBR_FULL_422", jpeg_ycbcr),
        (JPEG, "RGB", jpeg_rgb),
        (LOSSLESS_2000, "RGB", plain),
        (LOSSLESS_2000, "YBR_RCT", transformed),
        (LOSSLESS_2000, "RGB", transformed),
        (JPEG_2000, "YBR_ICT", irreversible),
        (JPEG_2000, "RGB", irreversible),
    ],
)
def test_dicom_frames_that_agree_with_their_tag(tmp_path, syntax, photometric, coding):
    path = write_dicom(
        tmp_path / "a.dcm", IMAGE, series="1.2.3.4", coded=(syntax, coding), photometric=photometric
    )
    # Even areas lose nothing but roundings of YCbCr; another reading of the colours is off by 60 and more.
    assert np.abs(shown(path) - IMAGE).max() <= 3


@pytest.mark.parametrize(
    "syntax, photometric, coding, message",
    [
        (JPEG, "RGB", jpeg_ycbcr, "frames say that they are YCbCr.*says RGB.*=YBR_FULL_422 FILE"),
        (JPEG, "YBR_FULL_422", jpeg_rgb, "frames say that they are RGB.*says YBR_FULL_422.*=RGB FILE"),
        (JPEG_2000, "YBR_ICT", ycbcr, "says YBR_ICT, but.*without a colour transform"),
        (LOSSLESS_2000, "YBR_RCT", ycbcr, "says YBR_RCT, but.*without a colour transform"),
    ],
)
def test_dicom_frames_that_contradict_their_tag(tmp_path, syntax, photometric, coding, message):
    options = {"series": "1.2.3.4", "coded": (syntax, coding), "photometric": photometric}
    path = write_dicom(tmp_path / "a.dcm", IMAGE, **options)
    for named in (path, path.parent):
        with pytest.raises(UserError, match=rf"a\.dcm: its.*{message}"):
            open_slide(named)


def test_each_level_is_looked_at_and_no_other_slide_nor_label(tmp_path):
    agreeing = {"coded": (JPEG, jpeg_ycbcr), "photometric": "YBR_FULL_422"}
    wrong = {"coded": (JPEG, jpeg_ycbcr), "photometric": "RGB"}
    path = write_dicom(tmp_path / "a.dcm", IMAGE, series="1.2.3.4", **agreeing)
    write_dicom(tmp_path / "other.dcm", IMAGE, series="1.2.3.5", **wrong)
    write_dicom(tmp_path / "label.dcm", IMAGE, series="1.2.3.4", kind="LABEL", **wrong)
    assert np.abs(shown(path) - IMAGE).max() <= 3
    write_dicom(tmp_path / "half.dcm", IMAGE[::2, ::2], series="1.2.3.4", mpp=1.0, **wrong)
    with pytest.raises(UserError, match=r"half\.dcm: its JPEG frames"):
        open_slide(path)


def write_tiff(path, compression, photometric, coding, tile=(TILE, TILE)):
    """A slide, or without tiles a picture, whose tags say what they like of its data."""
    parts = [IMAGE[r : r + TILE, c : c + TILE] for r in (0, TILE) for c in (0, TILE)] if tile else [IMAGE]
    tifffile.imwrite(
        path, map(coding, parts), shape=IMAGE.shape, dtype=np.uint8, tile=tile, photometric=photometric,
        compression="zlib", metadata=None, software=False, rowsperstrip=None if tile else 2 * TILE,
        description="Aperio Image Library v1\r\n256x256 (128x128) J2K|AppMag = 20|MPP = 0.5",
    )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[259].overwrite(compression)
        if photometric == "ycbcr" and compression == 7:
            file.pages[0].tags[530].overwrite((2, 2) if coding is jpeg_ycbcr else (1, 1))
    return path


@pytest.mark.parametrize(
    "compression, photometric, coding",
    [
        (7, "ycbcr", jpeg_ycbcr),
        (7, "rgb", jpeg_rgb),
        (33003, "rgb", ycbcr),
        (33005, "rgb", plain),
        (33005, "rgb", transformed),
    ],
)
def test_tiles_that_agree_with_their_tags(tmp_path, compression, photometric, coding):
    path = write_tiff(tmp_path / "a.svs", compression, photometric, coding)
    assert open_slide(path).vendor == "aperio"
    assert np.abs(shown(path) - IMAGE).max() <= 3


@pytest.mark.parametrize(
    "compression, photometric, coding, message",
    [
        (7, "rgb", jpeg_ycbcr, "colours are RGB.*data that they are YCbCr.*-s 262 6 FILE"),
        (7, "ycbcr", jpeg_rgb, "colours are YCbCr.*data that they are RGB.*-s 262 2 FILE"),
        (33003, "rgb", transformed, "YCbCr .compression 33003.*tiles give RGB"),
    ],
)
def test_tiles_that_contradict_their_tags(tmp_path, compression, photometric, coding, message):
    path = write_tiff(tmp_path / "a.svs", compression, photometric, coding)
    with pytest.raises(UserError, match=rf"a\.svs: its tags say.*{message}"):
        open_slide(path)


@pytest.mark.parametrize("tile", [(TILE, TILE), None])
def test_pictures_in_tiff(tmp_path, tile):
    for photometric, coding in (("ycbcr", jpeg_ycbcr), ("rgb", jpeg_rgb)):
        path = write_tiff(tmp_path / "a.tif", 7, photometric, coding, tile)
        # In one piece the rows at the boundary of both colours are interpolated; the others are as above.
        assert np.percentile(np.abs(read_image(path).astype(int) - IMAGE), 98) <= 3
    for photometric, coding in (("rgb", jpeg_ycbcr), ("ycbcr", jpeg_rgb)):
        path = write_tiff(tmp_path / "b.tif", 7, photometric, coding, tile)
        with pytest.raises(UserError, match=r"b\.tif: its tags say.*JPEG data"):
            read_image(path)


def test_what_a_jpeg_says():
    pixels = IMAGE[:64, :64]
    assert jpeg_colours(jpeg_ycbcr(pixels)) == "YCbCr" and jpeg_colours(jpeg_rgb(pixels)) == "RGB"
    assert jpeg_colours(saved(pixels[..., 0], "JPEG")) is None
    silent = jpeg_ycbcr(pixels)
    at = silent.index(b"JFIF")
    assert jpeg_colours(silent[: at - 4] + silent[at + 14 :]) is None
    assert jpeg_colours(b"") is None and jpeg_colours(b"\xff\xd8\xff\xee\0\x04Ad") is None


def test_what_jpeg_2000_says():
    pixels = IMAGE[:64, :64]
    assert jpeg_2000_coding(transformed(pixels)) == (True, False)
    assert jpeg_2000_coding(plain(pixels)) == (False, False)
    assert jpeg_2000_coding(saved(pixels, "JPEG2000", mct=1)) == (True, False)  # as a JP2 file
    assert jpeg_2000_coding(saved(pixels[..., 0], "JPEG2000", no_jp2=True)) is None
    halved = bytearray(plain(pixels))
    at = halved.index(b"\xff\x51") + 4
    halved[at + 40], halved[at + 43] = 2, 2
    assert jpeg_2000_coding(bytes(halved)) == (False, True)
    assert jpeg_2000_coding(b"") is None and jpeg_2000_coding(plain(pixels)[:40]) is None
