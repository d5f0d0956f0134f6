"""Imports point one way. The order is written once, here; the README's map follows it."""

import ast
import re
import tomllib
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

from l2s_jax.losses import classification_loss

PACKAGE = Path(__file__).parents[1] / "l2s_jax"

HOST_ONLY = (
    "l2s_jax.data", "l2s_jax.figures", "l2s_jax.html", "l2s_jax.metrics", "l2s_jax.files", "l2s_jax.results",
)  # fmt: skip
DEVICE = ("jax", "flax", "optax", "orbax")
FILES = ("l2s_jax.data", "l2s_jax.files", "l2s_jax.run_folder", "pathlib", "PIL", "openslide")

LAYERS = (
    ("errors", "types", "stain_fit", "cluster"),
    ("files", "progress", "slide_options", "stopping"),
    ("config", "data", "csv_rows", "event_file"),
    ("models", "augment", "losses", "metrics", "stain", "percentiles", "run_folder", "html"),
    ("weights", "train_step", "figures", "doctor"),
    ("inference", "checkpoints", "jax_setup", "seeds", "mesh", "results"),
    ("networks", "evaluation", "run_plan", "slide_inference", "looks"),
    ("predictor", "starts", "drawn_masks", "slide_stain", "slide_outputs", "slide_record"),
    ("slide_prediction", "self_training"),
    (
        "run_report",
        "run_loop",
        "run_program",
        "basis",
        "prediction",
        "slide_evaluation",
        "exporting",
        "slide_figures",
        "stain_patches",
        "picture_stain",
    ),
    ("training", "training_many", "inspection", "result_pictures"),
    ("reporting", "sweep_file"),
    ("sweep_plan",),
    ("sweep_row", "sweep_estimate", "sweep_jobs"),
    ("sweeping",),
    ("cli_options",),
    ("cli_data", "cli_prepare", "cli_results", "cli_runs"),
    ("cli_slides",),
    ("cli",),
)


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("l2s_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports hide where a name comes from"
            if node.module == "l2s_jax":
                yield from (f"l2s_jax.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(module):
    part = module.split(".")[1] if "." in module else None
    for height, names in enumerate(LAYERS):
        if part in names:
            return height
    return None


def within(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_module_has_a_layer():
    missing = [name for name, _ in modules() if name != "l2s_jax" and layer(name) is None]
    assert not missing


def test_imports_point_down():
    for name, tree in modules():
        for other in imported(tree):
            if layer(other) is None or name == "l2s_jax":
                continue
            same = other.split(".")[1] == name.split(".")[1]
            assert same or layer(other) < layer(name) or _siblings(name, other), f"{name} imports {other}"


def _siblings(name, other):
    """Within one layer a module may use another, but never both ways."""
    return layer(name) == layer(other) and not any(
        within(back, (name,)) for found, tree in modules() if found == other for back in imported(tree)
    )


def test_host_code_never_imports_the_model_or_jax():
    for name, tree in modules():
        if within(name, HOST_ONLY):
            for other in imported(tree):
                assert other.split(".")[0] not in DEVICE, f"{name} imports {other}"
                assert not within(other, ("l2s_jax.models", "l2s_jax.train_step")), f"{name} imports {other}"


def test_the_model_never_touches_files():
    for name, tree in modules():
        if within(name, ("l2s_jax.models", "l2s_jax.losses", "l2s_jax.augment", "l2s_jax.train_step")):
            for other in imported(tree):
                assert not within(other, FILES), f"{name} imports {other}"


def test_nothing_imports_the_command_line():
    for name, tree in modules():
        assert name == "l2s_jax.cli" or "l2s_jax.cli" not in imported(tree), name


def test_flax_stays_inside_models():
    for name, tree in modules():
        if not within(name, ("l2s_jax.models",)):
            assert not any(other.split(".")[0] == "flax" for other in imported(tree)), name


def test_public_names_are_not_those_of_modules():
    """`from l2s_jax import sweep` would give the module, once something has imported it."""
    import l2s_jax

    assert not set(l2s_jax.__all__) & {path.stem for path in PACKAGE.iterdir()}


def test_shapes_in_signatures_are_checked_while_the_tests_run():
    table = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    options = table["tool"]["pytest"]["ini_options"]["addopts"]
    checked = re.search(r"--jaxtyping-packages=(\S+),", options)[1].split(",")
    for name, tree in modules():
        assert "jaxtyping" not in imported(tree) or within(name, checked), f"{name} is not in {checked}"
    with pytest.raises(jaxtyping.TypeCheckError, match="class_logits"):
        classification_loss(jnp.ones(3), jnp.ones(3, int), jnp.ones(3, bool), jnp.ones(3))
