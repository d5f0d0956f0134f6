"""Subcommands of `l2s` that write networks for other programs, and hold those files against the network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l2s_jax.cli.options import JaxCommand, Out, Run
from l2s_jax.exports.description import DEFAULT_FORMATS, Format

Exported = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="EXPORTED")]
Pictures = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PICTURE...")]


@dataclass(frozen=True, kw_only=True)
class Export(JaxCommand):
    """Write a trained network for other programs: QuPath, onnxruntime, torch, WSInfer, JAX."""

    folder: Run
    """Run folder."""
    out: Out
    """Output folder."""
    formats: tuple[Format, ...] = DEFAULT_FORMATS
    """Which files: safetensors (weights), stablehlo (JAX), onnx and onnx-float16 (onnxruntime and others),
    torchscript (torch), bioimageio (a package of the Bioimage Model Zoo, for QuPath and others), wsinfer (the
    classifier, for WSInfer and QuPath)."""
    stain_of: Annotated[Path | None, tyro.conf.arg(metavar="SLIDE")] = None
    """Runs with a stain reference: a slide or picture of the kind that the files are for. The change from its
    stains is built in, for programs that give a network pictures alone; by default it is an input."""
    stain: Literal["run", "off"] = "run"
    """Runs with a stain reference: off takes pictures as they are."""
    sample: Annotated[Path | None, tyro.conf.arg(metavar="PICTURE")] = None
    """bioimageio: the picture that the package shows and is tested with; by default one of the run's data."""
    author: tuple[str, ...] = ()
    """Names of those who made the network; bioimageio asks for them."""
    licence: str | None = None
    """Of the network, an identifier of the SPDX list such as CC-BY-4.0; bioimageio asks for it."""

    def run(self) -> int:
        """Exports."""
        from l2s_jax.exports.export import export_run

        written = export_run(
            self.folder,
            self.out,
            self.formats,
            stain=self.stain,
            stain_of=self.stain_of,
            sample=self.sample,
            licence=self.licence,
            authors=self.author,
        )
        for path in written:
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
