"""The data of a sweep: one manifest, or the folds of a cross-validation, each with its number."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.classes import Classes
from l2s_jax.data.folds import FOLDS, fold_name, has_folds, read_folds
from l2s_jax.data.manifest import Manifest
from l2s_jax.sweeps.plan import NO_FOLD
from l2s_jax.system.errors import UserError
from l2s_jax.training.plan import describe_splits
from l2s_jax.types import IGNORE_LABEL


@dataclass(frozen=True)
class SweepData:
    """What runs of a sweep learn from and are measured on."""

    folder: Path  # of the manifest, or of the folds
    folds: Mapping[int, Manifest]  # by number; one without folds, as `NO_FOLD`
    sha256: str  # changes when any of the manifests does

    @property
    def has_folds(self) -> bool:
        """Whether it is a cross-validation."""
        return NO_FOLD not in self.folds

    @property
    def first(self) -> Manifest:
        """One of the manifests, for what is the same in all: classes, pictures, number of patches."""
        return next(iter(self.folds.values()))

    @property
    def classes(self) -> Classes:
        """The classes of all manifests."""
        return self.first.classes

    @property
    def known(self) -> set[str]:
        """Hashes of which results may be."""
        return {self.sha256, *(manifest.sha256 for manifest in self.folds.values())}

    def facts(self) -> dict[str, Any]:
        """What `sweep.json` says of them: nothing where there are no folds."""
        if not self.has_folds:
            return {}
        tests = {fold: manifest.of_split("test") for fold, manifest in self.folds.items()}
        folds = [
            {
                "fold": fold,
                "manifest_sha256": self.folds[fold].sha256,
                "n_test": len(rows),
                "n_test_groups": len({row.group for row in rows}),
            }
            for fold, rows in tests.items()
        ]
        return {"folds": folds}


def read_data(path: Path, study: str, *, allow_outside: bool, say: Callable[[str], None]) -> SweepData:
    """Reads and checks a manifest, or all folds of a cross-validation, for a study.

    Args:
      path: folder of a manifest, or of folds.
      study: segmentation or classification.
      allow_outside: accept paths that lead out of the folder.
      say: receives what is in the splits.

    Raises:
      UserError: problems that `l2s check` would find; no test patches; folds that are no cross-validation.
    """
    if not has_folds(path):
        manifest = _checked(path, study, allow_outside)
        for line in describe_splits(manifest):
            say(line)
        return SweepData(manifest.folder, {NO_FOLD: manifest}, manifest.sha256)
    fold_of = read_folds(path)
    folds = {
        fold: _checked(path / fold_name(fold), study, allow_outside)
        for fold in range(1, max(fold_of.values()) + 1)
    }
    _require_cross_validation(path, folds, fold_of)
    for fold, manifest in folds.items():
        *splits, _ = describe_splits(manifest)
        say(f"fold {fold}: {'; '.join(splits)}")
    say("no group is in two splits of a fold, and each is in the test split of one fold")
    joined = "".join(manifest.sha256 for manifest in folds.values())
    return SweepData(path, folds, hashlib.sha256(joined.encode()).hexdigest())


def _checked(path: Path, study: str, allow_outside: bool) -> Manifest:
    report = check_manifest(path, allow_outside=allow_outside)
    require_valid(report)
    tests = report.manifest.of_split("test")
    if not tests:
        raise UserError(f"{path} has no patches in the split test: a sweep needs them for its figures")
    if study == "classification" and all(row.label == IGNORE_LABEL for row in tests):
        raise UserError(
            f"{path} has no labels in the split test, from which the classification study reads its figures. "
            f"`l2s prepare halves {path} OUT` makes a manifest that has half of the image-level patches there"
        )
    return report.manifest


def _require_cross_validation(path: Path, folds: Mapping[int, Manifest], fold_of: Mapping[str, int]) -> None:
    """Refuses folds that were edited so that a patch would be tested on twice, or never."""
    first = folds[1]
    rows = {(row.image.resolve(), row.group) for row in first.patches}
    for fold, manifest in folds.items():
        here = {(row.image.resolve(), row.group) for row in manifest.patches}
        if manifest.classes != first.classes or here != rows:
            raise UserError(
                f"{path}: fold {fold} has other patches, groups or classes than fold 1. Make the folds anew: "
                "`l2s prepare folds`"
            )
        tested = {row.group for row in manifest.of_split("test")}
        named = {group for group, of in fold_of.items() if of == fold}
        if tested != named:
            other = sorted(tested ^ named)[0]
            raise UserError(
                f"{path}: fold {fold} tests on other patients or slides than {FOLDS} says ({other!r}): "
                "pooled figures would count some twice or not at all. Make the folds anew: `prepare folds`"
            )
