"""Machines that lack room: a disk that fills up, little memory, folders that cannot be written."""

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator

from soak.figures import Counts
from soak.kills import CASES, Case, Reference, digests
from soak.process import run
from soak.whole_files import half_files
from soak.workspace import Workspace


def _files_of(limit: int) -> Callable[[], None]:
    """No file may grow beyond a number of bytes: writes fail half way, as on a full disk."""

    def before() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return before


def _memory_of(limit: int) -> Callable[[], None]:
    """No more address space than this."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def lack_room(
    work: Workspace, references: dict[str, Reference], counts: Counts, rng: random.Random
) -> Iterator[None]:
    """One command where room is short, then again where it is not: the same files as ever."""
    case: Case = rng.choice([one for one in CASES if one.name in references])
    out = work.folder / f"out {case.name}"
    shutil.rmtree(out, ignore_errors=True)
    kind = rng.choice(("full disk", "little memory", "read-only"))
    arguments = case.arguments(work, out)
    if kind == "full disk":
        done = run(arguments, before=_files_of(int(10 ** rng.uniform(2, 6))))
    elif kind == "little memory":
        done = run(arguments, before=_memory_of(int(10 ** rng.uniform(8.7, 9.7))))
    else:
        out.mkdir()
        if (
            os.geteuid() == 0
            and subprocess.run(["chattr", "+i", out], capture_output=True, check=False).returncode
        ):
            return  # root may write anywhere, and this file system has no other way to say no
        if os.geteuid() != 0:
            out.chmod(0o555)
        done = run(arguments)
        subprocess.run(["chattr", "-i", out], capture_output=True, check=False)
        out.chmod(0o755)
    counts.add("starts")
    counts.add(f"starts, {kind}")
    counts.most("peak MiB", done.peak_mib)
    if "Traceback (most recent call last)" in done.output:
        counts.fault("tracebacks", f"{case.name}, {kind}: {done.output[-600:]}")
    if done.hung:
        counts.fault("hangs", f"{case.name}, {kind}")
    if done.left:
        counts.fault("processes left behind", f"{case.name}, {kind}: {done.left}")
    for fault in half_files(out) if out.is_dir() else ():
        counts.fault("half files", f"{case.name}, {kind}: {fault}")
    yield
    done = run(arguments)
    if done.code != 0:
        counts.fault("refusals", f"{case.name} after {kind} ended with {done.code}: {done.output[-600:]}")
    else:
        counts.add("compared with an unbroken one")
        after = digests(out)
        for name in sorted(references[case.name].files.items() - after.items()):
            counts.fault("differing files", f"{case.name} after {kind}: {name[0]}")
    shutil.rmtree(out, ignore_errors=True)
    yield
