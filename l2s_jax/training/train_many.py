"""`train_many`: one config, many seeds, one program."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from l2s_jax.config import TrainConfig
from l2s_jax.step.seeds import Strategy
from l2s_jax.system.errors import UserError
from l2s_jax.training.train import train_together


def train_many(
    manifest: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    own_draws: bool = False,
    strategy: Strategy | Literal["auto"] = "auto",
    devices: int | Literal["all"] = 1,
    resume: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Trains one network a seed, all at once, each into its own run folder.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: folder of the run folders, which are named `seed0` and so on.
      config: options of all; the preset `paper` by default. Its own seed is not used.
      seeds: of initialisation, order of the patches and augmentation; all different.
      own_draws: take the seed for the draw too, so that each learns from a subset of its own.
      strategy: how the seeds share the program; see `train_together`, as for the rest.
      devices: how many to spread the seeds and their batches over, or all of them; see docs/scale_out.md.
      resume: go on from each seed's last checkpoint.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives what a person should read.

    Returns:
      The run folders in the order of `seeds`, each as `train` leaves it.

    Raises:
      UserError, Stopped: see `train_together`.
    """
    config = config or TrainConfig()
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds = {list(seeds)} must be at least one, and all different")
    configs = [replace(config, seed=seed, draw=seed if own_draws else config.draw) for seed in seeds]
    runs = [(Path(out) / f"seed{one.seed}", one) for one in configs]
    return train_together(
        manifest,
        runs,
        strategy=strategy,
        devices=devices,
        resume=resume,
        allow_outside=allow_outside,
        say=say,
    )
