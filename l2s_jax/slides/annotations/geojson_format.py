"""Parser of GeoJSON as QuPath 0.2 to 0.7 writes it, and as other tools do."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.slides.annotations.json_stream import json_features
from l2s_jax.slides.annotations.object_ids import PREDICTED_AREA, is_object_id
from l2s_jax.slides.annotations.source_file import opened
from l2s_jax.slides.annotations.types import MAX_REGIONS, MAX_VERTICES, Colour, Outline, Parsed
from l2s_jax.system.errors import UserError

_GEOMETRIES = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
)

_NO_ANNOTATION = {
    "detection": "detection", "PathDetectionObject": "detection",
    "cell": "cell", "PathCellObject": "cell",
    "tile": "tile", "PathTileObject": "tile",
    "tmaCore": "TMA core", "tma_core": "TMA core", "TMACoreObject": "TMA core",
    "root": "root object", "PathRootObject": "root object",
}  # fmt: skip
"""QuPath's objects that nobody drew as a region, in the words of its versions; all others are annotations."""

_OTHER_JSON = (
    ({"images", "annotations", "categories"}, "COCO's JSON"),
    ({"shapes", "imagePath"}, "LabelMe's JSON"),
    ({"annotation", "elements"}, "HistomicsUI's JSON"),
    ({"elements"}, "HistomicsUI's JSON"),
    ({"_via_img_metadata"}, "VIA's JSON"),
)

MOST_NESTED = 20
"""Depth of collections in collections, objects in objects and classes in classes."""


def parse_geojson(path: Path) -> Parsed:
    """A FeatureCollection, a bare list of features, one feature, or a bare geometry; features are streamed.

    The class is named by `classification`: its `name`, its `names`, its `name` after those of its
    `parentClass` (QuPath 0.2 and 0.3), or itself; where there is none, by `name`. A derived class is named as
    QuPath shows it, "Tumor: Positive". The parts of a MultiPolygon, and the polygons of a collection, become
    outlines of their own. Points and lines are counted as skipped, and so are QuPath's objects that are no
    annotations: cells, detections, tiles, TMA cores. Objects inside objects are read as those beside them.

    Raises:
      UserError: no JSON, no GeoJSON, or more than `types.MAX_REGIONS` regions or `MAX_VERTICES` vertices.
    """
    outlines: list[Outline] = []
    skipped: Counter[str] = Counter()
    vertices = 0
    with opened(path) as file:
        for item in json_features(file, path):
            for feature in _with_children(_checked(item, path)):
                new = _outlines(feature, skipped)
                vertices += sum(len(ring) for outline in new for ring in outline.rings)
                outlines += new
                if len(outlines) > MAX_REGIONS or vertices > MAX_VERTICES:
                    raise UserError(
                        f"{path} has more than {MAX_REGIONS} regions or {MAX_VERTICES} vertices. Export "
                        "annotations only (no single cells), simplify them, or split the file"
                    )
    return Parsed(tuple(outlines), None, tuple(skipped.items()))


def _checked(item: Any, path: Path) -> dict[str, Any]:
    """A feature or a geometry. Raises `UserError` for any other JSON."""
    if isinstance(item, dict) and (
        item.get("type") in ("Feature", *_GEOMETRIES) or isinstance(item.get("geometry"), dict)
    ):
        return item
    keys = set(item) if isinstance(item, dict) else set()
    other = next((f": it is {what}" for wanted, what in _OTHER_JSON if wanted <= keys), "")
    raise UserError(
        f"{path} is JSON but no GeoJSON{other}; expected a FeatureCollection or a list of features, as "
        "QuPath's File > Export objects as GeoJSON writes them"
    )


