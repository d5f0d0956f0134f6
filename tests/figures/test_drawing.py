import base64
import io

import numpy as np
import pytest
from PIL import Image

from l2s_jax.data.manifest import Classes
from l2s_jax.figures.drawing import (
    compact,
    draw_confusion,
    draw_curves,
    draw_samples,
    inline_jpeg,
    inline_png,
    save_figure,
    spread_evenly,
)
from l2s_jax.figures.html import anchor, page, table
from l2s_jax.figures.overlays import overlay
from l2s_jax.figures.svg import inline, svg_of
from l2s_jax.figures.texts import label_text
from l2s_jax.types import IGNORE_PIXEL

CLASSES = Classes(("glass", "gland"), ((255, 255, 255), (0, 200, 0)), (0, 1), background=0)


def row(epoch, **values):
    names = (
        "loss",
        "loss_seg",
        "loss_cls",
        "val_score",
        "val_macro_f1",
        "val_accuracy",
        "val_label_accuracy",
    )
    return {"epoch": epoch, "step": epoch, **dict.fromkeys(names, float("nan")), **values}


def test_overlay_leaves_background_and_ignored_pixels_alone(rng):
    image = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    codes = np.zeros((8, 8), np.uint8)
    codes[2:7, 2:7] = 1
    codes[0, 0] = IGNORE_PIXEL
    mixed = overlay(image, codes, CLASSES)
    outside = codes != 1
    np.testing.assert_array_equal(mixed[outside], image[outside])
    np.testing.assert_array_equal(mixed[2, 2], [0, 200, 0])  # the outline
    inside = 0.65 * image[4, 4] + 0.35 * np.array([0, 200, 0])
    np.testing.assert_allclose(mixed[4, 4], inside, atol=0.51)


def test_without_a_background_class_every_class_is_tinted():
    classes = Classes(("a", "b"), ((255, 0, 0), (0, 0, 255)), (0, 1))
    mixed = overlay(np.full((4, 4, 3), 128, np.uint8), np.zeros((4, 4), np.uint8), classes)
    assert (mixed[..., 0] > 128).all()


def lines(figure, axes):
    return [line.get_label() for line in figure.axes[axes].get_lines() if len(line.get_xdata()) > 2]


def test_curves_show_what_there_is(tmp_path):
    rows = [row(k, loss=1 / k, loss_seg=0.5 / k, loss_cls=0.5 / k, val_score=0.1 * k, val_macro_f1=0.1 * k,
                val_accuracy=0.2, val_label_accuracy=0.3) for k in range(1, 5)]  # fmt: skip
    both = draw_curves(rows)
    assert lines(both, 0) == ["segmentation", "classification", "sum"]
    assert lines(both, 1) == ["macro F1", "pixel accuracy", "classifier accuracy"]
    masks_only = draw_curves([{**one, "loss_cls": float("nan")} for one in rows])
    assert lines(masks_only, 0) == ["segmentation"]
    assert "classifier accuracy" not in lines(masks_only, 1)
    save_figure(draw_curves([row(1, loss=1.0)]), tmp_path / "curves.png")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_are_written_whole(tmp_path, suffix):
    figure = draw_confusion(np.array([[5, 1], [0, 0]]), CLASSES.names, "test")
    save_figure(figure, tmp_path / f"f{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"f{suffix}"]
    shown = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "83.3%\n5" in shown and "0.0%\n0" in shown


def test_samples_have_a_column_each_and_say_where_there_is_no_mask(rng):
    images = [rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)] * 3
    codes = [np.ones((16, 16), np.uint8)] * 3
    figure = draw_samples(images, [codes[0], None, codes[0]], codes, CLASSES, ["a", "b", "c"])
    assert len(figure.axes) == 9
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no mask"]


def test_counts_in_few_characters():
    assert [compact(n) for n in (0, 9999, 12_345, 4_560_000, 2e9)] == ["0", "9999", "12.3k", "4.56M", "2G"]


def test_pages_hold_their_pictures_and_escape_their_text():
    shown = inline_jpeg(np.full((8, 4, 3), 200, np.uint8), 4, "alt")
    decoded = Image.open(io.BytesIO(base64.b64decode(shown.split("base64,")[1][:-2])))
    assert decoded.format == "JPEG" and decoded.size == (2, 4)
    text = page(
        "a < b", [("part", inline_png(b"png", "alt") + shown + table(("name", "n"), [("<x>", 1234567)]))]
    )
    assert "a &lt; b" in text and "&lt;x&gt;" in text and "1,234,567" in text
    assert 'src="data:image/png;base64,' in text and "://" not in text


def test_samples_are_spread_over_the_set():
    assert spread_evenly(3, 8) == [0, 1, 2]
    assert spread_evenly(100, 3) == [0, 50, 99]


NAMES = (
    "$x^$", "$", "$$", r"$\frac{$", "_hidden", "a<b>&c", "x" * 300, r"\alpha{", "%d %s", "腫瘍", "ورم",
    "חולה", "a\nb", "\x07bell", "é", "e\u0301", "🙂", "-1", "{0}",
)  # fmt: skip


def test_names_are_letters_in_every_figure(tmp_path, rng):
    """Dollar signs are no formula, an underscore hides nothing, and no name is too long."""
    classes = Classes(NAMES, tuple((n, 0, 0) for n in range(len(NAMES))), tuple(range(len(NAMES))))
    confusion = draw_confusion(np.eye(len(NAMES)), NAMES, "$x^$ of $y_$")
    codes = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16) % len(NAMES)
    image = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    samples = draw_samples([image] * 3, [codes] * 3, [codes] * 3, classes, ["$x^$", "_a", "n" * 200])
    for figure in (confusion, samples):
        save_figure(figure, tmp_path / "f.png", dpi=40)
        svg = svg_of(figure)
        assert "<!-- $x^$" in svg and "<!--  _" in svg
        element = inline(svg, "f", 'a "<$x^$>"')
        assert "&lt;$x^$&gt;" in element
    (shown,) = samples.legends
    labels = [text.get_text() for text in shown.get_texts()]
    assert labels == list(map(label_text, NAMES)) and len(labels) == len(NAMES)
    assert max(map(len, labels)) <= 32


def test_labels_are_cut_in_the_middle_and_stay_on_one_line():
    assert label_text("tumour") == "tumour"
    assert label_text("_x") == " _x"
    assert label_text("a\nb\x07c") == "a b c"
    long = [label_text("carcinoma in situ of the breast, grade " + end) for end in ("I", "II")]
    assert long[0] != long[1] and all(len(one) == 32 for one in long)


def test_anchors_of_different_names_differ():
    names = ("A+", "A=", "A-", "A ", "A_", "a", "A&", "Ä")
    assert len({anchor(name) for name in names}) == len(names)
    assert anchor("every run") == "every_run"


def test_an_alt_text_ends_no_attribute():
    assert 'onerror="' not in inline_png(b"", 'x" onerror="y')
