"""From the words that people write on regions to class codes.

A name means the class that is written exactly so. Where none is, case, spaces, `_` and a `-` between words do
not matter, as long as that leaves one class only. Signs do: "ER+", "ER-" and "ER" are three classes.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from l2s_jax.data.manifest import Classes
from l2s_jax.slides.annotations.types import Colour, Outline
from l2s_jax.system.errors import UserError

BACH_CLASSES = Classes(
    names=("normal", "benign", "in situ", "invasive"),
    colours=((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)),
    pixel_values=(0, 1, 2, 3),
    background=0,
)
"""Codes and colours of BACH's ground truth: black is normal."""

IGNORED = -1
"""Stands for the code of a name whose regions are unknown: they are painted as `IGNORE_PIXEL`."""

FRAME = -2
"""Stands for the code of a name whose regions are frames: what is not drawn inside them is background."""

IGNORED_BY_QUPATH = "ignore*"
"""QuPath's class for what is to be left out; it needs no mention."""

FRAME_OF_QUPATH = "region*"
"""QuPath's class for areas that somebody works in."""

NO_NAME = ""


@dataclass(frozen=True)
class ClassTable:
    """Which names mean which class. Made by `class_table`; a code may be `IGNORED` or `FRAME`."""

    classes: Classes
    exact: Mapping[str, int]  # a whole name as it is written
    near: Mapping[str, frozenset[int]]  # the codes of all names of one `normalised` form
    contains: tuple[tuple[str, int], ...] = ()  # part of a normalised name; the first that fits counts
    ids: Mapping[str, int] = field(default_factory=dict)  # ImageScope's Annotation/@Id


def class_table(
    classes: Classes,
    *,
    synonyms: Mapping[str, str] | None = None,
    contains: Sequence[tuple[str, str]] = (),
    ids: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
    ignore_star: bool = True,
    frames: Collection[str] | None = None,
) -> ClassTable:
    """Makes a table in which every class goes by its own name and by the names given here.

    Names are compared as the module says.

    Args:
      classes: the task's classes.
      synonyms: {name in the files: class name}.
      contains: (part of a name, class name), tried in order where no whole name fits.
      ids: {Annotation Id of an ImageScope file: class name}, for regions of which no name fits.
      ignored: names whose regions are not known to be of any class; "" is a region without a name.
      ignore_star: so is QuPath's class `Ignore*`.
      frames: names of frames (see `frames`), beside QuPath's `Region*`; None knows no frames.

    Raises:
      UserError: a class name that is none of `classes`, or a name with two meanings.
    """

    def code(name: str, said: str = "") -> int:
        if name not in classes.names:
            raise UserError(f"{said}{name!r} is none of the classes ({', '.join(classes.names)})")
        return classes.names.index(name)

    said = {"renamed": synonyms or {}, "ignored": ignored, "a frame": frames or ()}
    for (one, names), (other, others) in combinations(said.items(), 2):
        twice = sorted({as_written(name) for name in names} & {as_written(name) for name in others})
        if twice:
            raise UserError(f"{twice[0]!r} is both {one} and {other}: leave one of the two out")
    exact = {as_written(name): index for index, name in enumerate(classes.names)}
    exact |= {
        as_written(name): code(target, f"--rename {name}={target}: ")
        for name, target in (synonyms or {}).items()
    }
    exact |= {as_written(name): IGNORED for name in ignored}
    exact |= {as_written(name): FRAME for name in frames or ()}
    near: dict[str, set[int]] = defaultdict(set)
    for name, meaning in exact.items():
        near[normalised(name)].add(meaning)
    if ignore_star:
        near.setdefault(IGNORED_BY_QUPATH, {IGNORED})
    if frames is not None:
        near.setdefault(FRAME_OF_QUPATH, {FRAME})
    return ClassTable(
        classes,
        exact,
        {name: frozenset(codes) for name, codes in near.items()},
        tuple((normalised(part), code(target)) for part, target in contains),
        {ident: code(target, f"--class-ids {ident}={target}: ") for ident, target in (ids or {}).items()},
    )


