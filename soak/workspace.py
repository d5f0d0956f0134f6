"""The small data that the soak works on, drawn once a sitting."""

from pathlib import Path
from typing import NamedTuple

from soak.process import run

SWEEP = """
name = "soak"
draws = 1
percents = [60]
[options]
weights = "random"
batch_size = 8
steps = 12
learning_rate = 1e-3
[[variant]]
name = "paper"
[[variant]]
name = "labelset"
preset = "labelset"
settings = ["S+C"]
"""
TRAIN = ("--weights", "random", "--batch-size", "8", "--learning-rate", "0.001", "--validate-steps", "4")


class Workspace(NamedTuple):
    """Inputs that no case changes."""

    folder: Path
    patches: Path  # a manifest
    slides: Path  # BACH's layout
    trained: Path  # a finished run on the manifest of `slides`
    sweep: Path  # a sweep's TOML
    own: Path  # slides with classes of their own

    @property
    def slide(self) -> Path:
        """A whole slide with an annotation beside it."""
        return self.slides / "WSI" / "A04.svs"


def make_workspace(folder: Path) -> Workspace:
    """Draws the inputs, with the commands of the package."""
    work = Workspace(
        folder, folder / "patches", folder / "BACH", folder / "trained", folder / "soak.toml", folder / "own"
    )
    work.sweep.write_text(SWEEP, encoding="utf-8")
    cut = folder / "cut"
    for arguments in (
        ("prepare", "phantom", work.patches, "--patches", "60", "--patch-size", "32", "--masks", "0.5"),
        ("phantom-bach", work.slides),
        ("phantom-slides", work.own, "--slides", "6"),
        ("prepare", "bach", work.slides, cut, "--patch-size", "32"),
        ("train", cut, "--out", work.trained, "--steps", "20", *TRAIN),
    ):
        done = run(arguments)
        if done.code != 0:
            raise SystemExit(f"l2s {' '.join(map(str, arguments))} ended with {done.code}:\n{done.output}")
    return work
