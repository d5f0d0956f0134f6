"""Micrometres a pixel: where a slide's scale comes from, and which values cannot be true.

A wrong scale makes every later number wrong without any sign of it, so a value is either found in a named
place and plausible, or refused.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from l2s_jax.data.ome_xml import read_ome
from l2s_jax.data.tiff_facts import PLAUSIBLE_MPP
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import SCALES

MppSource = Literal["openslide", "ome", "tiff-resolution", "table", "annotation", "option"]

POSSIBLE_MPP = (SCALES.low, SCALES.high)

IMPOSSIBLE = "no positive number of um/px that a slide can have (0.001 to 1000)"

DISAGREEMENT = 0.05
"""Relative difference from which a note says that the file and the user's value differ."""

_MICROMETRES_A_UNIT = {"inch": 25400.0, "centimeter": 10000.0}


class Mpp(NamedTuple):
    """A level-0 scale with its origin."""

    value: tuple[float, float]  # um/px (row, col)
    source: MppSource
    notes: tuple[str, ...]  # what was missing, implausible or overruled, for people


def find_mpp(
    path: Path,
    properties: Mapping[str, str],
    *,
    option: float | tuple[float, float] | None = None,
    table: Mapping[str, tuple[float, float]] | None = None,
    annotation: float | None = None,
    override: bool = False,
) -> Mpp:
    """Looks for a slide's scale: in the file, a table of slides, its annotation, an option.

    In the file it is the scanner's own property, else OME-XML's PhysicalSize, else TIFF's resolution.

    Args:
      path: the slide, for messages and to look it up in `table` (by file name, then by name without suffix).
      properties: OpenSlide's properties (`openslide.mpp-x`, `tiff.XResolution`, ...).
      option: um/px, one number or (row, col); used where neither file, table nor annotation has a value.
      table: what `read_mpp_table` gives.
      annotation: um/px that the slide's annotation states.
      override: `table` and `option` come before what the file and the annotation say, for files known to be
        wrong.

    Raises:
      UserError: no plausible value anywhere, or an option or table value that no slide can have.
    """
    notes: list[str] = []
    in_file = _from_file(properties, notes)
    given = _from_user(path, option, table)
    stated: Found | None = None if annotation is None else ((annotation, annotation), "annotation")
    ranked = [in_file, stated, given]
    if override:
        ranked = [given, in_file, stated]
    elif given and given[1] == "table":
        ranked = [in_file, given, stated]
    stating = [one for one in ranked if one]
    if not stating:
        raise UserError(
            f"{path}: the scale is not known ({'; '.join(notes)}). Give the micrometres a pixel at full "
            "resolution with --slide-mpp (about 0.25 for 40x, 0.5 for 20x), or --mpp-table, a CSV with the "
            "columns slide,mpp."
        )
    found, *others = stating
    for other in others:
        if _differ(found[0], other[0]):
            notes.append(
                f"mpp {_text(found[0])} from {found[1]} is used, not {_text(other[0])} from {other[1]}"
                + (", as --slide-mpp-from given asks" if override and found is given else "")
                + ("; if that is wrong, --slide-mpp-from given takes the other" if other is given else "")
            )
    return Mpp(found[0], found[1], tuple(notes + _power_note(properties, found[0])))


Found = tuple[tuple[float, float], MppSource]


def _from_file(properties: Mapping[str, str], notes: list[str]) -> Found | None:
    """The best that the file itself says; a second opinion in it that differs is noted."""
    # What OpenSlide says of a generic TIFF comes from its resolution tags, which OME-TIFF's writers fill as
    # they like.
    if properties.get("openslide.vendor", "generic-tiff") == "generic-tiff":
        ome = _from_ome(properties, notes)
        unheard: list[str] = []
        others = _from_openslide(properties, unheard) or _from_tiff(properties, unheard)
        if ome is None:
            notes += unheard
        elif others and _differ(ome[0], others[0]):
            notes.append(f"mpp {_text(ome[0])} from ome is used, not {_text(others[0])} from {others[1]}")
        return ome or others
    return _from_openslide(properties, notes) or _from_ome(properties, notes) or _from_tiff(properties, notes)


def _from_ome(properties: Mapping[str, str], notes: list[str]) -> Found | None:
    """PhysicalSizeY and X of the OME-XML in a TIFF's description."""
    ome = read_ome(properties.get("tiff.ImageDescription"))
    if ome is None:
        return None
    if ome.mpp is None:
        notes.append(ome.note)
    elif not all(_plausible(value) for value in ome.mpp):
        notes.append(f"the OME-XML's PhysicalSize of {_text(ome.mpp)} um/px is not plausible")
    else:
        return ome.mpp, "ome"
    return None


