"""One run's books while it trains: losses by epoch, validation, the best network, checkpoints."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from l2s_jax.config import TrainConfig
from l2s_jax.data.loader import batches
from l2s_jax.data.subsets import CLASSIFICATION_SETTINGS
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.prediction.judging import Picture, judge, label_matrix, pooled_matrix
from l2s_jax.prediction.metrics import summary
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.runs import checkpoints
from l2s_jax.runs.events import EventFile
from l2s_jax.runs.folder import BEST, FINISHED, LAST, read_metrics, write_metrics
from l2s_jax.step.train_step import TrainState
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_json
from l2s_jax.training.initial_weights import Start, first_state
from l2s_jax.training.plan import RunPlan
from l2s_jax.types import PADDING, Batch

WRITE_EVERY_S = 5.0
"""metrics.csv is written with each checkpoint, and between them so often: its fsync can outlast an epoch."""


class Setup(NamedTuple):
    """What a run needs and never changes."""

    config: TrainConfig
    folder: Path
    plan: RunPlan
    model: L2S
    pictures: tuple[Picture, ...]  # of the split on which epochs are judged
    tiling: Tiling
    say: Callable[[str], None]


class RunLoop:
    """The moving parts of one run; everything in them is in the checkpoint or can be made again.

    Attributes:
      number: steps taken.
      failure: why the run cannot go on, None as long as it can.
    """

    def __init__(
        self,
        setup: Setup,
        start: Start,
        share: float = 1.0,
        writes: bool = True,
        agreed: Callable[[Any], Any] = lambda value: value,
    ):
        """Starts at the newest checkpoint, or at step 0.

        Args:
          setup: the run.
          start: the first weights; not looked at where there is a checkpoint.
          share: of the time on the clock that is put down to this run, 1 / n where n are trained together.
          writes: whether this process writes; of several that train the run, one does. All call for
            checkpoints.
          agreed: a number of one process, made that of all.
        """
        config, plan = setup.config, setup.plan
        self.setup, self.share, self.writes, self.agreed = setup, share, writes, agreed
        self.first: TrainState = first_state(config, setup.model, plan.task, start)
        self.note: dict[str, Any] = {"sums": {}, "best": None, "seconds": 0.0}
        data = batches(plan.patches, plan.subset, plan.schedule, plan.steps, config.loader_threads)
        self.resumed = checkpoints.latest_step(setup.folder / LAST) is not None
        if self.resumed:
            like = {"state": self.first, "data": data}
            items, self.note, _ = checkpoints.load(setup.folder / LAST, like)
            self.first, data = items["state"], items["data"]
            # The best network is written before the state. A run that was cut off between the two has it
            # already, and on its way there again must not take it for an earlier one.
            kept, note = checkpoints.note_of(setup.folder / BEST)
            if kept is not None and kept > int(self.first.step):
                self.note["best"] = note
        self.data = data
        self.number = int(self.first.step)
        self.rows = [row for row in read_metrics(setup.folder) if row["step"] <= self.number]
        self.saved_step = self.number if self.resumed else None
        self.failure: UserError | None = None
        self.began = self.saved = self.written = time.monotonic()

    @property
    def going(self) -> bool:
        """Whether steps are left to take and can be taken."""
        return self.number < self.setup.plan.steps and self.failure is None

    @property
    def epoch_ends(self) -> bool:
        """Whether the last step was the last of an epoch, or of the run."""
        plan = self.setup.plan
        return self.number % plan.schedule.steps_per_epoch == 0 or self.number == plan.steps

    @property
    def validation_is_due(self) -> bool:
        """Whether to validate after this epoch: a function of the step number, so that resuming agrees."""
        config, per_epoch = self.setup.config, self.setup.plan.schedule.steps_per_epoch
        if self.number == self.setup.plan.steps:
            return True
        apart = max(config.validate_steps, 1)
        due = self.epoch % config.validate_every == 0
        return due and self.number // apart > (self.number - per_epoch) // apart

    @property
    def save_is_due(self) -> bool:
        """Whether long epochs make a checkpoint within one worth its time."""
        return time.monotonic() - self.saved > 60 * self.setup.config.checkpoint_minutes

    @property
    def epoch(self) -> int:
        """The epoch that the last step belongs to, from 1."""
        return -(-self.number // self.setup.plan.schedule.steps_per_epoch)

    def seconds(self) -> float:
        """Training time, all sittings together."""
        return self.note["seconds"] + self.share * (time.monotonic() - self.began)

    def next_batch(self) -> Batch:
        """The batch of the next step, which counts as taken."""
        self.number += 1
        return next(self.data)

    def collect(self, metrics: Sequence[dict[str, Any]]) -> None:
        """Adds the latest steps' losses to the epoch's sums; one that is not finite is the run's failure."""
        for at, step in enumerate(metrics, start=self.number - len(metrics) + 1):
            if not math.isfinite(step["loss"]):
                self.failure = self.not_finite(at, step)
                return
            sums = self.note["sums"]
            for name, counted in (("loss", None), ("loss_seg", "n_mask"), ("loss_cls", "n_label")):
                weight = 1 if counted is None else int(step[counted] > 0)
                sums[name] = sums.get(name, 0.0) + weight * float(step[name])
                sums[f"{name}_steps"] = sums.get(f"{name}_steps", 0) + weight

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

    def end_epoch(self, state: Callable[[], TrainState], events: EventFile) -> None:
        """Adds a row to those of metrics.csv; where it is due, asks for the state, validates and saves it."""
        sums, self.note["sums"] = self.note["sums"], {}
        row = {"epoch": self.epoch, "step": self.number, "seconds": round(self.seconds(), 3)}
        for name in ("loss", "loss_seg", "loss_cls"):
            steps = sums[f"{name}_steps"]
            row[name] = sums[name] / steps if steps else math.nan
        now = state() if self.validation_is_due else None
        row |= dict.fromkeys(VALIDATION, math.nan) if now is None else self.validate(now)
        self.rows.append(row)
        if now is None and time.monotonic() - self.written > WRITE_EVERY_S:
            self.write_rows()
        if self.writes:
            events.add({name: row[name] for name in row if name not in ("epoch", "step")}, self.number)
        if now is not None:
            self.save(now)
            events.flush()

    def validate(self, state: TrainState) -> dict[str, float]:
        """Figures on the validation split; the best epoch's variables are kept."""
        scores = validation_scores(self.setup, state)
        score = self.agreed(scores["val_score"])
        best = self.note["best"]
        # Without a validation split every epoch is the best so far: the last one is kept.
        if best is None or best["score"] is None or not math.isfinite(score) or score > best["score"]:
            self.note["best"] = {"epoch": self.epoch, "score": score if math.isfinite(score) else None}
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            folder = self.setup.folder / BEST
            # It is there where the run was cut off. Asked of one process, since it writes while others look.
            if self.agreed(checkpoints.latest_step(folder) != self.number):
                checkpoints.save(folder, self.number, {"variables": variables}, self.note["best"])
        return scores

    def write_rows(self) -> None:
        """Writes metrics.csv."""
        if self.writes:
            write_metrics(self.setup.folder, self.rows)
        self.written = time.monotonic()

    def save(self, state: TrainState) -> None:
        """Writes the last checkpoint: everything that the rest of the run depends on, and the rows so far.

        Not twice at one step: a checkpoint that is written again is deleted first, and it is the only one.
        """
        self.write_rows()
        if self.saved_step == self.number:
            return
        note = {**self.note, "seconds": self.seconds()}
        items = {"state": state, "data": self.data}
        checkpoints.save(self.setup.folder / LAST, self.number, items, note)
        self.saved, self.saved_step = time.monotonic(), self.number

    def finish(self) -> None:
        """Writes what came out, after the last step, and the report."""
        best = self.note["best"] or {"epoch": None, "score": None}
        facts = {"steps": self.setup.plan.steps, "seconds": self.seconds(), "best": best}
        if self.writes:
            write_json(self.setup.folder / FINISHED, facts)
            from l2s_jax.training.report import (
                write_run_report,  # not before the first step: it takes a second
            )

            write_run_report(self.setup.folder, self.setup.pictures)


VALIDATION = ("val_score", "val_macro_f1", "val_accuracy", "val_label_accuracy")


def validation_scores(setup: Setup, state: TrainState) -> dict[str, float]:
    """Pooled figures on the validation pictures, 0..1, NaN where they do not exist.

    val_score, by which the best epoch is chosen, is the pooled macro F1 of the masks; that of the classifier
    where no validation patch has a mask, and in the classification study where one has a label.
    """
    if not setup.pictures:
        return dict.fromkeys(VALIDATION, math.nan)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables = jax.tree.map(lambda leaf: leaf.addressable_data(0), variables)  # one device is enough
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
