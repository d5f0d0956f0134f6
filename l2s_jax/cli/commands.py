"""The subcommands of `l2s` by name. Each is imported when it is asked for, so that `l2s --help` is quick."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l2s_jax.cli.options import Command

_TABLE = {
    "prepare slides": (
        "prepare_slides.PrepareSlides",
        "Make a manifest of your own slides: patches around what is drawn, windows of what is known.",
    ),
    "prepare patches": (
        "prepare_patches.PreparePatches",
        "Make a manifest of patches that you have: pictures, masks for some, labels for others, by patient.",
    ),
    "prepare phantom": (
        "prepare_patches.PreparePhantom",
        "Draw a phantom data set: H&E-like tissue with glands of three classes and known masks.",
    ),
    "prepare ebhi": (
        "prepare_patches.PrepareEbhi",
        "Make a manifest of EBHI-Seg (Shi et al. 2023), 50/25/25 by slide group, stratified by class.",
    ),
    "prepare wsss4luad": (
        "prepare_patches.PrepareWsss4luad",
        "Make a manifest of WSSS4LUAD's pictures with masks: labels are sets of classes; split by picture.",
    ),
    "prepare halves": (
        "prepare_patches.PrepareHalves",
        "Make the manifest of a classification study: half of the image-level training patches become test.",
    ),
    "prepare folds": (
        "prepare_patches.PrepareFolds",
        "Make a cross-validation of a manifest: K folds by patient, each tested on once, for `sweep`.",
    ),
    "prepare reviewed": (
        "reviews.PrepareReviewed",
        "Make a manifest without the labels and masks that were marked as wrong on the page of `review`.",
    ),
    "prepare bach": (
        "prepare_slides.PrepareBach",
        "Make a manifest of BACH 2018: patches around the regions of WSI/*.xml, and Photos/.",
    ),
    "prepare gleason2019": (
        "prepare_slides.PrepareGleason",
        "Make a manifest of Gleason2019: tiles of tissue cores and the maps of one expert.",
    ),
    "prepare digestpath2019": (
        "prepare_slides.PrepareDigestPath",
        "Make a manifest of DigestPath2019: tiles of colonoscopy pictures with JPEG masks.",
    ),
    "check": (
        "checks.Check",
        "Read a manifest and every picture in it, and report all problems at once.",
    ),
    "pretrain": (
        "pretraining.Pretrain",
        "Pretrain the encoder on pictures and slides that nobody labelled, for `train --weights`.",
    ),
    "train": (
        "runs.Train",
        "Train a segmentation network on a manifest, from masks and image-level labels.",
    ),
    "evaluate": (
        "runs.Evaluate",
        "Measure a run on one split of a manifest: F1, IoU, boundaries, confusion matrix, calibration.",
    ),
    "calibrate": (
        "runs.Calibrate",
        "Fit a temperature on a run's validation masks, so that its probabilities mean what they say.",
    ),
    "review": (
        "reviews.Review",
        "Sort labels and masks by how unlikely they are to networks that never saw their patient.",
    ),
    "suggest": (
        "suggestions.Suggest",
        "List what to draw next: patches with a label only, or windows of slides as frames for QuPath.",
    ),
    "predict": (
        "runs.Predict",
        "Segment pictures and whole slides with a trained run: class maps, overlays, outlines, areas.",
    ),
    "export": (
        "exports.Export",
        "Write a trained network for other programs: QuPath, onnxruntime, torch, WSInfer, JAX.",
    ),
    "verify-export": (
        "exports.VerifyExport",
        "Run the files of an export on pictures, and say how far each is from the network.",
    ),
    "phantom-slides": (
        "slides.PhantomSlides",
        "Draw phantom slides with regions and frames in GeoJSON, and labelled pictures, all of known truth.",
    ),
    "phantom-bach": (
        "slides.PhantomBach",
        "Draw a phantom of BACH as it is downloaded: annotated slides and photos, all of known truth.",
    ),
    "inspect": (
        "slides.Inspect",
        "Draw what `prepare slides` would do with a slide: tissue, mask, patches; --bach: `prepare bach`.",
    ),
    "evaluate-slides": (
        "slides.EvaluateSlides",
        "Predict annotated slides and measure: F1, IoU and BACH score, per slide and pooled.",
    ),
    "sweep": (
        "results.Sweep",
        "Run an experiment: settings x percents x draws, one row of results.csv a finished run.",
    ),
    "compare": (
        "results.Compare",
        "Do the labels help on this data? S beside recipes that learn from labels too, draw by draw.",
    ),
    "report": (
        "results.Report",
        "Tables, figures and one page from the results of a sweep, beside the paper's printed values.",
    ),
    "plan": (
        "results.Plan",
        "How many masks are needed: the share that reaches 90, 95 and 99% of the full-mask score.",
    ),
    "demo": (
        "demo.Demo",
        "Draw a phantom data set, train on it, evaluate and predict: a few minutes, offline.",
    ),
    "doctor": (
        "checks.Doctor",
        "Look at this installation: versions, devices, OpenSlide, weights, memory; say what to mend.",
    ),
}


class _Commands(Mapping[str, "type[Command]"]):
    """The commands' classes, each imported when it is looked up."""

    def __getitem__(self, name: str) -> "type[Command]":
        module, kind = _TABLE[name][0].split(".")
        command: type[Command] = getattr(import_module(f"l2s_jax.cli.{module}"), kind)
        return command

    def __contains__(self, name: object) -> bool:
        return name in _TABLE

    def __iter__(self) -> Iterator[str]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)


COMMANDS = _Commands()
"""Names of one or two words to classes."""


def summary(name: str) -> str:
    """What a command does, in one line."""
    return _TABLE[name][1]
