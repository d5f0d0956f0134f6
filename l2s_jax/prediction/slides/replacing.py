"""Whose the files are that a slide's prediction would write: never over another slide's, or somebody's."""

from collections.abc import Sequence
from pathlib import Path

from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outputs import output_paths, record_path
from l2s_jax.slides.one_slide import dicom_series
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import Source, read_record, refuse_foreign, require_apart, source_of


def slide_outputs(path: Path, out: Path, options: SlideOptions) -> list[Path]:
    """All files that are named after a slide."""
    paths = output_paths(out, path.stem, options)
    return [*paths.values(), record_path(out, path.stem)]


def require_free(slides: Sequence[Path], out: Path, options: SlideOptions) -> None:
    """Refuses slides whose outputs would meet, or be written over files that are not theirs.

    Outputs that were changed since are left to `predict_slide`: a slide that is finished needs no new ones.
    """
    outputs = {path: slide_outputs(path, out, options) for path in slides}
    require_apart(outputs)
    refuse_foreign(outputs)


def sources_of_slide(path: Path) -> tuple[Source, ...]:
    """What a slide's outputs are made from."""
    series = dicom_series(path)
    of_series = (Source(f"DICOM series {series}"),) if series else ()
    return (source_of(path, digest=True), *of_series)


def require_other_slide(path: Path, out: Path, sources: Sequence[Source]) -> None:
    """Refuses a file of a DICOM slide that was predicted in the folder as another file of it."""
    for name, entries in read_record(out).items() if len(sources) > 1 else ():
        before = Path(entries[-1].sources[0].name) if entries[-1].sources else path
        if sources[1] in entries[-1].sources and before.stem != path.stem:
            raise UserError(
                f"{path} is of the slide ({sources[1].name}) that was predicted as {before} ({out / name}): "
                "its areas would be counted twice. Name that file, or choose another output folder"
            )
