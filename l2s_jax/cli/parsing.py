"""From words to a command: the defaults of its preset, a TOML file over them, the command line over both.

tyro parses, lays out help and words what is wrong with an option. Around it stand two things that it has in
another form only. Its subcommands (`SubcommandApp`) are built before the first word is read, but defaults of
ours depend on the words: on `--config` and `--preset`. Its presets (`overridable_config_cli`) are
subcommands, so that a file could not name one, nor stand over one. `system.toml` holds a file against the
types by hand, since cattrs takes "5" for a number and msgspec tells the first fault only.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import tyro
from docstring_parser import parse_from_object

from l2s_jax.cli.options import Command
from l2s_jax.cli.words import registry
from l2s_jax.system.pairs import Pairs
from l2s_jax.system.ranges import Range, require_in_range
from l2s_jax.system.toml import read_table, typed_options

AnyCommand = TypeVar("AnyCommand", bound=Command)

ENDLESS = 1_000_000
"""A range that goes so far is not worth its end in a help text."""


def parse(command: type[AnyCommand], prog: str, arguments: Sequence[str]) -> AnyCommand:
    """The command that the arguments describe. Prints help or what is wrong and leaves where they ask for it.

    Raises:
      UserError: the file that `--config` names cannot be read, or holds what the command does not know; or
        numbers lie outside of the ranges in their options' types.
    """
    shown, groups = _shown(command, default_of(command, prog, arguments))
    about = (command.__doc__ or "").split("\n\n")[0]
    parsed: Any = tyro.cli(shown, prog=prog, description=about, args=arguments, registry=registry())
    values = {name: value for name, value in vars(parsed).items() if name not in groups}
    for group in groups:
        values |= vars(getattr(parsed, group))
    made = command(**values)
    require_in_range(made)
    return made


@dataclass(frozen=True)
class _Early:
    """The options that decide the defaults of the others."""

    config: Path | None = None
    preset: str | None = None


def default_of(command: type[Command], prog: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The values of all options that need not be given, before the command line has its say."""
    early, _ = tyro.cli(_Early, prog=prog, args=arguments, return_unknown_args=True, add_help=False)
    fields = [field for field in dataclasses.fields(command) if field.name not in required(command)]
    default = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in fields
    }
    file: dict[str, Any] = {}
    if early.config is not None:
        file = typed_options(read_table(early.config), file_options(command), str(early.config))
    if not command.presets:
        return {**default, **file}
    preset = early.preset if early.preset in command.presets else file.get("preset", default["preset"])
    return {**default, **vars(command.presets[preset]), **file, "preset": preset}


def required(command: type[Command]) -> list[str]:
    """The options that only the command line can give."""
    return [
        field.name
        for field in dataclasses.fields(command)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def file_options(command: type[Command]) -> dict[str, Any]:
    """Names and types of the options that a file can give."""
    left_out = {"config", *required(command)}
    hints = get_type_hints(command)
    names = [field.name for field in dataclasses.fields(command)]
    return {name: hints[name] for name in names if name not in left_out}


def _shown(command: type[Command], default: Mapping[str, Any]) -> tuple[type, list[str]]:
    """The command as a dataclass for tyro, each group of its options a dataclass within, and their names."""
    hints = get_type_hints(command, include_extras=True)
    own: list[tuple[str, Any, Any]] = []
    groups: dict[type, list[tuple[str, Any, Any]]] = {}
    fields = dataclasses.fields(command)
    for field in sorted(fields, key=lambda field: field.name not in command.__annotations__):
        owner = next(
            base for base in command.__mro__ if field.name in base.__dict__.get("__annotations__", {})
        )
        parts = own if issubclass(owner, Command) else groups.setdefault(owner, [])
        parts.append(_option(field.name, hints[field.name], _texts(owner).get(field.name, ""), default))
    for number, (owner, parts) in enumerate(groups.items()):
        group = dataclasses.make_dataclass(f"Group{number}", parts, namespace={"__doc__": owner.__doc__})
        words = re.sub("(?<=[a-z])(?=[A-Z])", " ", owner.__name__.removesuffix("Options"))
        title = tyro.conf.arg(name=words.lower())
        own.append(
            (f"group{number}", Annotated[group, tyro.conf.OmitArgPrefixes, title], dataclasses.field())
        )
    shown = dataclasses.make_dataclass(command.__name__, own, kw_only=True)
    return shown, [f"group{number}" for number in range(len(groups))]


def _option(name: str, hint: Any, text: str, default: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """A field of a dataclass for tyro: its text as one paragraph, its range, no word of None."""
    extras = getattr(hint, "__metadata__", ())
    bare = get_args(hint)[0] if extras else hint
    if bare == Mapping[str, str]:
        extras += (_spec(next((part for part in extras if isinstance(part, Pairs)), Pairs())),)
    if name in default and default[name] in (None, "", (), {}):
        extras += (tyro.conf.arg(help_behavior_hint=""),)
    if not any(getattr(part, "help", None) for part in extras):
        ranges = [_in_help(part) for part in extras if isinstance(part, Range)]
        extras += (tyro.conf.arg(help=" ".join([*text.split(), *filter(None, ranges)])),)
    if name not in default:
        return name, Annotated[hint, *extras], dataclasses.field()
    return name, Annotated[hint, *extras], dataclasses.field(default_factory=lambda: default[name])


def _in_help(allowed: Range) -> str:
    if allowed.high < ENDLESS:
        return f"({allowed})"
    return f"(at least {allowed.low})" if allowed.low > 0 else ""


@cache
def _texts(owner: type) -> dict[str, str]:
    return {param.arg_name: param.description or "" for param in parse_from_object(owner).params}


def parse_pairs(pairs: list[str], words: Pairs) -> dict[str, str]:
    """{name: meaning} from NAME=MEANING. Raises `ValueError` for anything else, and for two of one name."""
    meanings: dict[str, str] = {}
    for pair in pairs:
        name, _, meaning = (part.strip() for part in pair.rpartition("="))
        if not name or not meaning:
            raise ValueError(f"{pair!r}: expected {words}, such as {words.example}")
        if meanings.setdefault(name, meaning) != meaning:
            raise ValueError(f"{pair!r}: {name!r} is {meanings[name]!r} already")
    return meanings


def _spec(words: Pairs) -> tyro.constructors.PrimitiveConstructorSpec[Mapping[str, str]]:
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{words} ...]",
        instance_from_str=partial(parse_pairs, words=words),
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [f"{name}={meaning}" for name, meaning in value.items()],
    )
