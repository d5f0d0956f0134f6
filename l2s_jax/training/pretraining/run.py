"""`pretrain`: an encoder that begins from pictures that nobody labelled."""

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax import __version__
from l2s_jax.models.state_dict import variables_to_state_dict
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.runs import checkpoints
from l2s_jax.runs.pretraining_note import NOTE, read_pretraining
from l2s_jax.runs.weights_file import write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import locked
from l2s_jax.system.progress import duration, track
from l2s_jax.system.stopping import Stopped, stop_requests
from l2s_jax.train_step.contrast import (
    ContrastState,
    decaying_adam,
    init_contrast_state,
    make_contrast_step,
)
from l2s_jax.training.pace import TIMED_STEPS, seconds_a_step
from l2s_jax.training.plan import IMAGENET_MEAN, IMAGENET_STD
from l2s_jax.training.pretraining.options import PretrainOptions, require_sensible, view_side
from l2s_jax.training.pretraining.sources import gather
from l2s_jax.training.pretraining.windows import Windows, batches, read_windows, rows_of_step

Say = Callable[[str], None]

SUFFIX = ".safetensors"
SAY_EVERY, SAVE_EVERY = 50, 200
"""Steps."""
ONLY_HOW_FAST = ("loader_threads", "memory_gib")
"""Options that do not change the encoder."""


def pretrain(
    pictures: Sequence[str | Path],
    out: str | Path,
    options: PretrainOptions | None = None,
    *,
    held_out: Sequence[str | Path] = (),
    window: int | None = None,
    per_slide: int = 500,
    any_scale: bool = False,
    allow_outside: bool = False,
    slides: SlideOptions | None = None,
    say: Say = print,
) -> Path:
    """Pretrains the encoder by contrast on unlabelled pictures; see `train_step.contrast`.

    Of manifests the pictures of the split train are taken, without masks and labels. What they, or
    `held_out`, keep for validation and test is refused. Started again after a kill, it goes on from its last
    checkpoint, which is in the folder beside `out`: on a CPU to the same bits.

    Args:
      pictures: manifests, pictures, slides, folders of those; see `sources.gather`, as for what follows.
      out: the .safetensors file, which `train` takes as `weights`. The projection head is not in it.
      options: how; the defaults by default.
      held_out: other manifests whose validation and test splits are not to be learned from.
      window: side of a window in pixels.
      per_slide: windows of a slide at most.
      any_scale: take pictures that state another scale as they are.
      allow_outside: accept paths in the manifests that lead out of their folders.
      slides: how slides are read.
      say: receives progress messages.

    Returns:
      `out`. What it says of how it was made (`runs.pretraining_note`): options, size and number of windows,
      patients and slides, seconds (from reading the pictures to writing the file, compiling included, all
      sittings together), and means over the last steps: the loss, and the share of views that were found.

    Raises:
      UserError: pictures that cannot be taken, options that make no sense, a file or checkpoint that was
        begun otherwise, or a loss that is not finite.
      Stopped: interrupted; the same call goes on.
    """
    began, out, options = time.monotonic(), Path(out), options or PretrainOptions()
    require_sensible(options)
    if out.suffix != SUFFIX:
        raise UserError(f"{out}: the encoder's file must end in {SUFFIX}, as train's --weights takes it")
    if not pictures:
        raise UserError("no picture, slide or manifest named")
    before = _finished(out)
    found = gather(
        pictures,
        held_out,
        window=window,
        per_slide=per_slide,
        seed=options.seed,
        any_scale=any_scale,
        allow_outside=allow_outside,
        slides=slides,
        say=say,
    )
    view = view_side(options, found.side)
    windows = read_windows(found, options.memory_gib, say)
    made = _how(options, windows, view)
    if before is not None:
        _require_same(made, before, out)
        say(f"{out} is finished")
        return out
    patients = sorted(set(windows.groups))
    say(
        f"pretraining on {len(windows):,} windows of {windows.side} pixels, of {len(patients):,} patients, "
        f"slides or pictures; {options.steps:,} steps of {min(options.batch_size, len(windows))}, views of "
        f"{view} pixels"
    )
    folder, took = out.with_suffix(".checkpoint"), 0.0
    with locked(folder):
        state = init_contrast_state(
            decaying_adam(options.learning_rate, options.steps), jax.random.key(options.seed)
        )
        if checkpoints.latest_step(folder) is not None:
            items, note, number = checkpoints.load(folder, {"state": state})
            _require_same(made, note, folder)
            state, took = items["state"], note["seconds"]
            say(f"resuming after step {number:,} of {options.steps:,}")

        def clock() -> float:
            return took + time.monotonic() - began

        def save(state: ContrastState, done: int) -> None:
            checkpoints.save(folder, done, {"state": state}, made | {"seconds": clock()})

        state, last = _take_steps(state, windows, options, view, save, clock, say)
        seen = {"groups": patients, "slides": windows.slides, "pictures": windows.pictures}
        note = made | {"seconds": round(clock(), 2), "mpp": windows.mpp} | seen | last
        _write(out, state, note)
        shutil.rmtree(folder, ignore_errors=True)
    say(f"done: {out}, {duration(clock())}. `l2s train --weights {out}` begins from it")
    return out


