"""Self-training: a trained network gives image-level patches masks of their own. Not in the paper.

The network of a run with few masks draws masks for the other patches, from which another run learns as if
they had been drawn by hand.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.subsets import Subset
from l2s_jax.models.decoder import SCALE
from l2s_jax.models.forward import Network
from l2s_jax.prediction.tiles import enlarge
from l2s_jax.runs.folder import EarlierRun, read_run_classes, require_held_out
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.training.plan import RunPlan, segmentation_weights
from l2s_jax.training.pseudo_masks import DrawnMasks, count_classes


class Teacher(NamedTuple):
    """The network that draws, and the run that it comes from."""

    network: Network
    run: EarlierRun


def read_teacher(config: TrainConfig, manifest: Manifest) -> Teacher:
    """Reads the network of the run `config.teacher`.

    Raises:
      UserError: there is no such run, it has other classes, or it has learned from patients or slides of this
        manifest's validation or test split.
    """
    folder = Path(config.teacher).expanduser()
    network, _ = load_network(folder)
    names = read_run_classes(folder).names
    if names != manifest.classes.names:
        raise UserError(
            f"--teacher {folder} knows the classes {', '.join(names)}; this manifest has "
            f"{', '.join(manifest.classes.names)}"
        )
    groups = require_held_out(folder, manifest, "--teacher")
    return Teacher(network, EarlierRun("teacher", str(folder), "the whole network", groups))


def taught(plan: RunPlan, drawn: DrawnMasks, config: TrainConfig) -> RunPlan:
    """The plan with drawn masks beside those that it has; class weights count the pixels of both."""
    place = np.full(len(plan.patches), -1)
    place[drawn.rows] = np.arange(len(drawn.rows))
    fetch = plan.patches.fetch

    def fetch_drawn(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, masks = fetch(rows)
        masks = masks.copy()
        for k in np.flatnonzero(place[rows] >= 0):
            masks[k] = enlarge(drawn.codes[place[rows[k]]])
        return images, masks

    pixels = plan.patches.pixels.copy()
    for row, codes in zip(drawn.rows, drawn.codes, strict=True):
        pixels[row] = count_classes(codes, pixels.shape[1]) * SCALE**2
    has_mask = plan.subset.has_mask | (place >= 0)
    weights = segmentation_weights(config, pixels[has_mask])
    return plan._replace(
        patches=replace(plan.patches, fetch=fetch_drawn),
        subset=Subset(has_mask, plan.subset.has_label),
        task=plan.task._replace(seg_weights=weights),
    )