def _from_openslide(properties: Mapping[str, str], notes: list[str]) -> Found | None:
    """`openslide.mpp-y` and `-x`; one stands in for the other. For generic TIFF they come from the tags."""
    source: MppSource = (
        "tiff-resolution" if properties.get("openslide.vendor") == "generic-tiff" else "openslide"
    )
    found = {}
    for axis in ("y", "x"):
        name = f"openslide.mpp-{axis}"
        if name not in properties:
            notes.append(f"{name} is missing")
        elif (value := _number(properties[name])) is None or not _plausible(value):
            notes.append(f"{name} = {properties[name]!r} is not plausible and taken as missing")
        else:
            found[axis] = value
    if not found:
        return None
    return (found.get("y", found.get("x", 0.0)), found.get("x", found.get("y", 0.0))), source


def _from_tiff(properties: Mapping[str, str], notes: list[str]) -> Found | None:
    """TIFF's XResolution and YResolution, where their unit is a length."""
    unit = _MICROMETRES_A_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    values = [_number(properties.get(f"tiff.{axis}Resolution")) for axis in ("Y", "X")]
    if unit is None or not all(values):
        notes.append("no TIFF resolution in pixels an inch or a centimetre")
        return None
    row, col = (unit / value if value else math.inf for value in values)
    if not (_plausible(row) and _plausible(col)):
        notes.append(f"the TIFF resolution means {row:.4g} um/px, which is not plausible")
        return None
    return (row, col), "tiff-resolution"


def _from_user(
    path: Path,
    option: float | tuple[float, float] | None,
    table: Mapping[str, tuple[float, float]] | None,
) -> Found | None:
    """The table's row for this slide, otherwise the option."""
    for name in (path.name, path.stem):
        if table and name in table:
            return table[name], "table"
    if option is None:
        return None
    row, col = option if isinstance(option, tuple) else (option, option)
    if not (possible(row) and possible(col)):
        raise UserError(f"mpp {option!r} is {IMPOSSIBLE}")
    return (float(row), float(col)), "option"


def _power_note(properties: Mapping[str, str], mpp: tuple[float, float]) -> list[str]:
    """A note where objective power and mpp contradict each other: 10 um/px at 1x is the usual scanner."""
    power = _number(properties.get("openslide.objective-power"))
    if not power or 0.4 <= power * mpp[1] / 10 <= 2.5:
        return []
    return [f"the slide says {power:g}x, at which about {10 / power:g} um/px is usual, but mpp {_text(mpp)}"]


def read_mpp_table(path: str | Path) -> dict[str, tuple[float, float]]:
    """Reads a CSV of scales: columns `slide` and `mpp`, or `slide`, `mpp_row` and `mpp_col` (um/px, level 0).

    Returns:
      {file name with or without suffix: (row, col)}.

    Raises:
      UserError: naming the line that cannot be used.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the mpp table {path}: {error}. Save it as CSV in UTF-8") from error
    reader = csv.DictReader(io.StringIO(text.replace("\0", ""), newline=""))
    table: dict[str, tuple[float, float]] = {}
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        columns = ("mpp", "mpp") if "mpp" in names else ("mpp_row", "mpp_col")
        if {"slide", *columns} - set(names):
            why = (
                "; it is parted by semicolons, save it with commas"
                if any(";" in one for one in names)
                else ""
            )
            raise UserError(
                f"{path}: expected the columns slide,mpp or slide,mpp_row,mpp_col in the header{why}"
            )
        for record in reader:
            if not any((value or "").strip() for key, value in record.items() if key is not None):
                continue  # a spreadsheet's rows of commas
            name, texts = (record["slide"] or "").strip(), [record[column] for column in columns]
            values = [_number(one) for one in texts]
            if not name or not all(value is not None and possible(value) for value in values):
                raise UserError(
                    f"{path} line {reader.line_num}: expected a slide and its um/px, found {name[:60]!r} and "
                    f"{', '.join(repr((one or '')[:30]) for one in dict.fromkeys(texts))}, {IMPOSSIBLE}"
                )
            if name in table:
                raise UserError(f"{path} line {reader.line_num}: {name} stands twice in the table")
            table[name] = (values[0] or 0.0, values[1] or 0.0)
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num} is no CSV: {error}") from error
    return table


def possible(mpp: float) -> bool:
    """Whether a number of um/px is one that somebody can mean."""
    return POSSIBLE_MPP[0] <= mpp <= POSSIBLE_MPP[1]


def _number(text: str | None) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _plausible(mpp: float) -> bool:
    return PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def _differ(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return any(abs(a - b) > DISAGREEMENT * a for a, b in zip(one, other, strict=True))


def _text(mpp: tuple[float, float]) -> str:
    return f"{mpp[0]:.4g}" if mpp[0] == mpp[1] else f"{mpp[0]:.4g} x {mpp[1]:.4g} (row, col)"
