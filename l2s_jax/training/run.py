"""One training run on its way: losses by epoch, validation, the best network, checkpoints."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from l2s_jax.data.loader import batches
from l2s_jax.runs import checkpoints
from l2s_jax.runs.events import EventFile
from l2s_jax.runs.folder import (
    BEST,
    LAST,
    read_finished,
    read_metrics,
    write_finished,
    write_metrics,
)
from l2s_jax.runs.mlflow_run import MlflowRun
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.train_step.step import TrainState
from l2s_jax.training.initial_weights import first_state
from l2s_jax.training.setup import RunSetup
from l2s_jax.training.validation import VALIDATION, Validation, validation_scores
from l2s_jax.types import PADDING, Batch

WRITE_EVERY_S = 5.0
"""metrics.csv is written with each checkpoint, and between them so often: its fsync can outlast an epoch."""


class NotFinite(UserError):
    """A loss is NaN or infinite, so the run cannot go on.

    Attributes:
      folder: of the run.
      step: at which it came up.
      losses: `loss`, `loss_seg` and `loss_cls` of that step.
      files: the pictures of its batch.
      checkpoint: step of the last checkpoint, which is good; None where there is none yet.
    """

    def __init__(
        self, folder: Path, step: int, losses: dict[str, float], files: Sequence[Path], checkpoint: int | None
    ):
        self.folder, self.step, self.losses = folder, step, losses
        self.files, self.checkpoint = tuple(files), checkpoint
        kept = f"the checkpoint of step {checkpoint} is good" if checkpoint else "it has no checkpoint yet"
        super().__init__(
            f"{folder}: the loss is {losses['loss']} at step {step} (segmentation {losses['loss_seg']}, "
            f"classification {losses['loss_cls']}); {kept}. A smaller learning rate often helps; look at the "
            "pictures of this batch:\n" + "\n".join(map(str, files)),
            exit_code=3,
        )


class TrainingRun:
    """What changes while a run is trained; everything in it is in the checkpoint or can be made again.

    Attributes:
      setup: what does not change.
      number: steps taken.
      resumed: whether it goes on from a checkpoint.
      failure: why the run cannot go on, None as long as it can.
      tracker: what is told of each epoch beside TensorBoard, if anything is.
    """

    def __init__(
        self,
        setup: RunSetup,
        validation: Validation,
        clock_share: float = 1.0,
        writes: bool = True,
        agreed: Callable[[Any], Any] = lambda value: value,
    ):
        """Starts at the newest checkpoint, or at step 0.

        Args:
          setup: the run.
          validation: on which its epochs are judged.
          clock_share: of the time on the clock that is put down to this run, 1 / n where n are trained
            together.
          writes: whether this process writes; of several that train the run, one does. All call for
            checkpoints.
          agreed: a number of one process, made that of all.
        """
        config, plan = setup.config, setup.plan
        self.setup, self.validation = setup, validation
        self.clock_share, self.writes, self.agreed = clock_share, writes, agreed
        state = first_state(config, setup.model, plan.task, setup.lineage.weights)
        self.note: dict[str, Any] = {"sums": {}, "best": None, "seconds": 0.0}
        data = batches(plan.patches, plan.subset, plan.schedule, plan.steps, config.loader_threads)
        self.resumed = checkpoints.latest_step(setup.folder / LAST) is not None
        if self.resumed:
            items, self.note, _ = checkpoints.load(setup.folder / LAST, {"state": state, "data": data})
            state, data = items["state"], items["data"]
            # The best network is written before the state. A run that was cut off between the two has it
            # already, and on its way there again must not take it for an earlier one.
            kept, note = checkpoints.note_of(setup.folder / BEST)
            if kept is not None and kept > int(state.step):
                self.note["best"] = note
        self.data = data
        self.number = int(state.step)
        self._state: TrainState | None = state
        self.rows = [row for row in read_metrics(setup.folder) if row["step"] <= self.number]
        self.saved_step = self.number if self.resumed else None
        self.failure: NotFinite | None = None
        self.tracker: MlflowRun | None = None
        self.began = self.saved = self.written = time.monotonic()

    @property
    def state(self) -> TrainState:
        """The state that training goes on from, until it is given up."""
        assert self._state is not None, "given up to the program"
        return self._state

    def give_up_state(self) -> TrainState:
        """The same, once: the program takes it over (donates it) in its first step."""
        state, self._state = self.state, None
        return state

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
        return self.note["seconds"] + self.clock_share * (time.monotonic() - self.began)

    def next_batch(self) -> Batch:
        """The batch of the next step, which counts as taken."""
        self.number += 1
        return next(self.data)

    def collect(self, metrics: Sequence[dict[str, Any]]) -> None:
        """Adds the latest steps' losses to the epoch's sums; one that is not finite is the run's failure."""
        for number, step in enumerate(metrics, start=self.number - len(metrics) + 1):
            if not math.isfinite(step["loss"]):
                self.failure = self.not_finite(number, step)
                return
            sums = self.note["sums"]
            for name, counted in (("loss", None), ("loss_seg", "n_mask"), ("loss_cls", "n_label")):
                weight = 1 if counted is None else int(step[counted] > 0)
                sums[name] = sums.get(name, 0.0) + weight * float(step[name])
                sums[f"{name}_steps"] = sums.get(f"{name}_steps", 0) + weight

    def not_finite(self, step: int, metrics: dict[str, Any]) -> NotFinite:
        """The error for a loss that is NaN or infinite."""
        rows, _ = self.setup.plan.schedule.rows_of_step(step - 1)
        files = [self.setup.plan.patches.rows[row].image for row in rows if row != PADDING]
        losses = {name: float(metrics[name]) for name in ("loss", "loss_seg", "loss_cls")}
        checkpoint = checkpoints.latest_step(self.setup.folder / LAST)
        return NotFinite(self.setup.folder, step, losses, files, checkpoint)

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
        if self.tracker is not None:
            self.tracker.add(row)
        if now is not None:
            self.save(now)
            events.flush()

    def validate(self, state: TrainState) -> dict[str, float]:
        """Figures on the validation split; the best epoch's variables are kept."""
        scores = validation_scores(self.setup, self.validation, state)
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

    def take_better_phase(self) -> None:
        """Makes the network of S the run's, where it scores higher on the validation split.

        It is kept as one of a step after the last, so that a run which is cut off here takes it up again.
        """
        folder, own = self.setup.earlier.get("masks_only"), self.note["best"]
        if folder is None or own is None:
            return
        best = read_finished(folder)["best"]
        if None in (best["score"], own["score"]) or not best["score"] > own["score"]:
            return
        variables = load_network(folder)[0].variables
        self.note["best"] = {**best, "phase": "masks_only"}
        checkpoints.save(
            self.setup.folder / BEST, self.number + 1, {"variables": variables}, self.note["best"]
        )

    def finish(self) -> None:
        """Writes what came out, after the last step, and the report."""
        self.take_better_phase()
        best = self.note["best"] or {"epoch": None, "score": None}
        if self.writes:
            before = [read_finished(phase) for phase in self.setup.earlier.values()]
            steps = self.setup.plan.steps + sum(facts["steps"] for facts in before)
            seconds = self.seconds() + sum(facts["seconds"] for facts in before)
            write_finished(self.setup.folder, steps, seconds, best)
            # Not before the first step: it takes a second.
            from l2s_jax.training.report import write_run_report

            write_run_report(self.setup.folder, self.validation.pictures)
