"""Which classes there are, and what each name in the annotations means."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from l2s_jax.data.classes import Classes, read_classes
from l2s_jax.prepare.slides.drawn import Drawn, DrawnName
from l2s_jax.prepare.slides.found_classes import BACKGROUND, found_classes, refuse_near
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.class_names import (
    FRAME,
    FRAME_OF_QUPATH,
    IGNORED,
    IGNORED_BY_QUPATH,
    ClassTable,
    as_written,
    class_table,
    first_name,
    meaning_of,
    normalised,
)
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import IGNORE_PIXEL


@dataclass
class ClassSum:
    """How much of a class, or of what is no class, is drawn."""

    regions: int = 0
    area: float = 0.0  # mm2
    slides: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class OwnClasses:
    """The classes, what names mean, and how much is drawn."""

    classes: Classes
    of_masks: Classes  # the same, with the pixel values of masks that are read
    table: ClassTable  # of the classes and, behind them, the names of label regions
    sums: Mapping[str, ClassSum]  # by class; `FRAME_OF_QUPATH` and `IGNORED_BY_QUPATH` too
    of_slide: Mapping[str, Mapping[str, float]]  # name of a slide: mm2 by class
    labels: tuple[int, ...] = ()  # class of each name of label regions; their codes follow the classes'

    def label_of(self, code: int) -> int | None:
        """The class that a region of a code only carries as a label; None for any other code."""
        return self.labels[code - len(self.classes)] if len(self.classes) <= code < IGNORE_PIXEL else None

    def meaning_of(self, entry: DrawnName) -> str:
        """What some regions' names mean, in words that change only where what is painted does."""
        found = meaning_of(self.table, entry.names, entry.ident)
        if found is None or found[1] == FRAME:
            return "" if found is None else "frame"
        label = self.label_of(found[1])
        return str(found[1]) if label is None else f"label {label}"


def own_classes(
    drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions, earlier: Classes | None
) -> OwnClasses:
    """Makes the classes of what is drawn, or looks it up in those that are given.

    Args:
      drawn: of all slides.
      labels: names of classes that are given as labels.
      options: what names mean.
      earlier: the classes of the same data set as it was made before: their codes stay.

    Raises:
      UserError: names that are near to each other, regions without one, names that are none of the classes
        given; masks without classes; too many classes.
    """
    refuse_near(drawn, labels, options)
    if options.classes is not None:
        classes = read_classes(options.classes)
    else:
        masks = [one.name for one in drawn if one.kind == "mask"]
        if masks:
            raise UserError(
                f"{listed(masks)}: the annotation is a mask, whose values have no names. Name the classes "
                "and their values with --classes classes.toml"
            )
        classes = found_classes(drawn, labels, options, earlier)
    background = _background(classes, drawn, options)
    of_masks = replace(classes, background=background)
    # What is written has the codes themselves in its masks.
    classes = replace(of_masks, pixel_values=tuple(range(len(classes))), ignore_value=IGNORE_PIXEL)
    table = _table(classes, options)
    words = [*classes.names, *(f"{name} (label only)" for name in options.label_regions)]
    of_none = {IGNORED: IGNORED_BY_QUPATH, FRAME: FRAME_OF_QUPATH}
    sums: dict[str, ClassSum] = {name: ClassSum() for name in (*words, *of_none.values())}
    of_slide: dict[str, dict[str, float]] = {}
    unknown: dict[str, list[str]] = defaultdict(list)
    for one in drawn:
        areas: dict[str, float] = defaultdict(float)
        for entry in one.names:
            meant = meaning_of(table, entry.names, entry.ident)
            if meant is None:
                unknown[first_name(entry.names)].append(f"{entry.regions} in {one.name}")
                continue
            name = of_none[meant[1]] if meant[1] in of_none else words[meant[1]]
            areas[name] += entry.area
            total = sums[name]
            total.regions, total.area = total.regions + entry.regions, total.area + entry.area
            total.slides.add(one.name)
        of_slide[one.name] = dict(areas)
    if unknown:
        raise _no_class(unknown, classes)
    wrong = [name for name in labels if meaning_of(table, (name,)) is None]
    if wrong:
        raise UserError(f"label {listed(map(repr, wrong))}: none of the classes ({listed(classes.names)})")
    carried = tuple(_code(classes, name) for name in options.label_regions.values())
    return OwnClasses(classes, of_masks, table, sums, of_slide, carried)


