"""What other tools write: each file is read as it stands, or refused by name."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from l2s_jax.data.manifest import Classes
from l2s_jax.data.pictures import (
    look_at_image,
    look_at_mask,
    picture_size,
    read_image,
    read_mask,
    read_mask_values,
    write_png,
)
from l2s_jax.system.errors import UserError

TWO = Classes(("no", "yes"), ((0, 0, 0), (9, 9, 9)), (0, 255))


def packed(values, depth):
    """Rows of `depth`-bit samples as bytes, the first sample in the highest bits."""
    rows = ["".join(f"{value:0{depth}b}" for value in row) for row in values]
    rows = [row.ljust(-(-len(row) // 8) * 8, "0") for row in rows]
    return [int(row, 2).to_bytes(len(row) // 8, "big") for row in rows]


def grey_tiff(values, depth, photometric, order="<", fill_order=1):
    """An uncompressed greyscale TIFF written by hand, for the kinds that no library here writes."""
    height, width = values.shape
    if depth == 16:
        data = values.astype(f"{order}u2").tobytes()
    else:
        data = b"".join(packed(values, depth))
    if fill_order == 2:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    entries = [(256, width), (257, height), (258, depth), (259, 1), (262, photometric), (266, fill_order)]
    start = 8 + 2 + 12 * (len(entries) + 4) + 4
    entries += [(273, start), (277, 1), (278, height), (279, len(data))]
    directory = b"".join(
        struct.pack(f"{order}HHIHH" if order == "<" else ">HHIHH", tag, 3, 1, value, 0)
        for tag, value in entries
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(entries)) + directory + bytes(4) + data


def png(*chunks):
    """A PNG of chunks (kind, data), with their checksums."""
    whole = [struct.pack(">I", len(data)) + kind + data for kind, data in chunks]
    crcs = [struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(a + b for a, b in zip(whole, crcs, strict=True))


def small_png(width, height, depth, kind, rows, *before):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return png((b"IHDR", header), *before, (b"IDAT", data), (b"IEND", b""))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_tiff_mask_gives_what_is_stored_whichever_end_is_white(tmp_path, rng, depth, photometric, order):
    """ImageJ writes binary masks with 0 as white (photometric 0), most significant byte first."""
    stored = rng.integers(0, 2**depth, (5, 11))
    (tmp_path / "m.tif").write_bytes(grey_tiff(stored, depth, photometric, order))
    if depth != 2 and depth != 4:  # tifffile needs another package for these
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "m.tif"), stored)
    np.testing.assert_array_equal(read_mask_values(tmp_path / "m.tif"), stored)
    assert picture_size(tmp_path / "m.tif") == (5, 11)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_reversed_bits_are_set_right(tmp_path, rng, depth):
    stored = rng.integers(0, 2**depth, (5, 16))
    for photometric in (0, 1):
        (tmp_path / "m.tif").write_bytes(grey_tiff(stored, depth, photometric, fill_order=2))
        np.testing.assert_array_equal(read_mask_values(tmp_path / "m.tif"), stored)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "packbits", "group4"])
def test_an_imagej_binary_mask_has_the_share_that_was_drawn(tmp_path, rng, compression):
    """Values 0 and 255 with 0 as white: 29.5% tumour, not 70.5%."""
    tumour = np.arange(1000).reshape(20, 50) < 295
    picture = Image.fromarray(tumour if compression == "group4" else tumour.astype(np.uint8) * 255)
    picture.save(tmp_path / "m.tif", compression=compression, tiffinfo={262: 1})
    black = read_mask_values(tmp_path / "m.tif")
    # The same bytes with the other photometric.
    content = bytearray((tmp_path / "m.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tag = file.pages[0].tags[262]
        before, at = tag.value, tag.valueoffset
    content[at : at + 2] = struct.pack("<H", 1 - before)
    (tmp_path / "w.tif").write_bytes(content)
    white = read_mask_values(tmp_path / "w.tif")
    assert (black == white).all()
    if compression != "group4":
        assert (white == 255).mean() == 0.295
        assert look_at_mask(tmp_path / "w.tif", TWO).pixels.tolist() == [705, 295]


def test_an_image_in_which_zero_is_white_is_seen_as_meant(tmp_path):
    stored = np.array([[0, 255], [10, 200]])
    (tmp_path / "i.tif").write_bytes(grey_tiff(stored, 8, 0))
    np.testing.assert_array_equal(read_image(tmp_path / "i.tif")[..., 0], 255 - stored)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "u8", "i8"])
def test_other_whole_numbers_are_read_as_they_are(tmp_path, dtype):
    """-1 in signed bytes is not 255."""
    values = np.array([[0, 1], [-1 if dtype[0] == "i" else 3, 100]], dtype)
    tifffile.imwrite(tmp_path / "m.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "m.tif"), values)
    with pytest.raises(UserError, match="8-bit RGB"):
        read_image(tmp_path / "m.tif")


@pytest.mark.parametrize(
    "options, channels, dtype, message",
    [
        ({"photometric": "minisblack", "planarconfig": "contig"}, 3, "u1", "MINISBLACK"),
        ({"photometric": "rgb", "extrasamples": ["unspecified"]}, 4, "u1", "4 channels.*no stated meaning"),
        ({"photometric": "rgb"}, 5, "u1", "5 channels"),
        ({"photometric": "ycbcr"}, 3, "u1", "YCbCr"),
        ({"photometric": "separated"}, 4, "u1", "CMYK"),
        ({"photometric": "cielab"}, 3, "u1", "LAB"),
        ({"photometric": "rgb"}, 3, "f4", "float32"),
        ({"photometric": "rgb"}, 3, "i1", "int8"),
        ({"photometric": "rgb"}, 3, "u2", "8 bits|uint16"),
    ],
)
def test_tiffs_of_which_a_part_would_be_lost_are_refused_by_name(
    tmp_path, rng, options, channels, dtype, message
):
    values = rng.integers(0, 100, (8, 16, channels)).astype(dtype)
    tifffile.imwrite(tmp_path / "i.tif", values, **options)
    with pytest.raises(UserError, match=message) as error:
        read_image(tmp_path / "i.tif")
    assert "no picture" not in str(error.value) and "damaged" not in str(error.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_one_after_another_are_the_same_picture(tmp_path, rng, compression):
    rgb = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "i.tif",
        rgb.transpose(2, 0, 1).copy(),
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
    )
    np.testing.assert_array_equal(read_image(tmp_path / "i.tif"), rgb)


def test_stacks_in_one_page_and_animations_are_refused(tmp_path, rng):
    stack = rng.integers(0, 4, (3, 16, 16), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True, truncate=True)
    tifffile.imwrite(
        tmp_path / "volume.tif", stack, volumetric=True, tile=(1, 16, 16), photometric="minisblack"
    )
    frames = [Image.fromarray(plane).convert("RGB") for plane in stack * 60]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for name in ("imagej.tif", "volume.tif", "a.png"):
        for read in (read_image, read_mask_values, look_at_image):
            with pytest.raises(UserError, match=r"holds 3 (pages|frames)"):
                read(tmp_path / name)


def test_masks_that_were_compressed_with_loss_are_refused(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 3:] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg")
    tifffile_like = Image.fromarray(mask)
    tifffile_like.save(tmp_path / "m.tif", compression="jpeg")
    for name in ("m.jpg", "m.tif"):
        with pytest.raises(UserError, match="with loss"):
            read_mask(tmp_path / name, TWO)


def test_png_masks_with_transparency(tmp_path):
    """A key colour and a palette's alpha change no stored value; a channel of alpha must be full."""
    rows = packed(np.array([[0, 1, 2, 3]]), 2)
    grey = small_png(4, 1, 2, 0, rows, (b"tRNS", b"\0\1"))
    palette = small_png(4, 1, 2, 3, rows, (b"PLTE", bytes(range(12))), (b"tRNS", b"\0\x80\xff"))
    for content in (grey, palette):
        (tmp_path / "m.png").write_bytes(content)
        assert read_mask_values(tmp_path / "m.png").tolist() == [[0, 1, 2, 3]]
    for alpha, mode in ((255, "LA"), (255, "RGBA"), (254, "LA")):
        values = np.full((2, 2, len(mode)), 7, np.uint8)
        values[..., -1] = 255
        values[0, 0, -1] = alpha
        Image.fromarray(values, mode=None).save(tmp_path / "m.png")
        if alpha == 255:
            assert (read_mask_values(tmp_path / "m.png") == 7).all()
        else:
            with pytest.raises(UserError, match="transparent.*one value a pixel"):
                read_mask_values(tmp_path / "m.png")


