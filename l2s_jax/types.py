"""The vocabulary: what a batch is, and the sentinels for "not known". Imports no JAX.

In shapes, `B` is the batch, `H W` a patch's height and width in pixels, `h w` those of the low-resolution
logits (H/8, W/8; with the decoder `skip` H/4, W/4), `C` the number of classes, `N` the number of patches.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:  # tests hold arrays against these; who starts the command is not to wait for them
    from jaxtyping import Bool, Int32, UInt8

IGNORE_LABEL = -1
"""Label of a patch whose image-level class is not known or not used."""

IGNORE_PIXEL = 255
"""Class code of a mask pixel that takes no part in any loss or metric (uint8 masks)."""

MAX_CLASSES = 254
"""Class codes are uint8 and 255 is `IGNORE_PIXEL`."""

PATCH_MULTIPLE = 16
"""Height and width of a patch are multiples of this: the encoder halves them four times."""


def fits_network(*sides: int) -> bool:
    """Whether the network takes patches with sides of so many pixels."""
    return all(side > 0 and side % PATCH_MULTIPLE == 0 for side in sides)


Setting = Literal["S", "S+C", "S+C*", "S2+C2", "S2+C2*", "S2*+C2"]
CLASSIFICATION_SETTINGS = ("S2+C2", "S2+C2*", "S2*+C2")
"""The second study of section 3.3: what do masks do for the classifier? `percent` is c, 0 to 50."""
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
DecoderName = Literal["paper", "skip"]
"""The network's segmentation module: Table A.2, or a finer one with skip connections."""
Enlargement = Literal["nearest", "bilinear"]
"""How low-resolution logits become those of pixels: each cell is a square of them, as in the paper, or they
are interpolated between the centres of cells, so that outlines do not run along cells."""
BOUNDARY_TOLERANCE = 2.0
"""Pixels between two boundaries that count as one in boundary F1, unless asked otherwise."""
Views = Literal["one", "turns", "shifts"]
"""How a network looks at a tile: once, or at its eight turns and flips, or at 25 shifted and turned views."""


class Batch(NamedTuple):
    """One training batch. The setting (S, S+C, S+C*) is in the flags: no code branches on it.

    A row with neither flag is padding: it changes no loss, no gradient and no batch statistic.
    """

    image: "UInt8[Any, 'b h w 3']"  # RGB
    mask: "UInt8[Any, 'b h w']"  # class codes; IGNORE_PIXEL where unknown
    label: "Int32[Any, 'b']"  # class code or IGNORE_LABEL
    has_mask: "Bool[Any, 'b']"  # the segmentation loss sees this row
    has_label: "Bool[Any, 'b']"  # the classification loss sees this row
    index: "Int32[Any, 'b']"  # the patch's row among the run's patches; keys the augmentation
    epoch: "Int32[Any, 'b']"  # the pass over the data that this row belongs to; keys the augmentation
    allowed: "Bool[Any, 'b c']"  # classes that can occur in the patch, for the label-set loss; one at least


PADDING = -1
"""Row number of the padding rows of a batch."""


PADDING_ROW = (0, IGNORE_PIXEL, IGNORE_LABEL, False, False, PADDING, 0, True)
"""What stands in a padding row, by the fields of `Batch`."""


def of_one_size(unequal: Sequence[Batch], multiple: int = 1) -> list[Batch]:
    """Batches as large as the largest of them, filled up with padding rows to a multiple of `multiple`."""
    most = max(len(batch.index) for batch in unequal)
    most += -most % multiple
    return [_filled(batch, most - len(batch.index)) for batch in unequal]


def _filled(batch: Batch, rows: int) -> Batch:
    if not rows:
        return batch
    parts = zip(batch, PADDING_ROW, strict=True)
    empty = ((part, np.full((rows, *part.shape[1:]), value, part.dtype)) for part, value in parts)
    return Batch(*(np.concatenate(pair) for pair in empty))
