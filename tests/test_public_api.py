"""What a user imports: lazily, and with types that an editor and a type checker see."""

import inspect
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import l2s_jax

ROOT = Path(__file__).parents[1]

RIGHT = """
from dataclasses import replace
from pathlib import Path

from l2s_jax import (
    MACENKO,
    BACH_PRESETS,
    PRESETS,
    BachOptions,
    SlideOptions,
    TrainConfig,
    WorkOptions,
    evaluate,
    predict,
    prepare_bach,
    prepare_phantom,
    sweep,
    train,
    train_many,
)

config = TrainConfig(setting="S+C", percent=50, weights="random", epochs=20)
run: Path = train("my_data", Path("runs/half"), config, resume=True)
runs: list[Path] = train_many("my_data", "runs", replace(PRESETS["labelset"], seed=1), seeds=(0, 1))
print(evaluate(run, "my_data", split="val", stride=16)["pooled"])
predict(run, ["a.png", Path("b.svs")], "out", stain="off", slides=SlideOptions(mpp=0.5))
prepare_phantom("phantom", patches=20)
prepare_bach("BACH", "data", "release", stainer=MACENKO)
made = prepare_bach("BACH", "data", replace(BACH_PRESETS["release"], patch_size=64), WorkOptions(workers=2))
print(made.manifest.classes, made.failures)
folder: Path = sweep("bach.toml", dry_run=True)
"""

WRONG = """
train("my_data")  # type: ignore[call-arg]
train("my_data", "run", {"percent": 50})  # type: ignore[arg-type]
train("my_data", "run", config, resumed=True)  # type: ignore[call-arg]
TrainConfig(setting="S+D")  # type: ignore[arg-type]
TrainConfig(percant=5)  # type: ignore[call-arg]
evaluate(run, "my_data", split="all")  # type: ignore[arg-type]
predict(run, 5, "out")  # type: ignore[arg-type]
predict(run, ["a.png"], "out", stain="on")  # type: ignore[arg-type]
prepare_phantom(patches=20)  # type: ignore[call-arg]
prepare_bach("BACH", "data", "relase")  # type: ignore[arg-type]
prepare_bach("BACH", "data", BachOptions(split="half"))  # type: ignore[arg-type]
BACH_PRESETS["labelset"]  # type: ignore[index]
sweep("bach.toml", jobs="2")  # type: ignore[arg-type]
seeds: list[int] = train_many("my_data", "runs")  # type: ignore[assignment]
from l2s_jax import trian  # type: ignore[attr-defined]
"""


def mypy(script, tmp_path):
    """What a strict mypy says about a user's script, which sees the package as one that is installed."""
    (tmp_path / "script.py").write_text(script)
    config = f"[mypy]\nstrict = true\nmypy_path = {ROOT}\n[mypy-l2s_jax.*]\nfollow_imports = silent\n"
    (tmp_path / "mypy.ini").write_text(config)
    words = ["--config-file", "mypy.ini", "--cache-dir", str(ROOT / ".mypy_cache" / "user"), "script.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=tmp_path, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_type_checker_takes_what_is_right_and_finds_what_is_wrong(tmp_path):
    """Strict: a wrong line that it would let pass is told as an ignore that is not used, as the last is."""
    right_after_all = 'train("my_data", "run")  # type: ignore[call-arg]\n'
    *errors, summary = mypy(RIGHT + WRONG + right_after_all, tmp_path).splitlines()
    line = (RIGHT + WRONG).count("\n") + 1
    assert errors == [f'script.py:{line}: error: Unused "type: ignore" comment  [unused-ignore]']
    assert "Found 1 error" in summary


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "l2s_jax" / "py.typed").exists() and (ROOT / "l2s_jax" / "__init__.pyi").exists()


@pytest.mark.parametrize("name", l2s_jax.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(l2s_jax, name)
    if inspect.isfunction(value) or inspect.isclass(value):
        assert value.__doc__ and value.__name__ == name
        assert getattr(import_module(value.__module__), name) is value
        hints = [part.annotation for part in inspect.signature(value).parameters.values()]
        assert inspect.Parameter.empty not in hints


def test_names_are_listed_and_others_are_no_names():
    assert set(l2s_jax.__all__) <= set(dir(l2s_jax)) and "train" in l2s_jax.__all__
    with pytest.raises(AttributeError, match="trian"):
        _ = l2s_jax.trian


HEAVY = (
    "jax",
    "jaxlib",
    "numpy",
    "pandas",
    "scipy",
    "skimage",
    "matplotlib",
    "PIL",
    "tyro",
    "orbax",
    "flax",
    "torch",
)


def imported(code):
    """The heavy packages that a piece of Python imports, in a process of its own."""
    code = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize(
    "code",
    [
        "import l2s_jax",
        "from l2s_jax import UserError",
        "from l2s_jax.cli.app import run\ntry: run(['--help'])\nexcept SystemExit: pass",
        "from l2s_jax.cli.app import run\ntry: run(['--version'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert imported(code).strip() == "[]"


@pytest.mark.parametrize("words", [["train", "--help"], ["prepare", "bach", "--help"], ["predict", "--help"]])
def test_help_imports_no_jax(words):
    said = imported(f"from l2s_jax.cli.app import run\ntry: run({words!r})\nexcept SystemExit: pass")
    assert "'tyro'" in said and not {"'jax'", "'pandas'", "'skimage'"} & set(said.strip("[]\n").split(", "))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("prediction.predict", {"matplotlib"}),
        ("training.train", {"matplotlib", "scipy", "skimage", "pandas"}),
    ],
)
def test_work_begins_before_what_is_needed_later_is_imported(module, absent):
    said = imported(f"import l2s_jax.{module}")
    assert "'jax'" in said and not [name for name in absent if f"'{name}'" in said]


def test_events_are_written_without_torch_where_it_is_installed(tmp_path):
    """tensorboardX imports it, a second that no run needs; who imports it afterwards gets it all the same."""
    write = f"""from pathlib import Path
from l2s_jax.runs.events import EventFile
file = EventFile(Path({str(tmp_path)!r}), 0)
file.add({{'loss': 0.5}}, 1)
file.close()"""
    assert "'torch'" not in imported(write) and list(tmp_path.glob("events.*"))
    if find_spec("torch"):
        assert "'torch'" in imported(f"{write}\nimport torch")
