"""Both studies of one data set, and their reports: the sweeps beside this file, one after the other.

  python experiments/paper.py bach
  python experiments/paper.py phantom --dry-run

The first lines of a sweep's file say how its manifest is made. Killed at any moment, it goes on when it is
started again.
"""

import sys
from pathlib import Path

from l2s_jax import report, sweep
from l2s_jax.system.jax_setup import set_up_jax

HERE = Path(__file__).parent
DATASETS = ("bach", "gleason2019", "digestpath2019", "ebhi_full", "phantom")


def main(dataset: str, dry_run: bool = False) -> None:
    """Runs what is not finished and writes the reports."""
    set_up_jax(True)
    for study in ("", "_classification"):
        results = sweep(HERE / f"{dataset}{study}.toml", dry_run=dry_run)
        if not dry_run:
            report(results)


if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word != "--dry-run"]
    if len(names) != 1 or names[0] not in DATASETS:
        sys.exit(f"usage: python experiments/paper.py {{{','.join(DATASETS)}}} [--dry-run]")
    main(names[0], "--dry-run" in sys.argv)
