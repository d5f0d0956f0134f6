"""The files that `predict` wrote of slides, as what corrections are compared with."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from l2s_jax.slides.annotations.choices import Untouched
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.annotations.types import Outline
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file
from l2s_jax.system.outputs import read_record


def require_predictions(folders: Sequence[Path]) -> None:
    """Raises `UserError` for a folder that holds no predictions."""
    for folder in folders:
        if not folder.is_dir() or not any(folder.glob("*.geojson")):
            raise UserError(
                f"--corrected-from {folder}: no .geojson in it; expected the folder into which predict wrote "
                "the outlines that were corrected"
            )


def require_compared(untouched: Untouched, folders: Sequence[Path]) -> None:
    """Raises `UserError` where locked predictions are to be true and nothing says which were predicted.

    `truth` needs no folder: it takes for true what was predicted into a folder that is lost.
    """
    if untouched == "locked" and not folders:
        raise UserError(
            "--untouched locked says what predictions are that nobody has touched: name the folder(s) that "
            "predict wrote them into with --corrected-from"
        )


def predicted_files(slide: Path, folders: Sequence[Path]) -> list[Path]:
    """NAME.geojson of a slide, as `predict` names it, in those folders that have it."""
    paths = (folder / f"{slide.stem}.geojson" for folder in folders)
    return [path for path in paths if path.is_file()]


def read_predictions(paths: Iterable[Path]) -> list[Outline]:
    """The outlines of files that `predict` wrote.

    Raises:
      UserError: unreadable, or changed since: what was corrected cannot be told from what was predicted.
    """
    found: list[Outline] = []
    for path in paths:
        entries = read_record(path.parent).get(path.name, ())
        if entries and sha256_of_file(path) not in {made.sha256 for made in entries}:
            raise UserError(
                f"{path} was changed since predict wrote it, so it cannot tell what was corrected. Move it "
                "away, predict the slide again into another folder (the ids stay the same), and name that "
                "with --corrected-from"
            )
        outlines = read_outlines(path).outlines
        strange = sum(not one.predicted for one in outlines)
        if strange:
            raise UserError(
                f"{path}: {strange} of {len(outlines)} outlines were not predicted. --corrected-from names "
                "the folder that predict wrote into; corrected files go where annotations are"
            )
        found += outlines
    return found
