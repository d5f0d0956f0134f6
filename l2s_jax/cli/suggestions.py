"""The subcommand of `l2s` that says what to draw next."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from l2s_jax.cli.options import JaxCommand, Manifest, TilingOptions
from l2s_jax.cli.windows import WindowOptions, slide_arguments
from l2s_jax.system.ranges import COUNTS, Seed


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
    slides: tuple[Path, ...] = ()
    """Slides whose windows are listed, as frames for QuPath, in place of patches. None of val and test."""
    number: Annotated[int | None, COUNTS] = None
    """How many; 10, or all where there are fewer."""
    spread: bool = True
    """No patient or slide twice before each other has been, and what looks alike is put off. `random` is
    never spread."""
    seed: Seed = 0
    """Of the chances of `stratified` and `random`."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the runs were trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Lists them."""
        self.set_up()
        from l2s_jax.prediction.suggest.suggest import suggest

        suggest(**self.own(), **slide_arguments(self.values(WindowOptions)), **self.values(TilingOptions))
        return 0
