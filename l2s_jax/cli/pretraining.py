"""The subcommand of `l2s` that learns from pictures which nobody labelled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l2s_jax.cli.options import JaxCommand
from l2s_jax.cli.windows import WindowOptions, slide_arguments
from l2s_jax.system.ranges import Count
from l2s_jax.training.pretraining.options import PretrainOptions


@dataclass(frozen=True, kw_only=True)
class Pretrain(JaxCommand, WindowOptions, PretrainOptions):
    """Pretrain the encoder on pictures and slides that nobody labelled, for `train --weights`.

    Started again, it goes on from its last checkpoint.
    """

    pictures: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PICTURES...")]
    """Manifests, whose split train is taken without masks and labels; pictures; slides; folders of those."""
    out: Path
    """The encoder's file, NAME.safetensors. It says how it was made, and which patients it learned from:
    `train` refuses it where one of them is in the manifest's split val or test."""
    held_out: tuple[Path, ...] = ()
    """Other manifests whose splits val and test must not be learned from: what is of them is refused."""
    per_slide: Count = 500
    """Windows of a slide at most, chosen by chance on its tissue."""
    any_scale: bool = False
    """Take pictures that state another scale (more than 10% off) than --mpp or the manifests' as they are."""
    allow_outside: bool = False
    """Accept paths in the manifests that lead out of their folders."""

    def run(self) -> int:
        """Pretrains."""
        self.set_up()
        from l2s_jax.training.pretraining.run import pretrain

        asked = slide_arguments(self.values(WindowOptions))
        pretrain(
            **self.own(),
            options=self.part(PretrainOptions),
            window=asked["window"],
            slides=asked["options"],
        )
        return 0
