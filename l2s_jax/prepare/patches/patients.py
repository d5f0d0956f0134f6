"""Whose each picture is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.prepare.patches.pictures import told_by
from l2s_jax.prepare.slides.table import read_groups
from l2s_jax.slides.named_rows import may_mean
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, listed

SHOWN = 5

GUESSES = (r"^([^_]+)_", r"^([^-]+)-", r"^(.+)_[^_]*$", r"^(.+)-[^-]*$")
"""Patterns that are tried to show what `--group-from` would find."""


def with_groups(pictures: Sequence[Picture], options: OwnPatchesOptions) -> tuple[list[Picture], list[str]]:
    """Pictures with their patients, and lines on what was found.

    Pictures of one patient must not be learned from and tested on, so that nothing is taken for granted.

    Raises:
      UserError: nothing says whose the pictures are, or of some of them; no regular expression; a name that
        no table can hold.
    """
    lines: list[str] = []
    groups = read_groups(options.groups, ("picture", "image", "slide")) if options.groups is not None else {}
    if options.groups is not None and options.group_from is not None:
        raise UserError("--groups and --group-from both say whose a picture is: leave out one of the two")
    if options.group_from == "":
        raise UserError("--group-from is empty: expected folder, picture or a regular expression")
    if options.group_from == options.label_from == "folder":
        raise UserError(
            "--label-from folder and --group-from folder name the same folder, so that each class would be a "
            'patient. Say one with a regular expression of the path: "^([^/]+)/" is the first folder'
        )
    named = [_names(one) for one in pictures]
    counts = Counter(name for names in named for name in {*names})
    if torn := [name for name in groups if counts[name] > 1]:
        raise UserError(
            f"{options.groups}: several pictures have the name {listed(map(repr, torn), 3)}. Write their "
            "paths, such as "
            f"{next(one.name for one, names in zip(pictures, named, strict=True) if torn[0] in names)}"
        )
    found = [
        replace(one, group=one.group or _of_table(names, groups) or _group(one, options.group_from))
        for one, names in zip(pictures, named, strict=True)
    ]
    without = [one for one in found if not one.group]
    left = [name for name in groups if not any(name in names for names in named)]
    if without:
        raise UserError(_nobodys(found, without, left, options))
    if left:
        lines.append(
            f"warning: {len(left)} name(s) in {options.groups} are of no picture: {listed(left, SHOWN)}"
        )
    if faults := dict.fromkeys(fault for one in found if (fault := control_fault(one.group))):
        raise UserError("\n".join(["names of patients:", *faults]))
    first: dict[str, str] = {}
    for one in found:
        first.setdefault(one.group, one.name)
    example = "; ".join(f"{name} is of {group}" for group, name in list(first.items())[:3])
    lines.append(f"{len(first)} patients or slides ({example})")
    if options.group_from == "picture":
        lines.append(
            "warning: each picture is a patient of its own. Where several are of one patient, what is "
            "learned leaks into the score, and figures are too good"
        )
    elif len(first) == len(found) > 1:
        lines.append(
            "warning: no two pictures are of one patient: is what was taken for the patient the picture?"
        )
    return found, lines


def _group(one: Picture, group_from: str | None) -> str:
    if group_from is None:
        return ""
    return one.stem if group_from == "picture" else told_by(one, group_from, "--group-from")


def _names(one: Picture) -> tuple[str, ...]:
    path = PurePosixPath(one.name)
    return one.name, one.stem, path.name, path.stem


def _of_table(names: Sequence[str], groups: Mapping[str, str]) -> str:
    return next((groups[name] for name in names if name in groups), "")


def _nobodys(
    found: Sequence[Picture], without: Sequence[Picture], left: Sequence[str], options: OwnPatchesOptions
) -> str:
    names = listed((one.name for one in without), SHOWN)
    if len(without) < len(found) or options.groups is not None or options.group_from is not None:
        how = (
            options.groups
            or (options.group_from and f"--group-from {options.group_from!r}")
            or "column group"
        )
        hints = may_mean(((one.name, _names(one)) for one in without), left)
        return (
            f"{how}: nothing says of which patient {len(without)} of {len(found)} pictures are: {names}. One "
            "patient's pictures must not be in train and in test" + hints
        )
    guesses: list[tuple[str, list[str]]] = []
    for pattern in GUESSES:
        groups = dict.fromkeys(_group(one, pattern) for one in found)
        if "" not in groups and 1 < len(groups) < len(found) and list(groups) not in [g for _, g in guesses]:
            guesses.append((pattern, list(groups)))
    folders = dict.fromkeys(_group(one, "folder") for one in found)
    if "" not in folders and 1 < len(folders) and options.label_from is None:
        guesses.append(("folder", list(folders)))
    ways = [(f'--group-from "{how}"', f"finds {len(names)}: {listed(names, 3)}") for how, names in guesses]
    if not guesses:
        ways = [('--group-from "^([^_]+)_"', "what a regular expression finds in a picture's name")]
    ways = [
        ("--groups FILE.csv", "a table with the columns picture,group"),
        *ways,
        ("--group-from picture", "each picture is of a patient of its own"),
    ]
    start = (
        "whose are these pictures? Those of one patient must not be in train and in test. Say it with one of"
    )
    return "\n".join([start, *(f"  {option:30}{what}" for option, what in ways)])
