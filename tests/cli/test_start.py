import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")

LATE = """
import sys, time
from l2s_jax.cli import app, start

class Command:
    def run(self):
        {body}
        return 0

app._command = lambda arguments: Command()
start.main()
"""


def test_as_a_module_it_is_the_same_command():
    said = [
        subprocess.run([*command, "evaluate", "--help"], capture_output=True, text=True, check=True).stdout
        for command in (
            [sys.executable, "-m", "l2s_jax"],
            [sys.executable, "-c", "from l2s_jax.cli.start import main; main()"],
        )
    ]
    assert said[0] == said[1] and said[0].startswith("usage: l2s evaluate")


def interrupted(script, *, at="ready\n", by=signal.SIGINT):
    """A process's exit code and standard error; the signal comes when it has printed a line."""
    settle = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", settle + script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == at
        process.send_signal(by)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_it_is_imported(by):
    slow = """
import sys, time, types

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "l2s_jax.cli.app":
            print("ready", flush=True)
            time.sleep(30)

sys.meta_path.insert(0, Slow())
from l2s_jax.cli.start import main
main()
"""
    assert interrupted(slow, by=by) == (130, "l2s: interrupted\n")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP])
def test_while_a_command_is_at_work(by):
    body = "print('ready', flush=True); time.sleep(30)"
    assert interrupted(LATE.format(body=body), by=by) == (130, "l2s: interrupted\n")


def test_after_its_end():
    """JAX cleans up at the end of the process; the command has done its work."""
    script = "import atexit, time\natexit.register(lambda: (print('ready', flush=True), time.sleep(30)))\n"
    code, said = interrupted(script + LATE.format(body="pass"))
    assert code == -signal.SIGINT and said == ""


def test_within_what_python_cannot_hand_it_on_from():
    """A callback of the garbage collector, of which JAX has one."""
    body = """
        import gc
        def callback(phase, info):
            print("ready", flush=True)
            gc.callbacks.remove(callback)
            time.sleep(30)
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(30)"""
    assert interrupted(LATE.format(body=body)) == (130, "l2s: interrupted\n")
