"""Where the process `l2s` begins: a signal to stop is one line from the first import to the last clean-up."""

import signal
import sys
from types import FrameType

from l2s_jax.system.stopping import SIGNALS


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Runs `l2s` with the process's arguments and ends the process; see `app.main`."""
    ours = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        from l2s_jax.cli.app import main as command

        command()
    except KeyboardInterrupt:  # within an import, which takes half a second
        print("l2s: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # Clean-ups of libraries would print a traceback each: from here on a signal ends the process at once.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
