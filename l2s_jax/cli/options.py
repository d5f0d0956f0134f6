"""What the subcommands of `l2s` share."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

Config = Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")]
Manifest = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MANIFEST")]


def options_of(command: Any, *without: str) -> dict[str, Any]:
    """A command's fields as keyword arguments of the library function behind it."""
    names = [field.name for field in dataclasses.fields(command) if field.name not in ("config", *without)]
    return {name: getattr(command, name) for name in names}
