import importlib.metadata
import io
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from l2s_jax.cli import doctor
from l2s_jax.cli.doctor import Finding, diagnose, print_diagnosis
from l2s_jax.runs.published import PUBLISHED

Memory = namedtuple("Memory", "available")
Disk = namedtuple("Disk", "free")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def ample(monkeypatch):
    """Room enough, whatever else this machine is doing."""
    monkeypatch.setattr(doctor, "available_memory", lambda: 2**34)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Disk(2**34))


def test_this_installation_is_sound(ample):
    findings = diagnose()
    assert [finding for finding in findings if finding.level == "problem"] == []
    text = "\n".join(finding.what for finding in findings)
    for part in ("Python 3.", "processor(s)", "jax ", "device(s): ", "OpenSlide 4", "16.0 GiB", "torch"):
        assert part in text


def test_it_leaves_nothing_in_the_cache(tmp_path):
    diagnose()
    assert list(tmp_path.iterdir()) == []


def test_no_work_at_import():
    code = (
        "import sys, l2s_jax.cli.doctor; "
        "bad = {'jax', 'openslide', 'torch', 'rich', 'psutil', 'tifffile'} & sys.modules.keys(); "
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plain_lines_and_exit_code():
    findings = [
        Finding("ok", "fine"),
        Finding("warning", "odd", "do this\nthen that"),
        Finding("problem", "broken: 日本", "mend it"),
    ]
    out = io.StringIO()
    assert print_diagnosis(findings, out) == 1
    assert out.getvalue().splitlines() == [
        "ok       fine",
        "warning  odd",
        "         -> do this",
        "         -> then that",
        "problem  broken: 日本",
        "         -> mend it",
        "1 problem(s), 1 warning(s)",
    ]
    assert print_diagnosis(findings[:2], io.StringIO()) == 0


def test_a_terminal_gets_a_table_with_whole_advice(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "60")
    out, advice = Terminal(), "see https://example.org/" + "x" * 100
    assert print_diagnosis([Finding("problem", "[red]broken[/red]", advice)], out) == 1
    assert advice in out.getvalue()
    assert "[red]broken[/red]" in out.getvalue(), "file names are not read as markup"
    assert "│" in out.getvalue()


def test_output_that_is_not_utf8(monkeypatch):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    assert print_diagnosis([Finding("ok", "cache folder: /home/é")], out) == 0
    out.flush()
    assert b"/home/\\xe9" in raw.getvalue()
    monkeypatch.setattr(sys, "stdout", out)
    (finding,) = doctor.check_text()
    assert finding.level == "warning" and "standard output (ascii)" in finding.what
    assert "PYTHONUTF8=1" in finding.advice


def test_one_failing_check_does_not_stop_the_others(monkeypatch):
    def check_python():
        raise AttributeError("half-installed\nsecond line")

    monkeypatch.setattr(doctor, "check_python", check_python)
    findings = diagnose()
    assert findings[0].what == "python: AttributeError: half-installed"
    assert findings[0].level == "problem" and findings[0].advice
    assert len(findings) > 5


def test_packages_missing_and_out_of_range(monkeypatch):
    lines = ["numpy>=99", "no-such-package>=1", "jax>=0.10", 'torch==0.1; extra == "torch"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    first, *faults = doctor.check_packages()
    assert first.level == "ok"
    assert [fault.level for fault in faults] == ["problem", "problem"]
    assert f"numpy {np.__version__} is installed, >=99 is needed" == faults[0].what
    assert faults[0].advice == "pip install 'numpy>=99'"
    assert faults[1].what == "no-such-package is missing"


def test_a_gpu_that_jax_does_not_use(monkeypatch):
    monkeypatch.setattr(doctor, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (finding,) = doctor.check_devices()
    assert finding.level == "warning" and "pip install 'l2s-jax[cuda]'" in finding.advice
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    (finding,) = doctor.check_devices()
    assert "JAX_PLATFORMS=cpu" in finding.advice and "unset" in finding.advice


def test_no_device(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda'\nlong story")

    monkeypatch.setattr("jax.devices", devices)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)  # another message
    (finding,) = doctor.check_devices()
    assert finding.level == "problem"
    assert finding.what == "JAX finds no device: Unable to initialize backend 'cuda'"


def test_openslide_that_cannot_be_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    (finding,) = doctor.check_openslide()
    assert finding.level == "problem" and "openslide-bin" in finding.advice


def test_openslide_that_reads_other_pixels(monkeypatch):
    import openslide

    monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda self, *_: np.zeros((8, 16, 4), np.uint8))
    (finding,) = doctor.check_openslide()
    assert finding.level == "problem" and "other pixels" in finding.what


def test_weights_there_and_not(tmp_path):
    (finding,) = doctor.check_weights()
    assert finding.level == "warning" and str(tmp_path / "cache" / "weights") in finding.what
    assert all(file.url in finding.advice and file.sha256 in finding.advice for file in PUBLISHED)
    converted = tmp_path / "cache" / "weights" / "resnet18-f37072fd.safetensors"
    converted.parent.mkdir(parents=True)
    save_file({"a": np.zeros(1)}, converted)
    assert doctor.check_weights() == [Finding("ok", f"ImageNet weights: {converted}")]


def test_damaged_weights_are_a_problem(ample, tmp_path):
    path = tmp_path / "cache" / "weights" / PUBLISHED[1].name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    findings = [finding for finding in diagnose() if finding.level == "problem"]
    assert len(findings) == 1 and str(path) in findings[0].what and "Delete it" in findings[0].what


def test_a_cache_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file")
    (finding,) = doctor.check_cache()
    assert finding.level == "problem" and "L2S_CACHE" in finding.advice


@pytest.mark.parametrize(("gib", "level"), [(0.5, "problem"), (3, "warning"), (16, "ok")])
def test_memory(monkeypatch, gib, level):
    monkeypatch.setattr(doctor, "available_memory", lambda: int(gib * 2**30))
    (finding,) = doctor.check_memory()
    assert finding.level == level and f"{gib:.1f} GiB" in finding.what
    assert bool(finding.advice) == (level != "ok")


@pytest.mark.parametrize(("gib", "level"), [(0.1, "problem"), (1, "warning"), (16, "ok")])
def test_disk(monkeypatch, gib, level):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Disk(gib * 2**30))
    assert {finding.level for finding in doctor.check_disk()} == {level}


def test_torch_is_optional(monkeypatch):
    monkeypatch.setattr(doctor, "has_torch", lambda: False)
    (finding,) = doctor.check_torch()
    assert finding.level == "ok" and "l2s-jax[torch]" in finding.advice


def test_a_platform_that_is_not_here_is_told_with_what_is(monkeypatch):
    """JAX raises an AssertionError without a word."""
    code = "from l2s_jax.cli.doctor import check_devices as c; (f,) = c(); print(f.level, f.what, f.advice)"
    here = {**os.environ, "JAX_PLATFORMS": "cuda"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here)
    assert done.stdout.startswith("problem JAX_PLATFORMS=cuda") and "There is: cpu" in done.stdout, done
    assert "unset JAX_PLATFORMS" in done.stdout


def test_other_systems_are_said_to_be_untried(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    findings = doctor.check_python()
    assert findings[-1].level == "warning" and "docs/platforms.md" in findings[-1].advice
    assert (Path(__file__).parents[2] / "docs" / "platforms.md").is_file()


HOMELESS = """
import pwd
def unknown(who):
    raise KeyError(who)
pwd.getpwuid = pwd.getpwnam = unknown
from l2s_jax.cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no passwd file there")
@pytest.mark.parametrize("cache", [True, False])
def test_without_home_and_passwd_entry_nothing_is_a_traceback(cache, trained, phantom, tmp_path):
    """As containers run under a number: with L2S_CACHE all works, without it all but keeping does."""
    picture = next((phantom / "images").rglob("*.png"))
    here = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    here.pop("JAX_COMPILATION_CACHE_DIR", None)
    here |= {"L2S_CACHE": str(tmp_path / "cache")} if cache else {"L2S_CACHE": ""}
    commands = (
        ["doctor"],
        ["train", phantom, "--out", tmp_path / "run", "--weights", "random", "--steps", 2, "--batch-size", 8],
        ["predict", trained, picture, "--out", tmp_path / "masks"],
        ["train", phantom, "--out", tmp_path / "other", "--weights", "~/weights.safetensors"],
    )
    for command in commands:
        line = [sys.executable, "-c", HOMELESS, *map(str, command)]
        done = subprocess.run(line, capture_output=True, text=True, env=here, cwd=tmp_path, timeout=600)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        if "--weights" in command and "random" not in command:
            assert done.returncode == 2 and "no home folder" in said, said
        elif command[0] == "doctor":
            assert "reinstall" not in said and (cache or "Set L2S_CACHE" in said), said
        else:
            assert done.returncode == 0 and (cache or "compiled programs are not kept" in said), said
