"""The scale of what a network is used on, against that of the patches that it was trained on.

A network has learned what tissue looks like at one scale; at another it is wrong without any sign of it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from l2s_jax.data.manifest import PatchRow
from l2s_jax.data.picture_files import FORMATS
from l2s_jax.data.tiff_facts import PLAUSIBLE_MPP, stated_mpp
from l2s_jax.system.errors import UserError

TOLERANCE = 0.1
"""Relative difference above which a scale is another one. Scanners' 20x lies between 0.46 and 0.51 um/px;
objectives differ by factors of two."""


class Scale(NamedTuple):
    """Micrometres a pixel, and where they are stated."""

    mpp: tuple[float, float]  # um/px (row, col)
    source: str  # for people

    def __str__(self) -> str:
        values = " x ".join(f"{value:.4g}" for value in dict.fromkeys(self.mpp))
        return f"{values} um/px ({self.source})"


def is_another(scale: Scale, mpp: float) -> bool:
    """Whether a scale differs from `mpp` by more than `TOLERANCE` in one of its directions."""
    return any(max(value, mpp) > (1 + TOLERANCE) * min(value, mpp) for value in scale.mpp)


def stated_scale(path: Path) -> Scale | None:
    """What a picture says of its scale; None where it says nothing, or what cannot be true.

    A TIFF says it by OME's PhysicalSize, ImageJ's unit or its resolution; PNG and JPEG by their resolution.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            tags = getattr(image, "tag_v2", None)
            if tags is not None:
                found = stated_mpp(tags)
                return None if found is None else Scale(found, "its TIFF tags")
            dots = [float(value) for value in image.info.get("dpi", ())]
    except Exception:  # who reads it will say why
        return None
    if len(dots) != 2 or not all(value > 0 for value in dots):
        return None
    row, col = 25400 / dots[1], 25400 / dots[0]
    plausible = all(PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] for value in (row, col))
    return Scale((row, col), "its resolution") if plausible else None


def scale_of_row(row: PatchRow) -> Scale | None:
    """The scale of a manifest's patch: its column mpp, else what the picture states."""
    return stated_scale(row.image) if row.mpp is None else Scale((row.mpp, row.mpp), "column mpp")


def scale_warning(rows: Sequence[PatchRow], mpp: float | None) -> str:
    """Which patches are of another scale than a run's, with both and their sources; "" where none is known.

    Args:
      rows: patches of a manifest.
      mpp: um/px of the run's training patches, where its manifest said.
    """
    if mpp is None:
        return ""
    scales = ((row, scale_of_row(row)) for row in rows)
    others = [(row, scale) for row, scale in scales if scale is not None and is_another(scale, mpp)]
    if not others:
        return ""
    row, scale = others[0]
    return (
        f"{len(others)} of {len(rows)} patches are of another scale than the {mpp:.4g} um/px that the run "
        f"was trained at (more than {TOLERANCE:.0%} off): {row.image} has {scale}"
    )


def require_run_scale(
    rows: Sequence[PatchRow], mpp: float | None, any_scale: bool, say: Callable[[str], None]
) -> None:
    """Refuses patches of another scale than the run's, unless `any_scale`.

    Args:
      rows: patches of a manifest.
      mpp: um/px of the run's training patches, where its manifest said.
      any_scale: take them as they are, and say so.
      say: receives progress messages.

    Raises:
      UserError: names the first, both scales and their sources, and what to do.
    """
    warning = scale_warning(rows, mpp)
    if warning and not any_scale:
        raise UserError(
            f"{warning}. Prepare them at the run's scale, mend the column mpp if it is wrong, or take them "
            "as they are with --any-scale"
        )
    if warning:
        say(f"warning: {warning}; taken as they are")
    elif mpp is None:
        say("scale: not compared, since the run's manifest did not say that of its patches (column mpp)")
    elif all(row.mpp is None and stated_scale(row.image) is None for row in rows):
        say(f"scale: the patches state none and are taken to be at the run's {mpp:.4g} um/px")


def require_picture_scale(path: Path, mpp: float | None, any_scale: bool) -> str:
    """Refuses a picture that states another scale than the run's, unless `any_scale`.

    Args:
      path: the picture.
      mpp: um/px of the run's training patches, where its manifest said.
      any_scale: take it as it is.

    Returns:
      In words, what is taken for the picture's scale.

    Raises:
      UserError: names both scales and their sources, and what to do.
    """
    scale = stated_scale(path)
    if mpp is None or scale is None:
        return "state no scale and are taken to be of the run's" if mpp is not None else "not compared"
    if not is_another(scale, mpp):
        return "state the run's scale"
    if not any_scale:
        raise UserError(
            f"{path} has {scale}; the run was trained at {mpp:.4g} um/px (more than {TOLERANCE:.0%} off). "
            "Have it brought to the run's scale with --slide, or take it as it is with --any-scale"
        )
    return "state another scale and are taken as they are"
