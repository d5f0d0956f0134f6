"""Options of `prepare slides` on annotations that fit nothing in any of them."""

from collections.abc import Collection, Sequence

from l2s_jax.prepare.slides.class_table import OwnClasses
from l2s_jax.prepare.slides.drawn import Drawn
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.unmatched import unmatched_ids, unmatched_names
from l2s_jax.system.errors import UserError


def unmatched(
    own: OwnClasses, drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions
) -> list[str]:
    """A sentence for each name of an option that no annotation has.

    Args:
      own: what the names mean.
      drawn: of all slides.
      labels: names of slides' labels and of folders of pictures, which may be renamed too.
      options: what is asked.
    """
    names = dict.fromkeys(name for one in drawn for entry in one.names for name in entry.names)
    names |= dict.fromkeys(name for one in drawn for name in one.unseen)
    of_regions = {
        "--ignore": options.ignore,
        "--frame": options.frame,
        "--label-regions": options.label_regions,
    }
    return [
        *unmatched_names({"--rename": options.rename}, [*names, *labels], own.table),
        *unmatched_names(of_regions, names, own.table),
    ]


def idle_ids(drawn: Sequence[Drawn], options: AnnotationOptions) -> list[str]:
    """Warnings of `--class-ids` that no region has; one that a region has and the option lacks is refused."""
    there = [entry.ident for one in drawn for entry in one.names]
    return [f"warning: {line}" for line in unmatched_ids(options.class_ids, there)]


def require_matched(lines: Sequence[str], failures: Sequence[str]) -> list[str]:
    """Refuses what fits nothing; a warning where slides failed, which may have what is named.

    Args:
      lines: from `unmatched`.
      failures: slides that could not be read.

    Raises:
      UserError: all that could be looked at was.
    """
    if lines and not failures:
        raise UserError(
            "\n".join(
                [
                    *lines,
                    "Mend such a name, or leave it out: regions that were meant would be learned as drawn",
                ]
            )
        )
    return [f"warning: {line}" for line in lines]


def idle_truth(drawn: Sequence[Drawn], options: AnnotationOptions) -> list[str]:
    """A warning where `--untouched truth` finds no prediction to take for true, nor any to compare with."""
    if options.untouched != "truth" or options.corrected_from or any(one.told.accepted for one in drawn):
        return []
    return [
        "warning: --untouched truth: no annotation holds what predict wrote, as far as it can be told. Name "
        "the folder(s) that predict wrote into with --corrected-from"
    ]
