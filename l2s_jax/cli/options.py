"""What the subcommands of `l2s` share: how they are built, and the options that several of them have."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import tyro

from l2s_jax.slides.annotations.choices import Undrawn, Untouched
from l2s_jax.system.ranges import MOST, Count, Range
from l2s_jax.types import PATCH_MULTIPLE, Views

Config = Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")]
Manifest = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MANIFEST")]
Run = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
Out = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
Side = Annotated[int, Range(PATCH_MULTIPLE, 10_000)]
"""Of a patch."""
Overlap = Annotated[float, Range(0, 2)]
"""How much a phantom's classes resemble each other."""
Results = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RESULTS")]

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A subcommand: its fields are options. Those of a base class `...Options` are a group of its help.

    A field `preset` chooses the defaults of all others among `presets`.
    """

    presets: ClassVar[Mapping[Any, Any]] = {}

    config: Config = None
    """Options from a TOML file; they win over a preset, the command line wins over both."""

    def run(self) -> int:
        """Does what the command says; the exit code."""
        raise NotImplementedError

    def part(self, options: type[Options]) -> Options:
        """The options of one class, for the library function that takes them."""
        return options(**self.values(options))

    def values(self, options: Any) -> dict[str, Any]:
        """The same as keyword arguments."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(options)}

    def own(self, *without: str) -> dict[str, Any]:
        """The options that stand in the command's own class as keyword arguments."""
        names = [name for name in type(self).__annotations__ if name not in without]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class JaxCommand(Command):
    """A subcommand that computes with JAX."""

    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""

    def set_up(self) -> None:
        """Sets JAX up. To be called before anything is computed."""
        from l2s_jax.system.jax_setup import set_up_jax

        set_up_jax(self.compile_cache)


@dataclass(frozen=True, kw_only=True)
class TilingOptions:
    """How pictures larger than a patch are covered with overlapping tiles."""

    stride: Annotated[int | None, Range(1, MOST)] = None
    """Pixels between tiles; half a patch by default."""
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    """How the pixels of overlapping tiles count."""
    batch_size: Count = 20
    """Tiles a batch; does not change the result."""


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """Several runs taken together, and several looks at each tile: the mean of their probabilities."""

    more_runs: tuple[Path, ...] = ()
    """Runs beside RUN: other seeds, folds, any of the same classes, background, scale and patch size. All
    that follows is taken for a run. A folder that `train --seeds` made stands for all its runs."""
    views: Views = "one"
    """Look at each tile once; or at its eight turns and flips; or at 25 shifted and turned views."""

    def taken(self) -> str:
        """Where words may have gone that are missed; "" where they cannot."""
        named = ", ".join(map(str, self.more_runs))
        return f". What follows --more-runs was taken for runs: {named}" if self.more_runs else ""


@dataclass(frozen=True, kw_only=True)
class StainOptions:
    """Stains of what is predicted."""

    stain: Literal["run", "off"] = "run"
    """Give pictures and slides the stains that the run was trained on; or leave them as they are."""


@dataclass(frozen=True, kw_only=True)
class NameOptions:
    """What the names in annotations mean."""

    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The class that a name stands for, beside the classes' own: Tumour=invasive "Normal tissue=normal"."""
    ignore: tuple[str, ...] = ()
    """Names in the annotations whose regions are of no known class, and not scored."""


@dataclass(frozen=True, kw_only=True)
class UndrawnOptions:
    """What pixels are that nobody drew."""

    undrawn: Undrawn | None = None
    """Unknown and left out; or background. By default background inside frames and unknown elsewhere; with
    BACH's classes and no frame background, as in the challenge."""
    frame: tuple[str, ...] = ()
    """Names in the annotations of areas that are drawn completely, beside QuPath's Region*."""
    corrected_from: tuple[Path, ...] = ()
    """Folders of predictions that the annotations are corrections of, beside --predictions."""
    untouched: Untouched = "unknown"
    """What predicted objects in the annotations are that nobody has touched: `unknown` and not scored; true
    where they were `locked` in QuPath; or `truth`."""


def preset_help(words: Mapping[Any, str], presets: Mapping[Any, Any]) -> str:
    """The text of `--preset`: a line for each, with the options that it sets otherwise than the first.

    Args:
      words: names of presets to what they are.
      presets: names to dataclasses of options.
    """
    first = dataclasses.asdict(next(iter(presets.values())))
    lines = []
    for name, preset in presets.items():
        changed = {key: value for key, value in dataclasses.asdict(preset).items() if value != first[key]}
        flags = " ".join(_as_words(key, value) for key, value in changed.items())
        lines.append(f"`{name}`: {words[name]}" + (f" ({flags})" if flags else ""))
    return "\n".join(lines)


def _as_words(name: str, value: Any) -> str:
    """An option as it stands on the command line."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"
