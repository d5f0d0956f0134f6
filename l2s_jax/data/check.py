"""Reads everything a manifest names and reports all that is wrong with it at once.

*Problems* stop training; *warnings* do not. A class that occurs nowhere is a problem where there is anything
to learn from, unless it is the background. One that the training split alone lacks is a warning: its class
weight is zero and it is never predicted. That may be meant (a test set with one more class) but must be said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l2s_jax.data.check_findings import (
    absent_classes,
    blank,
    conversions,
    duplicates,
    near_classes,
    near_groups,
    one_class,
    one_sided,
    shared_masks,
    shared_slides,
    straddling,
    unequal_sizes,
)
from l2s_jax.data.check_rows import Seen, at, look_at_rows
from l2s_jax.data.check_scales import scale_findings
from l2s_jax.data.check_summary import summary
from l2s_jax.data.manifest import Manifest, parse_manifest
from l2s_jax.system.errors import UserError

MOST_LISTED = 20
"""So many problems are listed where training is refused; `l2s check` lists all."""


@dataclass(frozen=True)
class Report:
    """What `check_manifest` found. `str(report)` is the text that `l2s check` prints."""

    manifest: Manifest  # the rows that could be read
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    summary: tuple[str, ...]  # lines: counts by split, class and kind

    @property
    def ok(self) -> bool:
        """Whether training may use the manifest."""
        return not self.problems

    def __str__(self) -> str:
        return report_text(self)


def check_manifest(path: str | Path, *, allow_outside: bool = False) -> Report:
    """Checks a manifest and every file it names.

    Args:
      path: the manifest's folder, or its `patches.csv`.
      allow_outside: accept paths that lead out of the manifest's folder.

    Raises:
      UserError: where there is nothing to check: files missing, no header, faulty `classes.toml`, no rows.
    """
    manifest, problems = parse_manifest(path, allow_outside=allow_outside)
    return report_on(manifest, look_at_rows(manifest), problems)


def report_on(manifest: Manifest, seen: Sequence[Seen], problems: Sequence[str] = ()) -> Report:
    """What follows from files that were looked at.

    Args:
      manifest: its rows.
      seen: what was found in the files of each of them.
      problems: those of rows that could not be read.
    """
    problems = list(problems)
    problems = one_class(manifest.classes) + problems
    problems += [f"{at(one.row)}: {fault}" for one in seen for fault in one.faults]
    mixed, scale_warnings = scale_findings(manifest.classes, seen)
    problems += straddling(manifest) + unequal_sizes(seen) + mixed
    duplicates_across, duplicates_within = duplicates(seen)
    warnings = [f"{at(one.row)}: {doubt}" for one in seen for doubt in one.doubts]
    warnings += shared_slides(manifest) + near_groups(manifest) + near_classes(manifest.classes)
    warnings += scale_warnings
    warnings += shared_masks(seen) + conversions(seen) + blank(seen)
    empty, absent = absent_classes(manifest.classes, seen)
    problems += empty
    warnings += duplicates_within + absent + one_sided(manifest.patches)
    return Report(
        manifest, tuple(problems + duplicates_across), tuple(warnings), tuple(summary(manifest, seen))
    )


def require_valid(report: Report) -> None:
    """Raises `UserError` naming the report's problems, if it has any."""
    if report.ok:
        return
    folder, left_out = report.manifest.folder, len(report.problems) - MOST_LISTED
    text = f"{folder} has {_listing('problem', report.problems, MOST_LISTED)}"
    raise UserError(f"{text}\n  ... and {left_out} more: `l2s check {folder}`" if left_out > 0 else text)


def report_text(report: Report) -> str:
    """The report as lines of text."""
    parts = ["\n".join(report.summary)]
    for name, lines in (("warning", report.warnings), ("problem", report.problems)):
        if lines:
            parts.append(_listing(name, lines))
    return "\n\n".join(parts if report.problems else [*parts, "No problems."])


def _listing(name: str, lines: Sequence[str], shown: int | None = None) -> str:
    return "\n  ".join([f"{len(lines)} {name}{'s' if len(lines) > 1 else ''}:", *lines[:shown]])
