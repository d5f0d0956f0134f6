"""How good a run is on whole slides with drawn regions: per slide and pooled, on tissue and on all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from l2s_jax.data.classes import Classes
from l2s_jax.prediction.ensemble import load_runs, named_runs, require_pictures, require_several
from l2s_jax.prediction.evaluate import figures_folder
from l2s_jax.prediction.predictor import Stain
from l2s_jax.prediction.slides.figures import (
    FIGURES,
    JudgedSlide,
    judge_slide,
    scored_text,
    slide_figure_lines,
    slide_figures,
    without_background,
    write_slide_evaluation,
)
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outputs import output_paths
from l2s_jax.prediction.slides.predict import predict_slides, told_of, working_mpp
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.runs.leaks import near_any, require_unseen_by_all
from l2s_jax.slides.annotations.choices import Undrawn, Untouched
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, ClassTable, bach_table, class_table
from l2s_jax.slides.annotations.frames import undrawn_as, undrawn_text
from l2s_jax.slides.annotations.of_slide import OutlinesFrom, read_slide_annotations
from l2s_jax.slides.annotations.predicted_files import (
    predicted_files,
    read_predictions,
    require_predictions,
)
from l2s_jax.slides.annotations.types import summary
from l2s_jax.slides.annotations.unmatched import unmatched_names
from l2s_jax.slides.marked import part_of, read_marked
from l2s_jax.slides.mpp import read_mpp_table
from l2s_jax.slides.one_slide import each_once
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.slide import Slide, open_slide
from l2s_jax.system.errors import UserError
from l2s_jax.system.names import without_unnameable
from l2s_jax.system.outputs import made_here, publishing, require_replaceable, source_of
from l2s_jax.types import Views

DRAWN = (".geojson", ".json", ".xml")
MASKS = (".png", ".tif", ".tiff")


def evaluate_slides(
    run: str | Path,
    slides: Sequence[str | Path],
    *,
    annotations: str | Path | None = None,
    predictions: str | Path | None = None,
    out: str | Path | None = None,
    more_runs: Sequence[str | Path] = (),
    views: Views = "one",
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    frame: Sequence[str] = (),
    undrawn: Undrawn | None = None,
    corrected_from: Sequence[Path] = (),
    untouched: Untouched = "unknown",
    allow_empty: bool = False,
    trained_on: bool = False,
    outlines_from: OutlinesFrom | None = None,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    stain: Stain = "run",
    options: SlideOptions | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Predicts slides and compares with their annotations, painted at the working scale.

    What is not drawn is unknown and takes no part, unless it lies inside a frame: there it is of the
    background class. With BACH's classes and no frame all of it is background, as in the challenge. Pixels
    that were drawn to be ignored take no part, nor do those that were left out or could not be read.

    Args:
      run: run folder, or a folder of runs that `train_many` made.
      slides: slides that OpenSlide opens, or pictures of known scale.
      annotations: folder with NAME.geojson, .json, .xml, or a mask NAME.png or .tif of the classes' pixel
        values; the slides' own folder by default, without masks.
      predictions: folder in which the predictions are, or will be; `out/predictions` by default. Slides that
        `predict` has finished there with the same options are not predicted again.
      out: folder for metrics.json, per_slide.csv, per_class.csv and confusion matrices; of one run by default
        `RUN/evaluation/slides`, of several it must be named.
      more_runs: others that it is taken together with, see `predict`; none may have learned from the slides.
      views: how each network looks at each tile: once, or the mean over turns, or over shifted views too.
      rename: {name in the annotations: class}, beside the classes' own names. For classes with BACH's names,
        BACH's rule holds as well.
      ignore: names in the annotations whose regions are of no known class: their pixels take no part.
      frame: names of frames, beside QuPath's `Region*`: what is not drawn inside them is background.
      undrawn: what pixels are that nobody drew, wherever they lie; by default as said above.
      corrected_from: folders of predictions of which annotations are corrections, beside `predictions`:
        objects that nobody has touched are a network's word and take no part.
      untouched: what those objects are; `truth` scores them all the same.
      allow_empty: an annotation in which nothing is drawn means background; it is refused otherwise.
      trained_on: accept slides that the run has learned from.
      outlines_from: where annotations count from on slides with bounds, see `read_slide_annotations`.
      stride: pixels between tiles; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: tiles a batch; does not change the result.
      stain: "off" leaves slides' stains as they are.
      options: how slides are read.
      say: receives progress messages.

    Returns:
      What metrics.json holds: "tissue" and "slide", each with "pooled", "per_slide" (mean, sd, n, ddof),
      "per_class" and "confusion_matrix" (rows are truth), and "scored_share", how much of it is known;
      pixels counted at "mpp".

    Raises:
      UserError: figures in `out` that are of other slides or another run, or were changed; predictions that
        would be written over annotations or other files; or, after all others are done, the slides that
        failed.
      Leak: slides that the run has learned from.
    """
    runs, options = named_runs(run, more_runs), options or SlideOptions()
    require_several(runs, options.disagreement)
    require_pictures(slides)
    nameable, refused = without_unnameable([Path(slide) for slide in slides])
    if not nameable:
        raise UserError("\n".join(["no slide could be evaluated:", *refused]), exit_code=1)
    folder = figures_folder(runs, out, "slides")
    predicted = Path(predictions) if predictions is not None else folder / "predictions"
    paths = each_once(sorted(nameable, key=lambda path: not _has_annotation(path, annotations)), say)
    of_runs = (source_of(one, outputs=folder) for one in runs)
    sources = (*of_runs, *(source_of(path, digest=True) for path in paths))
    require_replaceable(folder, FIGURES, sources)
    names = {path.stem for path in paths}
    require_predictions(corrected_from)
    if not trained_on:
        require_unseen_by_all(runs, names, slides=names)
    near = near_any(runs, names, say)
    predictor = load_runs(runs, stride, weighting, batch_size, stain, views=views, say=say)
    classes = predictor.classes
    table = names_table(classes, rename or {}, ignore, frame)
    found, failures = _find_all(paths, annotations)
    records, failed = predict_slides(list(found), predicted, predictor, options, say)
    failures = [*refused, *failures, *failed]
    judged: dict[str, JudgedSlide] = {}
    rules: dict[str, Undrawn] = {}
    seen: dict[str, None] = {}
    otherwise: Undrawn = "background" if classes.names == BACH_CLASSES.names else "unknown"
    for path, record in records.items():
        try:
            slide = _open(path, options)
            regions = read_slide_annotations(
                found[path],
                table,
                slide,
                outlines_from=outlines_from,
                allow_empty=allow_empty,
                predicted=read_predictions(predicted_files(path, [predicted, *corrected_from])),
                untouched=untouched,
            )
            empty = not regions.regions  # which was said to mean background
            rule = undrawn_as(undrawn, regions, otherwise="background" if empty else otherwise)
            rules[path.stem] = rule
            seen |= dict.fromkeys(regions.names)
            say(f"{path.name}: {found[path].name}, {summary(regions)}; {undrawn_text(rule, regions)}")
            codes = output_paths(predicted, path.stem)["class map"]
            marked = read_marked(path, slide, options.folders)
            tissue = part_of(slide, overview_of(slide), options.folders, marked).tissue
            judged[path.stem] = judge_slide(slide, codes, record, regions, classes, rule, tissue)
            say(f"{path.name}: {scored_text(judged[path.stem])}")
        except UserError as error:
            failures.append(str(error))
    if not judged:
        raise UserError("\n".join(["no slide could be evaluated:", *failures]), exit_code=1)
    context = {
        "run": str(runs[0]),
        "mpp": working_mpp(predictor, options),
        "predicted_within": options.within,
    }
    context |= {"enlargement": options.enlargement}
    context |= {"groups_near_trained_ones": near}
    context |= told_of(predictor)
    result = context | slide_figures(judged, classes)
    with publishing(folder, sources) as stage:
        write_slide_evaluation(stage, judged, result, classes, rules)
    for line in slide_figure_lines(result):
        say(line)
    warning = without_background(judged, classes)
    if warning is not None:
        say(warning)
    asked = {"--rename": rename or {}, "--ignore": ignore, "--frame": frame}
    for line in unmatched_names(asked, seen, table):
        say(f"warning: {line}")
    say(f"written to {folder}")
    if failures:
        raise UserError("\n".join([f"{len(failures)} slide(s) failed:", *failures]), exit_code=1)
    return result


