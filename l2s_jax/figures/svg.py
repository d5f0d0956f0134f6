"""Figures as SVG: the same bytes each time, and fit to stand with others in one page."""

import io
import re
from html import escape
from typing import Any

from matplotlib.figure import Figure

from l2s_jax.figures.texts import plain_texts

SETTINGS: Any = {"svg.hashsalt": "l2s_jax", "svg.fonttype": "path"}
"""Text as outlines: the same in every browser, whatever fonts it has."""


def svg_of(figure: Figure) -> str:
    """A figure as an SVG file: no date, and the same ids each time."""
    buffer = io.StringIO()
    with plain_texts(figure, SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=120)
    return buffer.getvalue()


def inline(svg: str, prefix: str, alt: str) -> str:
    """An SVG file as an element of an HTML page.

    Args:
      svg: the file, as matplotlib writes it.
      prefix: goes before every id in it, so that two figures of one page do not use each other's parts.
      alt: what it shows, for those who cannot see it.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.S)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", element)
    element = re.sub(r'\b(xlink:href|href)="#([^"]+)"', rf'\1="#{prefix}-\2"', element)
    # Namespaces mean nothing to an HTML parser, and a page without addresses is seen to ask for none.
    element = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
