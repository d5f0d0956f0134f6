"""Damage that a JPEG's bytes show, and sound ones that look odd."""

import io

import numpy as np
import pytest
from PIL import Image

from l2s_jax.data.jpeg_bytes import FEW_ZEROS, jpeg_fault, segments


def textured(rng, side=256):
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float)
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)


def jpeg(pixels, **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **({"quality": 80} | options))
    return out.getvalue()


def picture_at(content):
    """The first byte of a JPEG's picture."""
    return [*segments(content)][-1].end


def with_hole(content, at, length, filling=None):
    hole = bytes(length) if filling is None else filling
    return content[:at] + hole + content[at + length :]


OPTIONS = (
    {}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"quality": 100},
    {"quality": 5}, {"keep_rgb": True}, {"restart_marker_blocks": 1}, {"optimize": True, "keep_rgb": True},
    {"exif": b"Exif\0\0" + bytes(5000)}, {"icc_profile": bytes(9000)}, {"comment": b"\xff\xd9" + bytes(99)},
)  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_sound_pictures_show_no_damage(rng, options):
    flat, half = np.full((256, 256, 3), 243, np.uint8), textured(rng)
    half[:, 128:] = 255
    black = np.zeros((64, 400, 3), np.uint8)
    for pixels in (textured(rng), flat, half, black, flat[:8, :8], textured(rng)[..., 0], flat[..., 0]):
        options = {name: value for name, value in options.items() if pixels.ndim == 3 or name != "keep_rgb"}
        content = jpeg(pixels, **options)
        assert jpeg_fault(content) is None
        assert jpeg_fault(content + bytes(700)) is None  # filled up to a whole sector


def test_zero_bits_can_mean_one_colour():
    """With tables made for the picture all of it is a run of zeros, as long as there are blocks for it."""
    content = jpeg(np.full((512, 512, 3), 243, np.uint8), optimize=True, keep_rgb=True)
    assert bytes(1000) in content[picture_at(content) :] and jpeg_fault(content) is None
    at = picture_at(content)
    assert "zeros" in jpeg_fault(content[:at] + bytes(4096) + content[at:])


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}, {"keep_rgb": True}])
@pytest.mark.parametrize("filling", ["zeros", "junk"])
def test_a_lost_block_is_seen_wherever_it_lay(rng, options, filling):
    content = jpeg(textured(rng), **options)
    first, silent = picture_at(content), 0
    for at in rng.integers(first, len(content) - 1024, 50).tolist():
        junk = rng.integers(0, 256, 1024, np.uint8).tobytes() if filling == "junk" else None
        silent += jpeg_fault(with_hole(content, at, 1024, junk)) is None
    # Junk is told by a marker that no picture holds: of 1024 bytes four are FF, and a few follow as if meant.
    assert silent <= (5 if filling == "junk" else 0)


def test_an_end_that_is_missing(rng):
    content = jpeg(textured(rng))
    for short in (content[:-2], content[: len(content) // 2], content[: picture_at(content) + 1]):
        assert "ends before" in jpeg_fault(short) and jpeg_fault(short, ends=False) is None
    assert "zeros" in jpeg_fault(content[:-500] + bytes(500), ends=False)


def test_a_beginning_that_is_none(rng):
    content = jpeg(textured(rng))
    assert jpeg_fault(with_hole(content, 0, 512)) == "it begins with zeros"
    assert jpeg_fault(bytes(len(content))) == "it begins with zeros"
    assert jpeg_fault(b"\x5a" + content) == "it does not begin as a JPEG does"
    for start in (b"\xff\xd8", content[:30], b"\xff\xd8" + bytes(400), b"\xff\xd8\xff\xd9"):
        assert jpeg_fault(start) == "it has no picture in it"


def test_any_bytes_give_an_answer(rng):
    content = jpeg(textured(rng, 64))
    for _ in range(500):
        damaged = bytearray(content)
        for at in rng.integers(0, len(damaged), 5).tolist():
            damaged[at] = int(rng.integers(256))
        jpeg_fault(bytes(damaged))
        jpeg_fault(bytes(damaged[: int(rng.integers(len(damaged)))]))
    assert FEW_ZEROS == 64
