"""Of how much of the slides the class is known, and whether that is enough to tell classes apart."""

from collections.abc import Collection, Sequence
from pathlib import Path

from l2s_jax.prepare.cutting import finished_record
from l2s_jax.prepare.slides.class_table import OwnClasses
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.prepare.sources import Source
from l2s_jax.slides.annotations.class_names import FRAME_OF_QUPATH
from l2s_jax.system.errors import UserError
from l2s_jax.types import SPLITS


def require_two_known(
    own: OwnClasses, kinds: Collection[str], labels: Collection[str], options: AnnotationOptions
) -> list[str]:
    """Lines of warning where all that is known is of classes other than background.

    Args:
      own: the classes and how much of each is drawn.
      kinds: of the annotations; a mask may hold any class.
      labels: names of classes that are known of some slides or pictures.
      options: what the annotations mean.

    Raises:
      UserError: one class is known only.
    """
    if "mask" in kinds:
        return []
    background = None if own.classes.background is None else own.classes.names[own.classes.background]
    known = {name for name in own.classes.names if own.sums[name].regions}
    known |= {name for name in own.classes.names if name in labels}
    if background is not None and (own.sums[FRAME_OF_QUPATH].regions or options.undrawn == "background"):
        known.add(background)
    if len(known) < 2:
        only = next(iter(known), "nothing")
        raise UserError(
            f"{only!r} is all that is known of these slides, so a network could learn to call everything "
            f"{only!r} without ever being wrong. What nobody drew is unknown, not background. Draw some "
            "regions of another class or of background; or frames (QuPath's class Region*, or --frame "
            "NAME) inside which everything of interest is drawn; or, if the slides are annotated "
            "throughout, say --undrawn background"
        )
    if background not in known:
        named = f" --background {options.background}: no region has this name." if options.background else ""
        return [
            f"warning: no background is drawn.{named} Everything will be called one of the classes "
            f"({', '.join(sorted(known))}), tissue of no interest too. Draw background, or frames"
        ]
    return []


def describe_known(out: Path, own: OwnClasses, sources: Sequence[Source]) -> list[str]:
    """How much of the tissue is known, and mm2 of each class, by split: as painted, later over earlier."""
    records = [(source.split, finished_record(source, out)) for source in sources]
    done = [(split, record) for split, record in records if record is not None and "quality" in record]
    if not done:
        return []
    width = max(len("known tissue"), *map(len, own.classes.names))
    lines = [f"{'mm2':{width}}  " + "".join(f"{split:>9}" for split in SPLITS)]
    for name in own.classes.names:
        sums = [sum(record["areas"].get(name, 0.0) for of, record in done if of == split) for split in SPLITS]
        lines.append(f"{name:{width}}  " + "".join(f"{area:9.3g}" for area in sums))
    shares = []
    for split in SPLITS:
        of_split = [record["quality"] for of, record in done if of == split]
        tissue = sum(one["tissue_mm2"] for one in of_split)
        known = sum(one["known_share"] * one["tissue_mm2"] for one in of_split)
        shares.append(f"{known / tissue:9.1%}" if tissue else f"{'-':>9}")
    lines.append(f"{'known tissue':{width}}  " + "".join(shares))
    return [*lines, "what is not known is 255 in the masks: neither learned nor scored"]
