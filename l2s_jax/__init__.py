"""Learn to segment histology from a few pixel masks and many image-level labels.

The four verbs, importable from here without importing what they need until they are used:

  prepare_phantom, prepare_ebhi, prepare_bach, prepare_gleason, prepare_digestpath
                                  a data set becomes a manifest
  train                           a manifest becomes a run folder
  train_many, train_together      several run folders, trained as one program
  evaluate                        a run's figures on one split of a manifest
  predict                         pictures become class maps

and, for experiments of many runs: sweep, report, aggregate, plan_masks.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "TrainConfig": "l2s_jax.config",
    "PRESETS": "l2s_jax.config",
    "UserError": "l2s_jax.system.errors",
    "read_manifest": "l2s_jax.data.manifest",
    "check_manifest": "l2s_jax.data.check",
    "prepare_phantom": "l2s_jax.phantom.patches",
    "prepare_ebhi": "l2s_jax.prepare.ebhi",
    "prepare_bach": "l2s_jax.prepare.bach",
    "prepare_gleason": "l2s_jax.prepare.gleason",
    "prepare_digestpath": "l2s_jax.prepare.digestpath",
    "train": "l2s_jax.training.train",
    "train_together": "l2s_jax.training.train",
    "train_many": "l2s_jax.training.train",
    "evaluate": "l2s_jax.prediction.evaluate",
    "predict": "l2s_jax.prediction.predict",
    "evaluate_slides": "l2s_jax.prediction.slides.evaluate",
    "SlideOptions": "l2s_jax.prediction.slides.options",
    "load_network": "l2s_jax.runs.network",
    "sweep": "l2s_jax.sweeps.sweep",
    "report": "l2s_jax.sweeps.report",
    "aggregate": "l2s_jax.reports.aggregation",
    "plan_masks": "l2s_jax.reports.plan_output",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Imports a public name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
