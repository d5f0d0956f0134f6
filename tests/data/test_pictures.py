import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from l2s_jax.data.manifest import Classes
from l2s_jax.data.pictures import (
    look_at_image,
    picture_size,
    read_image,
    read_mask,
    read_mask_values,
    write_png,
)
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

REPEATED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CLASSES = Classes(("a", "b", "c"), 3 * ((0, 0, 0),), (10, 0, 300), None, 255)


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png_bytes(width, height, depth, colour_type, rows):
    """A PNG written by hand, for the bit depths that Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_lossless_formats_give_the_pixels(tmp_path, rgb, suffix):
    path = tmp_path / f"i.{suffix}"
    Image.fromarray(rgb).save(path)
    np.testing.assert_array_equal(read_image(path), rgb)
    assert picture_size(path) == (20, 30)


def test_jpeg_is_read_upright_in_rgb(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "i.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "i.jpg"), red, atol=3)  # quantisation at quality 95


def test_greyscale_and_one_bit_become_rgb(tmp_path, rgb):
    grey = rgb[..., 0]
    Image.fromarray(grey).save(tmp_path / "g.png")
    np.testing.assert_array_equal(read_image(tmp_path / "g.png"), np.dstack(3 * [grey]))
    Image.fromarray(grey > 127).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[..., 1], (grey > 127) * 255)


def test_a_palette_gives_its_colours_in_images_and_its_indices_in_masks(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    picture = Image.fromarray(indices, mode=None).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    picture.save(tmp_path / "p.png")
    colours = np.array([[10, 20, 30], [200, 100, 50], [7, 8, 9]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), colours[indices])
    np.testing.assert_array_equal(read_mask_values(tmp_path / "p.png"), indices)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.array([[[100, 0, 0, 255], [100, 0, 0, 0]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "i.png")
    np.testing.assert_array_equal(read_image(tmp_path / "i.png"), [[[100, 0, 0], [255, 255, 255]]])
    Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8)).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), [[3 * [100], 3 * [255]]])
    Image.fromarray(rgba[..., :3]).save(tmp_path / "key.png", transparency=(100, 0, 0))
    assert (read_image(tmp_path / "key.png") == 255).all()


@pytest.mark.parametrize(
    "suffix, orientation", [*(("png", n) for n in range(1, 9)), *(("tif", n) for n in range(1, 5))]
)
def test_exif_orientation_is_applied_to_images_and_masks_alike(tmp_path, rgb, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, mask_path = tmp_path / f"i.{suffix}", tmp_path / f"m.{suffix}"
    Image.fromarray(rgb).save(path, exif=exif)
    Image.fromarray(rgb[..., 0]).save(mask_path, exif=exif)
    image = read_image(path)
    by_hand = {  # EXIF 2.3, tag 274: where row 0 and column 0 of the file are in the picture
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }
    np.testing.assert_array_equal(image, by_hand[orientation](rgb))
    np.testing.assert_array_equal(read_mask_values(mask_path), image[..., 0])
    assert picture_size(path) == image.shape[:2]
    assert look_at_image(path).orientation == orientation


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_tiff_shown_on_its_side_is_refused(tmp_path, rgb, orientation):
    """Pillow 13 gives scrambled pixels for some of these."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb[..., 0]).save(tmp_path / "m.tif", exif=exif)
    for read in (read_image, read_mask_values, picture_size):
        with pytest.raises(UserError, match="Save it upright"):
            read(tmp_path / "m.tif")


