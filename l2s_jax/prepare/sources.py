"""What a slide data set is made of while it becomes a manifest: sources that are read one by one.

A source is one slide, tissue core or photo. Adapters (`bach.py`, `gleason.py`, `digestpath.py`) find them;
`cutting.py` turns one into patches; `pipeline.py` goes through all of them. Everything here can be sent to
other processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from l2s_jax.data.classes import Classes
from l2s_jax.prepare.options import ExtractionOptions, HeldOut
from l2s_jax.stain.fit import Stainer, StainFit
from l2s_jax.types import Split

Stained = Literal["all", "labels"]
"""Which pictures are given the reference's stains: all, or (release, on BACH) only those without a mask."""


@dataclass(frozen=True)
class Source:
    """One slide, core or photo of a data set."""

    name: str  # unique in the data set; folders and files are named after it
    group: str  # patient or slide
    split: Split
    files: tuple[Path, ...]  # what `read` reads; when one changes, the source is worked on again
    read: Callable[[], Any]  # a `Sheet`, `AnnotatedSlide` or `LabelledPicture`; raises `UserError`
    reading: str = ""  # options of `read`; when they change, the source is worked on again


@dataclass(frozen=True)
class Preparation:
    """What is done to every source."""

    out: Path  # the manifest's folder
    classes: Classes
    extraction: ExtractionOptions
    manner: Literal["centred", "tiles"]  # how training sources with a mask are cut
    stainer: Stainer | None = None
    stained: Stained = "all"
    reference: StainFit | None = None  # NumPy arrays
    held_out: HeldOut = "whole"
    label_patches: int = 0  # most patches of what is known by its label only
    key: str = ""  # of all options that decide the result


def stains_for(job: Preparation, *, with_mask: bool) -> tuple[Stainer, StainFit] | None:
    """What normalises pictures, with a mask or without, and the reference; None: left as they are."""
    if job.stainer is None or job.reference is None or (job.stained == "labels" and with_mask):
        return None
    return job.stainer, job.reference
