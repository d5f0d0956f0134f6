"""Names that are said on the command line and stand in no annotation: most often a slip of the keyboard."""

from collections.abc import Collection, Sequence

from l2s_jax.prepare.slides.drawn import Drawn
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.class_names import normalised
from l2s_jax.system.texts import listed


def describe_unmatched(
    drawn: Sequence[Drawn],
    labels: Collection[str],
    options: AnnotationOptions,
    classes: Collection[str] = (),
) -> list[str]:
    """Warnings for names of options that no region and no label of any slide has.

    Args:
      drawn: of all slides.
      labels: names of classes that are given as labels.
      options: what names mean.
      classes: their names; one that is written exactly as it is drawn stands over a name that is near to it.
    """
    names = [name for one in drawn for entry in one.names for name in entry.names]
    names += labels
    idents = {entry.ident for one in drawn for entry in one.names}
    there = {normalised(name) for name in names if name not in classes}
    said = {
        "ignore": options.ignore,
        "frame": options.frame,
        "rename": tuple(options.rename),
        "label-regions": tuple(options.label_regions),
    }
    missing = [
        (option, name)
        for option, of in said.items()
        for name in of
        if name not in names and normalised(name) not in there
    ]
    missing += [("class-ids", ident) for ident in options.class_ids if ident not in idents]
    has = listed(dict.fromkeys(names)) or "none"
    return [
        f"warning: --{option} {name} changes nothing: no region has it. The names that are there: {has}"
        for option, name in missing
    ]
