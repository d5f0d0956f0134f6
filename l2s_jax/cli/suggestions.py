"""The subcommand of `l2s` that says what to draw next."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from l2s_jax.cli.options import JaxCommand, Manifest, TilingOptions
from l2s_jax.prediction.slides.options import SlideOptions


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """Windows of slides, in place of patches."""

    slides: tuple[Path, ...] = ()
    """Slides whose windows are listed, as frames for QuPath. None of the splits val and test."""
    window: int | None = None
    """Side of a window in pixels of the working scale; the runs' patch size by default."""
    mpp: float | None = None
    """Micrometres a pixel at which slides are looked at; those of the training patches by default."""
    slide_mpp: float | None = None
    """Level-0 micrometres a pixel of slides that do not say."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""
    within: str = "tissue"
    """`tissue`; or FOLDER, what its files NAME.geojson, or masks NAME.png, say is to be kept."""
    within_only: tuple[str, ...] = ()
    """Classes (GeoJSON, XML) or values (masks) in that folder's files that are to be kept."""
    exclude: Path | None = None
    """Folder with NAME.geojson or a mask NAME.png of what is to be left out (artefacts, pen)."""
    exclude_only: tuple[str, ...] = ()
    """Classes or values in that folder's files that are to be left out."""
    areas_from: Literal["bounds", "whole"] | None = None
    """GeoJSON in both folders counts from the corner of a slide's non-empty area, or the whole's."""


@dataclass(frozen=True, kw_only=True)
class Suggest(JaxCommand, WindowOptions, TilingOptions):
    """List what to draw next: patches with a label only, or windows of slides as frames for QuPath."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml. It stays as it is; of val and test nothing is listed."""
    runs: tuple[Path, ...] = ()
    """Run folders of the same classes and scale, or folders of `train --seeds`. `disagreement` needs two or
    more, `change`, `coverage` and --slides one or more; `stratified` and `random` none."""
    out: Path | None = None
    """Folder for suggested.csv, suggested.html with its pictures and, of slides, NAME_suggested.geojson.
    Without it the list is only printed. No file of other origin is replaced."""
    by: Literal["stratified", "random", "disagreement", "change", "coverage"] = "stratified"
    """How they are chosen. `stratified`: each class alike, by chance within it. `disagreement`: mutual
    information of the runs about what the label allows. `change`: pixels where runs contradict the
    pseudo-label that they would draw together. `coverage`: looks unlike what is drawn. `random`: by chance
    alone. Why the first is the default: docs/suggest.md."""
    number: int | None = None
    """How many; 10, or all where there are fewer."""
    spread: bool = True
    """No patient or slide twice before each other has been, and what looks alike is put off. `random` is
    never spread."""
    seed: int = 0
    """Of the chances of `stratified` and `random`."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the runs were trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Lists them."""
        self.set_up()
        from l2s_jax.prediction.suggest.suggest import suggest

        read = self.values(WindowOptions)
        slides, window = read.pop("slides"), read.pop("window")
        suggest(
            **self.own(),
            slides=slides,
            window=window,
            options=SlideOptions(**read),
            **self.values(TilingOptions),
        )
        return 0
