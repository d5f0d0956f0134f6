"""What the OME-XML in a TIFF's description says about its picture: how many planes, and which scale."""

import math
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

MICROMETRES = {
    "km": 1e9, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0,
    "nm": 1e-3, "pm": 1e-6, "\u00c5": 1e-4, "\u212b": 1e-4,
    "in": 25400.0, "inch": 25400.0, "thou": 25.4, "pt": 25400 / 72,
}  # fmt: skip
"""Micrometres of OME's units of length (both code points of the micro and the angstrom sign)."""


class OmePixels(NamedTuple):
    """The first picture of an OME-XML."""

    planes: int  # channels x focal planes x time points
    mpp: tuple[float, float] | None  # um/px (row, col)
    note: str  # why there is no scale; "" where there is one
    elsewhere: bool = False  # the file is one of several, and another holds the description


def read_ome(description: str | None) -> OmePixels | None:
    """Reads a TIFF's ImageDescription; None where it is no OME-XML, or one that cannot be read."""
    if not description or "<OME" not in description[:2000].replace("<ome:OME", "<OME"):
        return None
    try:
        root = fromstring(description.strip().rstrip("\0"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    pixels = next((one for one in root.iter() if _tag(one) == "Pixels"), None)
    if pixels is None:
        there = any(_tag(one) == "BinaryOnly" for one in root.iter())
        return OmePixels(1, None, "the OME-XML describes no picture", there)
    planes = math.prod(_count(pixels.get(f"Size{axis}")) for axis in "CZT")
    mpp, note = _scale(pixels)
    return OmePixels(planes, mpp, note)


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _count(text: str | None) -> int:
    try:
        return max(1, int(text or ""))
    except ValueError:
        return 1


def _scale(pixels: Element) -> tuple[tuple[float, float] | None, str]:
    """um/px (row, col) of PhysicalSizeY and X, one standing in for the other; or why there is none."""
    found: dict[str, float] = {}
    said = []
    for axis in "YX":
        name = f"PhysicalSize{axis}"
        text, unit = pixels.get(name), pixels.get(f"{name}Unit", "µm")
        try:
            value = float(text or "")
        except ValueError:
            said.append(f"{name} is {'missing' if text is None else f'{text!r}, no number'}")
            continue
        if unit not in MICROMETRES:
            said.append(f"{name} is in {unit!r}, which is no length")
        else:
            found[axis] = value * MICROMETRES[unit]
    if not found:
        return None, "in the OME-XML " + " and ".join(said)
    return (found.get("Y", found.get("X", 0.0)), found.get("X", found.get("Y", 0.0))), ""
