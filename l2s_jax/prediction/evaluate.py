"""`evaluate`: a trained run on one split of a manifest, and what makes its figures worth anything."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.config import selection_split
from l2s_jax.data.manifest import Classes
from l2s_jax.figures.calibration import draw_reliability, draw_retained
from l2s_jax.figures.drawing import draw_confusion, save_figure
from l2s_jax.prediction.boundaries import boundary_lines
from l2s_jax.prediction.calibration import (
    Tally,
    added,
    calibration_figures,
    cells_of,
    empty_tally,
    overall,
    retained_figures,
)
from l2s_jax.prediction.ensemble import load_runs, named_runs
from l2s_jax.prediction.ensemble_figures import MemberTally, member_figures, member_lines
from l2s_jax.prediction.joint import joint_answer, own_answers
from l2s_jax.prediction.judging import (
    EVALUATION,
    Judged,
    Picture,
    answers,
    figures,
    judge_one,
    write_evaluation,
)
from l2s_jax.prediction.metrics import spread_text
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.split import OpenedSplit, open_split
from l2s_jax.prediction.tiles import Answer, Weighting
from l2s_jax.runs.folder import read_run_config
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import Source, publishing, require_replaceable, source_of
from l2s_jax.system.progress import track
from l2s_jax.types import BOUNDARY_TOLERANCE, Split, Views

Say = Callable[[str], None]


def evaluate(
    run: str | Path,
    manifest: str | Path,
    *,
    split: Split = "test",
    out: str | Path | None = None,
    more_runs: Sequence[str | Path] = (),
    views: Views = "one",
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    any_scale: bool = False,
    allow_outside: bool = False,
    boundary_tolerance: float = BOUNDARY_TOLERANCE,
    say: Say = print,
) -> dict[str, Any]:
    """Figures of a run on one split of a manifest; see `judging.figures` for what they are.

    Beside them `calibration` and `retained`, see `calibration.calibration_figures` and `retained_figures`:
    probabilities are those of the run's temperature, where `calibrate` has fitted one.

    Where the run was trained on normalised stains, pictures of another reference or of none are normalised
    to it; those of a manifest with the run's own reference are so already and are left as they are.

    Of several runs the mean of their probabilities is judged; `runs_alone` has what each reaches alone and
    how far they disagree, see `ensemble_figures.member_figures`. None may have learned from the split's
    groups.

    Args:
      run: run folder, or a folder of runs that `train_many` made.
      manifest: folder with `patches.csv` and `classes.toml`, of the same classes as the run's.
      split: which rows. On `train` the figures say how well the run remembers, not how good it is.
      out: where metrics.json, the CSV files and confusion.png go; of one run `RUN/evaluation/SPLIT` by
        default, of several it must be named.
      more_runs: others that it is taken together with: of the same classes, background, scale and patch size.
      views: how each network looks at each patch: once, or the mean over turns, or over shifted views too.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch; does not change the result.
      any_scale: accept patches of another scale than the run's.
      allow_outside: accept paths in the manifest that lead out of its folder.
      boundary_tolerance: pixels between boundaries that count as one in boundary F1.
      say: receives progress messages.

    Raises:
      UserError: figures in `out` that are of another run, manifest or split, or were changed; other classes,
        an empty split, patches of another scale than the run's (see `scales`), or runs that cannot be taken
        together.
      Leak: patients and slides that the run has learned from.
    """
    if not (np.isfinite(boundary_tolerance) and boundary_tolerance >= 0):
        raise UserError(f"--boundary-tolerance {boundary_tolerance:g} must be a number of pixels, 0 or more")
    runs = named_runs(run, more_runs)
    folder = figures_folder(runs, out, split)
    sources = (
        *(source_of(one, outputs=folder) for one in runs),
        source_of(manifest, outputs=folder),
        Source(f"the split {split}"),
    )
    predictor = load_runs(runs, stride, weighting, batch_size, views=views, say=say)
    if predictor.unfinished:
        say(f"warning: {predictor.unfinished}")
    classes, tiling = predictor.classes, predictor.tiling
    opened = open_split(
        runs, predictor, manifest, split, any_scale=any_scale, allow_outside=allow_outside, say=say
    )
    require_replaceable(folder, EVALUATION, sources)
    configs = [read_run_config(one) for one in runs]
    if split in map(selection_split, configs):
        say(f"the run's epoch was chosen on the split {split}, so its figures are optimistic")
    fitted_on = _fitted_on(predictor, opened)
    if fitted_on:
        say(
            f"the run's temperature was fitted on {fitted_on} of these groups, so the figures of its "
            "calibration are optimistic"
        )
    seen = answers(predictor.forward, opened.pictures, tiling)
    untrained = predictor.without_classifier
    progress = track(seen, "evaluating", len(opened.rows), "pictures")
    sums = _judge(predictor, progress, boundary_tolerance, classifier=not untrained)
    context: dict[str, Any] = {
        "run": str(runs[0]),
        "manifest": str(manifest),
        "sha256": opened.contents.sha256,
        "split": split,
        "selection": configs[0].select,
    }
    if predictor.members:
        context |= {"runs": list(map(str, runs)), "selection": [one.select for one in configs]}
    context |= {"views": views} if views != "one" else {}
    context |= {"unfinished": predictor.unfinished} if predictor.unfinished else {}
    context |= {"stride": tiling.stride, "weighting": weighting, "stain": opened.stain}
    context |= {"groups_near_trained_ones": opened.near}
    result = figures(sums.judged, classes)
    result["classifier"]["untrained"] = untrained
    temperatures = predictor.temperatures
    result["calibration"] = calibration_figures(sums.tally, classes.names, temperatures[0]) | {
        "calibrated": _is_calibrated(predictor),
        "groups_fitted_on": fitted_on,
        "without_temperature": None if sums.uncalibrated is None else overall(sums.uncalibrated),
    }
    if predictor.members:
        result["calibration"]["temperature"] = list(temperatures)
        result["runs_alone"] = member_figures(sums.of_members, [str(one) for one in runs])
    result["retained"] = retained_figures(sums.tally, classes.names)
    with publishing(folder, sources) as stage:
        write_evaluation(stage, sums.judged, result, classes, context)
        _draw(stage, result, classes, split)
    for line in figure_lines(result):
        say(line)
    say(f"written to {folder}")
    return result


class Sums(NamedTuple):
    """What comes of all pictures of a split."""

    judged: list[Judged]
    tally: Tally
    uncalibrated: Tally | None  # at temperature 1; None where that is not known
    of_members: MemberTally


def _judge(
    predictor: Predictor, seen: Iterable[tuple[Picture, Answer]], tolerance: float, *, classifier: bool
) -> Sums:
    classes, temperatures = len(predictor.classes), predictor.temperatures
    judged, of_members = [], MemberTally(len(temperatures), classes)
    tally = uncalibrated = empty_tally(classes)
    for picture, answer in seen:
        temperature, plain = temperatures[0], answer
        if predictor.members:
            alone = [judge_one(picture, one, classes) for one in own_answers(answer, len(temperatures))]
            plain = joint_answer(answer, (1.0,) * len(temperatures))[0]
            answer, said = joint_answer(answer, temperatures)
            of_members.add(picture, answer, said, alone)
            temperature = 1.0
        judged.append(judge_one(picture, answer, classes, tolerance, classifier=classifier))
        if picture.mask is None:
            continue
        for cells in cells_of(answer, picture.mask):
            tally = added(tally, cells, temperature)
        for cells in cells_of(plain, picture.mask) if _is_calibrated(predictor) else ():
            uncalibrated = added(uncalibrated, cells)
    if not _is_calibrated(predictor):
        return Sums(judged, tally, tally, of_members)
    # Views are averaged as probabilities of one temperature: what they were at another is not known then.
    return Sums(judged, tally, uncalibrated if predictor.views == "one" else None, of_members)


def _is_calibrated(predictor: Predictor) -> bool:
    """Whether a temperature was fitted for one of the runs at least."""
    return any(one.calibration is not None for one in predictor.each)


def figures_folder(runs: Sequence[Path], out: str | Path | None, name: str) -> Path:
    """Where the figures of runs go. Raises `UserError` for several runs and no folder: none is theirs."""
    if out is not None:
        return Path(out)
    if len(runs) > 1:
        raise UserError("the figures of several runs belong into none of them: name a folder with --out")
    return runs[0] / "evaluation" / name


def _fitted_on(predictor: Predictor, opened: OpenedSplit) -> int:
    """How many groups with a mask the run's temperature was fitted on; one of several runs' counts too."""
    fitted = {
        group for one in predictor.each if one.calibration is not None for group in one.calibration.groups
    }
    return len({row.group for row in opened.rows if row.mask is not None} & fitted)


def _draw(folder: Path, result: dict[str, Any], classes: Classes, split: Split) -> None:
    """The pictures of an evaluation."""
    if result["n_masks"]:
        drawing = draw_confusion(np.array(result["confusion_matrix"]), classes.names, f"{split}, pixels")
        save_figure(drawing, folder / "confusion.png")
    if result["calibration"]["n_pixels"]:
        calibration = result["calibration"]
        how = temperature_text(calibration, ".3g") if calibration["calibrated"] else "not calibrated"
        panels = calibration["reliability"]
        save_figure(draw_reliability(panels, f"{split}, pixels, {how}"), folder / "reliability.png")
        drawing = draw_retained(result["retained"], classes.names, f"{split}, least sure pixels left out")
        save_figure(drawing, folder / "retained.png")
    if result["classifier"]["n"]:
        labels = np.array(result["classifier"]["confusion_matrix"])
        drawing = draw_confusion(labels, classes.names, f"{split}, classifier")
        save_figure(drawing, folder / "confusion_classifier.png")


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
    if "boundaries" in result:
        lines += boundary_lines(result["boundaries"])
    if result["n_masks"] and "runs_alone" in result:
        lines += member_lines(result["runs_alone"])
    if result["calibration"]["n_pixels"]:
        lines += calibration_lines(result["calibration"], result["retained"])
    if result["classifier"]["n"]:
        classifier = result["classifier"]
        lines.append(f"classifier accuracy: {classifier['accuracy']:.4f} on {classifier['n']} labels")
    elif result["classifier"].get("untrained"):
        lines.append(f"classifier: not scored, since {result['classifier']['untrained']}")
    return lines


def temperature_text(calibration: dict[str, Any], form: str) -> str:
    """The temperature of a run; of several, the lowest and the highest."""
    found = calibration["temperature"]
    if not isinstance(found, list):
        return f"temperature {found:{form}}"
    return f"temperatures {min(found):{form}} to {max(found):{form}}"


def calibration_lines(calibration: dict[str, Any], retained: Sequence[dict[str, Any]]) -> list[str]:
    """Whether probabilities mean what they say, and what doubt is worth, in a few lines."""
    how = "not calibrated; l2s calibrate fits a temperature on validation masks"
    if calibration["calibrated"]:
        plain = calibration["without_temperature"]
        how = f"calibrated with {temperature_text(calibration, '.3f')}"
        how += f"; without it {plain['ece']:.4f} and {plain['brier']:.4f}" if plain else ""
    scores = ", ".join(f"{one['macro_f1']:.4f} without {one['left_out']:.0%}" for one in retained[1:])
    return [
        f"calibration error: {calibration['ece']:.4f} in {calibration['bins']} bins of confidence, Brier "
        f"score {calibration['brier']:.4f}, over {calibration['n_pixels']} pixels ({how})",
        f"macro F1 when the least sure pixels are left out: {scores}",
    ]
