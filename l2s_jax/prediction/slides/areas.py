"""Which pixels of a slide are predicted."""

from l2s_jax.prediction.slides.job import Area, area_of
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.slides.marked import Part


def tissue_area(part: Part, size: tuple[int, int], mpp: float) -> Area:
    """The tissue without what is left out, on a picture of `size` at `mpp`."""
    return area_of(part.kept(), size, mpp / part.tissue.mpp)._replace(unknown=part.excluded)


def predicted_area(part: Part, options: SlideOptions, tissue: Area) -> Area | None:
    """What is predicted of the slide; None is all of it."""
    if options.within != "slide":
        return tissue
    return None if part.excluded is None else tissue._replace(mask=~part.excluded)
