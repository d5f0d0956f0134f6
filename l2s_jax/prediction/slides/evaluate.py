"""How good a run is on whole slides with drawn regions: per slide and pooled, on tissue and on all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from l2s_jax.data.classes import Classes
from l2s_jax.figures.drawing import draw_confusion, save_figure
from l2s_jax.prediction.metrics import bach_score, confusion_matrix, per_class, spread, spread_text
from l2s_jax.prediction.metrics import summary as averages
from l2s_jax.prediction.predictor import Stain, load_predictor
from l2s_jax.prediction.slides.bands import area_of
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outputs import output_paths
from l2s_jax.prediction.slides.predict import predict_slides, working_mpp
from l2s_jax.prediction.slides.record import Record
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.runs.leaks import near_groups, require_unseen, warn_of_near
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, ClassTable, bach_table, class_table
from l2s_jax.slides.annotations.of_slide import OutlinesFrom, read_slide_annotations
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.types import Annotations, summary
from l2s_jax.slides.mpp import read_mpp_table
from l2s_jax.slides.ome_tiff import read_strips
from l2s_jax.slides.one_slide import each_once
from l2s_jax.slides.overview import find_tissue
from l2s_jax.slides.slide import Slide, downsample_at, open_slide
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_json, write_text
from l2s_jax.system.outputs import made_here, publishing, require_replaceable, source_of
from l2s_jax.types import IGNORE_PIXEL

JudgedArea = Literal["tissue", "slide"]
JUDGED_AREAS: tuple[JudgedArea, ...] = ("tissue", "slide")
"""Figures are given for the pixels of the tissue mask and for all pixels of the slides."""

DRAWN = (".geojson", ".json", ".xml")
MASKS = (".png", ".tif", ".tiff")

FIGURES = (
    "metrics.json",
    "per_slide.csv",
    "per_class.csv",
    *(f"confusion_{name}.png" for name in JUDGED_AREAS),
)

Matrices = Mapping[JudgedArea, np.ndarray]


def evaluate_slides(
    run: str | Path,
    slides: Sequence[str | Path],
    *,
    annotations: str | Path | None = None,
    predictions: str | Path | None = None,
    out: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
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

    What is not drawn is of the background class; where the classes have none, it takes no part. Pixels that
    were drawn to be ignored take no part, nor do those that could not be read, which are counted.

    Args:
      run: run folder.
      slides: slides that OpenSlide opens, or pictures of known scale.
      annotations: folder with NAME.geojson, .json, .xml, or a mask NAME.png or .tif of the classes' pixel
        values; the slides' own folder by default, without masks.
      predictions: folder in which the predictions are, or will be; `out/predictions` by default. Slides that
        `predict` has finished there with the same options are not predicted again.
      out: folder for metrics.json, per_slide.csv, per_class.csv and confusion matrices; by default
        `RUN/evaluation/slides`.
      rename: {name in the annotations: class}, beside the classes' own names. For classes with BACH's names,
        BACH's rule holds as well.
      ignore: names in the annotations whose regions are of no known class: their pixels take no part.
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
      "per_class" and "confusion_matrix" (rows are truth), pixels counted at "mpp".

    Raises:
      UserError: figures in `out` that are of other slides or another run, or were changed; predictions that
        would be written over annotations or other files; or, after all others are done, the slides that
        failed.
      Leak: slides that the run has learned from.
    """
    run, paths, options = Path(run), [Path(slide) for slide in slides], options or SlideOptions()
    folder = Path(out) if out is not None else run / "evaluation" / "slides"
    predicted = Path(predictions) if predictions is not None else folder / "predictions"
    paths = each_once(sorted(paths, key=lambda path: not _has_annotation(path, annotations)), say)
    sources = (source_of(run, outputs=folder), *(source_of(path, digest=True) for path in paths))
    require_replaceable(folder, FIGURES, sources)
    names = {path.stem for path in paths}
    if not trained_on:
        require_unseen(run, names)
    near = near_groups(run, names)
    warn_of_near(near, run, say)
    predictor = load_predictor(run, stride, weighting, batch_size, stain)
    classes = predictor.classes
    table = names_table(classes, rename or {}, ignore)
    found, failures = _find_all(paths, annotations)
    records, failed = predict_slides(list(found), predicted, predictor, options, say)
    failures += failed
    judged: dict[str, Matrices] = {}
    for path, record in records.items():
        try:
            slide = _open(path, options)
            regions = read_slide_annotations(
                found[path], table, slide, outlines_from=outlines_from, allow_empty=allow_empty
            )
            say(f"{path.name}: {found[path].name}, {summary(regions)}")
            codes = output_paths(predicted, path.stem, False)["class map"]
            judged[path.stem] = judge_slide(slide, codes, record, regions, classes)
        except UserError as error:
            failures.append(str(error))
    if not judged:
        raise UserError("\n".join(["no slide could be evaluated:", *failures]), exit_code=1)
    context = {"run": str(run), "mpp": working_mpp(predictor, options), "predicted_within": options.within}
    context |= {"groups_near_trained_ones": near}
    result = context | slide_figures(judged, classes)
    with publishing(folder, sources) as stage:
        write_slide_evaluation(stage, judged, result, classes)
    for line in slide_figure_lines(result):
        say(line)
    say(f"written to {folder}")
    if failures:
        raise UserError("\n".join([f"{len(failures)} slide(s) failed:", *failures]), exit_code=1)
    return result


