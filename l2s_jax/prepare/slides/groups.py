"""Whether it is known of which patient each slide is, where a table says so of some.

A slide of which nothing is said is a patient of its own. Beside slides whose patients are known that is most
often a slip of the keyboard, and one patient would be in train and in test.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from l2s_jax.prepare.slides.inputs import Inputs, SlideInput, names_in_tables
from l2s_jax.prepare.slides.labelled import picture_group
from l2s_jax.slides.named_rows import SHOWN, may_mean
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed


def require_groups(
    inputs: Inputs,
    pictures: Iterable[Path],
    groups: Mapping[str, str],
    source: str | Path,
    table: Path | None,
) -> list[str]:
    """Refuses slides without a patient beside others that have one.

    Args:
      inputs: from `find_inputs`.
      pictures: labelled ones, which the table may name too.
      groups: from `read_groups`.
      source: where the slides were found.
      table: from which the groups were read.

    Returns:
      Warnings: rows that name nothing that is here, and that no row names a slide.

    Raises:
      UserError: the table names none of the slides and pictures; or slides have no group though others do.
    """
    pictures = list(pictures)
    named = {name for one in inputs.slides for name in names_in_tables(one)} & set(groups)
    if groups and not named and not any(picture_group(path, "", groups) for path in pictures):
        raise UserError(
            f"{table} names none of the slides or pictures: expected names such as "
            f"{inputs.slides[0].slide.name if inputs.slides else 'slide.svs'}, with or without suffix; found "
            f"{listed(groups, 3)}" + _hints(inputs.slides, groups)
        )
    known = {name for one in (*inputs.slides, *inputs.unused) for name in names_in_tables(one)}
    known |= {name for path in pictures for name in (f"{path.parent.name}/{path.name}", path.name, path.stem)}
    left = [name for name in groups if name not in known]
    if inputs.alone and len(inputs.alone) < len(inputs.slides):
        where = table if groups else f"{source}, column group"
        raise UserError(
            f"{where}: {len(inputs.alone)} of {len(inputs.slides)} slides have no group "
            f"({listed((one.slide.name for one in inputs.alone), SHOWN)}). Each would be a patient of its "
            "own, and one whose other slides have a group could be in train and in test. Give every slide "
            "its patient: its own name where it is the only slide of one" + _hints(inputs.alone, left)
        )
    warnings = []
    if left:
        warnings.append(
            f"warning: {len(left)} name(s) in {table} are of no slide or picture that is here: "
            f"{listed(left, SHOWN)}"
        )
    if groups and inputs.slides and len(inputs.alone) == len(inputs.slides):
        warnings.append(
            f"warning: {table} names pictures and no slide: each slide is a patient of its own. Where one is "
            "of a patient with other slides or pictures, what is learned leaks into the score: name its "
            "group too"
        )
    return warnings


def _hints(slides: Iterable[SlideInput], rows: Iterable[str]) -> str:
    return may_mean(((one.slide.name, names_in_tables(one)) for one in slides), rows)
