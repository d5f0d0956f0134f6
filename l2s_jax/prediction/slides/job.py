"""What is predicted of a picture too large for memory, and the finished parts of the result."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from l2s_jax.models.forward import Forward
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.slides.grids import centres
from l2s_jax.types import IGNORE_PIXEL, Enlargement

Read = Callable[[tuple[int, int], tuple[int, int]], np.ndarray | None]
"""Origin (row, col) and size (height, width) to u8[h,w,3], or None where it cannot be read. Called by several
threads at once."""


class Area(NamedTuple):
    """The part of a picture that is predicted, at a scale of its own."""

    mask: np.ndarray  # bool[h,w]
    rows: np.ndarray  # i64[H], the row of `mask` in which each row of the picture has its centre
    columns: np.ndarray  # i64[W], likewise
    unknown: np.ndarray | None = None  # bool[h,w], outside `mask`: to have no class


class SlideJob(NamedTuple):
    """What is predicted, and how."""

    forward: Forward  # from `forward.make_forward`; of several networks, classes of each side by side
    read: Read
    size: tuple[int, int]  # (height, width) of the picture
    tiling: Tiling
    classes: int
    area: Area | None = None  # None: all of the picture
    outside: int = IGNORE_PIXEL  # code of the pixels outside `area`
    entropy: bool = False
    readers: int = 4  # threads; do not change the result
    enlargement: Enlargement = "nearest"  # of the logits of a tile
    sampled: tuple[np.ndarray, np.ndarray] | None = (
        None  # rows and columns, ascending, of which probabilities
    )
    # are kept
    temperatures: tuple[float, ...] = (1.0,)  # of each network: its mean logits are divided by it
    probabilities: bool = False  # of all pixels

    @property
    def networks(self) -> int:
        """M, how many there are."""
        return len(self.temperatures)

    @property
    def channels(self) -> int:
        """Logits of a pixel, M * C."""
        return self.classes * self.networks


class Sample(NamedTuple):
    """Class probabilities of the pixels of a band that were to be sampled.

    Of several networks it is the mean, and the last channel is their mutual information, 0..255 for 0..ln C.
    """

    row: int  # in the picture of all that are sampled
    column: int
    probabilities: np.ndarray  # u8[h,w,C or C+1], of the mean logits' softmax, 0..255; 0: nothing predicted


class Band(NamedTuple):
    """A finished rectangle of the result. Bands do not overlap and cover the picture."""

    row: int
    column: int
    codes: np.ndarray  # u8[h,w], class codes; IGNORE_PIXEL inside the area where no tile could be read
    entropy: np.ndarray | None  # u8[h,w], of the probabilities, 255 at its greatest, ln C; 0 elsewhere
    counts: np.ndarray  # i64[C], pixels predicted, by class
    unread: int  # pixels inside the area where no tile could be read
    tiles_unread: int  # tiles that could not be read, since the band before
    sample: Sample | None = None
    probabilities: np.ndarray | None = None  # u8[C,h,w], 0..255; 0 where nothing is predicted
    mutual_information: np.ndarray | None = None  # u8[h,w], of several networks, 255 for ln C
    own_counts: np.ndarray | None = None  # i64[M,C], pixels by class, of each of several networks alone


def area_of(mask: np.ndarray, size: tuple[int, int], scale: float) -> Area:
    """Places a coarse mask on a picture.

    Args:
      mask: bool[h,w], whose pixel (0, 0) starts where the picture does.
      size: (height, width) of the picture.
      scale: pixels of `mask` to a pixel of the picture.
    """
    sides = zip(mask.shape, size, strict=True)
    rows, columns = (centres(limit, side, scale) for limit, side in sides)
    return Area(mask, rows, columns)
