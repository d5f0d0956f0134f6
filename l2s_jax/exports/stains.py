"""The change of stains that is built into files: that of one slide or picture, for those of its kind."""

from pathlib import Path

import numpy as np

from l2s_jax.data.pictures import read_image
from l2s_jax.exports.description import BuiltIn
from l2s_jax.exports.stain_map import change
from l2s_jax.prediction.predictor import Predictor, load_predictor
from l2s_jax.prediction.slides.areas import tissue_area
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import make_job, working_mpp
from l2s_jax.slides.area_folders import AreaFolders
from l2s_jax.slides.marked import Marked, part_of
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.slide import is_slide, open_slide, size_at
from l2s_jax.slides.tissue import is_saturated
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.patches import sheet_fit
from l2s_jax.system.errors import UserError


def stains_of(path: str | Path, run: str | Path) -> BuiltIn:
    """The change from the stains of a slide or picture to those of a run, as `predict` works it out.

    Args:
      path: a slide of known scale, or a picture at the scale of the run's patches.
      run: run folder with a stain reference.

    Raises:
      UserError: it cannot be read, the run has no reference, or no two stains are found in it.
    """
    path, predictor = Path(path), load_predictor(Path(run), None, "gaussian", 20)
    if predictor.reference is None:
        raise UserError(
            f"{run} learned from stains as they are, so there is no change of stains to build in: leave out "
            "--stain-of"
        )
    fit = _slide_fit(path, predictor) if is_slide(path) else _picture_fit(path)
    if fit is None or not fit.usable:
        raise UserError(
            f"{path}: no two stains were found in it. Name a slide or picture with --stain-of that is mostly "
            "tissue and shows both stains"
        )
    rows = change(*fit[:2], *predictor.reference[:2]).tolist()
    return BuiltIn(path.name, tuple(map(tuple, rows)))


def _picture_fit(path: Path) -> StainFit:
    image = read_image(path)
    return StainFit(*(np.asarray(leaf)[0] for leaf in sheet_fit(Sheet(image, None, is_saturated(image)))))


def _slide_fit(path: Path, predictor: Predictor) -> StainFit | None:
    slide, options = open_slide(path), SlideOptions()
    mpp = working_mpp(predictor, options)
    size = size_at(slide, mpp)
    part = part_of(slide, overview_of(slide), AreaFolders(), Marked())
    return make_job(slide, size, mpp, tissue_area(part, size, mpp), predictor, options)[2]
