import ast
import inspect
from dataclasses import fields, replace
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2s_jax import config as config_module
from l2s_jax.config import PRESETS, TrainConfig, config_hash, validate
from l2s_jax.runs.config_file import read_config, write_config
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import Range, ranges_of

PAPER = PRESETS["paper"]


def test_presets_say_what_the_audit_says():
    assert PAPER == TrainConfig()
    paper = (PAPER.learning_rate, PAPER.batch_size, PAPER.epochs, PAPER.routing, PAPER.head, PAPER.step)
    assert paper == (1e-4, 20, 100, "split", "a3", "summed")
    release = PRESETS["release"]
    assert (release.routing, release.head, release.min_per_class) == ("all", "max", 1)
    assert (release.norm, release.norm_eval, release.augment) == ("dataset", "imagenet", "rotate")


def test_every_option_is_documented():
    classes = [
        node for node in ast.parse(inspect.getsource(config_module)).body if isinstance(node, ast.ClassDef)
    ]
    documented = set()
    for node in classes:
        for option, follower in zip(node.body, node.body[1:], strict=False):
            if isinstance(option, ast.AnnAssign):
                assert isinstance(follower, ast.Expr), option.target.id
                documented.add(option.target.id)
    assert documented == {field.name for field in fields(TrainConfig)}


def test_every_number_has_a_range_and_is_held_to_it():
    numbers = {name for name, hint in get_type_hints(TrainConfig).items() if hint in (int, float, int | None)}
    assert numbers == set(ranges_of(TrainConfig))
    for name, allowed in ranges_of(TrainConfig).items():
        for wrong in (allowed.low - 1, allowed.high + 1, float("nan")):
            with pytest.raises(UserError) as caught:
                validate(replace(PAPER, **{name: wrong}))
            assert f"{name} = {wrong!r} must be {allowed}" in str(caught.value)


@given(st.integers(-40, 40), st.integers(-40, 40), st.booleans(), st.booleans())
def test_a_range_holds_what_its_text_says(low, high, open_low, open_high):
    allowed = Range(low, high, open_low, open_high)
    inside = {n for n in range(-50, 50) if n in allowed}
    ends = ({low} if open_low else set()) | ({high} if open_high else set())
    assert inside == {n for n in range(low, high + 1) if n not in ends}
    assert str(abs(low)) in str(allowed) and str(abs(high)) in str(allowed) and float("nan") not in allowed
    assert ("above" in str(allowed), "below" in str(allowed)) == (open_low, open_high)


@given(st.floats(0, 100), st.integers(1, 500), st.sampled_from(["S", "S+C", "S+C*"]), st.booleans())
def test_toml_round_trip(tmp_path_factory, percent, batch_size, setting, jitter):
    config = replace(PAPER, percent=percent, batch_size=batch_size, setting=setting, colour_jitter=jitter)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    write_config(path, config)
    assert read_config(path, PRESETS["release"]) == config


def test_hash_changes_with_every_option():
    hashes = {config_hash(PAPER)}
    for name, value in (("seed", 1), ("percent", 5.0), ("steps", 10), ("augment", "none")):
        hashes.add(config_hash(replace(PAPER, **{name: value})))
    assert len(hashes) == 5


@pytest.mark.parametrize(
    "text, message",
    [
        ("percant = 5", "unknown option 'percant'"),
        ("percent = 'five'", "percent = 'five' must be a number"),
        ("percent = 101", "percent = 101.0 must be 0 to 100"),
        ("setting = 'S+D'", "one of S, S\\+C, S\\+C\\*"),
        ("epochs = 1.5", "a whole number"),
        ("epochs = true", "a whole number"),
        ("colour_jitter = 1", "true or false"),
        ("preset = 'nature'", "none of paper, release"),
        ("preset = ['paper']", "none of paper, release"),
        ("preset = 'labelset'\nbatch_size = 1", "needs room for both kinds: batch_size = 1"),
        ("percent = ", "not valid TOML"),
    ],
)
def test_faulty_files_are_named_with_the_fault(text, message, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_config(path, PAPER)
    assert "options that make no sense" in str(caught.value) or "config.toml" in str(caught.value)


def test_a_missing_file_and_several_faults_at_once(tmp_path):
    with pytest.raises(UserError, match="cannot read the config"):
        read_config(tmp_path / "absent.toml", PAPER)
    with pytest.raises(UserError) as caught:
        validate(replace(PAPER, percent=-1, batch_size=0, learning_rate=0.0))
    assert len(str(caught.value).splitlines()) == 4


def test_preset_in_the_file_comes_first(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("preset = 'release'\nhead = 'a3'\n")
    assert read_config(path, PAPER) == replace(PRESETS["release"], head="a3")


def test_field_names_are_options_on_the_command_line():
    assert all("_" in f.name or f.name.isalpha() for f in fields(TrainConfig))
