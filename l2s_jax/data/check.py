"""Reads everything a manifest names and reports all that is wrong with it at once.

*Problems* stop training; *warnings* do not. A class that occurs nowhere is a problem where there is anything
to learn from, unless it is the background. One that the training split alone lacks is a warning: its class
weight is zero and it is never predicted. That may be meant (a test set with one more class) but must be said.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2s_jax.data.manifest import PATCHES, Classes, Manifest, PatchRow, parse_manifest, straddling_groups
from l2s_jax.data.pictures import ImageLook, is_large, look_at_image, look_at_mask
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.types import IGNORE_LABEL, PATCH_MULTIPLE, SPLITS, fits_network

SHOWN = 20
"""So many problems are listed where training is refused; `l2s check` lists all."""

_WITHOUT = {
    "train": "nothing can be trained",
    "val": "no best checkpoint can be chosen",
    "test": "nothing can be evaluated with --split test",
}


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


@dataclass(frozen=True)
class _Seen:
    """What was found in the files of one row; `image` is None where it cannot be read."""

    row: PatchRow
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    image: ImageLook | None = None
    pixels: np.ndarray | None = None  # i64[C], mask pixels by class

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the image."""
        return None if self.image is None else self.image.size


def check_manifest(path: str | Path, *, allow_outside: bool = False) -> Report:
    """Checks a manifest and every file it names.

    Args:
      path: the manifest's folder, or its `patches.csv`.
      allow_outside: accept paths that lead out of the manifest's folder.

    Raises:
      UserError: where there is nothing to check: files missing, no header, faulty `classes.toml`, no rows.
    """
    manifest, problems = parse_manifest(path, allow_outside=allow_outside)
    seen = _look_at_all(manifest)
    problems = _one_class(manifest.classes) + problems
    problems += [f"{_at(one.row)}: {fault}" for one in seen for fault in one.faults]
    problems += _straddling(manifest) + _unequal_sizes(seen)
    duplicates_across, duplicates_within = _duplicates(seen)
    warnings = [f"{_at(one.row)}: {doubt}" for one in seen for doubt in one.doubts]
    warnings += _conversions(seen)
    empty, absent = _absent_classes(manifest.classes, seen)
    problems += empty
    warnings += duplicates_within + absent + _one_sided(manifest.patches)
    return Report(
        manifest, tuple(problems + duplicates_across), tuple(warnings), tuple(_summary(manifest, seen))
    )


def require_valid(report: Report) -> None:
    """Raises `UserError` naming the report's problems, if it has any."""
    if report.ok:
        return
    folder, left_out = report.manifest.folder, len(report.problems) - SHOWN
    text = f"{folder} has {_listing('problem', report.problems, SHOWN)}"
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


def _at(row: PatchRow) -> str:
    return f"{PATCHES} line {row.line}"


def _look_at_all(manifest: Manifest) -> list[_Seen]:
    """Reads the files of all rows; large pictures one at a time, in a thread of their own."""
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool, ThreadPoolExecutor(1) as alone:

        def look(row: PatchRow) -> _Seen:
            if any(is_large(path) for path in (row.image, row.mask) if path):
                return alone.submit(_look, row, manifest.classes).result()
            return _look(row, manifest.classes)

        looks = pool.map(look, manifest.patches)
        return list(track(looks, "checking", total=len(manifest.patches), unit="patches"))


def _look(row: PatchRow, classes: Classes) -> _Seen:
    """Reads the files of one row; keeps sizes and counts, not pixels."""
    faults: list[str] = []
    image = mask = None
    try:
        image = look_at_image(row.image)
    except UserError as error:
        faults.append(str(error))
    try:
        mask = None if row.mask is None else look_at_mask(row.mask, classes)
    except UserError as error:
        faults.append(str(error))
    if image is None or mask is None:
        return _Seen(row, tuple(faults), (), image, None if mask is None else mask.pixels)
    doubts = []
    if mask.size != image.size:
        faults.append(
            f"{row.mask} is {_size(mask.size)} but its image {_size(image.size)} (height x width); "
            "expected the same size. Export the mask again at the image's size"
        )
    if mask.orientation != image.orientation:
        faults.append(
            f"{row.image} and {row.mask} have different EXIF orientations and may not lie on each other. "
            "Save both upright, without the tag"
        )
    if not mask.pixels.any():
        doubts.append(f"{row.mask} has nothing but ignored pixels: it teaches nothing")
    elif row.label != IGNORE_LABEL and not mask.pixels[row.label]:
        doubts.append(f"label {classes.names[row.label]!r} has no pixel in {row.mask}")
    return _Seen(row, tuple(faults), tuple(doubts), image, mask.pixels)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _one_class(classes: Classes) -> list[str]:
    if len(classes) > 1:
        return []
    return [f"classes.toml has one class ({classes.names[0]}); at least two are needed to tell apart"]


def _conversions(seen: Sequence[_Seen]) -> list[str]:
    """Pictures whose colours are not taken as they are, one line for each way."""
    lines = []
    converted = [(one.row, one.image.conversions) for one in seen if one.image]
    for how in sorted({how for _, conversions in converted for how in conversions}):
        rows = [row for row, conversions in converted if how in conversions]
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        lines.append(f"{_at(rows[0])}{more}: {rows[0].image} is {how}")
    return lines


def _straddling(manifest: Manifest) -> list[str]:
    problems = []
    for group, splits in straddling_groups(manifest.patches).items():
        rows = [row for row in reversed(manifest.patches) if row.group == group]
        first: dict[str, int] = {row.split: row.line for row in rows}
        where = " and ".join(f"{split} (from line {first[split]})" for split in splits)
        problems.append(
            f"group {group!r} stands in {where}: what is learned leaks into the score. Put all patches of a "
            "patient or slide into one split"
        )
    return problems


