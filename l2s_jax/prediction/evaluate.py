"""`evaluate`: a trained run on one split of a manifest, and what makes its figures worth anything."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.config import selection_split
from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.manifest import Classes, Manifest
from l2s_jax.figures.drawing import draw_confusion, save_figure
from l2s_jax.prediction.judging import EVALUATION, Picture, figures, judge, read_pictures, write_evaluation
from l2s_jax.prediction.metrics import spread_text
from l2s_jax.prediction.predictor import load_predictor
from l2s_jax.prediction.scales import require_run_scale
from l2s_jax.prediction.stains import in_stains_of_run, stains_of_manifest
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.runs.folder import read_run_config, training_groups
from l2s_jax.runs.leaks import near_groups, require_unseen, warn_of_near
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import Source, publishing, require_replaceable, source_of
from l2s_jax.system.progress import track
from l2s_jax.types import Split

Say = Callable[[str], None]


def evaluate(
    run: str | Path,
    manifest: str | Path,
    *,
    split: Split = "test",
    out: str | Path | None = None,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    any_scale: bool = False,
    allow_outside: bool = False,
    say: Say = print,
) -> dict[str, Any]:
    """Figures of a run on one split of a manifest; see `judging.figures` for what they are.

    Where the run was trained on normalised stains, pictures of another reference or of none are normalised
    to it; those of a manifest with the run's own reference are so already and are left as they are.

    Args:
      run: run folder.
      manifest: folder with `patches.csv` and `classes.toml`, of the same classes as the run's.
      split: which rows. On `train` the figures say how well the run remembers, not how good it is.
      out: where metrics.json, the CSV files and confusion.png go; `RUN/evaluation/SPLIT` by default.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch; does not change the result.
      any_scale: accept patches of another scale than the run's.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Raises:
      UserError: figures in `out` that are of another run, manifest or split, or were changed; other classes,
        an empty split, or patches of another scale than the run's (see `scales`).
      Leak: patients and slides that the run has learned from.
    """
    run = Path(run)
    folder = Path(out) if out is not None else run / "evaluation" / split
    sources = (
        source_of(run, outputs=folder),
        source_of(manifest, outputs=folder),
        Source(f"the split {split}"),
    )
    require_replaceable(folder, EVALUATION, sources)
    predictor = load_predictor(run, stride, weighting, batch_size)
    if predictor.unfinished:
        say(f"warning: {predictor.unfinished}")
    classes, tiling = predictor.classes, predictor.tiling
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    contents = report.manifest
    rows = contents.of_split(split)
    check_comparable(contents, classes, manifest)
    if not rows:
        raise UserError(f"{manifest} has no patches in the split {split}")
    groups = {row.group for row in rows}
    leaked = groups & training_groups(run)
    near: list[tuple[str, str]] = []
    if split != "train":
        require_unseen(run, groups, (split,))
        near = near_groups(run, groups)
        warn_of_near(near, run, say)
    say(f"{len(leaked)} of {len(groups)} groups of the split {split} were trained on")
    require_run_scale(rows, predictor.mpp, any_scale, say)
    config = read_run_config(run)
    if split == selection_split(config):
        say(f"the run's epoch was chosen on the split {split}, so its figures are optimistic")
    pictures: Iterable[Picture] = read_pictures(rows, contents.classes)
    stain = stains_of_manifest(predictor, contents.folder)
    say(f"stains: {stain.text}")
    if stain.normalise:
        pictures = (one._replace(image=in_stains_of_run(predictor, one.image)[0]) for one in pictures)
    judging = judge(predictor.forward, pictures, len(classes), tiling)
    judged = list(track(judging, "evaluating", len(rows), "pictures"))
    context: dict[str, Any] = {
        "run": str(run),
        "manifest": str(manifest),
        "sha256": contents.sha256,
        "split": split,
        "selection": config.select,
    }
    context |= {"unfinished": predictor.unfinished} if predictor.unfinished else {}
    context |= {"stride": tiling.stride, "weighting": weighting, "stain": stain.text}
    context |= {"groups_near_trained_ones": near}
    result = figures(judged, classes)
    with publishing(folder, sources) as stage:
        write_evaluation(stage, judged, classes, context)
        if result["n_masks"]:
            drawing = draw_confusion(np.array(result["confusion_matrix"]), classes.names, f"{split}, pixels")
            save_figure(drawing, stage / "confusion.png")
        if result["classifier"]["n"]:
            labels = np.array(result["classifier"]["confusion_matrix"])
            drawing = draw_confusion(labels, classes.names, f"{split}, classifier")
            save_figure(drawing, stage / "confusion_classifier.png")
    for line in figure_lines(result):
        say(line)
    say(f"written to {folder}")
    return result


def check_comparable(contents: Manifest, classes: Classes, manifest: str | Path) -> None:
    """Refuses a manifest whose classes are not the run's, in the run's order."""
    if contents.classes.names != classes.names:
        raise UserError(
            f"{manifest} has the classes {', '.join(contents.classes.names)}; the run was trained on "
            f"{', '.join(classes.names)}. They must be the same, in the same order."
        )


def figure_lines(result: dict[str, Any]) -> list[str]:
    """The figures of a split in a few lines, from `judging.figures`."""
    lines = []
    share = result["scored_share"]
    if share is not None and share < 1:
        lines.append(f"scored: {share:.1%} of the masks' pixels; the other {1 - share:.1%} are unknown")
    if result["n_masks"]:
        pooled, images, groups = result["pooled"], result["per_image"], result["per_group"]
        for name, title in (
            ("macro_f1", "macro F1"), ("accuracy", "micro F1 = pixel accuracy"),
            ("weighted_f1", "weighted F1"), ("mean_iou", "mean IoU"),
        ):  # fmt: skip
            lines.append(
                f"{title}: {pooled[name]:.4f} pooled; {spread_text(images[name], 'images')}; "
                f"{spread_text(groups[name], 'groups')}"
            )
        for name, f1, iou in zip(
            result["classes"], result["per_class"]["f1"], result["per_class"]["iou"], strict=True
        ):
            lines.append(f"  {name}: F1 {f1:.4f}, IoU {iou:.4f}")
    if result["classifier"]["n"]:
        classifier = result["classifier"]
        lines.append(f"classifier accuracy: {classifier['accuracy']:.4f} on {classifier['n']} labels")
    return lines