def names_table(classes: Classes, rename: Mapping[str, str], ignore: Sequence[str]) -> ClassTable:
    """Which names in annotations mean which class."""
    make = bach_table if classes.names == BACH_CLASSES.names else class_table
    return make(classes, synonyms=rename, ignored=ignore)


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
    return open_slide(path, mpp=options.slide_mpp, mpp_table=table)


def judge_slide(
    slide: Slide, class_map: Path, record: Record, regions: Annotations, classes: Classes
) -> Matrices:
    """Confusion matrices i64[C,C] of a slide, rows are truth: of its tissue, and of all its pixels.

    Args:
      slide: the slide.
      class_map: its prediction, the OME-TIFF.
      record: of the prediction.
      regions: what is drawn.
      classes: the run's classes.
    """
    mpp, tissue = record["mpp"], find_tissue(slide)
    area = area_of(tissue.mask, tuple(record["size"]), mpp / tissue.mpp)
    undrawn = IGNORE_PIXEL if classes.background is None else classes.background
    matrices = {name: np.zeros((len(classes), len(classes)), np.int64) for name in JUDGED_AREAS}
    for row, codes in read_strips(class_map):
        truth = paint(regions, codes.shape, downsample_at(slide, mpp), origin=(row, 0), background=undrawn)
        truth[codes == IGNORE_PIXEL] = IGNORE_PIXEL
        codes = np.where(codes == IGNORE_PIXEL, 0, codes)
        inside = area.mask[np.ix_(area.rows[row : row + len(codes)], area.columns)]
        matrices["slide"] += confusion_matrix(truth, codes, len(classes))
        matrices["tissue"] += confusion_matrix(truth[inside], codes[inside], len(classes))
    return matrices


def figures_of(matrix: np.ndarray) -> dict[str, float]:
    """The averages of `metrics.summary` and the BACH score, which takes the classes for ordered grades."""
    return averages(matrix) | {"bach_score": bach_score(matrix)}


def slide_figures(judged: Mapping[str, Matrices], classes: Classes) -> dict[str, Any]:
    """Figures of all slides, ready for JSON; see `evaluate_slides`."""
    result: dict[str, Any] = {"classes": list(classes.names), "n_slides": len(judged)}
    for region in JUDGED_AREAS:
        matrices = [matrix[region] for matrix in judged.values()]
        pooled = np.sum(matrices, axis=0)
        each = [figures_of(matrix) for matrix in matrices]
        result[region] = {
            "pixels": int(pooled.sum()),
            "pooled": figures_of(pooled),
            "per_slide": {name: spread([one[name] for one in each]) for name in each[0]},
            "per_class": {key: value.tolist() for key, value in per_class(pooled).items()},
            "confusion_matrix": pooled.tolist(),
        }
    return result


def write_slide_evaluation(
    folder: Path, judged: Mapping[str, Matrices], result: dict[str, Any], classes: Classes
) -> None:
    """Writes metrics.json, per_slide.csv, per_class.csv, confusion_tissue.png and confusion_slide.png."""
    write_json(folder / "metrics.json", result)
    slides = [
        {"slide": name, "pixels_of": region, "pixels": int(matrix.sum()), **figures_of(matrix)}
        for name, matrices in judged.items()
        for region, matrix in matrices.items()
    ]
    write_text(folder / "per_slide.csv", table_text(pd.DataFrame(slides)))
    tables = []
    for region in JUDGED_AREAS:
        table = pd.DataFrame(result[region]["per_class"], index=pd.Index(classes.names, name="class"))
        tables.append(table.assign(pixels_of=region))
        matrix = np.array(result[region]["confusion_matrix"])
        drawing = draw_confusion(matrix, classes.names, f"pixels of the {region}")
        save_figure(drawing, folder / f"confusion_{region}.png")
    write_text(folder / "per_class.csv", table_text(pd.concat(tables), index=True))


def slide_figure_lines(result: dict[str, Any]) -> list[str]:
    """The figures of annotated slides in a few lines."""
    lines = [f"{result['n_slides']} slides at {result['mpp']:g} um/px"]
    for region in JUDGED_AREAS:
        part = result[region]
        lines.append(f"pixels of the {region} ({part['pixels']}):")
        for name, title in (
            ("macro_f1", "macro F1"), ("accuracy", "micro F1 = pixel accuracy"),
            ("weighted_f1", "weighted F1"), ("mean_iou", "mean IoU"),
            ("bach_score", "BACH score (classes as grades 0, 1, ...)"),
        ):  # fmt: skip
            each = spread_text(part["per_slide"][name], "slides")
            lines.append(f"  {title}: {part['pooled'][name]:.4f} pooled; {each}")
        for name, f1, iou in zip(
            result["classes"], part["per_class"]["f1"], part["per_class"]["iou"], strict=True
        ):
            lines.append(f"    {name}: F1 {f1:.4f}, IoU {iou:.4f}")
    return lines
