"""A manifest without the labels and masks that people have marked as wrong."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from l2s_jax.data.manifest import Manifest, PatchRow, read_manifest
from l2s_jax.data.marks import Marks, Verdict, read_marks, windows_lines
from l2s_jax.prepare.linking import write_linked
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file
from l2s_jax.types import IGNORE_LABEL


def prepare_reviewed(
    manifest: str | Path,
    out: str | Path,
    review: str | Path,
    *,
    leave_out: Sequence[Verdict] = ("wrong",),
    overwrite: bool = False,
    allow_outside: bool = False,
) -> tuple[Manifest, list[str]]:
    """Makes a manifest that lacks what was marked; the one that was marked stays as it is.

    A patch whose label is left out keeps its mask, and the other way round; one of which nothing is left is
    left out itself.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: folder for the other; its pictures are hard links to the same files, or copies.
      review: marks, as the page of `review` saves them.
      leave_out: with which marks: `wrong`, and `unsure` too if you like.
      overwrite: use a folder that holds something else.
      allow_outside: accept paths that lead out of the manifest's folder. Such pictures stay where they are,
        and the other manifest can only be read with the same leave.

    Returns:
      The manifest, and lines on what was left out.

    Raises:
      UserError: a faulty manifest, marks that cannot be read or are of another data set, nothing that is to
        be left out, or a folder that cannot be used.
    """
    found, out = read_manifest(manifest, allow_outside=allow_outside), Path(out)
    marks = read_marks(review, found)
    rows = without_marked(found.patches, marks, leave_out)
    if rows == found.patches:
        more = "".join(f". {line}" for line in windows_lines(marks))
        raise UserError(
            f"{review} marks nothing in {manifest} as {' or '.join(leave_out)}: nothing to leave out{more}"
        )
    if not rows:
        raise UserError(f"{review} marks all of {manifest}: nothing would be left")
    recipe = {
        "what": "reviewed",
        "manifest_sha256": found.sha256,
        "review_sha256": sha256_of_file(review),
        "leave_out": sorted(leave_out),
    }
    write_linked(found, rows, out, recipe, overwrite=overwrite)
    return read_manifest(out, allow_outside=allow_outside), _said(found.patches, rows, marks)


def without_marked(
    rows: Sequence[PatchRow], marks: Marks, leave_out: Collection[Verdict]
) -> tuple[PatchRow, ...]:
    """Rows without the labels and masks that have one of the marks; see `prepare_reviewed`."""
    gone = {(one.row.line, one.kind) for one in marks.holding if one.verdict in leave_out}
    kept = []
    for row in rows:
        if (row.line, "mask") in gone:
            row = replace(row, mask=None)
        if (row.line, "label") in gone:  # the classes that are allowed beside it go with it
            row = replace(row, label=IGNORE_LABEL, allowed=())
        if row.mask is not None or row.label != IGNORE_LABEL or row.allowed:
            kept.append(row)
    return tuple(kept)


def _said(before: Sequence[PatchRow], after: Sequence[PatchRow], marks: Marks) -> list[str]:
    labels, masks = (
        [sum(row.label != IGNORE_LABEL for row in rows) for rows in (before, after)],
        [sum(row.mask is not None for row in rows) for rows in (before, after)],
    )
    lines = [
        f"left out: {labels[0] - labels[1]} of {labels[0]} labels, {masks[0] - masks[1]} of {masks[0]} "
        f"masks; {len(before) - len(after)} of {len(before)} patches, of which nothing was left"
    ]
    if marks.passed:
        lines.append(f"{len(marks.passed)} marks no longer hold and were passed over")
    return [*lines, *windows_lines(marks)]
