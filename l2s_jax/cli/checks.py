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

    def run(self) -> int:
        """Ends with 1 where there are problems."""
        return check_and_print(self.manifest, self.allow_outside)


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Look at this installation: versions, devices, OpenSlide, weights, memory; say what to mend."""

    def run(self) -> int:
        """Ends with 1 where there is a problem."""
        from l2s_jax.cli.doctor import diagnose, print_diagnosis

        return print_diagnosis(diagnose())


def check_and_print(manifest: Path, allow_outside: bool = False) -> int:
    """Prints what the check of a manifest found; the exit code."""
    from l2s_jax.data.check import check_manifest

    report = check_manifest(manifest, allow_outside=allow_outside)
    print(report)
    return 0 if report.ok else 1
