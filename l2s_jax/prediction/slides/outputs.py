"""What a predicted slide becomes on disk: class map, overlay, maps of doubt; `outlines` has the outlines."""

from collections.abc import Sequence
from pathlib import Path

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import write_png
from l2s_jax.figures.overlays import overlay
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.slides.grids import centres
from l2s_jax.slides.ome_tiff import write_channels, write_pyramid
from l2s_jax.slides.overview import read_overview
from l2s_jax.slides.row_file import RowFile, sample
from l2s_jax.slides.slide import Slide, size_at
from l2s_jax.types import IGNORE_PIXEL

OVERLAY_SIDE = 2000
"""Longest side of the overlay, in pixels."""


def output_paths(out: Path, name: str, options: SlideOptions | None = None) -> dict[str, Path]:
    """The files of one slide, beside its record (`record_path`) and its row in areas.csv."""
    paths = {
        "class map": out / f"{name}.ome.tif",
        "outlines": out / f"{name}.geojson",
        "overlay": out / f"{name}_overlay.png",
    }
    if options is None:
        return paths
    paths |= {"entropy": out / f"{name}_entropy.ome.tif"} if options.entropy else {}
    paths |= {"grey map": out / f"{name}_codes.tif"} if options.grey_map else {}
    return paths | map_paths(out, name, options)


def map_paths(out: Path, name: str, options: SlideOptions) -> dict[str, Path]:
    """The files of channels that a slide or picture has where they are asked for."""
    asked = {"probabilities": options.probabilities, "disagreement": options.disagreement}
    return {what: out / f"{name}_{what}.ome.tif" for what, is_asked in asked.items() if is_asked}


def all_names(name: str) -> list[str]:
    """The names of all files that any options make of a slide, beside its record."""
    every = SlideOptions(entropy=True, grey_map=True, probabilities=True, disagreement=True)
    return [path.name for path in output_paths(Path(), name, every).values()]


def record_path(out: Path, name: str) -> Path:
    """The file that says how a slide was predicted; with it, the slide is finished."""
    return out / f"{name}.json"


def write_class_map(path: Path, codes: RowFile, mpp: float, name: str, classes: Classes) -> None:
    """Writes class codes as OME-TIFF in the classes' colours; the description says which code is which."""
    write_pyramid(path, codes, mpp, name=name, description=_codes_text(classes), palette=classes.colours)


def write_grey_map(path: Path, codes: RowFile, mpp: float, name: str, classes: Classes) -> None:
    """Writes class codes as a plain grey TIFF, its levels as pages: the form that most readers know."""
    write_pyramid(path, codes, mpp, name=name, description=_codes_text(classes), pages=True)


def _codes_text(classes: Classes) -> str:
    listed = ", ".join(f"{code} {title}" for code, title in enumerate(classes.names))
    return f"class codes: {listed}; {IGNORE_PIXEL} no class"


def write_entropy(path: Path, entropy: RowFile, mpp: float, name: str, classes: Classes) -> None:
    """Writes the entropy map as OME-TIFF in grey."""
    text = f"entropy of the class probabilities, 0..255 for 0..ln {len(classes)}"
    write_pyramid(path, entropy, mpp, name=f"{name} entropy", description=text)


def write_probabilities(
    path: Path, pictures: Sequence[RowFile], mpp: float | None, name: str, classes: Classes
) -> None:
    """Writes the probability of each class as a channel of an OME-TIFF."""
    text = "probability of each class, 0..255 for 0..1; 0 in all channels where nothing is predicted"
    channels = dict(zip(classes.names, pictures, strict=True))
    write_channels(path, channels, mpp, name=f"{name} probabilities", description=text)


def write_disagreement(
    path: Path,
    doubt: Sequence[RowFile],
    mpp: float | None,
    name: str,
    classes: Classes,
    runs: int,
) -> None:
    """Writes mutual information and predictive entropy, in this order, as the channels of an OME-TIFF."""
    text = (
        f"of the mean probabilities of {runs} runs, 0..255 for 0..ln {len(classes)} (nats): mutual "
        "information of class and run, the doubt that comes from disagreement; predictive entropy, all of it"
    )
    channels = dict(zip(("mutual information", "predictive entropy"), doubt, strict=True))
    write_channels(path, channels, mpp, name=f"{name} disagreement", description=text)


def write_overlay(path: Path, codes: RowFile, slide: Slide, mpp: float, classes: Classes) -> None:
    """Writes the slide with its classes drawn over it, at most `OVERLAY_SIDE` pixels a side."""
    step = max(1.0, max(codes.size) / OVERLAY_SIDE)
    image, _ = read_overview(slide, mpp * step)
    sides = zip(codes.size, size_at(slide, mpp * step), strict=True)
    rows, columns = (centres(side, count, step) for side, count in sides)
    write_png(path, overlay(image, sample(codes, rows, columns), classes))