def _unequal_sizes(seen: Sequence[_Seen]) -> list[str]:
    """One square size, a multiple of `PATCH_MULTIPLE`, for training; the most frequent is taken to be meant.

    Pictures of val and test may have any size: they are predicted by tiles.
    """
    seen = [one for one in seen if one.row.split == "train"]
    sizes = Counter(one.size for one in seen if one.size is not None)
    if not sizes:
        return []
    (meant, _), *others = sizes.most_common()
    problems = []
    if meant[0] != meant[1] or not fits_network(meant[0]):
        problems.append(
            f"training patches are {_size(meant)}; expected squares whose side is a multiple of "
            f"{PATCH_MULTIPLE}. Cut or resize images and masks (masks by nearest neighbour)"
        )
    for size, count in others:
        lines = [one.row.line for one in seen if one.size == size]
        shown = ", ".join(map(str, lines[:10])) + (", ..." if count > 10 else "")
        problems.append(
            f"{PATCHES} line(s) {shown}: {count} patch(es) of {_size(size)} where most are {_size(meant)} "
            "(height x width); all training patches need one size"
        )
    return problems


def _duplicates(seen: Sequence[_Seen]) -> tuple[list[str], list[str]]:
    """Pictures with the same pixels: (across splits, within one split)."""
    alike: dict[bytes, list[PatchRow]] = defaultdict(list)
    for one in seen:
        if one.image is not None:
            alike[one.image.digest].append(one.row)
    across, within = [], []
    for rows in alike.values():
        splits = sorted({row.split for row in rows}, key=SPLITS.index)
        if len(splits) > 1:
            where = ", ".join(f"{row.line} ({row.split})" for row in rows)
            across.append(
                f"{PATCHES} lines {where}: the same picture in several splits. Keep it in one of them"
            )
        elif len(rows) > 1:
            where = ", ".join(str(row.line) for row in rows)
            within.append(f"{PATCHES} lines {where}: the same picture several times in {splits[0]}")
    return across, within


def _absent_classes(classes: Classes, seen: Sequence[_Seen]) -> tuple[list[str], list[str]]:
    """Classes with neither a mask pixel nor a label: (anywhere, in training)."""
    present: dict[str, set[int]] = {split: set() for split in SPLITS}
    for one in seen:
        here = present[one.row.split]
        here.add(one.row.label)
        if one.pixels is not None:
            here.update(np.flatnonzero(one.pixels).tolist())
    trains = any(one.row.split == "train" for one in seen)
    anywhere, in_training = [], []
    for code, name in enumerate(classes.names):
        found = [split for split in SPLITS if code in present[split]]
        if not found and code != classes.background and trains:
            anywhere.append(
                f"class {name!r} has no mask pixel and no label anywhere: add patches of it, or take it "
                "out of classes.toml"
            )
        elif "train" not in found:
            where = f"it occurs in {' and '.join(found)}" if found else "it occurs nowhere"
            in_training.append(
                f"class {name!r} has no mask pixel and no label in train ({where}): it cannot be learned"
            )
    return anywhere, in_training


def _one_sided(patches: Sequence[PatchRow]) -> list[str]:
    """What a split lacks as a whole."""
    warnings = []
    for split in SPLITS:
        rows = [row for row in patches if row.split == split]
        if not rows:
            warnings.append(f"no patches in {split}: {_WITHOUT[split]}")
            continue
        if not any(row.mask for row in rows):
            lost = "segmentation is not learned" if split == "train" else "its F1 cannot be measured"
            warnings.append(f"no masks in {split}: {lost}")
        if split == "train" and all(row.label == IGNORE_LABEL for row in rows):
            warnings.append("no labels in train: only setting S is possible, without a classification loss")
    return warnings


def _summary(manifest: Manifest, seen: Sequence[_Seen]) -> list[str]:
    """Counts by split, kind and class."""
    names = manifest.classes.names
    width = max(len("class"), *map(len, names))
    sizes = Counter(one.size for one in seen if one.size is not None)
    shown = ", ".join(f"{n} of {_size(size)}" for size, n in sizes.most_common(4))
    lines = [f"{manifest.folder}: {len(manifest.patches)} patches ({shown or 'none readable'})"]
    for split in SPLITS:
        rows = manifest.of_split(split)
        both = sum(row.mask is not None and row.label != IGNORE_LABEL for row in rows)
        masks = sum(row.mask is not None for row in rows)
        lines.append(
            f"  {split:5s} {len(rows):6d} patches, {len({row.group for row in rows}):4d} groups: "
            f"{both} mask and label, {masks - both} mask only, {len(rows) - masks} label only"
        )
    lines += ["", f"  {'class':{width}s}  labels: train    val   test   mask pixels: train    val   test"]
    for code, name in enumerate(names):
        labels = [sum(row.label == code for row in manifest.of_split(split)) for split in SPLITS]
        shares = [_share(code, split, seen) for split in SPLITS]
        lines.append(
            f"  {name:{width}s}  {labels[0]:13d} {labels[1]:6d} {labels[2]:6d}  "
            f"{shares[0]:>18s} {shares[1]:>6s} {shares[2]:>6s}"
        )
    return lines


def _share(code: int, split: str, seen: Sequence[_Seen]) -> str:
    """Percentage of a split's mask pixels that a class has."""
    counts = [one.pixels for one in seen if one.row.split == split and one.pixels is not None]
    total = sum(int(pixels.sum()) for pixels in counts)
    return f"{100 * sum(int(pixels[code]) for pixels in counts) / total:.1f}%" if total else "-"
