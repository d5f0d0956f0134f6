"""What stands for each class in masks, and what masks hold that nobody has named."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.own_patches import coloured, half, picture, save
from l2s_jax.data.pictures import read_mask_colours, write_png
from l2s_jax.prepare.patches.classes import classes_of
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.prepare.slides.found_classes import OF_BACKGROUND, PALETTE
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

RED, GREEN, BLACK = (200, 30, 60), (0, 128, 0), (0, 0, 0)
PLAIN = OwnPatchesOptions()
VALUES = replace(PLAIN, class_values={"stroma": "0", "tumour": "7"}, background="stroma", ignore_value="255")
COLOURS = OwnPatchesOptions(class_values={"stroma": "#008000", "tumour": "#C81E3C"}, ignore_value="#000000")


def of_masks(*paths, options=PLAIN, labels=()):
    pictures = [Picture(path.name, path, path) for path in paths]
    pictures += [Picture(label, label, None, label) for label in labels]
    return classes_of(pictures, options)


def test_values_become_codes(tmp_path):
    mask = half(16, values=(0, 7))
    mask[0] = 255
    write_png(tmp_path / "m.png", mask)
    made, warnings = of_masks(tmp_path / "m.png", options=VALUES, labels=["tumour"])
    assert (made.classes.names, made.classes.background, warnings) == (("stroma", "tumour"), 0, [])
    assert made.classes.colours == (OF_BACKGROUND, PALETTE[0])
    codes = made.read(Picture("m", tmp_path, tmp_path / "m.png"))
    assert (codes[0] == IGNORE_PIXEL).all() and (codes[1:] == half(16)[1:]).all()
    assert made.written.pixel_values == (0, 1) and made.written.ignore_value == IGNORE_PIXEL


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_become_codes(tmp_path, mode):
    mask = half(16)
    mask[3, 3] = 2
    Image.fromarray(coloured(mask, [GREEN, RED, BLACK])).convert(mode, palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "m.png"
    )
    made, _ = of_masks(tmp_path / "m.png", options=COLOURS)
    assert made.classes.colours == (GREEN, RED)
    expected = mask.copy()
    expected[3, 3] = IGNORE_PIXEL
    np.testing.assert_array_equal(made.read(Picture("m", tmp_path, tmp_path / "m.png")), expected)


def test_what_is_of_no_class_is_refused_and_counted(tmp_path):
    mask = half(16, values=(0, 7))
    mask[5, :3] = 4
    write_png(tmp_path / "m.png", mask)
    with pytest.raises(UserError, match=r"of no class in the mask: 4 \(3 px\); expected 0, 7, 255"):
        of_masks(options=VALUES)[0].read(Picture("m", tmp_path, tmp_path / "m.png"))
    write_png(tmp_path / "c.png", coloured(half(16), [GREEN, (1, 2, 3)]))
    with pytest.raises(UserError, match=r"#010203 \(128 px\); expected #008000, #c81e3c, #000000"):
        of_masks(options=COLOURS)[0].read(Picture("c", tmp_path, tmp_path / "c.png"))
    with pytest.raises(UserError, match="RGB picture whose channels differ"):
        of_masks(options=VALUES)[0].read(Picture("c", tmp_path, tmp_path / "c.png"))


def test_masks_whose_values_nobody_named_are_listed(tmp_path):
    write_png(tmp_path / "a.png", half(16, values=(0, 3)))
    write_png(tmp_path / "b.png", half(16, values=(3, 3)))
    with pytest.raises(UserError) as error:
        of_masks(tmp_path / "a.png", tmp_path / "b.png", labels=["tumour"])
    text = str(error.value)
    assert "  0         25.0% of the pixels, in 1 of 2 masks" in text
    assert "  3         75.0% of the pixels, in 2 of 2 masks" in text
    assert '--class-values "tumour=0" "NAME=3"' in text


def test_colours_of_masks_are_listed_beside_grey_ones(tmp_path):
    write_png(tmp_path / "a.png", coloured(half(16), [GREEN, RED]))
    write_png(tmp_path / "b.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(UserError) as error:
        of_masks(tmp_path / "a.png", tmp_path / "b.png")
    text = str(error.value)
    assert "#000000   50.0%" in text and "#c81e3c   25.0%" in text and "#008000   25.0%" in text


def test_pictures_that_are_no_masks_are_refused(tmp_path):
    write_png(tmp_path / "photo.png", picture(0, 32))
    with pytest.raises(UserError, match="more than 64 colours, such as .*photo.png.*saved as JPEG"):
        of_masks(tmp_path / "photo.png")
    save(tmp_path / "lossy.jpg", half(16))
    with pytest.raises(
        UserError,
        match=r"none of the 1 masks can be read .JPEG in black and white .*:\n.*compressed with loss",
    ):
        of_masks(tmp_path / "lossy.jpg")


def test_masks_that_do_not_show_one_colour_are_refused(tmp_path):
    rgb = coloured(half(16), [GREEN, RED])
    save(tmp_path / "lossy.jpg", rgb)
    with pytest.raises(UserError, match="compressed with loss .JPEG., which changes colours"):
        read_mask_colours(tmp_path / "lossy.jpg")
    save(tmp_path / "glass.png", np.dstack([rgb, np.full((16, 16), 100, np.uint8)]))
    with pytest.raises(UserError, match="partly transparent: which colours"):
        read_mask_colours(tmp_path / "glass.png")
    save(tmp_path / "deep.png", half(16).astype(np.uint16) * 300)
    with pytest.raises(UserError, match="16-bit"):
        read_mask_colours(tmp_path / "deep.png")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"class_values": {"a": "0", "b": "#000001"}}, "numbers or colours, not both"),
        ({"class_values": {"a": "0", "b": "0"}}, "one value stands for two things"),
        ({"class_values": {"a": "0", "b": "1"}, "ignore_value": "1"}, "one value stands for two things"),
        ({"class_values": {"a": "x"}}, "'x' is neither a value 0 to 65535 nor a colour #RRGGBB"),
        ({"class_values": {"a": "70000"}}, "neither a value"),
        ({"class_values": {"a": "#12"}}, "neither a value"),
        ({"class_values": {"a": "0"}, "background": "c"}, "background 'c' is none of the classes"),
        ({"classes": "x.toml", "background": "c"}, "leave out --class-values"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        of_masks(options=replace(PLAIN, **options))


def test_labels_are_held_against_the_classes():
    with pytest.raises(UserError, match="'Tumor', 'fat'; expected .*'tumour'. 'Tumor' may be 'tumour'"):
        of_masks(options=VALUES, labels=["Tumor", "fat", "stroma"])
    made, warnings = of_masks(labels=["b", "a"])
    assert made.classes.names == ("a", "b") and "no picture has a mask" in warnings[0]


SOFT = replace(PLAIN, mask_threshold=127, background="stroma")


def soft():
    """A bright disc with soft edges in a mask of 16 x 16, and what of it is above the middle."""
    rows, cols = np.mgrid[:16, :16]
    values = np.clip(255 - 40 * np.hypot(rows - 7, cols - 7), 0, 253).astype(np.uint8)
    return values, values > 127


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_masks_in_black_and_white_are_of_the_labels_class(tmp_path, suffix):
    values, drawn = soft()
    path = tmp_path / f"m{suffix}"
    save(path, values, quality=95)
    made, _ = of_masks(path, options=SOFT, labels=["tumour", "fat"])
    assert made.classes.names == ("stroma", "fat", "tumour") and made.classes.background == 0
    codes = made.read(Picture("m", path, path, "tumour"))
    wrong = (codes != np.where(drawn, 2, 0)).sum()
    assert (
        wrong == 0 if suffix == ".png" else wrong <= 4
    )  # JPEG changes values by a few, 127 is 40 a pixel away
    with pytest.raises(UserError, match="It has no label; say it with a label, or .* --foreground"):
        made.read(Picture("m", path, path))
    with pytest.raises(UserError, match="label is 'stroma', the background"):
        made.read(Picture("m", path, path, "stroma"))
    made, _ = of_masks(path, options=replace(SOFT, foreground="gland"))
    assert made.classes.names == ("stroma", "gland") and made.read(Picture("m", path, path)).max() == 1
    write_png(tmp_path / "empty.png", np.zeros((16, 16), np.uint8))
    assert made.read(Picture("e", path, tmp_path / "empty.png")).max() == 0


def test_what_is_not_black_and_white_is_refused(tmp_path):
    made, _ = of_masks(options=replace(SOFT, foreground="gland"))
    write_png(tmp_path / "codes.png", half(16))
    with pytest.raises(UserError, match="brightest value is 1, and nothing lies above --mask-threshold 127"):
        made.read(Picture("c", tmp_path, tmp_path / "codes.png"))
    save(tmp_path / "red.jpg", coloured(half(16), [BLACK, RED]))
    with pytest.raises(UserError, match="red.jpg is coloured"):
        made.read(Picture("r", tmp_path, tmp_path / "red.jpg"))


def test_soft_edges_are_recognised(tmp_path):
    write_png(tmp_path / "m.png", soft()[0])
    with pytest.raises(UserError, match="and .* more. If they are black and white .*: --mask-threshold 126"):
        of_masks(tmp_path / "m.png")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"foreground": "a"}, "--foreground needs --mask-threshold"),
        ({"mask_threshold": 9}, "--mask-threshold needs --background"),
        ({"mask_threshold": 9, "background": "a", "ignore_value": "3"}, "leave out --class-values"),
    ],
)
def test_thresholds_that_make_no_sense(options, said):
    with pytest.raises(UserError, match=said):
        of_masks(options=replace(PLAIN, **options))
