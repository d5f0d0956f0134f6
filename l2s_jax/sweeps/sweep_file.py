"""A sweep as data: which runs of which settings on which manifest, read from a TOML file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from l2s_jax.config import PRESETS, Preset, TrainConfig, require_teacher
from l2s_jax.runs.config_file import config_from_dict
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault
from l2s_jax.system.toml import read_table
from l2s_jax.system.values import shown
from l2s_jax.types import Setting

Study = Literal["segmentation", "classification"]

SETTINGS: dict[str, tuple[Setting, ...]] = {
    "segmentation": ("S", "S+C", "S+C*"),
    "classification": ("S2+C2", "S2+C2*", "S2*+C2"),
}
PERCENTS: dict[str, tuple[float, ...]] = {
    "segmentation": (0, 1, 2.5, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100),
    "classification": (0, 1, 2.5, 5, 7.5, 10, 15, 20, 25, 30, 40, 50),
}
"""The 14 fractions s and the 12 fractions c of section 3.3."""

DRAWS = (0, 1, 2, 3, 4)
MOST_DRAWS = 10_000
SET_BY_SWEEP = ("setting", "percent", "draw", "seed")
"""Options that the sweep sets itself."""

LINEAGE_KEYS = {"start_from": "weights", "teacher": "teacher"}
"""Keys of a variant that name another, and the option by which its runs take from that one's."""


class TakesFromVariant(NamedTuple):
    """The run that each run of a variant takes from: that one's of the same percent and draw."""

    option: str  # that names a run: `weights` or `teacher`
    variant: str
    setting: Setting


@dataclass(frozen=True)
class Variant:
    """One way of training, run over settings and percents."""

    name: str
    preset: Preset
    settings: tuple[Setting, ...]
    percents: tuple[float, ...]
    config: TrainConfig  # setting, percent, draw and seed not yet set
    takes_from: tuple[TakesFromVariant, ...] = ()


@dataclass(frozen=True)
class SweepFile:
    """What a sweep's file says."""

    name: str
    dataset: str
    manifest: Path | None  # relative to the working folder
    study: Study
    draws: tuple[int, ...]
    variants: tuple[Variant, ...]


def read_sweep(path: str | Path) -> SweepFile:
    """Reads a sweep's TOML file.

    Keys: `name`, `dataset` (as in the paper's tables: BACH, Gleason2019, DigestPath2019), `manifest`,
    `study`, `draws` (a number or a list), `percents`, `[options]` of every run, and `[[variant]]` tables with
    `name`, `preset`, `settings`, `percents`, `start_from`, `teacher` and `[variant.options]`. All but `name`
    may be left out: the default is one variant of the preset `paper` with the settings, percents and five
    draws of section 3.3. `start_from = "VARIANT SETTING"` lets each run start from the network of that
    variant's run of the same percent and draw, `teacher = "VARIANT SETTING"` lets that network make its
    pseudo-masks; that variant has to stand before this one.

    Raises:
      UserError: the file cannot be read; naming every unknown key and value of the wrong type.
    """
    path = Path(path)
    return sweep_of(read_table(path, "sweep"), path)


def sweep_of(table: dict[str, Any], path: Path) -> SweepFile:
    """A sweep's table as `read_sweep` takes it from a file; `path` is named where it is faulty."""
    faults: list[str] = []
    known = {"name", "dataset", "manifest", "study", "draws", "percents", "options", "variant"}
    faults += [
        f"unknown key {key!r} (known: {', '.join(sorted(known))})" for key in table if key not in known
    ]
    name = _text(table, "name", path.stem, faults)
    study = _text(table, "study", "segmentation", faults)
    if study not in SETTINGS:
        faults.append(f"study = {shown(study)} must be one of {', '.join(SETTINGS)}")
        study = "segmentation"
    percents = _numbers(table.get("percents", list(PERCENTS[study])), "percents", faults)
    listed = table.get("variant", [{"name": "paper"}])
    if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed) or not listed:
        faults.append("variant must be tables: [[variant]] with a name each")
        listed = []
    shared = _table(table, "options", faults)
    variants = [_variant(table, study, percents, shared, faults) for table in listed]
    _check_order([variant for variant in variants if variant], faults)
    names = [variant.name for variant in variants if variant]
    faults += [f"two variants are called {n!r}" for n in sorted({n for n in names if names.count(n) > 1})]
    manifest = _text(table, "manifest", "", faults)
    sweep = SweepFile(
        name,
        _text(table, "dataset", name, faults),
        Path(manifest) if manifest else None,
        study,  # type: ignore[arg-type]
        _draws(table.get("draws", list(DRAWS)), faults),
        tuple(variant for variant in variants if variant),
    )
    if faults:
        raise UserError("\n".join([f"{path}:", *faults]))
    return sweep


