"""The split on which epochs are judged, and the figures of a network in training on it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from l2s_jax.config import TrainConfig, selection_split
from l2s_jax.data.manifest import Manifest
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.prediction.judging import Picture, judge, label_matrix, pooled_matrix, read_pictures
from l2s_jax.prediction.metrics import summary
from l2s_jax.prediction.tiles import Tiling, default_tiling
from l2s_jax.system.errors import UserError
from l2s_jax.train_step.step import TrainState
from l2s_jax.training.plan import trains_classifier
from l2s_jax.training.setup import RunSetup
from l2s_jax.types import CLASSIFICATION_SETTINGS

VALIDATION = ("val_score", "val_macro_f1", "val_accuracy", "val_label_accuracy")


class Validation(NamedTuple):
    """Pictures on which epochs are judged, decoded, and how they are predicted."""

    pictures: tuple[Picture, ...]
    tiling: Tiling


def read_validation(
    config: TrainConfig, manifest: Manifest, patch_size: int, say: Callable[[str], None]
) -> Validation:
    """Reads the split on which epochs are judged; it may be empty.

    Raises:
      UserError: epochs are to be chosen on the test split, and there is none.
    """
    split = selection_split(config)
    pictures = tuple(read_pictures(manifest.of_split(split), manifest.classes))
    if split == "test":
        if not pictures:
            raise UserError("select = 'test-maximum' needs a split test, and the manifest has none")
        say("warning: epochs are chosen on the test split itself, so its figures are optimistic")
    tiling = default_tiling(patch_size, batch_size=config.batch_size)
    return Validation(pictures, tiling)


def validation_scores(setup: RunSetup, validation: Validation, state: TrainState) -> dict[str, float]:
    """Pooled figures on the validation pictures, 0..1, NaN where they do not exist.

    val_score, by which the best epoch is chosen, is the pooled macro F1 of the masks; that of the classifier
    where no validation patch has a mask, and in the classification study where one has a label. A classifier
    that the run does not train has no figures.
    """
    if not validation.pictures:
        return dict.fromkeys(VALIDATION, math.nan)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables = jax.tree.map(lambda leaf: leaf.addressable_data(0), variables)  # one device is enough
    network = Network(setup.model, variables, setup.plan.eval_mean, setup.plan.eval_std)
    forward = make_forward(network, validation.tiling.batch_size)
    judged = list(judge(forward, validation.pictures, setup.model.classes, validation.tiling))
    matrix = pooled_matrix(judged, setup.model.classes)
    labels = label_matrix(judged, setup.model.classes)
    masks, classifier = summary(matrix), summary(labels)
    if not trains_classifier(setup.config, setup.plan):
        classifier = dict.fromkeys(classifier, math.nan)
    by_label = labels.any() if setup.config.setting in CLASSIFICATION_SETTINGS else not matrix.any()
    return {
        "val_score": classifier["macro_f1"] if by_label else masks["macro_f1"],
        "val_macro_f1": masks["macro_f1"],
        "val_accuracy": masks["accuracy"],
        "val_label_accuracy": classifier["accuracy"],
    }
