"""Which classes there are, and what each name in the annotations means."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from l2s_jax.data.classes import Classes, read_classes
from l2s_jax.prepare.slides.drawn import Drawn, DrawnName
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.class_names import (
    IGNORED,
    IGNORED_BY_QUPATH,
    NO_NAME,
    ClassTable,
    as_written,
    class_table,
    first_name,
    meaning_of,
    near_names,
    normalised,
)
from l2s_jax.slides.annotations.types import Colour
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, listed
from l2s_jax.types import IGNORE_PIXEL, MAX_CLASSES

FRAME = "Region*"
"""QuPath's class for the frames inside which everything was annotated."""

BACKGROUND = "background"

_PALETTE: tuple[Colour, ...] = (
    (230, 60, 60), (60, 120, 216), (80, 170, 80), (240, 170, 40), (150, 90, 190), (70, 190, 190),
    (220, 110, 170), (140, 110, 70), (120, 140, 30), (90, 90, 160),
)  # fmt: skip
_OF_BACKGROUND = (230, 220, 225)


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
    table: ClassTable  # of the classes and, behind them, `FRAME`
    sums: Mapping[str, ClassSum]  # by class; `FRAME` and `IGNORED_BY_QUPATH` too
    of_slide: Mapping[str, Mapping[str, float]]  # name of a slide: mm2 by class
    labels: tuple[int, ...] = ()  # class of each name of label regions; their codes follow `frame`

    @property
    def frame(self) -> int:
        """The code that stands for a frame while an annotation is read."""
        return len(self.classes)

    def label_of(self, code: int) -> int | None:
        """The class that a region of a code only carries as a label; None for any other code."""
        return self.labels[code - self.frame - 1] if code > self.frame and code != IGNORE_PIXEL else None

    def meaning_of(self, entry: DrawnName) -> str:
        """What some regions' names mean, in words that change only where what is painted does."""
        found = meaning_of(self.table, entry.names, entry.ident)
        if found is None or found[1] < self.frame:
            return "" if found is None else str(found[1])
        return "frame" if found[1] == self.frame else f"label {self.label_of(found[1])}"


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
    _refuse_near(drawn, labels, options)
    if options.classes is not None:
        classes = read_classes(options.classes)
    else:
        masks = [one.name for one in drawn if one.kind == "mask"]
        if masks:
            raise UserError(
                f"{listed(masks)}: the annotation is a mask, whose values have no names. Name the classes "
                "and "
                "their values with --classes classes.toml"
            )
        classes = _found_classes(drawn, labels, options, earlier)
    background = _background(classes, drawn, options)
    of_masks = replace(classes, background=background)
    # What is written has the codes themselves in its masks.
    classes = replace(of_masks, pixel_values=tuple(range(len(classes))), ignore_value=IGNORE_PIXEL)
    table = _table(classes, options)
    words = [*classes.names, FRAME, *(f"{name} (label only)" for name in options.label_regions)]
    sums: dict[str, ClassSum] = {name: ClassSum() for name in (*words, IGNORED_BY_QUPATH)}
    of_slide: dict[str, dict[str, float]] = {}
    unknown: dict[str, list[str]] = defaultdict(list)
    for one in drawn:
        areas: dict[str, float] = defaultdict(float)
        for entry in one.names:
            meant = meaning_of(table, entry.names, entry.ident)
            if meant is None:
                unknown[first_name(entry.names)].append(f"{entry.regions} in {one.name}")
                continue
            name = IGNORED_BY_QUPATH if meant[1] == IGNORED else words[meant[1]]
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
        names=(*classes.names, FRAME, *(f"label region {name}" for name in options.label_regions)),
        colours=(*classes.colours, *((0, 0, 0) for _ in range(1 + len(options.label_regions)))),
        pixel_values=(*classes.pixel_values, *(-1 - n for n in range(1 + len(options.label_regions)))),
    )
    carrying = {name: f"label region {name}" for name in options.label_regions}
    renamed = {**options.rename, **dict.fromkeys(options.frame, FRAME), **carrying}
    return class_table(reading, synonyms=renamed, ids=options.class_ids, ignored=options.ignore)


