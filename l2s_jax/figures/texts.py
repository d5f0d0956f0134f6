"""Texts that users gave, as they stand in figures: letters, never markup."""

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

LONGEST = 32
"""Letters of a name that a figure shows."""

_MORE_SCRIPTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Noto Sans",
    "Noto Sans Devanagari", "Noto Sans Thai", "WenQuanYi Zen Hei", "Microsoft YaHei", "Yu Gothic",
    "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS",
)  # fmt: skip
"""Fonts, where a machine has them, for letters that matplotlib's own does not hold."""


def label_text(name: str) -> str:
    """A name for a legend, a tick or a title: cut in the middle where it is long, on one line.

    A name that begins with an underscore gets a space before it, else matplotlib leaves it out of legends.
    """
    name = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in name)
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 12]}…{name[-11:]}"
    return f" {name}" if name.startswith("_") else name


@contextlib.contextmanager
def plain_texts(figure: Figure, settings: Any = None) -> Iterator[None]:
    """While a figure is drawn, what stands between two dollar signs is no formula.

    Letters that no font of the machine holds are drawn as boxes.

    Args:
      figure: whose texts are set so, for good.
      settings: more of matplotlib's, for as long as the block lasts.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    own = matplotlib.rcParams["font.sans-serif"]
    known = set(fontManager.get_font_names())
    fonts = [*own[:1], *(name for name in _MORE_SCRIPTS if name in known)]
    all_settings: Any = {"text.parse_math": False, "font.sans-serif": fonts, **(settings or {})}
    with (
        matplotlib.rc_context(all_settings),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield
