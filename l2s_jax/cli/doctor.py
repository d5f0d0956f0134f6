"""What could keep this installation from working, and what to do about it."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from l2s_jax.runs.published import (
    HISTOLOGY,
    PUBLISHED,
    find_cached,
    how_to_provide,
    weights_folder,
    what_is_cached,
)
from l2s_jax.runs.weights_file import TORCH_EXTRA, has_torch
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import cache_folder
from l2s_jax.system.jax_setup import require_device
from l2s_jax.system.resources import available_memory, usable_cores

Level = Literal["ok", "warning", "problem"]

DISTRIBUTION = "l2s-jax"
GIB = 2**30
LISTED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "openslide-python")


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    what: str
    advice: str = ""  # what to do; empty where there is nothing to do


def diagnose() -> list[Finding]:
    """Looks at everything; a check that fails unexpectedly is itself a finding."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        check_python,
        check_packages,
        check_devices,
        check_openslide,
        check_weights,
        check_histology_weights,
        check_cached_weights,
        check_cache,
        check_memory,
        check_disk,
        check_torch,
        check_text,
    )
    return [finding for check in checks for finding in _guarded(check)]


def print_diagnosis(findings: Sequence[Finding], out: TextIO | None = None) -> int:
    """Prints findings, as a table on a terminal and as plain lines elsewhere.

    Returns:
      The exit code: 1 where there is a problem, else 0.
    """
    out = out or sys.stdout
    if out.isatty():
        _print_table(findings, out)
    else:
        for finding in findings:
            _print_plain(f"{finding.level:<8} {finding.what}", out)
            for line in finding.advice.splitlines():
                _print_plain(f"{'':<8} -> {line}", out)
    count = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warning")}
    _print_plain(f"{count['problem']} problem(s), {count['warning']} warning(s)", out)
    return 1 if count["problem"] else 0


def check_python() -> list[Finding]:
    """The interpreter and the machine."""
    what = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [Finding("ok", f"{what}, {usable_cores()} processor(s)")]
    if not sys.platform.startswith("linux"):
        untried = "this system is not among those that the package is run on before a release"
        return [*findings, Finding("warning", untried, PLATFORMS)]
    return findings


PLATFORMS = (
    "Linux on x86-64 and NVIDIA GPUs are. On Windows and macOS it was never run: tests imitate what Windows "
    "refuses to Python, not what libraries in C++ meet there (reading slides, writing checkpoints). What was "
    "tried and what was not: docs/platforms.md. Run the tests before you rely on it"
)


def check_packages() -> list[Finding]:
    """Every package this one requires, against the versions that it asks for."""
    from packaging.requirements import Requirement

    try:
        own = importlib.metadata.version(DISTRIBUTION)
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("warning", f"{DISTRIBUTION} is not installed, only on the path", "pip install -e .")]
    required = [Requirement(line) for line in lines]
    needed = [item for item in required if item.marker is None or item.marker.evaluate({"extra": ""})]
    faults = [fault for item in needed for fault in _faults_of(item.name, item.specifier)]
    shown = ", ".join(f"{name} {_version(name)}" for name in LISTED_PACKAGES if _version(name))
    return [Finding("ok", f"{DISTRIBUTION} {own} with {shown}"), *faults]


def check_devices() -> list[Finding]:
    """What JAX computes on, with one sum to see that it does."""
    import jax

    advice = "unset JAX_PLATFORMS" if os.environ.get("JAX_PLATFORMS") else "reinstall jax and jaxlib alike"
    try:
        require_device()
    except UserError as error:
        return [Finding("problem", str(error), advice)]
    devices = jax.devices()
    try:
        total = float(jax.numpy.arange(8.0).sum())
    except RuntimeError as error:
        return [Finding("problem", f"JAX cannot compute: {_first_line(error)}", advice)]
    names = sorted({f"{device.platform} ({device.device_kind})" for device in devices})
    what = f"JAX computes on {len(devices)} device(s): {', '.join(names)}"
    if total != 28:
        return [Finding("problem", f"{what}, but 0+1+...+7 gives {total}", "reinstall jax and jaxlib alike")]
    if jax.default_backend() == "cpu" and has_nvidia_gpu():
        return [Finding("warning", f"{what}, though there is an NVIDIA GPU", _gpu_advice())]
    return [Finding("ok", what)]


