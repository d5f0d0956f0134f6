"""What people say of labels and masks, right, wrong or unsure: a CSV file that the page of `review` saves.

  image, mask  paths as in `patches.csv`; of a fold's manifest, from the folder of the folds
  kind         what was looked at: `label` or `mask`
  label        name of the class that the patch had, "" without one
  content      digits that change with the files that were looked at, see `fingerprint.content_of`
  mark         right, wrong or unsure

A mark holds as long as what was looked at is the same; of what has changed since, it says nothing any more.
Rows of the kind `window`, as `review.csv` has them of slides, are of nothing in a manifest: they are passed
over, and that is said.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from l2s_jax.data.check_rows import at
from l2s_jax.data.fingerprint import content_of, relative_name
from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.system.csv_text import decoded, read_text_rows
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed, shown
from l2s_jax.types import IGNORE_LABEL

Kind = Literal["label", "mask"]
Verdict = Literal["right", "wrong", "unsure"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
WINDOW: Literal["window"] = "window"
"""The kind of a row of `review.csv` that is of a slide: it is of nothing in the manifest."""
ITEM = ("image", "mask", "kind", "label", "content")
"""The columns that say what was looked at."""
COLUMNS = (*ITEM, "mark")


class Mark(NamedTuple):
    """What a person says of a label or a mask."""

    row: PatchRow
    kind: Kind
    verdict: Verdict


class Marks(NamedTuple):
    """A file of marks, held against a manifest."""

    path: Path
    holding: tuple[Mark, ...]
    passed: tuple[str, ...]  # marks that do not hold, in words
    windows: tuple[int, ...] = ()  # lines that are of windows of slides


def item_of(row: PatchRow, kind: Kind, contents: Manifest) -> tuple[str, ...]:
    """The fields `ITEM` of a patch: the same from a manifest and from its folds."""
    root = root_of(contents.folder)
    label = "" if row.label == IGNORE_LABEL else contents.classes.names[row.label]
    names = relative_name(row.image, root), relative_name(row.mask, root)
    return (*names, kind, label, content_of((row.image, row.mask if kind == "mask" else None)))


def read_marks(path: str | Path, contents: Manifest) -> Marks:
    """Reads marks and finds the patches that they are of.

    Args:
      path: CSV file, as the page of `review` saves it.
      contents: the manifest.

    Raises:
      UserError: no CSV, other columns or words than there can be, one thing marked twice and differently, or
        marks of another data set.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the marks {path}: {error.strerror or error}") from error
    header, records, lines = read_text_rows(decoded(content, path), path, COLUMNS)
    columns = [header.index(name) for name in COLUMNS]
    said: dict[tuple[str, ...], tuple[int, Verdict]] = {}
    windows: list[int] = []
    for fields, line in zip(records, lines, strict=True):
        *item, verdict = (fields[column] for column in columns)
        kind = item[ITEM.index("kind")]
        if kind == WINDOW and verdict in VERDICTS:
            windows.append(line)
            continue
        if kind not in KINDS or verdict not in VERDICTS:
            raise UserError(
                f"{path} line {line}: kind {shown(kind)}, mark {shown(verdict)}; expected "
                f"{' or '.join(KINDS)}, and {' or '.join(VERDICTS)}"
            )
        first, before = said.setdefault(tuple(item), (line, verdict))
        if before != verdict:
            raise UserError(
                f"{path} lines {first} and {line} say {before} and {verdict} of the same {kind} "
                f"({item[0]}). Keep one of them"
            )
    return _held_against(path, said, contents)._replace(windows=tuple(windows))


def _held_against(path: Path, said: dict[tuple[str, ...], tuple[int, Verdict]], contents: Manifest) -> Marks:
    root = root_of(contents.folder)
    of_image: dict[str, list[PatchRow]] = {}
    for row in contents.patches:
        of_image.setdefault(relative_name(row.image, root), []).append(row)
    holding, passed = [], []
    for item, (line, verdict) in said.items():
        kind = cast(Kind, item[ITEM.index("kind")])
        rows = of_image.get(item[0], [])
        same = [row for row in rows if _is(item, row, kind, contents)]
        holding += [Mark(row, kind, verdict) for row in same]
        if not same:
            what = "its label, mask or picture is another one than was marked" if rows else "is not there"
            passed.append(f"line {line}: {item[0]}: {what}")
    if said and not any(item[0] in of_image for item in said):
        raise UserError(
            f"{path} marks {listed((item[0] for item in said), 3)}, and {contents.folder} has none of them: "
            "it is of another data set"
        )
    return Marks(path, tuple(holding), tuple(passed))


def _is(item: tuple[str, ...], row: PatchRow, kind: Kind, contents: Manifest) -> bool:
    """Whether a row still is what was marked. Neither label nor mask depends on the other."""
    now = dict(zip(ITEM, item_of(row, kind, contents), strict=True))
    then = dict(zip(ITEM, item, strict=True))
    given = "label" if kind == "label" else "mask"
    return now["content"] == then["content"] and now[given] == then[given] and bool(now[given])


def marks_text(marks: Marks, contents: Manifest) -> str:
    """What a file of marks says of a manifest, as lines for people."""
    lines = [f"{marks.path}: {len(marks.holding)} marks of {contents.folder}"]
    for kind in KINDS:
        counts = Counter(one.verdict for one in marks.holding if one.kind == kind)
        if counts:
            parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
            lines.append(f"  {kind}s: {parts}")
    for verdict in ("wrong", "unsure"):
        lines += [
            f"  {at(one.row)}: {_given(one, contents)} is marked {verdict}"
            for one in _by_line(marks.holding)
            if one.verdict == verdict
        ]
    if marks.passed:
        lines.append(f"{len(marks.passed)} marks no longer hold:")
        lines += [f"  {text}" for text in marks.passed]
    return "\n".join([*lines, *windows_lines(marks)])


def windows_lines(marks: Marks) -> list[str]:
    """That rows of windows of slides were passed over, as lines for people; none where there are none."""
    if not marks.windows:
        return []
    return [
        f"{marks.path}: {len(marks.windows)} rows are of windows of slides (line "
        f"{listed(map(str, marks.windows), 3)}) and were passed over: a window has neither label nor mask"
    ]


def _by_line(marks: Iterable[Mark]) -> Sequence[Mark]:
    return sorted(marks, key=lambda one: (one.row.line, one.kind))


def _given(one: Mark, contents: Manifest) -> str:
    """The label or the mask that was looked at."""
    if one.kind == "mask":
        return f"the mask {one.row.mask}"
    return f"the label {contents.classes.names[one.row.label]!r} of {one.row.image}"
