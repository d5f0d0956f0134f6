"""The only caller of Orbax: a folder with the last state of a run, and one with its best variables.

A checkpoint holds the SHA-256 of each of its files, and is refused where one is another: of 120 changed bytes
57 gave weights that nobody could tell from the right ones. It gets its name when all of it is there.
"""

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from l2s_jax.runs.checksums import SUMS, changed, read_sums, sums_of, without_sum, write_sums
from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.processes import agreed, is_first_process
from l2s_jax.system.stopping import interrupts_later

METADATA = "_CHECKPOINT_METADATA"
"""Orbax's file that holds a checkpoint's note."""
POSITION = "process_0-of-1.json"
"""Grain's own name for it in a run of one process."""

SAVING = ".saving-"
"""How names begin of checkpoints that are not whole yet, or no longer."""
ORBAX_SAVING = ".orbax-checkpoint-tmp"
"""What Orbax puts into such names."""

SUMMED = "l2s_sums"
"""Key in a checkpoint's note: its files have sums. Checkpoints of before there were sums lack it."""


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
    folder = folder.absolute()
    try:
        with _without_log():
            if is_first_process():
                folder.mkdir(parents=True, exist_ok=True)
                _remove(path for path in folder.iterdir() if _is_unfinished(path))
            agreed(True)
            wrapped = {name: _wrapped(item) for name, item in items.items()}
            saving = folder / f"{SAVING}{step}"
            ocp.save_checkpointables(saving, wrapped, custom_metadata={**note, SUMMED: True})
            agreed(True)
            if is_first_process():
                write_sums(saving, sums_of(saving))
                _give_name(saving, folder / str(step))
            agreed(True)
    except OSError as error:
        raise _not_saved(folder, error.strerror or str(error)) from error
    except ValueError as error:
        # TensorStore wraps the operating system's error, a full disk's among them, in a ValueError.
        if "os_error_code" not in str(error):
            raise
        raise _not_saved(folder, str(error).rsplit(": ", 1)[-1].split(" [")[0]) from error


def _give_name(saving: Path, whole: Path) -> None:
    """Renames a checkpoint that is whole, and removes those before it."""
    if whole.exists():
        whole.rename(whole.with_name(f"{SAVING}old-{whole.name}"))
    saving.rename(whole)
    _remove(path for path in whole.parent.iterdir() if path.is_dir() and path != whole)


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(SAVING) or ORBAX_SAVING in path.name


def _remove(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder, ignore_errors=True)


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
    with interrupts_later():
        return max((step for step in steps if ocp.is_orbax_checkpoint(folder / str(step))), default=None)


def note_of(folder: Path) -> tuple[int | None, dict[str, Any]]:
    """Step and note of the newest checkpoint; None and nothing where there is none that can be read."""
    step = latest_step(folder)
    if step is None or _damaged(folder / str(step)):
        return None, {}
    try:
        return step, _note(folder.absolute() / str(step))
    except READ_ERRORS:
        return None, {}


READ_ERRORS = (ValueError, KeyError, OSError, TypeError, AttributeError, IndexError, RuntimeError)
"""What Orbax and TensorStore raise at files that they cannot read."""


def _note(checkpoint: Path) -> dict[str, Any]:
    with _without_log(), _alone(), interrupts_later():
        note = dict(ocp.checkpointables_metadata(checkpoint).custom_metadata or {})
    note.pop(SUMMED, None)
    return note


def _damaged(checkpoint: Path) -> list[str]:
    """Files of a checkpoint that are not as they were written; none where it was written without sums."""
    try:
        sums = read_sums(checkpoint)
    except UserError:
        return [SUMS]
    if not sums:
        try:
            text = (checkpoint / METADATA).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return [METADATA]
        return [SUMS] if SUMMED in text else []
    return changed(checkpoint, sums, sums) + without_sum(checkpoint, sums)


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
    path = folder.absolute() / str(step)
    wrong = _damaged(path)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"the checkpoint {path} is damaged: {', '.join(wrong[:3])}{more} not as written (SHA-256), "
            f"or gone. {_what_now(folder)}"
        )
    try:
        with _without_log(), _alone(), interrupts_later():
            stored = ocp.checkpointables_metadata(path).metadata
            for name, tree in like.items():
                _require_same_arrays(folder, name, stored[name], tree)
            wrapped = {name: _wrapped(item) for name, item in like.items()}
            items = ocp.load_checkpointables(path, wrapped)
            items = {name: getattr(item, "iterator", item) for name, item in items.items()}
        note = _note(path)
    except READ_ERRORS as error:
        _ignore_late_answers()
        raise UserError(
            f"the checkpoint in {folder} does not fit this run's config, or is damaged: {_reason(error)}. "
            f"{_what_now(folder)}"
        ) from error
    for name, tree in items.items():
        _require_finite(folder, name, tree)
    return items, note, step


def _what_now(folder: Path) -> str:
    """What is left of a run one of whose checkpoints cannot be used."""
    others = [path for path in folder.parent.iterdir() if path.is_dir() and path != folder]
    for other in others:
        step = latest_step(other)
        if step is not None and not _damaged(other / str(step)):
            use = "--resume goes on" if other.name == "last" else "--weights RUN starts a new run"
            return (
                f"Copy the run folder again from where it came. The run's other checkpoint, {other} of step "
                f"{step}, is whole: {use} from it; else train again"
            )
    return "Copy the run folder again from where it came, or train again"


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


def _require_same_arrays(folder: Path, name: str, stored: Any, like: Any) -> None:
    """Refuses arrays of other shapes or types than the template's.

    Orbax converts types without a word, and holds arrays of NumPy to no shape.
    """
    there = dict(_by_place(stored))
    for place, leaf in _by_place(like):
        known = hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if not known or place not in there:  # Orbax itself refuses what is not there
            continue
        found = there[place]
        if (tuple(found.shape), found.dtype) != (leaf.shape, leaf.dtype):
            raise UserError(
                f"the checkpoint in {folder} is of another network: {name} has {'.'.join(place)} as "
                f"{found.dtype}{list(found.shape)}, expected {leaf.dtype}{list(leaf.shape)}"
            )


def _by_place(tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves with the names that lead to them; Orbax describes tuples, too, as dictionaries."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield (
            tuple(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path),
            leaf,
        )


def _require_finite(folder: Path, name: str, tree: Any) -> None:
    """Refuses values that are not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if (
            hasattr(leaf, "dtype")
            and jnp.issubdtype(leaf.dtype, jnp.floating)
            and not np.isfinite(leaf).all()
        ):
            where = jax.tree_util.keystr(path)
            raise UserError(f"the checkpoint in {folder} holds NaN or infinity in {name}{where}: retrain")
