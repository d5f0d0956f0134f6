"""What a package shows beside the network: a picture of the run's data, and how good the run was."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.config import selection_split
from l2s_jax.data.manifest import Manifest, read_manifest
from l2s_jax.data.pictures import read_image
from l2s_jax.prediction.tiles import reflect_to
from l2s_jax.runs.folder import FINISHED, read_finished, read_run_config, read_run_manifest
from l2s_jax.runs.sittings import read_sittings
from l2s_jax.system.errors import UserError


class Shown(NamedTuple):
    """Of a run, for the people who get its network."""

    name: str
    image: np.ndarray  # u8[t,t,3], with which the package is tested
    trained: str | None = None  # when the run began last, ISO 8601
    score: str = ""  # its best figure, in words


def shown_of(run: Path, patch_size: int, picture: str | Path | None, say: Callable[[str], None]) -> Shown:
    """What a package shows of a run.

    Args:
      run: run folder.
      patch_size: side of a patch in pixels; the picture's middle of that size is shown.
      picture: by default the first of the run's manifest for validation, else for training.
      say: is told which it is, since a package is made to be given away.

    Raises:
      UserError: it cannot be read, or none is named and the run's data are not where they were.
    """
    path = Path(picture) if picture is not None else _first(run)
    image = reflect_to(read_image(path), patch_size)
    top, left = ((side - patch_size) // 2 for side in image.shape[:2])
    say(f"the package shows {path}: give it away only if you may show that picture; --sample names another")
    sittings = read_sittings(run)
    trained = sittings[-1]["started"] if sittings else None
    middle = image[top : top + patch_size, left : left + patch_size]
    return Shown(run.resolve().name, middle, trained, _score(run))


def _score(run: Path) -> str:
    if not (run / FINISHED).is_file():
        return "The run is not finished: the network is that of its best epoch so far."
    best = read_finished(run)["best"]
    if best["score"] is None:
        return "The run had no validation split, so it has no figure of its own."
    split = selection_split(read_run_config(run))
    return f"Score of its best epoch on the {split} split, on which it was chosen: {best['score']:.3f}."


def _first(run: Path) -> Path:
    manifest = _manifest(run)
    rows = manifest.of_split("val") or manifest.of_split("train")
    return next((row.image for row in rows if row.mask is not None), rows[0].image)


def _manifest(run: Path) -> Manifest:
    noted = read_run_manifest(run)
    advice = "name a picture for the package with --sample"
    try:
        manifest = read_manifest(noted.path, allow_outside=True)
    except UserError as error:
        raise UserError(f"the data of {run} cannot be read ({error}): {advice}") from error
    if manifest.sha256 != noted.sha256:
        raise UserError(f"the data in {noted.path} are others than {run} was trained on: {advice}")
    return manifest
