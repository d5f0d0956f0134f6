"""Classes made of the names and colours in annotations."""

from collections.abc import Collection, Mapping, Sequence

from l2s_jax.data.classes import Classes, read_classes
from l2s_jax.prepare.slides.drawn import Drawn
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.class_names import (
    FRAME_OF_QUPATH,
    IGNORED_BY_QUPATH,
    NO_NAME,
    as_written,
    first_name,
    near_names,
    normalised,
)
from l2s_jax.slides.annotations.types import Colour
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, listed
from l2s_jax.types import MAX_CLASSES

BACKGROUND = "background"

PALETTE: tuple[Colour, ...] = (
    (230, 60, 60), (60, 120, 216), (80, 170, 80), (240, 170, 40), (150, 90, 190), (70, 190, 190),
    (220, 110, 170), (140, 110, 70), (120, 140, 30), (90, 90, 160),
)  # fmt: skip
OF_BACKGROUND = (230, 220, 225)


def refuse_near(drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions) -> None:
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


def found_classes(
    drawn: Sequence[Drawn], labels: Collection[str], options: AnnotationOptions, earlier: Classes | None
) -> Classes:
    """Classes named and coloured as the annotations are; those of an earlier time keep their codes."""
    rename = {as_written(name): as_written(meaning) for name, meaning in options.rename.items()}
    ignored = {as_written(name) for name in options.ignore}
    frames = {FRAME_OF_QUPATH, *map(normalised, options.frame)}
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
            "what ImageScope's layers are with --class-ids 1=NAME, or leave such regions out with --ignore "
            "''"
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
        free = [colour for colour in PALETTE if colour not in taken] or list(PALETTE)
        plain = OF_BACKGROUND if name == first else free[0]
        taken.append(max(votes, key=lambda colour: votes[colour]) if votes else plain)
    return Classes(names, tuple(taken), tuple(range(len(names))))
