"""Commands that are killed at random moments until they are through, beside one that nobody killed."""

import csv
import hashlib
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from soak.figures import Counts
from soak.process import Outcome, run
from soak.whole_files import half_files
from soak.workspace import TRAIN, Workspace

SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KEPT = Path("build") / "soak"
"""Where files that differ are kept."""
PYTHONS_OWN_S = 1.0
"""Python answers to Ctrl-C with a traceback while it starts itself; none of ours can run by then."""
CLEAN_S = 30
"""A signal that asks is heeded within so many seconds."""


class Case(NamedTuple):
    """A command that is to survive being killed."""

    name: str
    arguments: Callable[[Workspace, Path], list[str | Path]]  # of the workspace and the output's folder


TIMES = (
    "SHA256SUMS",
    "seconds",
    "finished",
    "started",
    "environment.json",
    "environment",
    "outputs.jsonl",
    "prepared_files.jsonl",
    "sittings",
    "when",
    "made",
    "command",
)
"""Names of files, and of keys and columns in files, that hold times, or sums of such files, or say how often
a thing was begun."""

CASES = (
    Case("train", lambda w, out: ["train", w.patches, "--out", out, "--resume", "--epochs", "4", *TRAIN]),
    Case("train in phases",
         lambda w, out: ["train", w.patches, "--out", out, "--resume", "--preset", "few-masks",
                         "--setting", "S+C", "--percent", "40", "--steps", "12", *TRAIN]),
    Case("sweep", lambda w, out: ["sweep", w.sweep, "--out", out, "--manifest", w.patches]),
    Case("prepare bach",
         lambda w, out: ["prepare", "bach", w.slides, out, "--patch-size", "32", "--workers", "2"]),
    Case("prepare slides",
         lambda w, out: ["prepare", "slides", w.own / "slides", out, "--mpp", "7.5", "--patch-size", "32",
                         "--workers", "2", "--groups", w.own / "groups.csv"]),
    Case("prepare folds", lambda w, out: ["prepare", "folds", w.patches, out, "--folds", "3"]),
    Case("predict", lambda w, out: ["predict", w.trained, *sorted((w.patches / "images").glob("*.png"))[:20],
                                    "--out", out, "--any-scale"]),
    Case("predict a slide", lambda w, out: ["predict", w.trained, w.slide, "--out", out]),
    Case("evaluate", lambda w, out: ["evaluate", w.trained, w.folder / "cut", "--out", out]),
    Case("evaluate-slides", lambda w, out: ["evaluate-slides", w.trained, w.slide, "--out", out]),
    Case("export", lambda w, out: ["export", w.trained, out]),
)  # fmt: skip


def kill_once_more(
    case: Case, work: Workspace, reference: "Reference", counts: Counts, rng: random.Random
) -> Iterator[None]:
    """Kills a command again and again, at moments spread over its time, until a start is left to its end.

    Yields after each start, so that the caller can save what was counted.
    """
    out = work.folder / f"out {case.name}"
    shutil.rmtree(out, ignore_errors=True)
    arguments = case.arguments(work, out)
    rows: dict[str, int] = {}
    for _ in range(rng.randint(2, 6)):
        how = rng.choice(SIGNALS)
        moment = rng.uniform(0.02, 1.02) * reference.seconds
        if how != signal.SIGKILL:
            moment = max(moment, PYTHONS_OWN_S)
        done = run(arguments, stop_after=moment, stop_with=how)
        counts.add("starts")
        if done.code is None or done.code != 0:
            counts.add("kills" if how == signal.SIGKILL else "stops asked for")
        _look(case, out, done, counts, rows, asked=how != signal.SIGKILL)
        if how != signal.SIGKILL and done.code != 0 and done.seconds - moment > CLEAN_S:
            counts.fault("heeded late", f"{case.name}: {how.name} after {done.seconds - moment:.0f} s")
        yield
        if done.code == 0:
            break
    done = run(arguments)
    counts.add("starts")
    _look(case, out, done, counts, rows, asked=False)
    through = done.code == 0 or "already holds" in done.output  # `export` was killed when all was there
    if not through:
        counts.fault("refusals", f"{case.name} ended with {done.code}: {done.output[-600:]}")
    else:
        after = digests(out)
        names = reference.files.keys() | after.keys()
        counts.add("compared with an unbroken one")
        for name in sorted(one for one in names if reference.files.get(one) != after.get(one)):
            counts.fault("differing files", f"{case.name}: {name}")
            _keep(case, name, expected=reference.folder / name, found=out / name)
    shutil.rmtree(out, ignore_errors=True)
    yield


class Reference(NamedTuple):
    """What a command leaves that nobody kills."""

    seconds: float
    files: dict[str, str]
    folder: Path  # where they stay


def make_reference(case: Case, work: Workspace) -> Reference:
    """Runs a command twice: once to compile, once to be timed and kept."""
    out = work.folder / f"out {case.name}"  # the same path, since some files name it
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        done = run(case.arguments(work, out))
        if done.code != 0:
            raise SystemExit(f"{case.name} ended with {done.code}:\n{done.output}")
    kept = work.folder / f"reference {case.name}"
    out.rename(kept)
    return Reference(done.seconds, digests(kept), kept)


def _keep(case: Case, name: str, **files: Path) -> None:
    """Copies of two files that differ, to look at."""
    for word, path in files.items():
        if path.is_file():
            KEPT.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, KEPT / f"{case.name} {name.replace('/', ' ')} {word}{path.suffix}")


def digests(folder: Path) -> dict[str, str]:
    """A digest of each file's content, without what holds times or paths of checkpoints' parts."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name.startswith((".", "events.out")) or path.name in TIMES:
            continue
        if "checkpoints" in path.parts or path.suffix == ".html":
            continue  # names of Orbax's parts are random, pages hold times
        out[name] = hashlib.sha256(_content(path)).hexdigest()
    return out


def _content(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(_timeless(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True).encode()
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        # Runs finish in an order of their own where several are trained at a time.
        return json.dumps(sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)).encode()
    return path.read_bytes()


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _look(case: Case, out: Path, done: Outcome, counts: Counts, rows: dict[str, int], *, asked: bool) -> None:
    counts.most("peak MiB", done.peak_mib)
    if "Traceback (most recent call last)" in done.output:
        counts.fault("tracebacks", f"{case.name}: {done.output[-600:]}")
    if done.hung:
        counts.fault("hangs", case.name)
    if done.left:
        counts.fault("processes left behind", f"{case.name}: {done.left}")
    if asked and done.code not in (0, 130, 143, 129, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        counts.fault("exit codes", f"{case.name}: {done.code}: {done.output[-300:]}")
    for fault in half_files(out) if out.is_dir() else ():
        counts.fault("half files", f"{case.name}: {fault}")
    for path in out.rglob("results.csv") if out.is_dir() else ():
        number, known = path.read_text(encoding="utf-8").count("\n"), rows.get(str(path), 0)
        if number < known:
            counts.fault("lost rows", f"{case.name}: {path.name} had {known} lines, has {number}")
        rows[str(path)] = max(number, known)
