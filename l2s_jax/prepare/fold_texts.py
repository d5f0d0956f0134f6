"""What stands in the way of a cross-validation, and what is in its folds, in words."""

from collections.abc import Mapping, Sequence

from l2s_jax.data.check import MOST_LISTED, Report
from l2s_jax.data.check_rows import Seen
from l2s_jax.data.manifest import Manifest
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import SPLITS


def require_fit(manifest: Manifest, reports: Sequence[Report]) -> None:
    """Refuses a manifest of which a fold could not be trained or would leak.

    Args:
      manifest: that is divided.
      reports: of its folds, with the lines of its rows.

    Raises:
      UserError: naming all problems, and what the folds have to do with them.
    """
    problems = _merged([report.problems for report in reports])
    if problems:
        more = f"\n  ... and {len(problems) - MOST_LISTED} more" if len(problems) > MOST_LISTED else ""
        raise UserError(
            "\n  ".join([
                f"{manifest.folder} cannot be divided into {len(reports)} folds, in which every picture is "
                "trained on, chosen with and tested on in turn:",
                *problems[:MOST_LISTED],
            ])
            + more
        )  # fmt: skip


def fold_lines(
    manifest: Manifest,
    seen: Sequence[Seen],
    fold_of: Mapping[str, int],
    reports: Sequence[Report],
    outside: int,
) -> list[str]:
    """Lines on what each fold tests on, and what folds lack.

    Args:
      manifest: that was divided.
      seen: its rows.
      fold_of: the fold that tests on each group.
      reports: of the folds.
      outside: pictures and masks that lie outside the manifest's folder.
    """
    names, folds = manifest.classes.names, len(reports)
    shows = [{code for code in range(len(names)) if _shows(one, code)} for one in seen]
    tested = [fold_of[one.row.group] for one in seen]
    lines = [
        f"{folds} folds of {len(fold_of)} patients or slides, each in the test split of one fold and in the "
        "val split of another",
        "patches of the test splits, and how many of them show each class:",
    ]
    width = max(8, *(len(name) + 2 for name in names))
    lines.append(
        f"  {'fold':6s}{'groups':>8s}{'patches':>9s}" + "".join(f"{name:>{width}s}" for name in names)
    )
    for fold in range(1, folds + 1):
        own = [found for found, of in zip(shows, tested, strict=True) if of == fold]
        groups = sum(of == fold for of in fold_of.values())
        counts = "".join(f"{sum(code in found for found in own):{width}d}" for code in range(len(names)))
        lines.append(f"  {fold:<6d}{groups:8d}{len(own):9d}{counts}")
    lines += [_sizes(reports)]
    for code, name in enumerate(names):
        in_folds = {of for found, of in zip(shows, tested, strict=True) if code in found}
        if in_folds and len(in_folds) < folds:
            owners = {one.row.group for found, one in zip(shows, seen, strict=True) if code in found}
            lacking = listed(sorted(set(range(1, folds + 1)) - in_folds))
            lines.append(
                f"note: class {name!r} is of {len(owners)} patient(s) or slide(s), and in no test patch of "
                f"fold {lacking}: means over folds leave these out for it, pooled figures count all of it"
            )
    lines += [f"warning: {text}" for text in _merged([report.warnings for report in reports])]
    if outside:
        lines.append(
            f"warning: {outside} pictures and masks lie outside {manifest.folder} and stay there: reading "
            "the folds needs --allow-outside too"
        )
    return lines


def _shows(one: Seen, code: int) -> bool:
    return one.row.label == code or (one.pixels is not None and one.pixels[code] > 0)


def _sizes(reports: Sequence[Report]) -> str:
    """How many patches the splits of the folds have."""
    texts = []
    for split in SPLITS:
        counts = [len(report.manifest.of_split(split)) for report in reports]
        texts.append(f"{split} {_range(counts)}")
    return f"patches a fold: {', '.join(texts)}; no group is in two splits of a fold"


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _merged(of_folds: Sequence[Sequence[str]]) -> list[str]:
    """The different texts of all folds, each with the folds that have it where not all do."""
    found: dict[str, list[int]] = {}
    for fold, texts in enumerate(of_folds, 1):
        for text in texts:
            found.setdefault(text, []).append(fold)
    return [
        text if len(folds) == len(of_folds) else f"fold {listed(folds)}: {text}"
        for text, folds in found.items()
    ]