def _refuse_near(drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions) -> None:
    """Raises where names differ in case, spaces, `_` or `-` only and nobody has said what they mean."""
    where: dict[str, str] = {}
    for one in drawn:
        for entry in one.names:
            where.setdefault(first_name(entry.names), one.name)
    for label in labels:
        where.setdefault(as_written(label), "the labels")
    known = (*options.rename, *options.ignore, *options.frame, *options.label_regions)
    said = {as_written(name) for name in known}
    meant = {as_written(name) for name in options.rename.values()}
    given = set(read_classes(options.classes).names) if options.classes is not None else set()
    groups = near_names([*meant, *given, *(name for name in where if name and name not in said)])
    if groups:
        group = [name for name in groups[0]]
        named = " and ".join(
            f"{name!r} (in {where[name]})" if name in where else f"{name!r}" for name in group
        )
        other = next((name for name in group[::-1] if name in where and name not in given), group[-1])
        raise UserError(
            f"{named} differ in case, spaces or hyphens only: are they one class or several? If one, say "
            "so with "
            f'--rename "{other}={next(name for name in group if name != other)}"; if several, rename them in '
            "the tool that drew them"
        )


def _found_classes(
    drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions, earlier: Classes | None
) -> Classes:
    """Classes named and coloured as the annotations are; those of an earlier time keep their codes."""
    rename = {as_written(name): as_written(meaning) for name, meaning in options.rename.items()}
    ignored = {as_written(name) for name in options.ignore}
    frames = {normalised(FRAME), *map(normalised, options.frame)}
    carrying = {as_written(name) for name in options.label_regions}
    colours: dict[str, dict[Colour, float]] = {}
    nameless: list[str] = []
    for one in drawn:
        for entry in one.names:
            name = first_name(entry.names)
            if name == NO_NAME:
                if entry.ident in options.class_ids:
                    name = options.class_ids[entry.ident]
                elif NO_NAME not in ignored:
                    nameless.append(f"{entry.regions} in {one.name}")
            name = rename.get(name, name)
            is_none = name in {NO_NAME, *ignored, *carrying}
            if not is_none and normalised(name) not in {*frames, IGNORED_BY_QUPATH}:
                votes = colours.setdefault(name, {})
                if entry.colour is not None:
                    votes[entry.colour] = votes.get(entry.colour, 0.0) + entry.area
    if nameless:
        raise UserError(
            f"regions without a class: {listed(nameless)}. Give them one in the tool that drew them, say "
            "what "
            "ImageScope's layers are with --class-ids 1=NAME, or leave such regions out with --ignore ''"
        )
    for label in labels:
        colours.setdefault(rename.get(as_written(label), as_written(label)), {})
    for name in (options.background,) if options.background else ():
        colours.setdefault(as_written(name), {})
    needs = options.undrawn == "background" or any(
        normalised(first_name(entry.names)) in frames for one in drawn for entry in one.names
    )
    if needs and not options.background and not any(normalised(name) == BACKGROUND for name in colours):
        colours[BACKGROUND] = {}
    return _coloured(colours, earlier, options.background)


def _coloured(
    colours: Mapping[str, Mapping[Colour, float]], earlier: Classes | None, background: str | None
) -> Classes:
    known = earlier.names if earlier is not None else ()
    first = background or next((name for name in colours if normalised(name) == BACKGROUND), None)
    new = sorted(
        (name for name in colours if name not in known), key=lambda name: (name != first, name.casefold())
    )
    names = (*known, *new)
    faults = [fault for name in names if (fault := control_fault(name))]
    faults += [f"{name!r} has a semicolon, which parts names in tables" for name in names if ";" in name]
    if len(names) > MAX_CLASSES - 1:
        faults.append(f"{len(names)} classes; at most {MAX_CLASSES - 1} are possible")
    if faults:
        raise UserError("\n".join(["the names of the classes (--rename OLD=NEW changes one):", *faults]))
    taken: list[Colour] = list(earlier.colours) if earlier is not None else []
    for name in new:
        votes = colours[name]
        free = [colour for colour in _PALETTE if colour not in taken] or list(_PALETTE)
        plain = _OF_BACKGROUND if name == first else free[0]
        taken.append(max(votes, key=lambda colour: votes[colour]) if votes else plain)
    return Classes(names, tuple(taken), tuple(range(len(names))))


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
        "out with "
        "--ignore NAME"
    )


def describe_drawn(own: OwnClasses) -> list[str]:
    """A table of what is drawn by class."""
    rows = [(name, own.sums[name]) for name in own.classes.names]
    rows += [
        ({FRAME: "(frames)", IGNORED_BY_QUPATH: "(ignored)"}.get(name, name), total)
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