def names_table(
    classes: Classes, rename: Mapping[str, str], ignore: Sequence[str], frame: Sequence[str] = ()
) -> ClassTable:
    """Which names in annotations mean which class, and which are frames."""
    make = bach_table if classes.names == BACH_CLASSES.names else class_table
    return make(classes, synonyms=rename, ignored=ignore, frames=frame)


def _find_all(slides: Sequence[Path], folder: str | Path | None) -> tuple[dict[Path, Path], list[str]]:
    """The annotation of each slide that has one, and a message for each that has none."""
    found, failures = {}, []
    for slide in slides:
        try:
            found[slide] = find_annotation(slide, folder)
        except UserError as error:
            failures.append(str(error))
    return found, failures


def _has_annotation(slide: Path, folder: str | Path | None) -> bool:
    try:
        return find_annotation(slide, folder).is_file()
    except UserError:
        return False


def find_annotation(slide: Path, folder: str | Path | None) -> Path:
    """The annotation of a slide's name; what `predict` has written there, unchanged, is none.

    Raises:
      UserError: there is none, or more than one.
    """
    place = slide.parent if folder is None else Path(folder)
    suffixes = DRAWN if folder is None else DRAWN + MASKS
    there = [place / f"{slide.stem}{suffix}" for suffix in suffixes]
    there = [path for path in there if path.is_file() and path != slide]
    found = [path for path in there if not made_here(path)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        own = ", ".join(path.name for path in there if path not in found)
        raise UserError(
            f"{slide}: expected one annotation {place / slide.stem}[{'|'.join(suffixes)}], found {names}"
            + (f" (not counting what predict has written: {own})" if own else "")
        )
    return found[0]


def _open(path: Path, options: SlideOptions) -> Slide:
    table = read_mpp_table(options.mpp_table) if options.mpp_table else None
    return open_slide(path, mpp=options.slide_mpp, mpp_table=table, mpp_override=options.mpp_override)
