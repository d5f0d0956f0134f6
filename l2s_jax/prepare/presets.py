"""The presets of `prepare`, as data: what the paper says, and what its authors' released code does instead.

`docs/paper_and_release.md` lists the differences one by one. `dataclasses.replace` takes a single one.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from l2s_jax.prepare.options import (
    BachOptions,
    DigestPathOptions,
    ExtractionOptions,
    GleasonOptions,
    PictureOptions,
)
from l2s_jax.system.errors import UserError

Preset = Literal["paper", "release"]
Options = TypeVar("Options", bound=PictureOptions)

_PATCHES: dict[str, Any] = {"min_foreground": 0.0, "morphology": "close", "label_rule": "three_to_one"}
_CENTRED: dict[str, Any] = {
    "components": "any",
    "small_region": "nextpow2",
    "centre": "centroid",
    "kmeans_area": "box",
    "kmeans_step": 16,
}
_TILES: dict[str, Any] = {"dominance": 0.0, "seg_from": "perimeter", "drop_last": True}
_PICTURES: dict[str, Any] = {"stain": "off", "resample": "nearest", "held_out": "patches"}

EXTRACTION_PRESETS: dict[Preset, ExtractionOptions] = {
    "paper": ExtractionOptions(),
    "release": ExtractionOptions(**_PATCHES, **_CENTRED, **_TILES),
}
"""How patches are cut, of whatever data set."""

BACH_PRESETS: dict[Preset, BachOptions] = {
    "paper": BachOptions(),
    "release": BachOptions(**_PATCHES, **_CENTRED, stain="cls-only", resample="nearest", split="printed"),
}
"""The release normalises photos alone, squeezes them without a filter, and has the split of the printed
results."""

GLEASON_PRESETS: dict[Preset, GleasonOptions] = {
    "paper": GleasonOptions(),
    "release": GleasonOptions(**_PATCHES, **_TILES, **_PICTURES),
}
"""The release never normalises, resizes without a filter and measures on patches; on DigestPath2019 too."""

DIGESTPATH_PRESETS: dict[Preset, DigestPathOptions] = {
    "paper": DigestPathOptions(),
    "release": DigestPathOptions(**_PATCHES, **_TILES, **_PICTURES),
}


def named(options: Options | Preset, presets: Mapping[Preset, Options]) -> Options:
    """Options as they are, or those of the preset that is named.

    Raises:
      UserError: a name that is none.
    """
    if not isinstance(options, str):
        return options
    if options not in presets:
        raise UserError(f"preset {options!r} is none of {', '.join(presets)}")
    return presets[options]
