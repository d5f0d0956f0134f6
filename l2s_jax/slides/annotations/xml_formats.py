"""Parsers of ImageScope's, HALO's and ASAP's XML."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from l2s_jax.data.tiff_facts import PLAUSIBLE_MPP
from l2s_jax.slides.annotations.types import MAX_REGIONS, MAX_VERTICES, Colour, Outline, Parsed
from l2s_jax.slides.annotations.xml_events import number, xml_events
from l2s_jax.system.errors import UserError

_NO_AREAS = {"3": "arrow", "4": "ruler", "5": "counter", "ruler": "ruler", "pin": "pin"}
"""Region/@Type of things that are no areas: ImageScope's numbers and HALO's words."""

_RECTANGLES, _ELLIPSES = ("1", "rectangle"), ("2", "ellipse")

_ASAP_AREAS = ("polygon", "rectangle", "spline")


def parse_imagescope(path: Path) -> Parsed:
    """Aperio ImageScope XML, BACH's dialect of it, and HALO's `.annotations`, whose vertices are `V`.

    A region's class is named by its own attributes' values, its Text, its Annotation's Name, or that one's
    attributes' values, in this order. All Annotation elements are read. Vertices may be decimal. A rectangle
    or ellipse may be given by two opposite corners.

    Raises:
      UserError: no well-formed XML, or more vertices or regions than `types.MAX_VERTICES`, `MAX_REGIONS`.
    """
    outlines: list[Outline] = []
    skipped: Counter[str] = Counter()
    mpp, layer, total = None, -1, 0
    annotation: Mapping[str, str] = {}
    region: Mapping[str, str] | None = None
    annotation_values: list[str] = []
    region_values: list[str] = []
    vertices: list[tuple[float, float]] = []
    for event, tag, attributes in xml_events(path):
        if event == "start":
            if tag == "Annotations":
                mpp = stated_mpp_of(attributes)
            elif tag == "Annotation":
                layer, annotation, annotation_values = layer + 1, attributes, []
            elif tag == "Region":
                region, region_values, vertices = attributes, [], []
            elif tag == "Attribute":
                values = annotation_values if region is None else region_values
                values.append(attributes.get("Value", ""))
            elif tag in ("Vertex", "V") and region is not None:
                vertices.append((number(attributes.get("X")), number(attributes.get("Y"))))
                total = _checked(path, total + 1, len(outlines))
        elif tag == "Region" and region is not None:
            kind = region.get("Type", "0").strip().lower()
            if kind in _NO_AREAS:
                skipped[_NO_AREAS[kind]] += 1
            else:
                names = (
                    *region_values,
                    region.get("Text", ""),
                    annotation.get("Name", ""),
                    *annotation_values,
                )
                negative = region.get("NegativeROA", "0").strip().lower() in ("1", "true")
                ring = _ring_of_kind(kind, vertices)
                colour = _line_colour(annotation.get("LineColor"))
                outlines.append(Outline(names, (ring,), layer, annotation.get("Id", ""), negative, colour))
                _checked(path, total, len(outlines))
            region = None
    return Parsed(tuple(outlines), mpp, tuple(skipped.items()))


def parse_asap(path: Path) -> Parsed:
    """ASAP's XML; the class is named by PartOfGroup, otherwise by the annotation's own Name.

    Raises:
      UserError: as `parse_imagescope`.
    """
    outlines: list[Outline] = []
    skipped: Counter[str] = Counter()
    total = 0
    annotation: Mapping[str, str] = {}
    vertices: list[tuple[float, float, float]] = []
    for event, tag, attributes in xml_events(path):
        if event == "start":
            if tag == "Annotation":
                annotation, vertices = attributes, []
            elif tag == "Coordinate":
                order = number(attributes.get("Order", str(len(vertices))))
                vertices.append((order, number(attributes.get("X")), number(attributes.get("Y"))))
                total = _checked(path, total + 1, len(outlines))
        elif tag == "Annotation":
            kind = annotation.get("Type", "Polygon").lower()
            if kind in _ASAP_AREAS:
                group = annotation.get("PartOfGroup", "")
                names = ("" if group == "None" else group, annotation.get("Name", ""))
                table = np.array(vertices, np.float64).reshape(-1, 3)
                if not np.isfinite(table[:, 0]).all():
                    raise UserError(
                        f"{path}: region {len(outlines) + 1} has a Coordinate whose Order is no number, so "
                        "nobody knows which vertex follows which. Export the annotations again"
                    )
                ring = table[np.argsort(table[:, 0], kind="stable"), 1:]
                outlines.append(Outline(names, (ring,), colour=_hex_colour(annotation.get("Color"))))
                _checked(path, total, len(outlines))
            else:
                skipped[kind] += 1
            vertices = []
    return Parsed(tuple(outlines), None, tuple(skipped.items()))


def _ring_of_kind(kind: str, vertices: list[tuple[float, float]]) -> np.ndarray:
    """f64[V,2]: the vertices, or the rectangle or ellipse between two corners."""
    ring = np.array(vertices, np.float64).reshape(-1, 2)
    if len(ring) != 2 or kind not in _RECTANGLES + _ELLIPSES:
        return ring
    (left, top), (right, bottom) = ring
    if kind in _RECTANGLES:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return ring.mean(axis=0) + circle * (ring[1] - ring[0]) / 2


def _line_colour(text: str | None) -> Colour | None:
    """ImageScope's and HALO's colour: red in the lowest byte."""
    try:
        value = int(text or "")
    except ValueError:
        return None
    return value & 255, value >> 8 & 255, value >> 16 & 255


def _hex_colour(text: str | None) -> Colour | None:
    """ASAP's #RRGGBB."""
    if text is None or not re.fullmatch("#[0-9a-fA-F]{6}", text):
        return None
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)


def _checked(path: Path, vertices: int, regions: int) -> int:
    if vertices > MAX_VERTICES or regions > MAX_REGIONS:
        raise UserError(
            f"{path} has more than {MAX_VERTICES} vertices or {MAX_REGIONS} regions. Simplify the outlines, "
            "or export regions only (no single cells)"
        )
    return vertices


def stated_mpp_of(attributes: Mapping[str, str]) -> float | None:
    """The plausible MicronsPerPixel among the attributes of an ImageScope file's root."""
    return _plausible_mpp(attributes.get("MicronsPerPixel"))


def _plausible_mpp(text: str | None) -> float | None:
    value = number(text)
    return value if PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] else None
