"""Predicted slides against their drawn regions: confusion matrices, their figures, and the files of these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from l2s_jax.data.classes import Classes
from l2s_jax.figures.drawing import draw_confusion, save_figure
from l2s_jax.prediction.metrics import bach_score, confusion_matrix, per_class, spread, spread_text
from l2s_jax.prediction.metrics import summary as averages
from l2s_jax.prediction.slides.job import area_of
from l2s_jax.prediction.slides.record import Record
from l2s_jax.slides.annotations.choices import Undrawn
from l2s_jax.slides.annotations.frames import paint_known
from l2s_jax.slides.annotations.types import Annotations
from l2s_jax.slides.ome_tiff import read_strips
from l2s_jax.slides.overview import Tissue, find_tissue
from l2s_jax.slides.slide import Slide, downsample_at
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.files import write_json, write_text
from l2s_jax.types import IGNORE_PIXEL

JudgedArea = Literal["tissue", "slide"]
JUDGED_AREAS: tuple[JudgedArea, ...] = ("tissue", "slide")
"""Figures are given for the pixels of the tissue mask and for all pixels of the slides."""

FIGURES = (
    "metrics.json",
    "per_slide.csv",
    "per_class.csv",
    *(f"confusion_{name}.png" for name in JUDGED_AREAS),
)
"""The files of an evaluation."""


class Judged(NamedTuple):
    """What is known of an area of a slide, and how it was predicted."""

    matrix: np.ndarray  # i64[C,C], rows are truth; of the pixels that are known
    pixels: int  # of the area, known or not

    @property
    def share(self) -> float:
        """The share of the area that was scored, 0..1; NaN where there is none."""
        return float(self.matrix.sum()) / self.pixels if self.pixels else float("nan")


JudgedSlide = Mapping[JudgedArea, Judged]


def judge_slide(
    slide: Slide,
    class_map: Path,
    record: Record,
    regions: Annotations,
    classes: Classes,
    undrawn: Undrawn = "background",
    tissue: Tissue | None = None,
) -> JudgedSlide:
    """Compares a slide's prediction with what is known of it: on its tissue, and on all its pixels.

    Pixels of no known class take no part, nor do those without a prediction.

    Args:
      slide: the slide.
      class_map: its prediction, the OME-TIFF.
      record: of the prediction.
      regions: what is drawn.
      classes: the run's classes.
      undrawn: what is not drawn, see `frames`.
      tissue: its tissue, where that is known already.
    """
    mpp, tissue = record["mpp"], tissue or find_tissue(slide)
    area = area_of(tissue.mask, tuple(record["size"]), mpp / tissue.mpp)
    nothing = np.zeros((len(classes), len(classes)), np.int64)
    found = dict.fromkeys(JUDGED_AREAS, Judged(nothing, 0))
    for row, codes in read_strips(class_map):
        truth = paint_known(
            regions,
            codes.shape,
            downsample_at(slide, mpp),
            undrawn=undrawn,
            background=classes.background,
            origin=(row, 0),
        )
        truth[codes == IGNORE_PIXEL] = IGNORE_PIXEL
        codes = np.where(codes == IGNORE_PIXEL, 0, codes)
        inside = area.mask[np.ix_(area.rows[row : row + len(codes)], area.columns)]
        parts = {"tissue": (truth[inside], codes[inside]), "slide": (truth, codes)}
        for name in JUDGED_AREAS:
            matrix = confusion_matrix(*parts[name], len(classes))
            found[name] = Judged(found[name].matrix + matrix, found[name].pixels + parts[name][0].size)
    return found


def figures_of(matrix: np.ndarray) -> dict[str, float]:
    """The averages of `metrics.summary` and the BACH score, which takes the classes for ordered grades."""
    return averages(matrix) | {"bach_score": bach_score(matrix)}


def slide_figures(judged: Mapping[str, JudgedSlide], classes: Classes) -> dict[str, Any]:
    """Figures of all slides, ready for JSON; see `evaluate_slides`."""
    result: dict[str, Any] = {"classes": list(classes.names), "n_slides": len(judged)}
    for region in JUDGED_AREAS:
        slides = [slide[region] for slide in judged.values()]
        pooled = np.sum([one.matrix for one in slides], axis=0)
        each = [figures_of(one.matrix) for one in slides]
        result[region] = {
            "pixels": int(pooled.sum()),
            "scored_share": Judged(pooled, sum(one.pixels for one in slides)).share,
            "pooled": figures_of(pooled),
            "per_slide": {name: spread([one[name] for one in each]) for name in each[0]},
            "per_class": {key: value.tolist() for key, value in per_class(pooled).items()},
            "confusion_matrix": pooled.tolist(),
        }
    return result


def write_slide_evaluation(
    folder: Path,
    judged: Mapping[str, JudgedSlide],
    result: dict[str, Any],
    classes: Classes,
    undrawn: Mapping[str, Undrawn],
) -> None:
    """Writes metrics.json, per_slide.csv, per_class.csv, confusion_tissue.png and confusion_slide.png."""
    write_json(folder / "metrics.json", result)
    slides = [
        {
            "slide": name,
            "pixels_of": region,
            "undrawn": undrawn.get(name, ""),
            "pixels": int(one.matrix.sum()),
            "scored_share": one.share,
            **figures_of(one.matrix),
        }
        for name, areas in judged.items()
        for region, one in areas.items()
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
        lines.append(f"pixels of the {region} ({part['pixels']} scored, {part['scored_share']:.1%} of it):")
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


def scored_text(judged: JudgedSlide) -> str:
    """How much of a slide was scored."""
    parts = (f"{judged[area].share:.1%} of the {area}" for area in JUDGED_AREAS if judged[area].pixels)
    return f"{' and '.join(parts)} is known and scored"


def without_background(judged: Mapping[str, JudgedSlide], classes: Classes) -> str | None:
    """A warning where no background is scored, so that what is painted too much is nowhere counted."""
    code = classes.background
    scored = np.sum([one["slide"].matrix for one in judged.values()], axis=0)
    if code is None or not scored.sum() or scored[code].any():
        return None
    return (
        f"warning: no pixel of {classes.names[code]!r}, the background, is known, so what is wrongly painted "
        "beside the drawn regions is not counted. Draw frames around areas that are drawn completely "
        "(QuPath's Region*, or --frame NAME), or say --undrawn background where everything is drawn"
    )