def bach_table(
    classes: Classes = BACH_CLASSES,
    *,
    synonyms: Mapping[str, str] | None = None,
    ids: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
    ignore_star: bool = True,
    frames: Collection[str] | None = None,
) -> ClassTable:
    """BACH's rule: a label that contains "benign", else "in situ" (or "insitu"), else "invasive".

    The authors' reader has this rule and this order, so "in situ and invasive" is in situ. It meets
    "Carcinoma in situ" and "Invasive carcinoma" as well.

    Args:
      classes: four classes in BACH's order, under any names.
      synonyms: see `class_table`; whole names come before parts of names.
      ignored: see `class_table`.
      ignore_star: see `class_table`.
      frames: see `class_table`.
      ids: see `class_table`; {"1": "benign", "2": "in situ", "3": "invasive"} fits files with an Annotation
        for each class.
    """
    _, benign, in_situ, invasive = classes.names
    parts = (("benign", benign), ("in situ", in_situ), ("insitu", in_situ), ("invasive", invasive))
    return class_table(
        classes,
        synonyms=synonyms,
        contains=parts,
        ids=ids,
        ignored=ignored,
        ignore_star=ignore_star,
        frames=frames,
    )


def code_of(table: ClassTable, names: Sequence[str], ident: str = "") -> int | None:
    """The code of `meaning_of`, or None."""
    found = meaning_of(table, names, ident)
    return None if found is None else found[1]


def meaning_of(table: ClassTable, names: Sequence[str], ident: str = "") -> tuple[str, int] | None:
    """The first name that the table knows and its code (`IGNORED`, `FRAME` too); None where it knows none.

    Args:
      table: from `class_table`.
      names: candidates, most specific first; empty ones do not count.
      ident: ImageScope's Annotation Id, used where no name is known.

    Raises:
      UserError: a name that is near to several classes and exactly none of them.
    """
    for name in [as_written(name) for name in names if name.strip()] or [NO_NAME]:
        if name in table.exact:
            return name, table.exact[name]
        form = normalised(name)
        codes = table.near.get(form, frozenset())
        if len(codes) > 1:
            meant = [repr(known) for known in table.exact if normalised(known) == form]
            raise UserError(f'{name!r} may be {" or ".join(meant)}: say which with --rename "{name}=CLASS"')
        if codes:
            return name, next(iter(codes))
        for part, code in table.contains:
            if part in form:
                return name, code
    return (NO_NAME, table.ids[ident]) if ident in table.ids else None


class DrawnClass(NamedTuple):
    """A class name as it stands on regions of a file."""

    name: str  # "" for regions without one
    regions: int
    colour: Colour | None  # the commonest that the file gives it


def drawn_classes(outlines: Iterable[Outline]) -> list[DrawnClass]:
    """The names on outlines, in the order of their first regions: what classes can be made of."""
    colours: dict[str, Counter[Colour | None]] = defaultdict(Counter)
    for outline in outlines:
        if not outline.negative:
            colours[first_name(outline.names)][outline.colour] += 1
    return [DrawnClass(name, of.total(), of.most_common(1)[0][0]) for name, of in colours.items()]


def near_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of two and more names that differ in case, spaces, `_` or `-` only, each name once."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        groups[normalised(name)][as_written(name)] = None
    return [tuple(group) for group in groups.values() if len(group) > 1]


def refuse_near_names(table: ClassTable, found: Counter[str]) -> None:
    """Raises `UserError` where names of one file are near to each other and nobody has said what they mean.

    Tables that look for parts of names (BACH's) are meant for freely written texts, and take all of them.

    Args:
      table: which the names were looked up in.
      found: the names of a file's regions, with how many of each.
    """
    if table.contains:
        return
    for group in near_names(found):
        if not all(name in table.exact for name in group):
            listed = " and ".join(f"{name!r} ({found[name]} regions)" for name in group)
            examples = " ".join(f'--rename "{name}=CLASS"' for name in group if name not in table.exact)
            raise UserError(
                f"{listed} differ in case, spaces or hyphens only: are they one class or several? Say what "
                f"each means with {examples}"
            )


def first_name(names: Iterable[str]) -> str:
    """The first name that is one, as it is written; `NO_NAME` without one."""
    return next((as_written(name) for name in names if name.strip()), NO_NAME)


def as_written(name: str) -> str:
    """A name in one Unicode form (NFC), otherwise as it stands."""
    return unicodedata.normalize("NFC", name)


def normalised(name: str) -> str:
    """Lower case, words parted by single spaces: "In_Situ " is "in situ"; signs stay: "ER-" is "er-"."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("_", " ")
    text = re.sub("[\u2010-\u2015\u2212]", "-", text)
    text = re.sub(r"\s*:\s*", ": ", re.sub(r"(?<=\w)-(?=\w)", " ", text))
    return " ".join(text.split())
