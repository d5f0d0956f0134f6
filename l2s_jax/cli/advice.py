"""How to go on after an error, in the command line's words. The library says what happened, in fields.

What a command needs is imported where it is asked for: `l2s --help` does not wait for it.
"""

from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.stopping import Stopped


def advice(error: UserError, command: str) -> str:
    """What to do next, to be put after an error's message; "" where the message says all there is.

    Args:
      error: what ended the command.
      command: its name, as in `l2s COMMAND`.
    """
    if type(error) is UserError:
        return ""
    if isinstance(error, Stopped | Unwritable) and command == "sweep":
        return "; start the same sweep again to go on"
    if isinstance(error, Stopped | Unwritable) and command == "pretrain":
        return "; start the same command again to go on"
    if isinstance(error, Stopped) and command == "train":
        return f"; go on with --resume --out {error.folder}" if error.folder else "; go on with --resume"
    if isinstance(error, Unwritable) and command == "train":
        return "; go on with --resume"
    return _of_sweep(error) if command == "sweep" else _of_leak(error, command)


def _of_sweep(error: UserError) -> str:
    from l2s_jax.sweeps.jobs import ProcessKilled
    from l2s_jax.sweeps.sweep import RunsFailed

    if isinstance(error, ProcessKilled):
        return "; start the same sweep again to go on, with fewer --jobs if memory is short"
    return "; --retry-failed runs them again" if isinstance(error, RunsFailed) else ""


def _of_leak(error: UserError, command: str) -> str:
    from l2s_jax.runs.leaks import Leak

    if not isinstance(error, Leak):
        return ""
    if error.role:
        return f". Name another {'encoder' if error.run.is_file() else 'run'} by --{error.role}"
    return ". Leave them out, or ask for them with --trained-on" if command == "evaluate-slides" else ""