def _finished(out: Path) -> dict[str, Any] | None:
    """What a finished encoder says of itself; None where there is no file yet."""
    if not out.exists():
        return None
    note = read_pretraining(out)
    if note is None:
        raise UserError(f"{out} exists, and `l2s pretrain` did not make it: choose another name for --out")
    return note.how


def _how(options: PretrainOptions, windows: Windows, view: int) -> dict[str, Any]:
    """All that decides on the encoder: two files that agree in it are one, on one machine."""
    chosen = {name: value for name, value in asdict(options).items() if name not in ONLY_HOW_FAST}
    of_windows = {"windows": len(windows), "side": windows.side, "content": windows.content}
    return {"method": "SimCLR", "version": __version__, **chosen, "view": view, **of_windows}


def _require_same(made: dict[str, Any], found: dict[str, Any], where: Path) -> None:
    """Refuses what was made or begun in another way."""
    other = [key for key in made if found.get(key) != made[key]]
    of_pictures = ("windows", "content")
    words = ["other pictures"] if set(other) & set(of_pictures) else []
    words += [f"{key} = {found.get(key)!r}, not {made[key]!r}" for key in other if key not in of_pictures]
    if words:
        raise UserError(f"{where} was begun with {'; '.join(words)}. Move it away, or choose another --out")


def _take_steps(
    state: ContrastState,
    windows: Windows,
    options: PretrainOptions,
    view: int,
    save: Callable[[ContrastState, int], None],
    clock: Callable[[], float],
    say: Say,
) -> tuple[ContrastState, dict[str, float]]:
    """The steps that are left; the last state, and the means of the last steps' metrics.

    Raises:
      Stopped: after the state was saved.
    """
    optimizer = decaying_adam(options.learning_rate, options.steps)
    scaling = jnp.asarray(IMAGENET_MEAN), jnp.asarray(IMAGENET_STD)
    step = jax.jit(make_contrast_step(optimizer, view, options.temperature, *scaling), donate_argnums=0)
    first, pending, last = int(state.step), [], dict[str, float]()
    left = range(first + 1, options.steps + 1)
    images = batches(windows, options.batch_size, options.seed, first, options.steps, options.loader_threads)
    with stop_requests() as stop, closing(images):
        if len(left) > SAY_EVERY:
            rows = rows_of_step(len(windows), options.batch_size, options.seed, first)
            a_step = seconds_a_step(step, state, windows.fetch(rows))
            say(
                f"about {duration(a_step * len(left))} for {len(left):,} steps, as {TIMED_STEPS} took "
                f"{a_step:.2g} s each; it may be stopped at any time, and the same command goes on"
            )
        begun, began = first, clock()
        for done in track(left, "pretraining", options.steps, "steps", first):
            state, metrics = step(state, next(images))
            pending.append(metrics)
            if done % SAY_EVERY == 0 or done == options.steps:
                fetched, pending = jax.device_get(pending), []
                last = {name: float(np.mean([one[name] for one in fetched])) for name in metrics}
                if not math.isfinite(last["loss"]):
                    raise UserError(
                        f"the loss is not finite by step {done}: try a smaller --learning-rate", exit_code=3
                    )
                pace, begun, began = (clock() - began) / (done - begun), done, clock()
                ahead = f", some {duration(pace * (options.steps - done))} to go"
                say(
                    f"step {done:,} of {options.steps:,}: loss {last['loss']:.3f}, {last['found']:.0%} of "
                    f"the views find their own, {duration(clock())}{ahead if done < options.steps else ''}"
                )
            if done < options.steps and (stop.is_set() or done % SAVE_EVERY == 0):
                save(state, done)
                if stop.is_set():
                    raise Stopped(None, done, options.steps)
    return state, last


def _write(out: Path, state: ContrastState, note: dict[str, Any]) -> None:
    """The encoder's tensors by torchvision's names, and how they were made."""
    variables = {
        kind: {"encoder": values["encoder"]}
        for kind, values in (("params", state.params), ("batch_stats", state.batch_stats))
    }
    note |= {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    scaling = {"mean": IMAGENET_MEAN.tolist(), "std": IMAGENET_STD.tolist()}
    metadata = {key: json.dumps(value) for key, value in {NOTE: note, **scaling}.items()}
    write_safetensors(out, variables_to_state_dict(variables), metadata)
