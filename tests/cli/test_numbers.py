"""Numbers on the command line: an option says which make sense, and is held to it before a thing is done."""

import dataclasses
import typing
from typing import get_type_hints

import numpy as np
import pytest

from helpers.commands import l2s
from l2s_jax import OwnPatchesOptions, prepare_ebhi, prepare_phantom, prepare_wsss4luad, suggest
from l2s_jax.cli.commands import COMMANDS
from l2s_jax.phantom.bach import draw_bach
from l2s_jax.phantom.slides import draw_slides
from l2s_jax.prepare.folds import assign, prepare_folds
from l2s_jax.prepare.splits import split_groups
from l2s_jax.reports.plan_output import plan_masks
from l2s_jax.system.chance import generator
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import SEEDS, out_of_range, ranges_of


def numbers_of(command):
    """Names of the options of a command that are numbers, or several, or a number or a word."""

    def holds(hint):
        return hint in (int, float) or any(map(holds, typing.get_args(hint)))

    hints = get_type_hints(command)
    return {field.name for field in dataclasses.fields(command) if holds(hints[field.name])}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_has_a_range(name):
    assert numbers_of(COMMANDS[name]) == set(ranges_of(COMMANDS[name]))


def test_every_seed_has_the_range_of_seeds():
    seeds = {
        name: ranges_of(command)[option]
        for name, command in COMMANDS.items()
        for option in ("seed", "seeds", "draw")
        if option in ranges_of(command) and name != "report"
    }
    assert len(seeds) >= 13 and set(map(str, seeds.values())) == {str(SEEDS)}


NEEDED = {
    "prepare slides": ["in", "{out}"],
    "prepare patches": ["in", "{out}"],
    "prepare phantom": ["{out}"],
    "prepare ebhi": ["in", "{out}"],
    "prepare wsss4luad": ["in", "{out}"],
    "prepare halves": ["in", "{out}"],
    "prepare folds": ["in", "{out}"],
    "prepare bach": ["in", "{out}"],
    "prepare gleason2019": ["in", "{out}"],
    "prepare digestpath2019": ["in", "{out}"],
    "pretrain": ["in", "--out", "{out}"],
    "train": ["in", "--out", "{out}"],
    "evaluate": ["run", "in"],
    "calibrate": ["run", "in"],
    "review": ["in", "--runs", "run", "--out", "{out}"],
    "suggest": ["in"],
    "predict": ["run", "in", "--out", "{out}"],
    "phantom-slides": ["{out}"],
    "phantom-bach": ["{out}"],
    "inspect": ["in", "--out", "{out}"],
    "evaluate-slides": ["run", "in"],
    "sweep": ["in"],
    "compare": ["in"],
    "report": ["in"],
    "plan": ["in"],
}
"""The words that each command with a number cannot do without."""

CASES = [(name, option) for name in COMMANDS for option in sorted(ranges_of(COMMANDS[name]))]


@pytest.mark.parametrize("name, option", CASES)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_written(name, option, tmp_path, capsys):
    out, hint = tmp_path / "out", get_type_hints(COMMANDS[name])[option]
    words = [*name.split(), *(word.format(out=out) for word in NEEDED[name])]
    times = len(typing.get_args(hint)) if typing.get_origin(hint) is tuple and ... not in hint.__args__ else 1
    whole = float not in (hint, *typing.get_args(hint))
    for wrong in ("-1", str(10**30)) if whole else ("-1", "nan", "inf", "1e300"):
        assert l2s(*words, f"--{option.replace('_', '-')}", *[wrong] * times) == 2
        said = capsys.readouterr().err
        assert f"{option} = " in said and " must be " in said and "Traceback" not in said, said
        assert not out.exists()


@pytest.mark.parametrize("name", [name for name in COMMANDS if "seed" in ranges_of(COMMANDS[name])])
def test_a_seed_that_is_none_is_said_in_the_same_words_by_all(name, tmp_path, capsys):
    words = [word.format(out=tmp_path / "out") for word in NEEDED[name]]
    assert l2s(*name.split(), *words, "--seed", "-1") == 2
    assert "seed = -1 must be 0 to 2,147,483,647" in capsys.readouterr().err


def test_a_corrected_seed_can_follow_at_once(tmp_path):
    few = ["--patches", 12, "--patches-per-slide", 2, "--patch-size", 16]
    assert l2s("prepare", "phantom", tmp_path / "out", *few, "--seed", "-1") == 2
    assert l2s("prepare", "phantom", tmp_path / "out", *few, "--seed", "1") == 0


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_functions_refuse_such_seeds_before_they_write(seed, phantom, tmp_path):
    out = tmp_path / "out"
    for call in (
        lambda: prepare_phantom(out, seed=seed),
        lambda: draw_bach(out, seed=seed),
        lambda: draw_slides(out, seed=seed),
        lambda: prepare_folds(phantom, out, seed=seed),
        lambda: OwnPatchesOptions(seed=seed),
        lambda: prepare_ebhi(tmp_path, out, seed=seed),
        lambda: prepare_wsss4luad(tmp_path, out, seed=seed),
        lambda: suggest(phantom, seed=seed),
        lambda: plan_masks(tmp_path, seed=seed),
        lambda: split_groups("abc", [0, 1, 0], (0.5, 0.25, 0.25), seed),
        lambda: assign(np.ones((3, 1)), 3, seed),
        lambda: generator(seed),
    ):
        with pytest.raises(UserError, match=rf"seed = {seed} must be 0 to 2,147,483,647"):
            call()
        assert not out.exists()


def test_streams_of_a_seed_are_those_of_numpy():
    assert generator(3).random() == np.random.default_rng(3).random()
    assert generator(3, 1).random() == np.random.default_rng((3, 1)).random() != generator(3, 0).random()


def test_of_several_numbers_each_is_held():
    @dataclasses.dataclass
    class Options:
        seeds: typing.Annotated[tuple[int, ...] | None, SEEDS] = None
        devices: typing.Annotated[int | str, SEEDS] = "all"

    assert out_of_range(Options()) == [] == out_of_range(Options((0, 1), 2))
    assert out_of_range(Options((0, -1), -2)) == [
        f"seeds = (0, -1) must be {SEEDS}",
        f"devices = -2 must be {SEEDS}",
    ]
