"""Predictions of a sweep's networks side by side, after Figs. C.10 to C.12; needs the run folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from l2s_jax.data.manifest import Manifest, PatchRow, read_manifest
from l2s_jax.figures.drawing import legend, new_figure, spread_evenly
from l2s_jax.figures.overlays import overlay
from l2s_jax.figures.svg import svg_of
from l2s_jax.figures.texts import LONGEST
from l2s_jax.models.forward import make_forward
from l2s_jax.prediction.judging import Picture, read_pictures
from l2s_jax.prediction.tiles import default_tiling, predict_pictures
from l2s_jax.reports.names import FOLD, SETTINGS, in_order, method_text, percent_text
from l2s_jax.reports.page import Drawing
from l2s_jax.reports.reading import Results
from l2s_jax.reports.report_folder import Samples
from l2s_jax.runs.folder import BEST, NETWORK, read_run_manifest
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

PAPER_PERCENTS = (0.0, 1.0, 2.5, 5.0, 7.5, 10.0)
PICTURES, COLUMNS = 3, 6
MIXED = 0.1
"""A test picture is chosen where its second class covers this share of it at least."""


class _Choice(NamedTuple):
    """Which runs are shown: a row a method, a column a percentage, all of one draw and fold."""

    methods: list[tuple[str, str]]
    percents: list[float]
    runs: dict[tuple[str, str, float], str]
    draw: float


def sample_pictures(results: Results, pictures: int = PICTURES) -> Samples:
    """Draws test pictures with their truth and the predictions of every method and percentage.

    Args:
      results: from `reports.reading`.
      pictures: how many test pictures, at most.

    Returns:
      A drawing a data set; or a sentence that says why there is none.
    """
    cells = results.cells[results.cells["study"] == "segmentation"]
    if cells.empty:
        return Samples(
            reason="Pictures after Figs. C.10 to C.12 are left out: they are of segmentation studies."
        )
    left_out = "Pictures after Figs. C.10 to C.12 are left out: "
    drawings, reasons = [], []
    for dataset in in_order(cells["dataset"]):
        try:
            drawings.append(_drawing(results, cells[cells["dataset"] == dataset], dataset, pictures))
        except UserError as error:
            reasons.append(f"{left_out}{error}")
    return Samples(tuple(drawings), " ".join(reasons))


def _drawing(results: Results, cells: pd.DataFrame, dataset: str, pictures: int) -> Drawing:
    folder = results.folder / "runs"
    choice = _choose(cells[[_has_network(folder / run) for run in cells["run"]]])
    if choice is None:
        raise UserError(f"{folder} does not hold the run folders, with their networks.")
    manifest = _manifest(folder / next(iter(choice.runs.values())))
    shown = _pictures(manifest, pictures)
    predicted = {run: _predict(folder / run, shown) for run in dict.fromkeys(choice.runs.values())}
    name = (
        "samples"
        if cells["dataset"].nunique() == len(set(results.cells["dataset"]))
        else f"samples_{dataset}"
    )
    of = f" of {dataset}" if dataset else ""
    caption = (
        f"Test pictures{of}, after Figs. C.10 to C.12: truth first, then predictions by percentage of the "
        f"masks; draw {choice.draw:g}. The number is the percentage of the picture's pixels that is right. "
        "Pictures were chosen evenly over the test split among those that show two classes or more, without "
        "looking at a prediction."
    )
    figure = draw_samples(shown, predicted, choice, manifest)
    return Drawing(name, svg_of(figure), caption, caption)


def _has_network(run: Path) -> bool:
    return (run / NETWORK).is_file() and (run / BEST).is_dir()


def _choose(cells: pd.DataFrame) -> _Choice | None:
    """The draw with most runs, of the fold with most where there are folds, and those.

    All are of one fold: another's have learned from its test pictures.
    """
    if cells.empty:
        return None
    if FOLD in cells:
        fold = cells.groupby(FOLD).size().idxmax()
        cells = cells[cells[FOLD] == fold]
    counts = cells.groupby("draw").size()
    draw = float(counts.idxmax())  # the first of equals
    own = cells[cells["draw"] == draw]
    methods = [
        (variant, setting)
        for variant in in_order(own["variant"])
        for setting in in_order(own.loc[own["variant"] == variant, "setting"], SETTINGS)
    ]
    percents = sorted(set(own["percent"]))
    shown = [percent for percent in percents if percent in PAPER_PERCENTS]
    if len(shown) != COLUMNS:
        shown = [percents[i] for i in spread_evenly(len(percents), COLUMNS)]
    runs = {(row.variant, row.setting, row.percent): row.run for row in own.itertuples()}
    runs = {key: run for key, run in runs.items() if key[2] in shown}
    return _Choice(methods, shown, runs, draw)


def _manifest(run: Path) -> Manifest:
    """The manifest that a run was trained on, if it is still there and the same."""
    note = read_run_manifest(run)
    manifest = read_manifest(note.path, allow_outside=True)
    if manifest.sha256 != note.sha256:
        raise UserError(f"the manifest {note.path} has changed since the runs.")
    return manifest


def _pictures(manifest: Manifest, most: int) -> list[Picture]:
    """Test pictures with masks, evenly spread over those that show two classes or more."""
    rows = [row for row in manifest.of_split("test") if row.mask is not None]
    mixed = [row for row in rows if _is_mixed(row, manifest)] or rows
    if not mixed:
        raise UserError("no picture of the test split has a mask.")
    chosen = [mixed[number] for number in spread_evenly(len(mixed), most)]
    return list(read_pictures(chosen, manifest.classes))


def _is_mixed(row: PatchRow, manifest: Manifest) -> bool:
    (picture,) = read_pictures([row], manifest.classes)
    assert picture.mask is not None
    known = picture.mask[picture.mask != IGNORE_PIXEL]
    counts = np.sort(np.bincount(known.reshape(-1), minlength=len(manifest.classes)))
    return bool(counts[-2] >= MIXED * picture.mask.size)


def _predict(run: Path, pictures: Sequence[Picture]) -> list[np.ndarray]:
    """Class codes [H,W] of each picture by one run's network."""
    network, facts = load_network(run)
    forward = make_forward(network, max(len(pictures), 1))
    tiling = default_tiling(facts.patch_size, batch_size=len(pictures))
    images = (picture.image for picture in pictures)
    return [answer.codes() for answer in predict_pictures(forward, images, tiling)]


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of the known pixels that are right, 0..1; NaN where none is known."""
    known = truth != IGNORE_PIXEL
    return float((truth == predicted)[known].mean()) if known.any() else float("nan")


def draw_samples(
    pictures: Sequence[Picture], predicted: dict[str, list[np.ndarray]], choice: _Choice, manifest: Manifest
) -> Figure:
    """A block of rows a picture: methods down, truth and then percentages across."""
    rows, columns = len(choice.methods), len(choice.percents) + 1
    width = 1.25 * columns + 0.9
    figure = new_figure(width, 1.28 * rows * len(pictures) + 0.7)
    blocks = figure.subfigures(len(pictures), 1, squeeze=False, hspace=0.03)[:, 0]
    for number, (block, picture) in enumerate(zip(blocks, pictures, strict=True)):
        panels = block.subplots(rows, columns, squeeze=False)
        for axes in panels.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        assert picture.mask is not None
        panels[0, 0].imshow(overlay(picture.image, picture.mask, manifest.classes))
        panels[0, 0].set_title("truth", fontsize=8)
        if rows > 1:
            panels[1, 0].imshow(picture.image)
            panels[1, 0].set_title("picture", fontsize=8)
        for line, (variant, setting) in zip(panels, choice.methods, strict=True):
            line[1].set_ylabel(method_text(variant, setting), fontsize=7)
            for axes, percent in zip(line[1:], choice.percents, strict=True):
                run = choice.runs.get((variant, setting, percent))
                if run is None:
                    axes.text(0.5, 0.5, "no run", fontsize=7, color="grey", ha="center", va="center")
                    continue
                codes = predicted[run][number]
                axes.imshow(overlay(picture.image, codes, manifest.classes))
                score = f"{100 * accuracy(picture.mask, codes):.0f}"
                axes.text(0.03, 0.97, score, transform=axes.transAxes, fontsize=7, va="top", color="white",
                          bbox={"facecolor": "black", "alpha": 0.65, "pad": 1, "linewidth": 0})  # fmt: skip
        for axes, percent in zip(panels[0, 1:], choice.percents, strict=True):
            axes.set_title(f"{percent_text(percent)}%", fontsize=8)
    longest = min(max(map(len, manifest.classes.names)), LONGEST)
    across = max(1, int(width / (0.55 + 0.06 * longest)))  # inches of a patch and of a letter at this size
    handles = legend(manifest.classes)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(across, len(handles)), fontsize=7)
    return figure
