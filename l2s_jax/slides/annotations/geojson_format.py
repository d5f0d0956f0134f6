"""Parser of GeoJSON as QuPath writes it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.slides.annotations.types import MAX_REGIONS, Outline, Parsed
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


def parse_geojson(path: Path) -> Parsed:
    """A FeatureCollection, a bare list of features, one feature, or a bare geometry.

    The class is named by `classification` (its name, names or itself), otherwise by `name`. The parts of a
    MultiPolygon become outlines of their own; points, lines and collections are counted as skipped.

    Raises:
      UserError: no JSON, no GeoJSON, or more than `types.MAX_REGIONS` regions.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}). It may be cut off: export the annotations again"
        ) from error
    outlines: list[Outline] = []
    skipped: Counter[str] = Counter()
    for feature in _features(content, path):
        geometry: Any = feature.get("geometry") if feature.get("type") == "Feature" else feature
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if kind not in ("Polygon", "MultiPolygon"):
            skipped[kind if kind in _GEOMETRIES else "no geometry"] += 1
            continue
        coordinates = geometry.get("coordinates")
        parts = coordinates if kind == "MultiPolygon" else [coordinates]
        names = _names(feature.get("properties"))
        outlines += [Outline(names, _rings(part)) for part in (parts if isinstance(parts, list) else [None])]
        if len(outlines) > MAX_REGIONS:
            raise UserError(
                f"{path} has more than {MAX_REGIONS} regions. Export regions only, no single cells"
            )
    return Parsed(tuple(outlines), None, tuple(skipped.items()))


def _features(content: Any, path: Path) -> list[dict[str, Any]]:
    """The features of a file; also bare geometries."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    elif isinstance(content, dict) and content.get("type") in ("Feature", *_GEOMETRIES):
        content = [content]
    if not isinstance(content, list) or not all(isinstance(feature, dict) for feature in content):
        raise UserError(
            f"{path} is JSON but no GeoJSON: expected a FeatureCollection or a list of features, as QuPath's "
            "File > Export objects as GeoJSON writes them"
        )
    return content


def _names(properties: Any) -> tuple[str, ...]:
    """What may name a feature's class, best first."""
    if not isinstance(properties, dict):
        return ()
    classification = properties.get("classification")
    found: list[Any] = [classification]
    if isinstance(classification, dict):
        parts = classification.get("names")
        joined = ": ".join(map(str, parts)) if isinstance(parts, list) else None
        found = [classification.get("name"), joined]
    found.append(properties.get("name"))
    return tuple(name for name in found if isinstance(name, str))


def _rings(polygon: Any) -> tuple[np.ndarray, ...]:
    """A polygon's rings, f64[V,2] each; one that cannot be read is a single NaN."""
    if not isinstance(polygon, list):
        return (np.full((1, 2), np.nan),)
    rings = []
    for ring in polygon:
        try:
            rings.append(np.array([(float(x), float(y)) for x, y, *_ in ring], np.float64).reshape(-1, 2))
        except (TypeError, ValueError, OverflowError):
            rings.append(np.full((1, 2), np.nan))
    return tuple(rings) or (np.empty((0, 2)),)
