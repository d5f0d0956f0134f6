"""Training from a manifest to a run folder: loop, validate, keep the best, survive being killed."""

import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from l2s_jax import checkpoints, run_folder
from l2s_jax.config import TrainConfig, selection_split, validate
from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.loader import PADDING, batches
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.data.stain_files import STAIN
from l2s_jax.data.subsets import CLASSIFICATION_SETTINGS
from l2s_jax.errors import UserError
from l2s_jax.evaluation import Picture, judge, label_matrix, pooled_matrix, read_pictures
from l2s_jax.files import atomic_path
from l2s_jax.inference import Network, Tiling, make_forward
from l2s_jax.metrics import summary
from l2s_jax.models.network import L2S, count_parameters
from l2s_jax.progress import track
from l2s_jax.run_folder import BEST, ENVIRONMENT, FINISHED, LAST, NetworkFacts
from l2s_jax.run_plan import RunPlan, describe_splits, describe_subset, fresh_state, plan_run
from l2s_jax.run_report import write_run_report
from l2s_jax.train_step import TrainState, jit_train_step, make_optimizer, make_train_step
from l2s_jax.weights import encoder_weights

FETCH_EVERY = 50
"""Steps between two looks at the losses: often enough to stop soon, seldom enough not to wait for each."""


class Stopped(UserError):
    """Ctrl-C or SIGTERM: the state was saved first."""


class Setup(NamedTuple):
    """What the loop needs and never changes."""

    config: TrainConfig
    folder: Path
    plan: RunPlan
    model: L2S
    pictures: tuple[Picture, ...]  # of the split on which epochs are judged
    tiling: Tiling
    say: Callable[[str], None]


