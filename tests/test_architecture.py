"""Imports point one way, and what each package must not touch stays out of it."""

import ast
import re
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

import l2s_jax
from l2s_jax.train_step.losses import classification_loss

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "l2s_jax"

ORDER = (
    ("types", "system"),
    ("config", "data", "models"),
    ("figures", "runs", "slides", "train_step"),
    ("stain",),
    ("prediction", "prepare"),
    ("exports", "phantom", "training", "reports"),
    ("sweeps",),
    ("cli",),
)
"""Floors of the house. Each imports only what stands in an earlier row, never its own floor."""

WITHOUT_JAX = ("data", "slides", "prepare", "phantom", "figures", "reports")
"""They read, cut and draw: no JAX, directly or through a module of ours."""

WITHOUT_FILES = ("models", "train_step")
"""They compute: nothing that opens a file, directly or through a module of ours."""

DEVICE = {"jax", "jaxlib", "flax", "optax", "orbax"}
FILES = {"pathlib", "PIL", "openslide", "tifffile", "io", "shutil", "tempfile"}


def _imports(tree):
    """Names of the modules that a module imports anywhere in it; `from package import module` is resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports hide where a name comes from"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


def _name(path):
    return ".".join(("l2s_jax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


DOORS = {"__init__", "__main__"}
"""Files of the root that only lead in."""

PATHS = sorted(PACKAGE.rglob("*.py"))
NAMES = {_name(path) for path in PATHS}
GRAPH = {_name(path): set(_imports(ast.parse(path.read_text(encoding="utf-8")))) for path in PATHS}
PLACED = [name for name in GRAPH if name not in ("l2s_jax", "l2s_jax.__main__")]


def room(module):
    """The package, or the file of the root, that a module of ours belongs to."""
    return module.split(".")[1]


def ours(module):
    """The modules of ours that one imports; the version, which the root holds, is no dependency."""
    return {other for other in GRAPH[module] if other.startswith("l2s_jax.")}


def reached(module):
    """All modules of ours that are imported with one."""
    found, ahead = set(), [module]
    while ahead:
        new = ours(ahead.pop()) - found
        found |= new
        ahead += new
    return found


def floor(module):
    return next(height for height, rooms in enumerate(ORDER) if room(module) in rooms)


def test_the_order_names_what_is_there():
    there = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - DOORS == {name for rooms in ORDER for name in rooms}
    assert sum(map(len, ORDER)) <= 18


@pytest.mark.parametrize("name", PLACED)
def test_imports_point_down(name):
    for other in ours(name):
        if room(other) != room(name):
            assert floor(other) < floor(name), f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter({name: ours(name) for name in PLACED}).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in PLACED if room(name) in WITHOUT_JAX])
def test_what_reads_and_draws_never_imports_jax(name):
    for module in {name} | reached(name):
        assert not {other.split(".")[0] for other in GRAPH[module]} & DEVICE, f"{name} through {module}"


@pytest.mark.parametrize("name", [name for name in PLACED if room(name) in WITHOUT_FILES])
def test_what_computes_never_touches_files(name):
    for module in {name} | reached(name):
        assert not {other.split(".")[0] for other in GRAPH[module]} & FILES, f"{name} through {module}"


def test_flax_stays_inside_models():
    for name in PLACED:
        if room(name) != "models":
            assert not any(other.split(".")[0] == "flax" for other in GRAPH[name]), name


def test_importing_a_package_imports_nothing():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1 and isinstance(body[0], ast.Expr), f"{path} is more than a sentence"


def test_no_package_is_a_fifth_of_the_code():
    lines = {name: 0 for rooms in ORDER for name in rooms}
    for path in PATHS:
        if path.parent != PACKAGE or path.stem not in DOORS:
            lines[room(_name(path))] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) <= sum(lines.values()) / 5, lines


def test_public_names_are_not_those_of_modules():
    """`from l2s_jax import sweep` would give the module, once something has imported it."""
    assert not set(l2s_jax.__all__) & {path.stem for path in PACKAGE.iterdir()}


def test_shapes_in_signatures_are_checked_while_the_tests_run():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    options = table["tool"]["pytest"]["ini_options"]["addopts"]
    checked = re.search(r"--jaxtyping-packages=(\S+),", options)[1].split(",")
    for name in PLACED:
        if "jaxtyping" in GRAPH[name]:
            assert any(name == one or name.startswith(f"{one}.") for one in checked), (
                f"{name} not in {checked}"
            )
    with pytest.raises(jaxtyping.TypeCheckError, match="class_logits"):
        classification_loss(jnp.ones(3), jnp.ones(3, int), jnp.ones(3, bool), jnp.ones(3))


def test_tests_import_no_tests():
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = getattr(node, "module", None) or ""
            assert not module.startswith(("test_", "tests", "conftest")), f"{path} imports {module}"
