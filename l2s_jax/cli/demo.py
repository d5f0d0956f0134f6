"""The subcommand `l2s demo`: the others, one after the other, on drawn data."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l2s_jax.cli.commands import COMMANDS
from l2s_jax.cli.options import JaxCommand
from l2s_jax.cli.parsing import parse

STEPS = (
    ("prepare phantom", "{out}/data --patch-size 64 --overlap 0"),
    (
        "train",
        "{out}/data --out {out}/run --resume --setting S+C* --percent 50 --composition balanced "
        "--weights random --learning-rate 1e-3 --steps 320 --validate-steps 40",
    ),
    ("evaluate", "{out}/run {out}/data"),
    ("predict", "{out}/run {out}/data/example.png --out {out}/predictions"),
)
"""Commands and their words: a phantom whose classes do not overlap, half of its masks, all of its labels, and
random weights, so that no network is needed."""


@dataclass(frozen=True, kw_only=True)
class Demo(JaxCommand):
    """Draw a phantom data set, train on it, evaluate and predict: a few minutes, offline."""

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")] = Path("demo")
    """Folder for data, run and predictions. Started again, the demo goes on where it was."""

    def run(self) -> int:
        """Prints each command and runs it; ends with the first that fails."""
        cache = [] if self.compile_cache else ["--no-compile-cache"]
        for name, template in STEPS:
            words = [word.format(out=self.out) for word in template.split()]
            if issubclass(COMMANDS[name], JaxCommand):
                words += cache
            print(f"\n$ {shlex.join(['l2s', *name.split(), *words])}", flush=True)
            code = parse(COMMANDS[name], f"l2s {name}", words).run()
            if code:
                return code
        places = ("run/report.html", "run/evaluation/test", "predictions")
        print(f"\nLook at {', '.join(str(self.out / place) for place in places)}.")
        return 0
