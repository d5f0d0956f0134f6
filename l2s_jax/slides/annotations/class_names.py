"""From the words that people write on regions to class codes."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from l2s_jax.data.manifest import Classes
from l2s_jax.system.errors import UserError

BACH_CLASSES = Classes(
    names=("normal", "benign", "in situ", "invasive"),
    colours=((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)),
    pixel_values=(0, 1, 2, 3),
    background=0,
)
"""Codes and colours of BACH's ground truth: black is normal."""

IGNORED = -1
"""Stands for the code of a name that the table leaves out."""


@dataclass(frozen=True)
class ClassTable:
    """Which names mean which class. Made by `class_table`; names in it are normalised."""

    classes: Classes
    exact: Mapping[str, int]  # a whole name
    contains: tuple[tuple[str, int], ...] = ()  # part of a name; the first that fits counts
    ids: Mapping[str, int] = field(default_factory=dict)  # ImageScope's Annotation/@Id
    ignored: frozenset[str] = frozenset()


def class_table(
    classes: Classes,
    *,
    synonyms: Mapping[str, str] | None = None,
    contains: Sequence[tuple[str, str]] = (),
    ids: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
) -> ClassTable:
    """Makes a table in which every class goes by its own name and by the names given here.

    Names are compared without regard to case, and to whether spaces, `_` or `-` part their words.

    Args:
      classes: the task's classes.
      synonyms: {name in the files: class name}.
      contains: (part of a name, class name), tried in order where no whole name fits.
      ids: {Annotation Id of an ImageScope file: class name}, for regions of which no name fits.
      ignored: names whose regions are left out and counted; "" is a region without a name.

    Raises:
      UserError: a class name that is none of `classes`.
    """

    def code(name: str) -> int:
        if name not in classes.names:
            raise UserError(f"{name!r} is none of the classes ({', '.join(classes.names)})")
        return classes.names.index(name)

    exact = {normalised(name): index for index, name in enumerate(classes.names)}
    exact |= {normalised(name): code(target) for name, target in (synonyms or {}).items()}
    return ClassTable(
        classes,
        exact,
        tuple((normalised(part), code(target)) for part, target in contains),
        {ident: code(target) for ident, target in (ids or {}).items()},
        frozenset(normalised(name) for name in ignored),
    )


def bach_table(
    classes: Classes = BACH_CLASSES,
    *,
    synonyms: Mapping[str, str] | None = None,
    ids: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
) -> ClassTable:
    """BACH's rule: a label that contains "benign", else "in situ" (or "insitu"), else "invasive".

    The authors' reader has this rule and this order, so "in situ and invasive" is in situ. It meets
    "Carcinoma in situ" and "Invasive carcinoma" as well.

    Args:
      classes: four classes in BACH's order, under any names.
      synonyms: see `class_table`; whole names come before parts of names.
      ignored: see `class_table`.
      ids: see `class_table`; {"1": "benign", "2": "in situ", "3": "invasive"} fits files with an Annotation
        for each class.
    """
    _, benign, in_situ, invasive = classes.names
    parts = (("benign", benign), ("in situ", in_situ), ("insitu", in_situ), ("invasive", invasive))
    return class_table(classes, synonyms=synonyms, contains=parts, ids=ids, ignored=ignored)


def code_of(table: ClassTable, names: Sequence[str], ident: str = "") -> int | None:
    """The code of the first name that the table knows, `IGNORED`, or None where it knows none.

    Args:
      table: from `class_table`.
      names: candidates, most specific first; empty ones do not count.
      ident: ImageScope's Annotation Id, used where no name is known.
    """
    written = [normalised(name) for name in names if name.strip()]
    for name in written or [""]:
        if name in table.ignored:
            return IGNORED
        if name in table.exact:
            return table.exact[name]
        for part, code in table.contains:
            if part in name:
                return code
    return table.ids.get(ident)


def normalised(name: str) -> str:
    """Lower case, words parted by single spaces: "In_Situ " is "in situ"."""
    return " ".join(re.split(r"[\s_-]+", name.casefold())).strip()
