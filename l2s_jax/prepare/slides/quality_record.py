"""What a person looks at of a slide before it is trained on: what is known, quality, a small picture."""

from typing import Any

from l2s_jax.data.classes import Classes
from l2s_jax.prepare.slides.thumbnails import thumbnail
from l2s_jax.slides.annotated_slide import AnnotatedSlide
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.slide import downsample_at
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.slide_quality import quality_of
from l2s_jax.types import IGNORE_PIXEL


def quality_record(
    sheet: AnnotatedSlide, classes: Classes, fit: StainFit | None = None, reference: StainFit | None = None
) -> dict[str, Any]:
    """The fields `quality` (see `quality_page.FIGURES`) and `thumbnail` of a slide's record.

    Args:
      sheet: the slide.
      classes: of its regions.
      fit: of its stains, where they were fitted.
      reference: the stains that it is brought to.
    """
    found = _knowledge(sheet, classes.background)
    if sheet.part is not None:
        found |= quality_of(sheet.slide, sheet.part, fit, reference)
    return {"quality": found, "thumbnail": thumbnail(sheet, classes)}


def _knowledge(sheet: AnnotatedSlide, background: int | None) -> dict[str, float | None]:
    """What is known of a slide, and whether it can be, by its overview; None where there is nothing.

    Returns:
      mm2 of tissue (without what is left out), the share of it of which the class is known, the share of what
      is drawn of other classes than background that lies on tissue (as it is found here, or a file says), and
      the share of the slide that cannot be read.
    """
    overview = sheet.overview
    tissue, down = overview.tissue, downsample_at(sheet.slide, overview.mpp)
    mask = paint(sheet.annotations, (tissue.shape[0], tissue.shape[1]), down, background=sheet.undrawn)
    drawn = (mask != IGNORE_PIXEL) & (mask != (IGNORE_PIXEL if background is None else background))
    return {
        "tissue_mm2": (overview.mpp / 1e3) ** 2 * int(tissue.sum()),
        "known_share": float((mask[tissue] != IGNORE_PIXEL).mean()) if tissue.any() else 0.0,
        "drawn_on_tissue": float(tissue[drawn].mean()) if drawn.any() else None,
        "unreadable_share": overview.unreadable,
    }
