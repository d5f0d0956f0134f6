"""The temperature of a run, where one was fitted: `calibration.json`, a small file of it like the others."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from l2s_jax.runs.checksums import forget_sum
from l2s_jax.runs.records import has_kept, keep_json, read_record
from l2s_jax.system.errors import UserError

CALIBRATION = "calibration.json"
ANEW = "Fit a temperature anew: l2s calibrate RUN MANIFEST"


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it was fitted on."""

    temperature: float  # mask logits are divided by it before they become probabilities
    network_sha256: str  # of the network that it is for, see `runs.network.network_digest`
    manifest: str
    manifest_sha256: str
    split: str
    groups: tuple[str, ...]  # patients and slides
    masks: int
    n_pixels: int  # of known class
    bins: int  # of the calibration error
    nll_before: float  # figures of those pixels, see `prediction.calibration.calibration_figures`
    nll_after: float
    ece_before: float
    ece_after: float
    brier_before: float
    brier_after: float
    stride: int  # how pictures larger than a patch were covered
    weighting: str
    stain: str  # what was done about stains, in words
    l2s_jax: str


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Writes `calibration.json` in place of an earlier one. The run's lock is held."""
    forget_sum(folder, CALIBRATION)  # a kill in between leaves the earlier file or the new one, both whole
    keep_json(folder, CALIBRATION, asdict(calibration))


def read_calibration(folder: Path, network_sha256: str) -> Calibration | None:
    """The calibration of a run; None where none was fitted.

    Args:
      folder: of the run.
      network_sha256: of its network.

    Raises:
      UserError: it is gone, damaged, edited, or of another network.
    """
    try:
        if not has_kept(folder, CALIBRATION):
            return None
        found = Calibration(**read_record(folder, CALIBRATION, get_type_hints(Calibration)))
    except UserError as error:
        raise UserError(f"{error}. {ANEW}, which replaces it") from error
    path = folder / CALIBRATION
    if not (0 < found.temperature < math.inf):
        raise UserError(f"{path} is damaged: temperature {found.temperature} must be above 0. {ANEW}")
    if found.network_sha256 != network_sha256:
        raise UserError(f"{path} is of another network than the run's best one. {ANEW}")
    return found