def _variant(
    table: dict[str, Any], study: str, percents: tuple[float, ...], shared: dict[str, Any], faults: list[str]
) -> Variant | None:
    name = _text(table, "name", "", faults)
    where = f"variant {name!r}"
    known = ("name", "preset", "settings", "percents", *LINEAGE_KEYS, "options")
    before = len(faults)
    faults += [f"{where}: unknown key {k!r} (known: {', '.join(known)})" for k in table if k not in known]
    if not name or any(not (c.isalnum() or c in "-_.") for c in name):
        faults.append(f"{where}: name must be letters, digits, '-', '_' and '.'")
    preset = table.get("preset", "paper")
    if not isinstance(preset, str) or preset not in PRESETS:
        faults.append(f"{where}: preset {shown(preset)} is none of {', '.join(PRESETS)}")
    chosen = table.get("settings", list(SETTINGS[study]))
    if (
        not isinstance(chosen, list)
        or not chosen
        or any(setting not in SETTINGS[study] for setting in chosen)
    ):
        faults.append(f"{where}: settings = {shown(chosen)} must list some of {', '.join(SETTINGS[study])}")
    own = table.get("percents")
    numbers = percents if own is None else _numbers(own, f"{where}: percents", faults)
    takes_from = _takes_from(table, study, where, faults)
    options = {**shared, **_table(table, "options", faults)}
    faults += [
        f"{where}: {key} and the option {option} both name what to take from: leave one out"
        for key, option in LINEAGE_KEYS.items()
        if key in table and option in _table(table, "options", [])
    ]
    faults += [
        f"{where}: option {key!r} is set by the sweep itself" for key in SET_BY_SWEEP if key in options
    ]
    if len(faults) > before:
        return None
    try:
        config = config_from_dict(options, PRESETS[preset], where)
        if "teacher" not in table:
            require_teacher(config, f"{where}: ")
    except UserError as error:
        faults.append(str(error))
        return None
    return Variant(name, preset, tuple(chosen), numbers, config, takes_from)


def _takes_from(
    table: dict[str, Any], study: str, where: str, faults: list[str]
) -> tuple[TakesFromVariant, ...]:
    taken: list[TakesFromVariant] = []
    for key, option in LINEAGE_KEYS.items():
        words = table[key].split() if isinstance(table.get(key), str) else []
        if len(words) == 2 and words[1] in SETTINGS[study]:
            taken.append(TakesFromVariant(option, words[0], words[1]))
        elif key in table:
            faults.append(
                f"{where}: {key} = {shown(table[key])} must be a variant and a setting, as in 'paper S'"
            )
    return tuple(taken)


def _check_order(variants: list[Variant], faults: list[str]) -> None:
    """A run that others take from has to be run before them."""
    keys = {option: key for key, option in LINEAGE_KEYS.items()}
    for i, variant in enumerate(variants):
        for option, name, setting in variant.takes_from:
            before = [other for other in variants[:i] if other.name == name and setting in other.settings]
            missing = set(variant.percents) - {percent for other in before for percent in other.percents}
            if setting == "S":
                missing |= {0.0} & set(variant.percents)
            if missing:
                listed = ", ".join(f"{percent:g}" for percent in sorted(missing))
                faults.append(
                    f"variant {variant.name!r}: {keys[option]} = '{name} {setting}', and no variant before "
                    f"it has such runs at {listed}%"
                )


def _text(table: dict[str, Any], key: str, default: str, faults: list[str]) -> str:
    value = table.get(key, default)
    if isinstance(value, str):
        if fault := control_fault(value):
            faults.append(f"{key} {fault}")
        return value
    faults.append(f"{key} = {shown(value)} must be text")
    return default


def _table(table: dict[str, Any], key: str, faults: list[str]) -> dict[str, Any]:
    value = table.get(key, {})
    if isinstance(value, dict):
        return value
    faults.append(f"{key} must be a table, [{key}]")
    return {}


def _numbers(value: Any, where: str, faults: list[str]) -> tuple[float, ...]:
    good = isinstance(value, list) and value and all(type(number) in (int, float) for number in value)
    if not good or any(not 0 <= number <= 100 for number in value):
        faults.append(f"{where} = {shown(value)} must list numbers between 0 and 100")
        return ()
    return tuple(sorted({float(number) for number in value}))


def _draws(value: Any, faults: list[str]) -> tuple[int, ...]:
    if type(value) is int and 0 < value <= MOST_DRAWS:
        return tuple(range(value))
    if isinstance(value, list) and value and all(type(draw) is int and 0 <= draw < 2**31 for draw in value):
        return tuple(dict.fromkeys(value))
    faults.append(
        f"draws = {shown(value)} must be how many (1 to {MOST_DRAWS}), or a list of whole numbers from 0"
    )
    return ()


def config_of(variant: Variant, setting: Setting, percent: float, draw: int) -> TrainConfig:
    """The config of one run: a draw has its own subset, initialisation, order and augmentation."""
    return dataclasses.replace(variant.config, setting=setting, percent=percent, draw=draw, seed=draw)
