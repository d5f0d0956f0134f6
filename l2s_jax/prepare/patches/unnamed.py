"""What masks hold, where nobody has named it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from l2s_jax.data.pictures import read_mask_colours, read_mask_values
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track

MOST_LISTED = 12
"""Values of masks that are listed."""

MOST_COLOURS = 64
"""Colours in masks beyond which they are no colours of classes."""


def shown_value(value: int, by_colour: bool) -> str:
    """A value or a colour 0xRRGGBB as options write it."""
    return f"#{value:06x}" if by_colour else str(value)


def unnamed_text(masks: Sequence[Path], labels: Iterable[str]) -> str:
    """What masks hold, so that a person can name it."""
    by_colour = False
    pixels, held, faults = _counted(masks, read_mask_values)
    if faults:
        of_colours = _counted(masks, read_mask_colours)
        if len(of_colours[2]) < len(faults):  # some could not be read for being coloured
            by_colour, (pixels, held, faults) = True, of_colours
    if not held:
        hint = "JPEG in black and white is taken with --mask-threshold 127 --background NAME"
        return "\n".join([f"none of the {len(masks)} masks can be read ({hint}):", *faults[:5]])
    if by_colour and len(held) > MOST_COLOURS:
        return (
            f"the masks hold more than {MOST_COLOURS} colours, such as {masks[0]}: masks have one value or "
            "colour a class. Were they resized with smoothing, or saved as JPEG?"
        )
    names = iter(labels)
    total = sum(pixels.values())
    often = sorted(held, key=lambda value: -pixels[value])[:MOST_LISTED]
    lines = [
        f"  {shown_value(value, by_colour):8} {pixels[value] / total:6.1%} of the pixels, in {held[value]} "
        f"of {len(masks)} masks"
        for value in sorted(often)
    ]
    if len(held) > len(often):
        lines.append(
            f"  and {len(held) - len(often)} more. If they are black and white with soft edges: "
            f"--mask-threshold {max(held) // 2} --background NAME"
        )
    example = " ".join(
        f'"{next(names, "NAME")}={shown_value(value, by_colour)}"' for value in sorted(held)[:6]
    )
    return "\n".join(
        [
            f"which class is what in the masks? The {len(masks)} masks hold:",
            *lines,
            f"Name each with --class-values {example} (that is an example), what is not known with "
            "--ignore-value, and the background with --background NAME. Or give --classes classes.toml",
        ]
    )


def _counted(
    masks: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> tuple[Counter[int], Counter[int], list[str]]:
    """Pixels of each value, masks that hold it, and the faults of masks that cannot be read."""
    pixels, held, faults = Counter[int](), Counter[int](), []
    for path in track(masks, "masks", unit="masks"):
        try:
            found, counts = np.unique(read(path), return_counts=True)
        except UserError as error:
            faults.append(str(error))
            continue
        pixels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        held.update(found.tolist())
    return pixels, held, faults
