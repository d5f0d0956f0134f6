"""A run's options as a TOML file."""

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from l2s_jax.config import PRESETS, Preset, TrainConfig, to_dict, validate
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.toml import read_table, typed_options


def config_text(config: Any) -> str:
    """A config as TOML."""
    import tomli_w

    return tomli_w.dumps(to_dict(config))


def write_config(path: str | Path, config: Any) -> None:
    """Writes a config as TOML."""
    write_text(path, config_text(config))


def read_config(path: str | Path, default: TrainConfig) -> TrainConfig:
    """Reads options from a TOML file over `default`; `preset = "..."` in it replaces the default first.

    Raises:
      UserError: the file cannot be read, or it holds an unknown option or a value of the wrong type.
    """
    table = read_table(path)
    preset = preset_of(table, path)
    return config_from_dict(table, PRESETS[preset] if preset else default, where=str(path))


def preset_of(table: dict[str, Any], path: str | Path) -> Preset | None:
    """Takes `preset` out of a table, if it is there. Raises `UserError` where it is none."""
    preset = table.pop("preset", None)
    if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
        raise UserError(f"{path}: preset {preset!r} is none of {', '.join(PRESETS)}")
    return preset


def config_from_dict(table: dict[str, Any], default: TrainConfig, where: str) -> TrainConfig:
    """Replaces options of `default` by those in `table`. Raises `UserError` naming every wrong one."""
    config = dataclasses.replace(default, **typed_options(table, get_type_hints(TrainConfig), where))
    try:
        validate(config)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return config
