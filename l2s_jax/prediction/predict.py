"""`predict`: a trained run on pictures and slides."""

from collections.abc import Callable, Sequence
from pathlib import Path

from l2s_jax.prediction.ensemble import load_runs, named_runs, require_pictures, require_several
from l2s_jax.prediction.own_shares import too_few_text
from l2s_jax.prediction.pictures import (
    FRACTIONS_FILE,
    FRACTIONS_OF_RUNS,
    OF_RUNS_COLUMNS,
    fraction_columns,
    picture_outputs,
    predict_pictures_into,
)
from l2s_jax.prediction.predictor import Stain
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import predict_slides
from l2s_jax.prediction.slides.replacing import slide_outputs
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.slides.one_slide import each_once
from l2s_jax.slides.slide import is_slide
from l2s_jax.system.errors import UserError
from l2s_jax.system.names import without_unnameable
from l2s_jax.system.outputs import refuse_foreign, require_apart, require_own_table
from l2s_jax.types import Views

Say = Callable[[str], None]

DEFAULT_SLIDES = SlideOptions()


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    more_runs: Sequence[str | Path] = (),
    views: Views = "one",
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    stain: Stain = "run",
    any_scale: bool = False,
    slides: SlideOptions = DEFAULT_SLIDES,
    say: Say = print,
) -> Path:
    """Segments pictures and whole slides.

    For a picture: NAME.png (the classes' pixel values as palette indices), NAME_overlay.png and a row of
    class fractions in fractions.csv. For a slide: see `slides.predict.predict_slide`.

    Of several runs a pixel's probabilities are the mean of theirs, each with its own temperature, and its
    class is the most likely one by that. areas_of_runs.csv and fractions_of_runs.csv have what each finds
    alone, see `own_shares`.

    Args:
      run: run folder, or a folder of runs that `train_many` made.
      images: pictures of any size, at the scale of the training patches; a side shorter than a patch is
        reflected. Slides (what OpenSlide opens), which are read at `slides.mpp`. Their names must differ,
        since outputs are named after them.
      out: output folder. What is finished there with the same options is not done again. No file is replaced
        that was not made here for the same input, or that was changed since.
      more_runs: others that it is taken together with: of the same classes, background, scale and patch size.
      views: how each network looks at each tile: once, or the mean over turns, or over shifted views too.
      stride: pixels between tiles; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: tiles a batch; does not change the result.
      stain: "run" gives pictures and slides the stains that the run was trained on, where it has a reference;
        "off" leaves them as they are, for pictures that `prepare` has normalised already.
      any_scale: take pictures that state another scale than the run's as they are.
      slides: how slides are read and what is written; `probabilities` and `disagreement` of pictures too.
      say: receives progress messages.

    Returns:
      The output folder.

    Raises:
      UserError: runs that cannot be taken together, or outputs that would meet or be written over files of
        other origin, before anything is computed; or, after all others are done, the files that failed and
        why.
    """
    runs, out = named_runs(run, more_runs), Path(out)
    require_several(runs, slides.disagreement)
    require_pictures(images)
    nameable, refused = without_unnameable([Path(image) for image in images])
    if not nameable:
        raise UserError("\n".join(["no picture could be segmented:", *refused]), exit_code=1)
    paths = each_once(nameable, say)
    whole = [path for path in paths if slides.slide or is_slide(path)]
    pictures = [path for path in paths if path not in whole]
    if not whole and slides.given():
        raise UserError(
            f"{' and '.join(slides.given())}: for slides only, and {pictures[0]} is taken for a picture. "
            "Take it for a slide with --slide, or leave the option out"
        )
    if pictures and any((slides.folders.within, slides.folders.exclude)):
        raise UserError(
            f"{pictures[0]} is taken for a picture, of which all is predicted; --within FOLDER and --exclude "
            "are for slides. Take it for one with --slide, or name slides only"
        )
    outputs = {path: picture_outputs(path, out, slides) for path in pictures}
    outputs |= {path: slide_outputs(path, out, slides) for path in whole}
    require_apart(outputs)
    refuse_foreign(outputs)
    predictor = load_runs(runs, stride, weighting, batch_size, stain, views=views, say=say)
    for warning in filter(None, (predictor.unfinished, predictor.without_background)):
        say(f"warning: {warning}")
    if pictures:
        require_own_table(out / FRACTIONS_FILE, fraction_columns(predictor.classes))
    if pictures and predictor.members:
        require_own_table(out / FRACTIONS_OF_RUNS, OF_RUNS_COLUMNS)
        if too_few_text(len(runs)):
            say(f"{FRACTIONS_OF_RUNS}: {too_few_text(len(runs))}")
    failures = [*refused, *(predict_slides(whole, out, predictor, slides, say)[1] if whole else [])]
    if pictures:
        failures += predict_pictures_into(pictures, out, predictor, any_scale, slides, say)
    count = len(paths) + len(refused)
    say(f"{count - len(failures)} of {count} pictures segmented into {out}")
    if failures:
        raise UserError("\n".join([f"{len(failures)} picture(s) failed:", *failures]), exit_code=1)
    return out
