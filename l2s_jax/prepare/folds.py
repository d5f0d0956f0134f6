"""A cross-validation of any manifest: all patients are tested on once, by a network that never saw them.

Groups are dealt to K parts that are as alike as whole groups allow. Fold k tests on part k, chooses its epoch
on the next one, and trains on the others. The manifest's own splits do not count.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from l2s_jax.data.check import Report, report_on
from l2s_jax.data.check_rows import Seen, look_at_rows
from l2s_jax.data.folds import FOLDS, fold_name, root_of
from l2s_jax.data.manifest import (
    CLASSES,
    PATCHES,
    STAIN,
    Manifest,
    PatchRow,
    read_manifest,
    write_classes,
    write_patches,
)
from l2s_jax.prepare.fold_texts import fold_lines, require_fit
from l2s_jax.prepare.folders import FILES, claim_folder
from l2s_jax.prepare.linking import link_all, placed, places, require_free
from l2s_jax.prepare.splits import FREE, assigned
from l2s_jax.system.chance import generator
from l2s_jax.system.csv_text import rows_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file, write_text
from l2s_jax.system.outputs import Source, note_made
from l2s_jax.system.ranges import require_seed
from l2s_jax.types import IGNORE_LABEL

FEWEST = 3
"""One part to test on, one to choose the epoch on, one to learn from."""


def prepare_folds(
    manifest: str | Path,
    out: str | Path,
    folds: int = 5,
    *,
    seed: int = 0,
    overwrite: bool = False,
    allow_outside: bool = False,
) -> tuple[list[Manifest], list[str]]:
    """Makes a manifest for each fold; their pictures stand once, beside them.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: folder of the folds: `folds.csv`, `fold1`, ...; its pictures are hard links to the manifest's, or
        copies on another file system.
      folds: K, 3 or more.
      seed: which of the many equally good ways to deal the groups out.
      overwrite: use a folder that holds something else.
      allow_outside: accept paths that lead out of the manifest's folder. Such pictures stay where they are,
        and the folds can only be read with the same leave.

    Returns:
      The folds' manifests, and lines on what is in them and what they lack.

    Raises:
      UserError: a faulty manifest, too few groups, pictures of different sizes, one picture under two groups,
        or a folder that cannot be used.
    """
    require_seed(seed)
    found, out = read_manifest(manifest, allow_outside=allow_outside), Path(out)
    if out.resolve() in (found.folder.resolve(), root_of(found.folder).resolve()):
        raise UserError(f"{out} is the manifest's own folder: choose another for the folds")
    fold_of = _dealt(found, folds)
    seen = look_at_rows(found)
    fold_of = dict(zip(fold_of, assign(_contents(found, seen, tuple(fold_of)), folds, seed), strict=True))
    reports = [_report(found, seen, fold_of, fold) for fold in range(1, folds + 1)]
    require_fit(found, reports)
    sources = places(found, out)
    files = [out / fold_name(fold) / name for fold in range(1, folds + 1) for name in (PATCHES, CLASSES)]
    require_free(sources, files, out)
    recipe = {"what": "folds", "manifest_sha256": found.sha256, "folds": folds, "seed": seed}
    out = claim_folder(out, recipe, overwrite=overwrite)
    link_all(sources, out)
    made = []
    for fold, report in enumerate(reports, 1):
        folder = out / fold_name(fold)
        write_classes(folder, found.classes)
        if (found.folder / STAIN).is_file():
            write_text(folder / STAIN, (found.folder / STAIN).read_text(encoding="utf-8"))
        rows = [placed(row, sources) for row in report.manifest.patches]
        write_patches(folder, found.classes, rows, root=out)
        made += [path for name in (PATCHES, CLASSES, STAIN) if (path := folder / name).is_file()]
    _finish(out, [*made, *(path for path in sources.values() if path.is_relative_to(out))], fold_of)
    outside = sum(not path.is_relative_to(out) for path in sources.values())
    manifests = [
        read_manifest(out / fold_name(fold), allow_outside=allow_outside) for fold in range(1, folds + 1)
    ]
    return manifests, fold_lines(found, seen, fold_of, reports, outside)


def _dealt(manifest: Manifest, folds: int) -> dict[str, int]:
    """The groups in the order in which they come, none of them dealt yet."""
    groups = dict.fromkeys((row.group for row in manifest.patches), 0)
    if folds < FEWEST:
        raise UserError(
            f"folds = {folds}: expected {FEWEST} or more, since a fold needs a part to test on, one to "
            "choose its epoch on and one to learn from"
        )
    if len(groups) < FEWEST:
        raise UserError(
            f"{manifest.folder} has patches of {len(groups)} patient(s) or slide(s) (column `group`): "
            f"{FEWEST} at least are needed. A network that is tested on a slide it has seen says nothing; "
            "add slides of other patients"
        )
    if len(groups) < folds:
        raise UserError(
            f"{manifest.folder} has patches of {len(groups)} patients or slides (column `group`), too few "
            f"for {folds} folds: each needs one of its own. Take --folds {len(groups)} or fewer, or add "
            "slides"
        )
    return groups


def _contents(manifest: Manifest, seen: Sequence[Seen], groups: Sequence[str]) -> np.ndarray:
    """f64[G,2C+1]: labels of each class, mask area of each class in patches, and patches, by group."""
    number = {group: i for i, group in enumerate(groups)}
    classes = len(manifest.classes)
    counts = np.zeros((len(groups), 2 * classes + 1))
    for one in seen:
        held = counts[number[one.row.group]]
        held[-1] += 1
        if one.row.label != IGNORE_LABEL:
            held[one.row.label] += 1
        if one.pixels is not None and one.pixels.any():
            held[classes : 2 * classes] += one.pixels / one.pixels.sum()
    return counts


def assign(counts: np.ndarray, folds: int, seed: int) -> list[int]:
    """The fold, 1 to K, that tests on each group, given what groups hold (see `splits.assigned`)."""
    share, fixed = np.full(folds, 1 / folds), np.full(len(counts), FREE)
    return [int(part) + 1 for part in assigned(counts, share, generator(seed), fixed)]


def of_fold(row: PatchRow, tested_in: int, fold: int, folds: int) -> PatchRow:
    """The row with its split in one fold."""
    if tested_in == fold:
        return replace(row, split="test")
    return replace(row, split="val" if tested_in == fold % folds + 1 else "train")


def _report(manifest: Manifest, seen: Sequence[Seen], fold_of: dict[str, int], fold: int) -> Report:
    folds = max(fold_of.values())
    seen = [replace(one, row=of_fold(one.row, fold_of[one.row.group], fold, folds)) for one in seen]
    return report_on(replace(manifest, patches=tuple(one.row for one in seen)), seen)


def _finish(out: Path, files: Sequence[Path], fold_of: dict[str, int]) -> None:
    """Writes down what was made and, last of all, `folds.csv`: a folder that has it is complete."""
    source = (Source("prepare"),)
    sums = {path.relative_to(out).as_posix(): sha256_of_file(path) for path in sorted(set(files))}
    note_made(out, sums, source, record=FILES)
    rows = [
        (group, str(fold)) for group, fold in sorted(fold_of.items(), key=lambda pair: (pair[1], pair[0]))
    ]
    write_text(out / FOLDS, rows_text([("group", "fold"), *rows]))
    note_made(out, {FOLDS: sha256_of_file(out / FOLDS)}, source, record=FILES)
