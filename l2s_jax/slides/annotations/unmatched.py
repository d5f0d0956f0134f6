"""Names that options give and no region has: most often misspelled, so that what is meant stays as it was."""

from collections.abc import Collection, Iterable, Mapping

from l2s_jax.slides.annotations.class_names import (
    FRAME_OF_QUPATH,
    IGNORED_BY_QUPATH,
    NO_NAME,
    ClassTable,
    as_written,
    normalised,
)
from l2s_jax.system.texts import listed, shown


def unmatched_names(
    asked: Mapping[str, Iterable[str]], names: Collection[str], table: ClassTable
) -> list[str]:
    """A sentence for each name of an option that no region has.

    Regions without a name, `Ignore*` and `Region*` may be named without there being any: they cannot be
    misspelled, and are as they are without the option too.

    Args:
      asked: names by option, such as `--ignore`.
      names: of all regions.
      table: in which regions are looked up. A name that it has is never taken for one that is near to it.
    """
    there = dict.fromkeys(map(as_written, names))
    near = {normalised(name) for name in there if name not in table.exact}
    built_in = {NO_NAME, IGNORED_BY_QUPATH, FRAME_OF_QUPATH}
    has = f"there are {listed(map(repr, there), 20)}" if there else "none has a name"
    return [
        f"{option} {shown(name)}: no region that was read has this name; {has}"
        for option, given in asked.items()
        for name in given
        if as_written(name) not in there and normalised(name) not in near | built_in
    ]


def unmatched_ids(ids: Iterable[str], there: Collection[str]) -> list[str]:
    """A sentence for each Annotation Id of `--class-ids` that no region has.

    Args:
      ids: that are given a class.
      there: of all regions; "" where a file has none.
    """
    known = sorted({one for one in there if one})
    has = f"there are {listed(known, 20)}" if known else "none has one"
    return [
        f"--class-ids {shown(one)}: no region that was read has this Annotation Id; {has}"
        for one in ids
        if one not in known
    ]