def has_nvidia_gpu() -> bool:
    """Whether this machine's driver knows of an NVIDIA GPU, whatever JAX sees."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def check_openslide() -> list[Finding]:
    """Reads a slide: a tiny tiled TIFF, written for it."""
    advice = "pip install --force-reinstall openslide-python openslide-bin"
    try:
        import openslide
    except (ImportError, OSError) as error:
        return [Finding("problem", f"OpenSlide cannot be loaded: {_first_line(error)}", advice)]
    import numpy as np
    import tifffile

    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        tifffile.imwrite(path, picture, tile=(128, 128), photometric="rgb")
        try:
            with openslide.OpenSlide(path) as slide:
                region = np.asarray(slide.read_region((120, 40), 0, (16, 8)))[..., :3]
        except openslide.OpenSlideError as error:
            return [Finding("problem", f"OpenSlide cannot read a TIFF: {_first_line(error)}", advice)]
    if not np.array_equal(region, picture[40:48, 120:136]):
        return [Finding("problem", "OpenSlide reads other pixels than were written", advice)]
    return [Finding("ok", f"OpenSlide {openslide.__library_version__} reads slides")]


def check_weights() -> list[Finding]:
    """Where `--weights auto` would look, and whether anything is there."""
    folder = weights_folder()
    found = find_cached(folder)
    if found:
        return [Finding("ok", f"ImageNet weights: {found}")]
    first = "The first training downloads them (47 MB); without a network:\n"
    return [Finding("warning", f"no ImageNet weights in {folder}", first + how_to_provide(folder, PUBLISHED))]


def check_histology_weights() -> list[Finding]:
    """Whether `--weights histology` would find its file; nothing is wrong where it would not."""
    folder = weights_folder()
    found = find_cached(folder, HISTOLOGY)
    if found:
        return [Finding("ok", f"histology weights: {found}")]
    first = "The first training with --weights histology downloads them (46 MB); without a network:\n"
    advice = first + how_to_provide(folder, HISTOLOGY)
    return [Finding("ok", f"no histology weights in {folder}; only --weights histology needs them", advice)]


def check_cached_weights() -> list[Finding]:
    """What lies in the folder of weights, file by file."""
    return [Finding("ok", f"cached: {path.name}: {what}") for path, what in what_is_cached(weights_folder())]


def check_cache() -> list[Finding]:
    """Whether downloads and compiled programs can be kept."""
    folder = cache_folder()
    reason = _unwritable(folder)
    if reason:
        advice = "set L2S_CACHE to a folder that you can write to"
        return [Finding("problem", f"the cache folder {folder} cannot be written: {reason}", advice)]
    return [Finding("ok", f"cache folder for weights and compiled programs: {folder}")]


def check_memory() -> list[Finding]:
    """Free memory, within the limit of the container if there is one."""
    available = available_memory() / GIB  # within the container's limits, as where workers are counted
    what = f"{available:.1f} GiB of memory available"
    advice = "close other programs, or train with a smaller --batch-size and --memory-gib"
    return [
        Finding("problem" if available < 1 else "warning", what, advice)
        if available < 4
        else Finding("ok", what)
    ]


def check_disk() -> list[Finding]:
    """Free space where runs and caches are written; a run's checkpoints take about 0.1 GiB."""
    findings, folders = [], {"this folder": Path.cwd()}
    with contextlib.suppress(UserError):  # no cache folder: another check says so
        folders["the cache folder"] = _existing(cache_folder())
    for name, folder in folders.items():
        free = shutil.disk_usage(folder).free / GIB
        level: Level = "problem" if free < 0.2 else "warning" if free < 2 else "ok"
        advice = "" if level == "ok" else "free some space, or choose another --out or L2S_CACHE"
        findings.append(Finding(level, f"{free:.1f} GiB free on the disk of {name} ({folder})", advice))
    return findings


def check_torch() -> list[Finding]:
    """The torch extra: only .pth weights and the parity tests need it."""
    if has_torch():
        return [Finding("ok", f"torch {_version('torch')}: .pth weights can be read")]
    return [Finding("ok", "torch is not installed; only .pth weights need it", TORCH_EXTRA)]


def check_text() -> list[Finding]:
    """Whether names with accents can be printed and opened."""
    encodings = {"standard output": sys.stdout.encoding or "ascii", "file names": sys.getfilesystemencoding()}
    wrong = [f"{name} ({code})" for name, code in encodings.items() if not _is_utf8(code)]
    if wrong:
        return [Finding("warning", f"not UTF-8: {', '.join(wrong)}", "set PYTHONUTF8=1, or LANG=C.UTF-8")]
    kind = "terminal: progress bars are drawn" if sys.stderr.isatty() else "no terminal: no progress bars"
    return [Finding("ok", f"text is UTF-8; {kind}")]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except UserError as error:
        return [Finding("problem", str(error))]
    except Exception as error:  # a broken package may raise anything; the other checks must still run
        what = f"{check.__name__.removeprefix('check_')}: {type(error).__name__}: {_first_line(error)}"
        return [Finding("problem", what, "reinstall into a fresh environment: pip install l2s-jax")]


def _faults_of(name: str, specifier: Any) -> list[Finding]:
    version = _version(name)
    if version is None:
        return [Finding("problem", f"{name} is missing", f"pip install '{name}{specifier}'")]
    if not specifier.contains(version, prereleases=True):
        what = f"{name} {version} is installed, {specifier} is needed"
        return [Finding("problem", what, f"pip install '{name}{specifier}'")]
    return []


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu_advice() -> str:
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms:
        return f"JAX_PLATFORMS={platforms} keeps JAX off the GPU: unset it"
    return "pip install 'l2s-jax[cuda]'; if it is installed, compare the driver with JAX's installation page"


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _unwritable(folder: Path) -> str:
    """Why no file can be made in a folder (or where it would be made); empty where one can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _print_plain(text: str, out: TextIO) -> None:
    encoding = out.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=out)


def _print_table(findings: Sequence[Finding], out: TextIO) -> None:
    """Advice stands below the table, unwrapped: a table would cut addresses and hashes short."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    console = Console(file=out)
    table = Table("", "found")
    for finding in findings:
        table.add_row(Text(finding.level, style=colours[finding.level]), Text(finding.what, overflow="fold"))
    console.print(table)
    for finding in findings:
        if finding.advice:
            console.print(Text(f"{finding.what}:", style=colours[finding.level]), soft_wrap=True)
            console.print(Text(finding.advice), soft_wrap=True)
