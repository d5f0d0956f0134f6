"""Subcommands of `l2s` that look: at a manifest, at the installation."""

from dataclasses import dataclass
from pathlib import Path

from l2s_jax.cli.options import Command, Manifest


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Read a manifest and every picture in it, and report all problems at once."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml."""
    allow_outside: bool = False
    """Accept paths that lead out of the manifest's folder."""
    review: Path | None = None
    """Say too what was marked on the page of `l2s review`: the CSV file that it saves."""

    def run(self) -> int:
        """Ends with 1 where there are problems."""
        return check_and_print(self.manifest, self.allow_outside, self.review)


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Look at this installation: versions, devices, OpenSlide, weights, memory; say what to mend."""

    def run(self) -> int:
        """Ends with 1 where there is a problem."""
        from l2s_jax.cli.doctor import diagnose, print_diagnosis

        return print_diagnosis(diagnose())


def check_and_print(manifest: Path, allow_outside: bool = False, review: Path | None = None) -> int:
    """Prints what the check of a manifest found, and what people have marked in it; the exit code."""
    from l2s_jax.data.check import check_manifest
    from l2s_jax.data.marks import marks_text, read_marks

    report = check_manifest(manifest, allow_outside=allow_outside)
    print(report)
    if review is not None:
        print(f"\n{marks_text(read_marks(review, report.manifest), report.manifest)}")
    return 0 if report.ok else 1
