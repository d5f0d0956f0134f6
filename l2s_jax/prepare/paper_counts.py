"""How many patches the paper had (caption of Fig. 5), beside what `prepare` found."""

import csv
from importlib.resources import files

COUNTS = "paper_counts.csv"


def paper_counts(dataset: str) -> tuple[int, int]:
    """(mask patches, image-level patches) of the paper's training set: those of s = 100% and of s = 0%.

    Args:
      dataset: "ICIAR BACH 2018", "Gleason2019" or "DigestPath2019".
    """
    text = (files("l2s_jax.prepare") / COUNTS).read_text(encoding="utf-8")
    rows = {
        float(row["s_percent"]): row for row in csv.DictReader(text.splitlines()) if row["dataset"] == dataset
    }
    return int(rows[100]["n_seg"]), int(rows[0]["n_cls"])


def compared(dataset: str, masks: int, labels: int) -> list[str]:
    """Lines that hold the paper's counts and the ones found against each other."""
    lines = ["training patches        found  paper (Fig. 5)  difference"]
    for name, found, paper in zip(
        ("with a mask", "image-level"), (masks, labels), paper_counts(dataset), strict=True
    ):
        lines.append(f"  {name:<20} {found:>6} {paper:>15} {found - paper:>+11}")
    return lines