def bad_pictures(folder, rgb):
    """Files that are no 8-bit RGB picture, each with what must be said of it."""
    good = folder / "good.png"
    Image.fromarray(rgb).save(good)
    content = good.read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "header.png").write_bytes(content[:20])
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture at all\n" * 20)
    (folder / "flipped.png").write_bytes(content[:60] + bytes(b ^ 255 for b in content[60:80]) + content[80:])
    (folder / "bomb.png").write_bytes(png_bytes(60_000, 60_000, 1, 0, [bytes(9)]))
    (folder / "large.bmp").write_bytes(
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 9000, 9000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    (folder / "folder.png").mkdir()
    return {
        "missing.png": "not found",
        "truncated.png": "cut short or damaged",
        "header.png": "damaged|no picture",
        "zero.png": "empty \\(0 bytes\\)",
        "text.png": "no picture, whatever its name says",
        "flipped.png": "cut short or damaged",
        "bomb.png": "too large",
        "large.bmp": "too large",
        "folder.png": "is no file",
    }


@pytest.mark.parametrize("read", [read_image, read_mask_values])
def test_bad_files_are_named_with_the_reason(tmp_path, rgb, read):
    for name, message in bad_pictures(tmp_path, rgb).items():
        with pytest.raises(UserError, match=message) as error:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_sixteen_bits_are_refused_in_images_with_the_way_out(tmp_path):
    deep = np.arange(8, dtype=np.uint16).reshape(2, 4) * 1000
    Image.fromarray(deep).save(tmp_path / "grey.png")
    (tmp_path / "rgb.png").write_bytes(png_bytes(4, 2, 16, 2, 2 * [bytes(24)]))
    (tmp_path / "rgba.png").write_bytes(png_bytes(4, 2, 16, 6, 2 * [bytes(32)]))
    tifffile.imwrite(tmp_path / "rgb.tif", np.dstack(3 * [deep]), photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", deep)
    tifffile.imwrite(tmp_path / "float.tif", deep.astype(np.float32))
    for name in ("grey.png", "rgb.png", "rgba.png", "rgb.tif", "grey.tif", "float.tif"):
        with pytest.raises(UserError, match="8 bits|readable|damaged|no picture") as error:
            read_image(tmp_path / name)
        assert name in str(error.value)
        if name != "rgb.tif":  # Pillow knows no such TIFF at all
            assert "magick" in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_refused_with_the_way_out(tmp_path, rgb, suffix):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / f"c.{suffix}")
    with pytest.raises(UserError, match="CMYK.*profile"):
        read_image(tmp_path / f"c.{suffix}")
    with pytest.raises(UserError, match="CMYK"):
        read_mask_values(tmp_path / f"c.{suffix}")


def test_several_pages_are_refused(tmp_path, rgb):
    tifffile.imwrite(tmp_path / "p.tif", np.stack([rgb, rgb]), photometric="rgb")
    with pytest.raises(UserError, match="2 pages"):
        read_image(tmp_path / "p.tif")


@pytest.mark.parametrize("depth, values", [(1, [0, 1, 1, 0]), (2, [0, 1, 2, 3]), (4, [1, 2, 3, 15])])
def test_small_greyscale_masks_give_the_stored_samples(tmp_path, depth, values):
    bits = "".join(f"{value:0{depth}b}" for value in values).ljust(-(-4 * depth // 8) * 8, "0")
    row = int(bits, 2).to_bytes(len(bits) // 8, "big")
    (tmp_path / "m.png").write_bytes(png_bytes(4, 2, depth, 0, 2 * [row]))
    np.testing.assert_array_equal(read_mask_values(tmp_path / "m.png"), 2 * [values])


def test_masks_become_codes(tmp_path):
    values = np.array([[0, 10, 300], [255, 10, 0]], np.uint16)
    write_png(tmp_path / "m.png", values)
    codes = read_mask(tmp_path / "m.png", CLASSES)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, [[1, 0, 2], [IGNORE_PIXEL, 0, 1]])


def test_an_rgb_mask_of_equal_channels_is_read_and_another_refused(tmp_path, rgb):
    grey = np.array([[0, 10], [255, 10]], np.uint8)
    write_png(tmp_path / "m.png", np.dstack(3 * [grey]))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", CLASSES), [[1, 0], [255, 0]])
    write_png(tmp_path / "colour.png", rgb)
    with pytest.raises(UserError, match="channels differ.*one value a pixel"):
        read_mask(tmp_path / "colour.png", CLASSES)
    Image.fromarray(np.dstack(4 * [grey])).save(tmp_path / "rgba.png")
    with pytest.raises(UserError, match="RGBA.*one value a pixel"):
        read_mask(tmp_path / "rgba.png", CLASSES)


def test_unknown_mask_values_are_listed_with_their_pixels(tmp_path):
    write_png(tmp_path / "m.png", np.array([[0, 7, 7], [9, 254, 10]], np.uint8))
    with pytest.raises(UserError, match=r"7 \(2 px\), 9 \(1 px\), 254 \(1 px\); expected 10, 0, 300 or 255"):
        read_mask(tmp_path / "m.png", CLASSES)


def test_values_beyond_16_bits_are_of_no_class(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.array([[0, -1], [70000, 300]], np.int32))
    with pytest.raises(UserError, match=r"-1 \(1 px\), 70000 \(1 px\)"):
        read_mask(tmp_path / "m.tif", CLASSES)


@REPEATED
@given(st.data())
def test_masks_survive_a_round_trip(tmp_path, data):
    dtype, top = data.draw(st.sampled_from([(np.uint8, 255), (np.uint16, 65535)]))
    values = data.draw(st.lists(st.integers(0, top), min_size=2, max_size=20, unique=True))
    classes = Classes(
        tuple(map(str, values[1:])), tuple((0, 0, 0) for _ in values[1:]), tuple(values[1:]), None, values[0]
    )
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    codes = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(len(classes)), 255])))
    table = np.zeros(256, dtype)
    table[: len(classes)], table[255] = values[1:], values[0]
    write_png(tmp_path / "m.png", table[codes])
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", classes), codes)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@REPEATED
@given(st.data())
def test_a_damaged_picture_is_read_or_explained(tmp_path, data):
    """Any flipped or missing bytes of a real file give a picture or a `UserError`, never something else."""
    suffix = data.draw(st.sampled_from(["png", "jpg", "tif", "bmp"]))
    path = tmp_path / f"i.{suffix}"
    Image.fromarray(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)).save(path)
    content = bytearray(path.read_bytes())
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[position] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (read_image, read_mask_values, picture_size):
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)


def test_write_png_is_whole_or_not_at_all(tmp_path, rgb):
    write_png(tmp_path / "new" / "i.png", rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "i.png"), rgb)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write_png(tmp_path / "file" / "i.png", rgb)
    with pytest.raises(TypeError):
        write_png(tmp_path / "new" / "i.png", np.zeros((2, 2, 7), np.float64))
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "i.png"), rgb)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["i.png"]
