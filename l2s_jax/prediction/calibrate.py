"""`calibrate`: fits a temperature on a run's validation masks and keeps it with the run."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from l2s_jax import __version__
from l2s_jax.prediction.calibration import BINS, Tally, added, cells_of, empty_tally, overall
from l2s_jax.prediction.judging import answers
from l2s_jax.prediction.predictor import load_predictor
from l2s_jax.prediction.split import open_split
from l2s_jax.prediction.temperature import CellFile, NoTemperature, fit_temperature, is_uninformed
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.runs.calibration import CALIBRATION, Calibration, write_calibration
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import locked
from l2s_jax.system.progress import track
from l2s_jax.types import Split

SPLIT: Split = "val"
"""A temperature is fitted on no other split: on training data networks are too sure, and test judges it."""


def calibrate(
    run: str | Path,
    manifest: str | Path,
    *,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    any_scale: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> Calibration:
    """Fits one temperature on the validation masks (Guo et al. 2017) and keeps it as `calibration.json`.

    Mask logits, averaged over tiles as `predict` does, are divided by it before they become probabilities;
    class maps stay as they are. An earlier temperature of the run is replaced.

    Args:
      run: folder of a finished run.
      manifest: folder with `patches.csv` and `classes.toml`, whose split `val` has masks.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch; does not change the result.
      any_scale: accept patches of another scale than the run's.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      What was kept.

    Raises:
      UserError: the run is not finished or at work, other classes or scale, no validation mask, masks of one
        class alone, or masks at all of whose pixels the network is right.
      Leak: patients and slides that the run has learned from.
    """
    run = Path(run)
    predictor = load_predictor(run, stride, weighting, batch_size, calibrated=False)
    if predictor.unfinished:
        raise UserError(f"{predictor.unfinished}. Finish it first: its network may still change")
    opened = open_split(
        [run], predictor, manifest, SPLIT, any_scale=any_scale, allow_outside=allow_outside, say=say
    )
    rows = [row for row in opened.rows if row.mask is not None]
    if not rows:
        raise UserError(
            f"{manifest} has no mask in the split {SPLIT}: a temperature is fitted on the masks of patients "
            "that the run has not learned from"
        )
    names, tiling = predictor.classes.names, predictor.tiling
    pictures = (one for one in opened.pictures if one.mask is not None)
    with CellFile(len(names)) as cells:
        seen = answers(predictor.forward, pictures, tiling)
        for picture, answer in track(seen, "calibrating", len(rows), "pictures"):
            assert picture.mask is not None
            for part in cells_of(answer, picture.mask):
                cells.append(part)
        before = _tally(cells, len(names), 1.0)
        known = before.by_class.hits.sum(-1)
        if np.count_nonzero(known) < 2:
            held = ", ".join(name for name, n in zip(names, known, strict=True) if n) or "no known class"
            raise UserError(
                f"the masks of the split {SPLIT} of {manifest} hold {held} alone: how sure the network "
                "should be shows only where two classes or more occur"
            )
        try:
            temperature = fit_temperature(cells)
        except NoTemperature as error:
            raise UserError(
                f"no temperature fits the masks of the split {SPLIT} of {manifest}: the network is right at "
                "all of their pixels, or nearly, so they cannot show when it is too sure. More masks of more "
                "patients may"
            ) from error
        after = _tally(cells, len(names), temperature)
    figures = {
        f"{name}_{when}": value
        for when, tally in (("before", before), ("after", after))
        for name, value in overall(tally).items()
    }
    found = Calibration(
        temperature=temperature,
        network_sha256=predictor.network_sha256,
        manifest=str(Path(manifest).resolve()),
        manifest_sha256=opened.contents.sha256,
        split=SPLIT,
        groups=tuple(sorted({row.group for row in rows})),
        masks=len(rows),
        n_pixels=int(known.sum()),
        bins=BINS,
        stride=tiling.stride,
        weighting=weighting,
        stain=opened.stain,
        l2s_jax=__version__,
        **figures,
    )
    with locked(run):
        write_calibration(run, found)
    say(
        f"temperature {temperature:.4f}, fitted on {found.n_pixels} pixels of {found.masks} masks of "
        f"{len(found.groups)} groups: the network was too {'sure' if temperature > 1 else 'unsure'}"
    )
    if is_uninformed(temperature):
        say(
            "warning: how sure the network is says nothing of whether it is right at these pixels, so all "
            "classes become about equally likely everywhere"
        )
    for name, what in (
        ("nll", "negative log likelihood"),
        ("ece", "calibration error"),
        ("brier", "Brier score"),
    ):
        say(f"{what}: {figures[f'{name}_before']:.4f} before, {figures[f'{name}_after']:.4f} after")
    if figures["ece_after"] > figures["ece_before"]:
        say(
            "warning: the calibration error rose. A temperature is fitted by likelihood, which fell; where "
            f"the two differ, look at the reliability diagram of evaluate. Delete {run / CALIBRATION} to go "
            "without"
        )
    say(f"kept in {run}; predict, evaluate, evaluate-slides and export use it")
    return found


def _tally(cells: Iterable, classes: int, temperature: float) -> Tally:
    tally = empty_tally(classes)
    for part in cells:
        tally = added(tally, part, temperature)
    return tally