def train(
    manifest: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a network on a manifest and leaves everything in a run folder.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: run folder, new or empty; with `resume`, one that was begun with the same options and data.
      config: options; the preset `paper` by default.
      resume: go on from the last checkpoint. On CPU the result is bit for bit that of an unbroken run.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives what a person should read.

    Returns:
      The run folder: `l2s evaluate` and `l2s predict` take it.

    Raises:
      UserError: faulty data, options or folder; a loss that is not finite.
      Stopped: interrupted; the run can be resumed.
    """
    config, folder = config or TrainConfig(), Path(out)
    validate(config)
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    for warning in report.warnings:
        say(f"warning: {warning}")
    contents = report.manifest
    for line in describe_splits(contents):
        say(line)
    train_rows = contents.of_split("train")
    if not train_rows:
        raise UserError(f"{manifest} has no patches in the split train")
    plan = plan_run(config, load_patches(train_rows, contents.classes, config.memory_gib), contents.classes)
    say(describe_subset(plan, config))
    begun = resume and checkpoints.latest_step(folder / LAST) is not None
    # Read before the folder is made: a missing file must not leave a half-begun run behind.
    encoder = None if begun else encoder_weights(config.weights, say=say)
    with run_folder.locked(folder):
        run_folder.open_run(folder, config, contents, resume=resume)
        setup = _set_up(config, folder, plan, contents, say)
        _describe_run(setup, contents)
        _fit(setup, encoder)
        write_run_report(folder, setup.pictures)
    say(f"done: {folder} (open {folder / 'report.html'})")
    return folder


def _set_up(
    config: TrainConfig, folder: Path, plan: RunPlan, manifest: Manifest, say: Callable[[str], None]
) -> Setup:
    tile = plan.patches.size[0]
    split = selection_split(config)
    pictures = tuple(read_pictures(manifest.of_split(split), manifest.classes))
    if split == "test":
        if not pictures:
            raise UserError("select = 'test-maximum' needs a split test, and the manifest has none")
        say("warning: epochs are chosen on the test split itself, as in the release: its figures flatter")
    model = L2S(len(manifest.classes), config.head)
    tiling = Tiling(tile, max(tile // 2, 1), batch_size=config.batch_size)
    return Setup(config, folder, plan, model, pictures, tiling, say)


def _describe_run(setup: Setup, manifest: Manifest) -> None:
    """Writes what is known before the first step."""
    plan, folder = setup.plan, setup.folder
    mpps = {row.mpp for row in plan.patches.rows if row.mpp is not None}
    facts = NetworkFacts(
        plan.patches.size[0],
        setup.config.head,
        tuple(map(float, plan.eval_mean)),
        tuple(map(float, plan.eval_std)),
        mpps.pop() if len(mpps) == 1 else None,
    )
    run_folder.write_network_facts(folder, facts)
    if not (folder / ENVIRONMENT).exists():
        run_folder.write_json(folder / ENVIRONMENT, run_folder.environment())
    run_folder.write_subset(folder, plan.patches, plan.chosen, manifest.folder)
    if (manifest.folder / STAIN).is_file():
        with atomic_path(folder / STAIN) as temporary:
            shutil.copyfile(manifest.folder / STAIN, temporary)


def _fit(setup: Setup, encoder: dict[str, np.ndarray] | None) -> None:
    """Trains until the plan's last step, from the newest checkpoint where there is one."""
    config, folder, plan = setup.config, setup.folder, setup.plan
    state = fresh_state(config, setup.model, plan.task, encoder)
    data = batches(plan.patches, plan.subset, plan.schedule, plan.steps, config.loader_threads)
    note: dict[str, Any] = {"sums": {}, "best": None, "seconds": 0.0}
    if checkpoints.latest_step(folder / LAST) is not None:
        items, note, _ = checkpoints.load(folder / LAST, {"state": state, "data": data})
        state, data = items["state"], items["data"]
        setup.say(f"resuming after step {int(state.step)} of {plan.steps}")
    else:
        setup.say(f"{count_parameters(state.params):,} parameters on {jax.devices()[0].device_kind}")
    rows = [row for row in run_folder.read_metrics(folder) if row["step"] <= int(state.step)]
    step = jit_train_step(make_train_step(setup.model, make_optimizer(config.learning_rate), config))
    loop = _Loop(setup, state, data, note, rows)
    with stop_requests() as stop, tensorboard(folder, int(state.step)) as board:
        numbers = range(int(state.step) + 1, plan.steps + 1)
        for number in track(numbers, "training", len(numbers), "steps"):
            loop.state, metrics = step(loop.state, next(data))
            loop.pending.append(metrics)
            epoch_ends = number % plan.schedule.steps_per_epoch == 0 or number == plan.steps
            if epoch_ends or len(loop.pending) == FETCH_EVERY or stop.is_set():
                loop.collect(number)
            if epoch_ends:
                loop.end_epoch(number, board)
            if stop.is_set() and number < plan.steps:
                loop.save(number)
                raise Stopped(
                    f"stopped after step {number} of {plan.steps}; go on with --resume --out {folder}",
                    exit_code=130,
                )
            if loop.save_is_due():
                loop.collect(number)
                loop.save(number)
    best = loop.note["best"] or {"epoch": None, "score": None}
    run_folder.write_json(folder / FINISHED, {"steps": plan.steps, "seconds": loop.seconds(), "best": best})


class _Loop:
    """The moving parts of one run; everything in them is in the checkpoint or can be made again."""

    def __init__(
        self, setup: Setup, state: TrainState, data: Any, note: dict[str, Any], rows: list[dict]
    ) -> None:
        self.setup, self.state, self.data = setup, state, data
        self.note, self.rows = note, rows
        self.pending: list[dict[str, jax.Array]] = []
        self.began = self.saved = time.monotonic()

    def seconds(self) -> float:
        """Training time, all sittings together."""
        return self.note["seconds"] + time.monotonic() - self.began

    def collect(self, number: int) -> None:
        """Adds the pending steps' losses to the epoch's sums; stops the run at one that is not finite."""
        first = number - len(self.pending) + 1
        for at, metrics in enumerate(jax.device_get(self.pending), start=first):
            if not math.isfinite(metrics["loss"]):
                raise self.not_finite(at, metrics)
            sums = self.note["sums"]
            for name, counted in (("loss", 1), ("loss_seg", "n_mask"), ("loss_cls", "n_label")):
                weight = counted if counted == 1 else int(metrics[counted] > 0)
                sums[name] = sums.get(name, 0.0) + weight * float(metrics[name])
                sums[f"{name}_steps"] = sums.get(f"{name}_steps", 0) + weight
        self.pending = []

    def not_finite(self, at: int, metrics: dict[str, Any]) -> UserError:
        """The message for a loss that is NaN or infinite: which step, which files, what is left."""
        rows, _ = self.setup.plan.schedule.rows_of_step(at - 1)
        files = [str(self.setup.plan.patches.rows[row].image) for row in rows if row != PADDING]
        last = checkpoints.latest_step(self.setup.folder / LAST)
        kept = f"the checkpoint of step {last} is good" if last else "no checkpoint had been written yet"
        return UserError(
            f"the loss is {metrics['loss']} at step {at} (segmentation {metrics['loss_seg']}, "
            f"classification {metrics['loss_cls']}); {kept}. A smaller --learning-rate often helps; "
            "look at the pictures of this batch:\n" + "\n".join(files),
            exit_code=3,
        )

    def end_epoch(self, number: int, board: Any) -> None:
        """Adds a row to metrics.csv; validates and saves where that is due."""
        plan = self.setup.plan
        epoch = -(-number // plan.schedule.steps_per_epoch)
        sums, self.note["sums"] = self.note["sums"], {}
        row = {"epoch": epoch, "step": number, "seconds": round(self.seconds(), 3)}
        for name in ("loss", "loss_seg", "loss_cls"):
            steps = sums[f"{name}_steps"]
            row[name] = sums[name] / steps if steps else math.nan
        due = self.validation_is_due(epoch, number)
        row |= self.validate(epoch) if due else dict.fromkeys(VALIDATION, math.nan)
        self.rows.append(row)
        run_folder.write_metrics(self.setup.folder, self.rows)
        for name, value in row.items():
            if name not in ("epoch", "step") and math.isfinite(value):
                board.add_scalar(name, value, number)
        if due:
            self.save(number)

    def validation_is_due(self, epoch: int, number: int) -> bool:
        """Whether to validate after this epoch: a function of the step number, so that resuming agrees."""
        config, per_epoch = self.setup.config, self.setup.plan.schedule.steps_per_epoch
        if number == self.setup.plan.steps:
            return True
        apart = max(config.validate_steps, 1)
        return epoch % config.validate_every == 0 and number // apart > (number - per_epoch) // apart

    def validate(self, epoch: int) -> dict[str, float]:
        """Figures on the validation split; the best epoch's variables are kept."""
        scores = validation_scores(self.setup, self.state)
        score = scores["val_score"]
        best = self.note["best"]
        # Without a validation split every epoch is the best so far: the last one is kept.
        if best is None or best["score"] is None or not math.isfinite(score) or score > best["score"]:
            self.note["best"] = {"epoch": epoch, "score": score if math.isfinite(score) else None}
            variables = {"params": self.state.params, "batch_stats": self.state.batch_stats}
            checkpoints.save(
                self.setup.folder / BEST, int(self.state.step), {"variables": variables}, self.note["best"]
            )
        return scores

    def save_is_due(self) -> bool:
        """Whether long epochs make a checkpoint within one worth its time."""
        return time.monotonic() - self.saved > 60 * self.setup.config.checkpoint_minutes

    def save(self, number: int) -> None:
        """Writes the last checkpoint: everything that the rest of the run depends on."""
        note = {**self.note, "seconds": self.seconds()}
        checkpoints.save(self.setup.folder / LAST, number, {"state": self.state, "data": self.data}, note)
        self.saved = time.monotonic()


VALIDATION = ("val_score", "val_macro_f1", "val_accuracy", "val_label_accuracy")


def validation_scores(setup: Setup, state: TrainState) -> dict[str, float]:
    """Pooled figures on the validation pictures, 0..1, NaN where they do not exist.

    val_score, by which the best epoch is chosen, is the pooled macro F1 of the masks; that of the classifier
    where no validation patch has a mask, and in the classification study where one has a label.
    """
    if not setup.pictures:
        return dict.fromkeys(VALIDATION, math.nan)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    network = Network(setup.model, variables, setup.plan.eval_mean, setup.plan.eval_std)
    forward = make_forward(network, setup.tiling.batch_size)
    judged = list(judge(forward, setup.pictures, setup.model.classes, setup.tiling))
    matrix = pooled_matrix(judged, setup.model.classes)
    labels = label_matrix(judged, setup.model.classes)
    masks, classifier = summary(matrix), summary(labels)
    by_label = labels.any() if setup.config.setting in CLASSIFICATION_SETTINGS else not matrix.any()
    return {
        "val_score": classifier["macro_f1"] if by_label else masks["macro_f1"],
        "val_macro_f1": masks["macro_f1"],
        "val_accuracy": masks["accuracy"],
        "val_label_accuracy": classifier["accuracy"],
    }


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into a flag that the loop looks at between steps; a second is obeyed."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def tensorboard(folder: Path, step: int) -> Iterator[Any]:
    """A TensorBoard writer that forgets what an earlier sitting wrote after `step`."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1) as board:
        yield board