def _with_children(feature: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    """A feature and the objects inside it (QuPath writes them where it is asked for the hierarchy)."""
    yield feature
    properties = feature.get("properties")
    if isinstance(properties, dict) and depth < MOST_NESTED:
        children = properties.get("childObjects", properties.get("children"))
        for child in children if isinstance(children, list) else ():
            if isinstance(child, dict):
                yield from _with_children(child, depth + 1)


def _outlines(feature: dict[str, Any], skipped: Counter[str]) -> list[Outline]:
    """The outlines of a feature or geometry; what is no area is counted."""
    is_feature = feature.get("type") == "Feature" or "geometry" in feature
    geometry, properties = feature.get("geometry") if is_feature else feature, feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    kind = _object_type(feature, properties) if is_feature else ""
    if kind in _NO_ANNOTATION:
        skipped[_NO_ANNOTATION[kind]] += 1
        return []
    names, colour, uid = _names(properties), _colour(properties), _uid(feature) if is_feature else ""
    of_object = Outline(
        names,
        (),
        colour=colour,
        uid=uid,
        predicted=is_object_id(uid) or PREDICTED_AREA in _measured(properties),
        locked=properties.get("isLocked") is True,
    )
    return [of_object._replace(rings=_rings(part)) for part in _polygons(geometry, skipped)]


def _uid(feature: dict[str, Any]) -> str:
    """What tells an object from others; QuPath 0.2 has the kind of object in its place."""
    found = feature.get("id")
    return found if isinstance(found, str) and not found.endswith("Object") else ""


def _measured(properties: dict[str, Any]) -> set[str]:
    """The names of an object's measurements: a list in QuPath 0.2 and 0.3, an object later."""
    found = properties.get("measurements")
    if isinstance(found, dict):
        return set(found)
    items = found if isinstance(found, list) else []
    names = (item.get("name") for item in items if isinstance(item, dict))
    return {name for name in names if isinstance(name, str)}


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """What QuPath says a feature is: 0.2 in `id`, 0.3 in `object_type`, later versions in `objectType`."""
    found = (
        properties.get("objectType"),
        properties.get("object_type"),
        feature.get("id"),
        properties.get("type"),
    )
    return next((one for one in found if isinstance(one, str) and one in _NO_ANNOTATION), "")


def _polygons(geometry: Any, skipped: Counter[str], depth: int = 0) -> Iterator[Any]:
    """The coordinates of each polygon in a geometry."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "Polygon":
        yield geometry.get("coordinates")
    elif kind == "MultiPolygon":
        parts = geometry.get("coordinates")
        yield from parts if isinstance(parts, list) else [None]
    elif (
        kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list) and depth < MOST_NESTED
    ):
        for part in geometry["geometries"]:
            yield from _polygons(part, skipped, depth + 1)
    else:
        skipped[kind if kind in _GEOMETRIES else "no geometry"] += 1


def _names(properties: dict[str, Any]) -> tuple[str, ...]:
    """What names a feature's class; its own name only where it has no class."""
    classification = properties.get("classification")
    name = classification if isinstance(classification, str) else _class_name(classification)
    found = name if name.strip() else properties.get("name")
    return (found,) if isinstance(found, str) else ()


def _class_name(classification: Any) -> str:
    """A QuPath class as QuPath shows it: the names of its parents and its own, by ": "."""
    parts: list[str] = []
    while isinstance(classification, dict) and len(parts) < MOST_NESTED:
        names = classification.get("names")
        if isinstance(names, list):
            return ": ".join([str(name) for name in names] + parts)
        name = classification.get("name")
        parts = [name, *parts] if isinstance(name, str) else parts
        classification = classification.get("parentClass")
    return ": ".join(parts)


def _colour(properties: dict[str, Any]) -> Colour | None:
    """The class's colour, otherwise the object's own."""
    classification = properties.get("classification")
    places = (classification, properties) if isinstance(classification, dict) else (properties,)
    for place in places:
        for value in (place.get("color"), place.get("colorRGB")):
            if isinstance(value, int) and not isinstance(value, bool):  # Java's signed ARGB
                return value >> 16 & 255, value >> 8 & 255, value & 255
            if isinstance(value, list) and len(value) in (3, 4) and all(_is_byte(part) for part in value[:3]):
                return value[0], value[1], value[2]
    return None


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= 255


_UNREADABLE = np.full((1, 2), np.nan)


def _rings(polygon: Any) -> tuple[np.ndarray, ...]:
    """A polygon's rings, f64[V,2] each; NaN stands for what is no number."""
    if not isinstance(polygon, list):
        return (_UNREADABLE,)
    return tuple(map(_ring, polygon)) or (np.empty((0, 2)),)


def _ring(vertices: Any) -> np.ndarray:
    try:
        return np.array([(float(x), float(y)) for x, y, *_ in vertices], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        positions = vertices if isinstance(vertices, list) else [vertices]
        return np.array(list(map(_position, positions)), np.float64)


def _position(vertex: Any) -> tuple[float, float]:
    parts = vertex if isinstance(vertex, list) and len(vertex) >= 2 else (None, None)
    return _coordinate(parts[0]), _coordinate(parts[1])


def _coordinate(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
