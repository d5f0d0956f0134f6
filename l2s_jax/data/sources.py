"""What a slide data set is made of while it becomes a manifest: sources that are read one by one.

A source is one slide, tissue core or photo. Adapters (`bach.py`, `gleason.py`, `digestpath.py`) find them;
`cutting.py` turns one into patches; `preparing.py` goes through all of them. Everything here can be sent to
other processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.data.extraction import ExtractionOptions
from l2s_jax.stain_fit import StainFit
from l2s_jax.types import IGNORE_LABEL, Split

Stained = Literal["all", "labels"]
"""Which pictures are given the reference's stains: all, or (release, on BACH) only those without a mask."""

HeldOut = Literal["whole", "patches"]
"""Sources of val and test stay whole, to be predicted by tiles and scored on every pixel; or (release, on
Gleason2019 and DigestPath2019) they become mask patches as the training sources do."""


class Sheet(NamedTuple):
    """A source as read, at the scale of the patches."""

    image: np.ndarray  # u8[H,W,3], RGB
    mask: np.ndarray | None  # u8[H,W], class codes; None: only the label is known
    tissue: np.ndarray | None = None  # bool[H,W]; None: no rule on tissue
    label: int = IGNORE_LABEL  # class code of the whole, where there is no mask
    mpp: float | None = None  # um/px
    notes: tuple[str, ...] = ()  # what a person should know


@dataclass(frozen=True)
class Source:
    """One slide, core or photo of a data set."""

    name: str  # unique in the data set; folders and files are named after it
    group: str  # patient or slide
    split: Split
    files: tuple[Path, ...]  # what `read` reads; when one changes, the source is worked on again
    read: Callable[[], Sheet]  # raises `UserError`
    reading: str = ""  # options of `read`; when they change, the source is worked on again


class Stainer(NamedTuple):
    """How stains are normalised. `l2s_jax.stain_patches.MACENKO` is the one there is.

    It is passed in because host code under `l2s_jax.data` computes nothing with JAX.
    """

    fit: Callable[[np.ndarray], StainFit]
    """u8[N,H,W,3] to the fit of each, batch axis N."""
    patches: Callable[[np.ndarray, np.ndarray | None, Sheet, StainFit], tuple[np.ndarray, np.ndarray]]
    """(u8[N,H,W,3], bool[N,H,W] tissue or None, the patches' sheet, reference) to patches and i32[N] status:
    by their own stains, else by the sheet's."""
    picture: Callable[[Sheet, StainFit], tuple[np.ndarray, int]]
    """(sheet, reference) to u8[H,W,3] and status: the whole picture by its own stains."""


@dataclass(frozen=True)
class Job:
    """What is done to every source."""

    out: Path  # the manifest's folder
    classes: Classes
    extraction: ExtractionOptions
    manner: Literal["centred", "tiles"]  # how training sources with a mask are cut
    stainer: Stainer | None = None
    stained: Stained = "all"
    reference: StainFit | None = None  # NumPy arrays
    held_out: HeldOut = "whole"
    key: str = ""  # of all options that decide the result
