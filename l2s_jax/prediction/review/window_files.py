"""The windows of a review as pictures and as frames for QuPath."""

from collections.abc import Sequence
from pathlib import Path

from l2s_jax.data.classes import Classes
from l2s_jax.figures.overlays import overlay
from l2s_jax.prediction.review.strips import small, tinted, write_panels
from l2s_jax.prediction.review.windows import Looked, WindowDoubt, look_at_windows
from l2s_jax.prediction.slides.frames import Frame, write_frames

FRAMES = "_disagreement.geojson"
"""How the names of the files with a slide's frames end."""

MEASURED = "Mutual information of runs (nats)"


def window_picture_name(rank: int) -> str:
    """The file of a window's strip."""
    return f"window{rank:04d}.jpg"


def draw_windows(folder: Path, found: Sequence[WindowDoubt], looked: Looked, classes: Classes) -> None:
    """Writes a strip for each window: picture, prediction, disagreement. They are looked at once more."""
    ranks = {one.window: one.rank for one in found}
    for window, image, said in look_at_windows(looked, list(ranks)):
        panels = [image, overlay(image, said.codes, classes), tinted(image, said.where)]
        write_panels(folder / window_picture_name(ranks[window]), [small(one) for one in panels])


def write_window_frames(folder: Path, names: Sequence[str], found: Sequence[WindowDoubt]) -> None:
    """Writes the windows of each slide as frames; a slide without any gets a file without any."""
    for number, name in enumerate(names):
        frames = [
            Frame(
                f"Disagreement {one.rank}",
                one.rectangle,
                {"Rank": one.rank, MEASURED: one.disagreement, "Runs": one.members},
            )
            for one in found
            if one.window.slide == number
        ]
        write_frames(folder / name, frames)
