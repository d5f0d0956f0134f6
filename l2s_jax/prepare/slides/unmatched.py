"""Options and names of `prepare slides` that fit nothing in any slide, or nearly."""

from collections.abc import Collection, Sequence

from l2s_jax.prepare.slides.class_table import OwnClasses
from l2s_jax.prepare.slides.drawn import Drawn
from l2s_jax.prepare.slides.inputs import SlideInput
from l2s_jax.prepare.slides.options import AnnotationOptions, SlidesOptions
from l2s_jax.slides.annotations.class_names import as_written
from l2s_jax.slides.annotations.unmatched import unmatched_ids, unmatched_names
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed, one_letter_apart, shown


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


def undrawn_labels(
    own: OwnClasses, kinds: Collection[str], labels: Collection[str], options: AnnotationOptions
) -> list[str]:
    """Warnings of classes that are there because a label names them, and that nobody has drawn.

    Args:
      own: the classes and how much of each is drawn.
      kinds: of the annotations; a mask may hold any class.
      labels: names of classes that are known of some slides, regions or pictures.
      options: without `classes`, which would say what the classes are.
    """
    if options.classes is not None or "mask" in kinds:
        return []
    rename = {as_written(name): as_written(meaning) for name, meaning in options.rename.items()}
    meant = dict.fromkeys(rename.get(as_written(name), as_written(name)) for name in labels)
    background = None if own.classes.background is None else own.classes.names[own.classes.background]
    drawn = [name for name in own.classes.names if own.sums[name].regions]
    warnings = []
    for name in meant:
        if name in drawn or name == background:
            continue
        like = next((one for one in drawn if one_letter_apart(name, one)), None)
        mend = f" Is it {like!r}? Mend the label, or say --rename {shown(f'{name}={like}')}" if like else ""
        warnings.append(
            f"warning: {name!r} is the class of a label only, and of no region: no mask shows where it is, "
            f"so it cannot be scored.{mend}"
        )
    return warnings


def slips(own: OwnClasses, options: AnnotationOptions) -> list[str]:
    """Warnings of drawn classes whose names are one letter apart, most often one class misspelled.

    Args:
      own: the classes and how much of each is drawn.
      options: without `classes`, which would say what the classes are.
    """
    if options.classes is not None:
        return []
    drawn = [(name, own.sums[name]) for name in own.classes.names if own.sums[name].regions]
    drawn.sort(key=lambda one: one[1].regions)
    return [
        f"warning: {name!r} ({sums.regions} region(s), in {listed(sorted(sums.slides), 3)}) is one letter "
        f"from {like!r} ({more.regions} region(s)), and a class of its own. If it is one, say --rename "
        f"{shown(f'{name}={like}')}"
        for number, (name, sums) in enumerate(drawn)
        for like, more in drawn[number + 1 :]
        if one_letter_apart(name, like)
    ]


def idle_options(slides: Sequence[SlideInput], options: SlidesOptions) -> list[str]:
    """Warnings of `--split` and `--label-patches` where they have nothing to act on."""
    default, warnings = SlidesOptions(), []
    if options.split != default.split and slides and all(one.split is not None for one in slides):
        warnings.append("warning: --split does nothing: the column split says where each slide goes")
    labelled = options.label_regions or any(one.label for one in slides)
    if options.label_patches != default.label_patches and not labelled:
        warnings.append(
            "warning: --label-patches does nothing: no slide has a label (column label), and no region does "
            "(--label-regions)"
        )
    return warnings