def label_code(own: OwnClasses, label: str) -> int:
    """The code of a class that is given as a label."""
    meant = meaning_of(own.table, (label,))
    if meant is None or not 0 <= meant[1] < len(own.classes):
        raise UserError(f"label {label!r} is none of the classes ({listed(own.classes.names)})")
    return meant[1]


def _code(classes: Classes, name: str) -> int:
    if as_written(name) not in classes.names:
        raise UserError(f"--label-regions: {name!r} is none of the classes ({listed(classes.names)})")
    return classes.names.index(as_written(name))


def _table(classes: Classes, options: AnnotationOptions) -> ClassTable:
    reading = replace(
        classes,
        names=(*classes.names, *(f"label region {name}" for name in options.label_regions)),
        colours=(*classes.colours, *((0, 0, 0) for _ in options.label_regions)),
        pixel_values=(*classes.pixel_values, *(-1 - n for n in range(len(options.label_regions)))),
    )
    carrying = {name: f"label region {name}" for name in options.label_regions}
    return class_table(
        reading,
        synonyms={**_of_classes(options.rename, classes, options), **carrying},
        ids=_of_classes(options.class_ids, classes, options),
        ignored=options.ignore,
        frames=options.frame,
    )


def _of_classes(meant: Mapping[str, str], classes: Classes, options: AnnotationOptions) -> dict[str, str]:
    """What names mean; without what no region has, where the classes are those that regions have.

    That is refused or said by who knows whether all slides could be read.
    """
    written = {name: as_written(meaning) for name, meaning in meant.items()}
    if options.classes is not None:
        return written
    return {name: meaning for name, meaning in written.items() if meaning in classes.names}


def _background(classes: Classes, drawn: Sequence[Drawn], options: AnnotationOptions) -> int | None:
    if options.background is not None:
        if as_written(options.background) not in classes.names:
            raise UserError(
                f"--background {options.background!r} is none of the classes ({listed(classes.names)})"
            )
        return classes.names.index(as_written(options.background))
    if classes.background is not None:
        return classes.background
    near = [code for code, name in enumerate(classes.names) if normalised(name) == BACKGROUND]
    if not near and options.undrawn == "background":
        raise UserError(
            "--undrawn background: which of the classes is background? Say it with --background NAME "
            f"({listed(classes.names)})"
        )
    return near[0] if near else None


def _no_class(unknown: Mapping[str, Iterable[str]], classes: Classes) -> UserError:
    found = "; ".join(f"{name!r} ({listed(where, 3)})" for name, where in unknown.items())
    return UserError(
        f"names in the annotations that are none of the classes: {found}. The classes are "
        f"{listed(map(repr, classes.names))}. Say what they mean with --rename NAME=CLASS, or leave them "
        "out with --ignore NAME"
    )


def describe_drawn(own: OwnClasses) -> list[str]:
    """A table of what is drawn by class."""
    rows = [(name, own.sums[name]) for name in own.classes.names]
    rows += [
        ({FRAME_OF_QUPATH: "(frames)", IGNORED_BY_QUPATH: "(ignored)"}.get(name, name), total)
        for name, total in own.sums.items()
        if name not in own.classes.names and total.regions
    ]
    width = max(len("class"), *(len(name) for name, _ in rows))
    lines = [f"{'class':{width}}  regions  slides  drawn mm2"]
    for name, total in rows:
        line = f"{name:{width}}  {total.regions:7d}  {len(total.slides):6d}  {total.area:9.3g}"
        is_background = (
            own.classes.background is not None and name == own.classes.names[own.classes.background]
        )
        lines.append(f"{line}  (background)" if is_background else line)
    return lines
