"""Demo, stop and resume, slide and sweep under Windows' rules (`helpers.windows` says what escapes it)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="imitated on Linux"),
    pytest.mark.slow,
]

RULES = """
import builtins, ctypes, os, signal, sys, tempfile
from pathlib import Path
from helpers.windows import install
install()
folder = Path(sys.argv[1])
def fails(error, work, *arguments):
    try:
        work(*arguments)
    except error as met:
        return met
    raise SystemExit(f"{work} {arguments} did not fail")
(folder / "a").write_text("é\\n")
assert (folder / "a").read_bytes() == b"\\xe9\\r\\n"
(folder / "b").write_text("é\\n", encoding="utf-8", newline="")
assert (folder / "b").read_bytes() == "é\\n".encode()
with open(folder / "a", "rb") as file:
    fails(OSError, os.fsync, file.fileno())
    fails(PermissionError, os.replace, folder / "b", folder / "a")
    fails(PermissionError, (folder / "a").unlink)
    fails(PermissionError, folder.rename, folder.with_name("other"))
fails(FileExistsError, (folder / "a").rename, folder / "b")
(folder / "a").replace(folder / "b")
fails(AssertionError, (folder / "B").touch)
for name in ("a:b", "a.", "a ", "NUL", "com1.txt", "a?", "x" * 300):
    fails(OSError, (folder / name).write_text, "")
fails(TypeError, ctypes.CDLL, None)
assert not hasattr(signal, "SIGKILL") and not hasattr(os, "fork") and not hasattr(os, "pread")
fails(ValueError, signal.signal, 1, signal.SIG_IGN)
import l2s_jax.system.jax_setup as ours
assert ours.sys.platform == "win32" and ours.c_library() is None
print("as on Windows")
"""

WORK = """
import os, signal, sys, threading, time
from pathlib import Path
from helpers.windows import install
install()
from l2s_jax.cli.app import run
FOLDER = Path(sys.argv[1])
SWEEP = 'draws = 1\\npercents = [60]\\n[options]\\nweights = "random"\\nbatch_size = 8\\n'
SWEEP += 'steps = 4\\n[[variant]]\\nname = "paper"\\nsettings = ["S", "S+C"]\\n'

def l2s(*arguments):
    code = run([str(argument) for argument in arguments])
    print("code", code, arguments[0], flush=True)
    return code

def interrupt_after_a_checkpoint(run_folder):
    def steps():
        return {path.name for path in run_folder.glob("checkpoints/last/[0-9]*")}
    before = steps()
    def wait():
        while not steps() - before:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
    threading.Thread(target=wait, daemon=True).start()

if __name__ == "__main__":
    os.chdir(FOLDER)
    fast = ["--weights", "random", "--batch-size", "8", "--learning-rate", "0.001"]
    assert l2s("prepare", "phantom", "data", "--patches", 40, "--patch-size", 32) == 0
    assert l2s("check", "data") == 0
    interrupt_after_a_checkpoint(FOLDER / "run")
    train = ["train", "data", "--out", "run", *fast, "--epochs", "200", "--checkpoint-minutes", "0"]
    assert l2s(*train) == 130
    assert l2s("train", "data", "--out", "again", *fast, "--epochs", "1") == 0
    interrupt_after_a_checkpoint(FOLDER / "run")
    assert l2s(*train, "--resume") == 130
    assert l2s("evaluate", "again", "data") == 0
    picture = next((FOLDER / "data" / "images").rglob("*.png"))
    assert l2s("predict", "again", picture, "--out", "masks") == 0
    assert l2s("export", "again", "exported") == 0
    assert l2s("phantom-bach", "BACH") == 0
    assert l2s("predict", "again", "BACH/WSI/A04.svs", "--out", "slides", "--mpp", "4") == 0
    (FOLDER / "s.toml").write_text(SWEEP, encoding="utf-8")
    assert l2s("sweep", "s.toml", "--manifest", "data", "--out", "sweep") == 0
    assert l2s("sweep", "s.toml", "--manifest", "data", "--out", "jobs", "--jobs", 2) == 0
    print("all done")
"""


def run_script(text, folder):
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    work = folder / "work"
    work.mkdir()
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.run(
        [sys.executable, script, work], capture_output=True, env=here, timeout=1500, encoding="cp1252"
    )


def test_the_imitation_refuses_what_windows_refuses(tmp_path):
    done = run_script(RULES, tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("as on Windows\n"), done.stdout + done.stderr


@pytest.mark.timeout(1600)
def test_everything_runs_there(tmp_path):
    done = run_script(WORK, tmp_path)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout[-4000:] + done.stderr[-6000:]
    assert "Traceback" not in done.stderr, done.stderr
    rows = (tmp_path / "work" / "sweep" / "results.csv").read_bytes()
    assert rows.count(b"\n") == 3 and b"\r" not in rows
