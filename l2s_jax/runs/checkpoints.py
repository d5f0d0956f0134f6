"""The only caller of Orbax: a folder with the last state of a run, and one with its best variables."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from l2s_jax.system.errors import Unwritable, UserError

POSITION = "process_0-of-1.json"
"""Grain's own name for it in a run of one process."""

NEWEST = ocp.training.preservation_policies.LatestN(1)


def save(folder: Path, step: int, items: dict[str, Any], note: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all, and then removes the one before it.

    Where several processes train together, all of them call this, and the arrays are on devices of all.

    Args:
      folder: made where it does not exist.
      step: steps taken; a checkpoint of the same step is replaced.
      items: pytrees of arrays, or Grain iterators, by name.
      note: anything that JSON holds, returned by `load`.

    Raises:
      Unwritable: the folder cannot be written.
    """
    try:
        with (
            _without_log(),
            ocp.training.Checkpointer(
                folder.absolute(), preservation_policy=NEWEST, cleanup_tmp_directories=True
            ) as checkpointer,
        ):
            wrapped = {name: _wrapped(item) for name, item in items.items()}
            checkpointer.save_checkpointables(step, wrapped, custom_metadata=note, overwrite=True)
    except OSError as error:
        raise _not_saved(folder, error.strerror or str(error)) from error
    except ValueError as error:
        # TensorStore wraps the operating system's error, a full disk's among them, in a ValueError.
        if "os_error_code" not in str(error):
            raise
        raise _not_saved(folder, str(error).rsplit(": ", 1)[-1].split(" [")[0]) from error


def _not_saved(folder: Path, reason: str) -> Unwritable:
    _ignore_late_answers()
    return Unwritable(
        f"cannot write a checkpoint to {folder}: {reason}. The checkpoint before it is untouched: "
        "free some space"
    )


def _ignore_late_answers() -> None:
    """Keeps quiet what is of no more interest after a failure.

    Reads and writes that were under way when another failed answer when Orbax has closed their event loop,
    and each would print a traceback.
    """
    before = sys.unraisablehook
    if getattr(before, "ignores_late_answers", False):
        return

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    hook.ignores_late_answers = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


@contextmanager
def _without_log() -> Iterator[None]:
    """Keeps Orbax from logging: what goes wrong is raised as well, and its warnings tell a user nothing."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def latest_step(folder: Path) -> int | None:
    """Step of the newest complete checkpoint, None where there is none."""
    if not folder.is_dir():
        return None
    # Unfinished ones bear another name.
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return max((step for step in steps if ocp.is_orbax_checkpoint(folder / str(step))), default=None)


def note_of(folder: Path) -> tuple[int | None, dict[str, Any]]:
    """Step and note of the newest checkpoint; None and nothing where there is none that can be read."""
    step = latest_step(folder)
    try:
        with _without_log(), _alone():
            found = None if step is None else ocp.checkpointables_metadata(folder.absolute() / str(step))
    except (ValueError, KeyError, OSError, TypeError):
        return None, {}
    return (step, dict(found.custom_metadata or {})) if found else (None, {})


def load(folder: Path, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The newest checkpoint: its items, its note, its step.

    Args:
      folder: as given to `save`.
      like: items of the same structure, shapes and types, which say what is to be read.

    Raises:
      UserError: there is no checkpoint, it does not fit `like`, or it holds values that are not finite.
    """
    step = latest_step(folder)
    if step is None:
        raise UserError(
            f"no checkpoint in {folder}: the run was stopped before its first one, or it is no run"
        )
    try:
        path = folder.absolute() / str(step)
        with _without_log(), _alone():
            wrapped = {name: _wrapped(item) for name, item in like.items()}
            items = ocp.load_checkpointables(path, wrapped)
            items = {name: getattr(item, "iterator", item) for name, item in items.items()}
            note = ocp.checkpointables_metadata(path).custom_metadata or {}
    except (ValueError, KeyError, OSError, TypeError) as error:
        _ignore_late_answers()
        raise UserError(
            f"the checkpoint in {folder} does not fit this run's config, or is damaged: {_reason(error)}"
        ) from error
    for name, tree in items.items():
        _check(folder, name, tree, like[name])
    return items, dict(note), step


class _Position:
    """A Grain iterator whose state is one file, whatever number of processes there is.

    Grain itself writes one a process, which only as many processes could read again. All are at one place.
    """

    def __init__(self, iterator: Any):
        self.iterator = iterator

    async def save(self, directory: Any) -> Any:
        """Begins to write; gives what is left to be awaited."""
        state = json.dumps(self.iterator.get_state(), indent=4)

        async def write() -> None:
            (await directory.await_creation() / POSITION).write_text(state)

        return write() if jax.process_index() == 0 else asyncio.sleep(0)

    async def load(self, directory: Any) -> Any:
        """Begins to read; gives what is left to be awaited."""

        async def read() -> None:
            self.iterator.set_state(json.loads((directory / POSITION).read_text()))

        return read()


def _wrapped(item: Any) -> Any:
    return _Position(item) if hasattr(item, "get_state") else item


def _alone() -> Any:
    """Orbax for this process only: reading needs no meeting point."""
    me = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    return ocp.Context(multiprocessing_options=options) if jax.process_count() > 1 else nullcontext()


def _reason(error: BaseException) -> str:
    """What lies at the bottom of Orbax's errors, which quote whole arrays on the way up."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first_line if len(first_line) <= 300 else f"{first_line[:300]} ..."


def _check(folder: Path, name: str, tree: Any, like: Any) -> None:
    """Refuses shapes that differ from the template's, and values that are not finite."""
    if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(like)):
        return
    wrong = jax.tree.map(lambda a, b: a.shape != b.shape or a.dtype != b.dtype, tree, like)
    if any(jax.tree.leaves(wrong)):
        raise UserError(f"the checkpoint in {folder} is of another network: shapes of {name!r} differ")
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating) and not np.isfinite(leaf).all():
            where = jax.tree_util.keystr(path)
            raise UserError(f"the checkpoint in {folder} holds NaN or infinity in {name}{where}: retrain")
