"""Subcommands of `l2s` that write networks for other programs, and hold those files against the network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l2s_jax.cli.options import JaxCommand, Out, Run
from l2s_jax.exports.description import DEFAULT_FORMATS, Format

Exported = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="EXPORTED")]
Pictures = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PICTURE...")]


@dataclass(frozen=True, kw_only=True)
class Export(JaxCommand):
    """Write a trained network for other programs: torchvision's names, StableHLO, ONNX, TorchScript."""

    folder: Run
    """Run folder."""
    out: Out
    """Output folder."""
    formats: tuple[Format, ...] = DEFAULT_FORMATS
    """Which files: safetensors (weights), stablehlo (JAX), onnx and onnx-float16 (onnxruntime and others),
    torchscript (torch)."""

    def run(self) -> int:
        """Exports."""
        from l2s_jax.exports.export import export_run

        for path in export_run(self.folder, self.out, self.formats):
            print(f"written: {path}")
        return 0


@dataclass(frozen=True, kw_only=True)
class VerifyExport(JaxCommand):
    """Run the files of an export on pictures, and say how far each is from the network."""

    folder: Exported
    """What `export` wrote."""
    pictures: Pictures
    """Pictures of any size; tiles of each are looked at."""
    network: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run that was exported; by default the network of the export's model.safetensors."""

    def run(self) -> int:
        """Compares; ends with 1 where a file differs."""
        self.set_up()
        from l2s_jax.exports.verify import verify_export

        verify_export(self.folder, self.pictures, self.network)
        return 0