def test_deep_grey_with_alpha_is_refused(tmp_path):
    (tmp_path / "m.png").write_bytes(small_png(2, 1, 16, 4, [bytes(8)]))
    for read in (read_mask_values, read_image):
        with pytest.raises(UserError, match="16-bit|8 bits"):
            read(tmp_path / "m.png")


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "mask"])
def test_no_flipped_bit_of_a_png_gives_other_pixels(tmp_path, rng, mode):
    pixels = (rng.integers(0, 40, (12, 12, 3)) + np.arange(12)[:, None, None]).astype(np.uint8)
    picture = Image.fromarray(pixels if mode == "RGB" else pixels[..., 0])
    if mode == "mask":
        picture = Image.fromarray((pixels[..., 0] > 25).astype(np.uint8))
    if mode == "P":
        picture = picture.convert("P")
    path = tmp_path / "i.png"
    picture.save(path)
    content, good = path.read_bytes(), read_image(path)
    silent = []
    for bit in range(0, 8 * len(content), 1 if mode == "mask" else 7):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_image(path)
        except UserError as error:
            assert str(path) in str(error)
            continue
        if found.shape != good.shape or (found != good).any():
            silent.append(bit)
    assert not silent


def test_what_is_wrong_with_a_png_is_said(tmp_path, rng):
    path = tmp_path / "i.png"
    write_png(path, rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged.*checksum of its chunk 'IDAT'"):
        read_image(path)
    content[100] ^= 1
    path.write_bytes(content[:-12])
    with pytest.raises(UserError, match="before its last chunk"):
        look_at_image(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_end_is_missing_or_zeros_is_refused(tmp_path, rng, progressive):
    """What a broken download leaves. Pillow draws the second kind to the end."""
    path = tmp_path / "i.jpg"
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(
        path, quality=95, subsampling=0, progressive=progressive
    )
    content = path.read_bytes()
    read_image(path)
    for share in (0.3, 0.6, 0.9, 0.99):
        kept = content[: int(share * len(content))]
        for ending in (b"", bytes(len(content) - len(kept)), bytes(4 * len(content))):
            path.write_bytes(kept + ending)
            with pytest.raises(UserError, match="cut short or damaged"):
                read_image(path)
    path.write_bytes(content + b"\0\0what a camera adds")
    read_image(path)


def test_a_jpeg_that_lost_a_block_in_its_middle_is_refused(tmp_path, rng):
    """Pillow draws it, from there on in other colours."""
    path = tmp_path / "i.jpg"
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path, quality=95)
    content, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(content[:middle] + bytes(512) + content[middle + 512 :])
    assert Image.open(path).convert("RGB").size == (96, 96)
    with pytest.raises(UserError, match="damaged .64 bytes of zeros stand in its picture"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_that_is_cut_short_is_refused(tmp_path, rng, compression):
    path = tmp_path / "i.tif"
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=8, compression=compression)
    content = path.read_bytes()
    for missing in (1, 2, 100, 3000):
        path.write_bytes(content[:-missing])
        for read in (read_image, look_at_image):
            with pytest.raises(UserError, match="cut short or damaged"):
                read(path)


@pytest.mark.parametrize(
    "content, name",
    [
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "a JPEG 2000 picture"),
        (b"\xff\x4f\xff\x51" + bytes(20), "a JPEG 2000 picture"),
        (b"\0\0\0\x20ftypavif" + bytes(20), "an AVIF picture"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "an HEIC picture"),
        (b"RIFF\x20\0\0\0WEBPVP9 " + bytes(20), "a WebP picture"),
        (bytes(128) + b"DICM" + bytes(20), "a DICOM file"),
        (b"%PDF-1.7 ", "a PDF"),
        (b"\x1f\x8b\x08\0" + bytes(20), "a gzip file"),
        (b"\x93NUMPY" + bytes(20), "a NumPy array"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_format_that_is_not_read_is_named(tmp_path, content, name):
    (tmp_path / "i.png").write_bytes(content)
    with pytest.raises(UserError, match=f"is {name}|{name}") as error:
        read_image(tmp_path / "i.png")
    assert "PNG, JPEG, TIFF" in str(error.value) and "magick IN OUT.png" in str(error.value)


def test_a_colour_profile_is_said_unless_it_is_srgb(tmp_path):
    picture = Image.new("RGB", (16, 16), (200, 10, 10))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture.save(tmp_path / "srgb.png", icc_profile=srgb)
    picture.save(tmp_path / "lab.png", icc_profile=lab)
    picture.save(tmp_path / "none.png", icc_profile=b"no profile")
    assert look_at_image(tmp_path / "srgb.png").conversions == ()
    (said,) = look_at_image(tmp_path / "lab.png").conversions
    assert "colour profile" in said and "not applied" in said
    (said,) = look_at_image(tmp_path / "none.png").conversions
    assert "unreadable" in said
    np.testing.assert_array_equal(read_image(tmp_path / "lab.png"), read_image(tmp_path / "srgb.png"))


def test_an_orientation_behind_the_pixels_of_a_png_is_heeded(tmp_path, rng):
    rgb = rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    header = struct.pack(">IIBBBBB", 4, 6, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rgb))
    content = png(
        (b"IHDR", header),
        (b"IDAT", data),
        (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        (b"IEND", b""),
    )
    (tmp_path / "i.png").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "i.png"), rgb.swapaxes(0, 1)[:, ::-1])
    look = look_at_image(tmp_path / "i.png")
    assert look.size == picture_size(tmp_path / "i.png") == (4, 6) and look.orientation == 6


def test_a_look_sees_what_a_reading_gives(tmp_path, rng):
    """Bands of a picture are the picture: same digest as of equal pixels in another format, same counts."""
    wide = rng.integers(0, 256, (5, 400_000, 1), dtype=np.uint8)
    write_png(tmp_path / "m.png", (wide[..., 0] > 100).astype(np.uint8) * 255)
    look = look_at_mask(tmp_path / "m.png", TWO)
    assert look.pixels.tolist() == np.bincount(read_mask(tmp_path / "m.png", TWO).ravel()).tolist()
    rgb = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    write_png(tmp_path / "i.png", rgb)
    Image.fromarray(rgb).save(tmp_path / "i.bmp")
    one, other = look_at_image(tmp_path / "i.png"), look_at_image(tmp_path / "i.bmp")
    assert one.digest == other.digest and not one.blank
    write_png(tmp_path / "i.png", np.full((9, 9, 3), 255, np.uint8))
    assert look_at_image(tmp_path / "i.png").blank


def test_stated_scales(tmp_path):
    """OME's PhysicalSize, ImageJ's unit, resolution tags; print resolutions are none."""
    pixels = np.zeros((16, 16), np.uint8)

    def stated(**options):
        tifffile.imwrite(tmp_path / "i.tif", pixels, **options)
        return look_at_image(tmp_path / "i.tif").mpp

    ome = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    assert stated(ome=True, metadata=ome | units) == (0.5, 0.25)
    assert stated(ome=True, metadata=ome) == (0.5, 0.25)
    nanometres = {"PhysicalSizeXUnit": "nm", "PhysicalSizeX": 250.0, "axes": "YX"}
    assert stated(ome=True, metadata=nanometres) == pytest.approx((0.25, 0.25))
    assert stated(imagej=True, resolution=(2, 2), metadata={"unit": "um"}) == (0.5, 0.5)
    assert stated(imagej=True, resolution=(2, 4), metadata={"unit": "\\u00B5m"}) == (0.25, 0.5)
    assert stated(resolution=(20000, 20000), resolutionunit="CENTIMETER") == (0.5, 0.5)
    assert stated(resolution=(72, 72), resolutionunit="INCH") is None
    assert stated() is None


def test_bytes_in_a_buffer_are_no_path():
    with pytest.raises((TypeError, UserError)):
        read_image(BytesIO(b""))
