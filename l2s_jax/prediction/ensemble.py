"""Several runs taken together: which they are, that they can be, and one network of them all."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from l2s_jax.models.forward import Forward
from l2s_jax.models.network import Outputs
from l2s_jax.prediction.predictor import Predictor, Stain, load_predictor
from l2s_jax.prediction.scales import TOLERANCE, Scale, is_another
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.runs.folder import CONFIG
from l2s_jax.slides.slide import is_slide
from l2s_jax.system.errors import UserError
from l2s_jax.types import Views

_SEED = re.compile(r"seed(\d+)")


def named_runs(run: str | Path, more_runs: Sequence[str | Path] = ()) -> list[Path]:
    """The run folders that are meant, in their order: a folder that `train --seeds` made stands for its runs.

    Args:
      run: the run that a command names first.
      more_runs: those that it is to be taken together with.

    Raises:
      UserError: one of the others is a file, or a run is named twice.
    """
    found: list[Path] = []
    for path in map(Path, more_runs):
        if path.is_file():
            raise UserError(
                f"--more-runs {path}: a run is a folder, and this is a file. All that follows --more-runs is "
                "taken for a run: name pictures and slides before it"
            )
    for path in map(Path, (run, *more_runs)):
        found += runs_in(path)
    first: dict[Path, Path] = {}
    for path in found:
        other = first.setdefault(path.resolve(), path)
        if other is not path:
            raise UserError(
                f"{other} is named twice{'' if other == path else f', also as {path}'}: a run counts once. "
                "--more-runs names the others, without the first"
            )
    return found


def runs_in(path: Path) -> list[Path]:
    """The runs that a folder stands for: those of `train --seeds`, or itself."""
    return _seeds(path) or [path]


def _seeds(folder: Path) -> list[Path]:
    """The runs in a folder that `train --seeds` made, by number; none where it is a run itself."""
    if (folder / CONFIG).is_file() or not folder.is_dir():
        return []
    seeds = [path for path in folder.iterdir() if _SEED.fullmatch(path.name) and (path / CONFIG).is_file()]
    return sorted(seeds, key=lambda path: int(path.name.removeprefix("seed")))


def require_several(runs: Sequence[Path], disagreement: bool) -> None:
    """Raises `UserError` where one run is to say how far it disagrees."""
    if disagreement and len(runs) == 1:
        raise UserError(
            f"--disagreement needs two runs or more, and {runs[0]} is one: name others with --more-runs. How "
            "sure one run is, --entropy draws"
        )


def require_pictures(images: Sequence[str | Path]) -> None:
    """Raises `UserError` where a run, or a folder that is no slide, is named among the pictures."""
    for path in map(Path, images):
        if (path / CONFIG).is_file() or _seeds(path):
            raise UserError(
                f"{path} is a run, named among the pictures: runs beside the first follow --more-runs"
            )
        if path.is_dir() and not is_slide(path):
            kinds = Counter(one.suffix for one in path.iterdir() if one.is_file() and one.suffix)
            kind = next((suffix for suffix, _ in kinds.most_common()), ".png")
            raise UserError(f"{path} is a folder: name the files in it, such as {path}/*{kind}")


def load_runs(
    runs: Sequence[Path],
    stride: int | None,
    weighting: Weighting,
    batch_size: int,
    stain: Stain = "run",
    *,
    views: Views = "one",
    say: Callable[[str], None] = print,
) -> Predictor:
    """One run as `load_predictor` gives it, or several together.

    Args:
      runs: from `named_runs`.
      stride: pixels between tiles; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: tiles a batch; does not change the result.
      stain: "off" leaves out the runs' stain references.
      views: how each network looks at each tile.
      say: receives what a person must know of the runs.

    Raises:
      UserError: as `load_predictor`; or the runs cannot be taken together.
    """
    each = [load_predictor(run, stride, weighting, batch_size, stain, views=views) for run in runs]
    for one in each:
        if len(each) > 1 and one.unfinished:
            raise UserError(
                f"{one.unfinished}. Runs that are taken together must be finished: go on with --resume, or "
                "leave it out"
            )
    predictor = each[0] if len(each) == 1 else together(each)
    if predictor.members:
        named = ", ".join(one.run for one in each)
        say(f"{len(each)} runs are taken together, the mean of their probabilities: {named}")
        plain = [one.run for one in each if one.calibration is None]
        if 0 < len(plain) < len(each):
            say(
                f"warning: {len(plain)} of the {len(each)} runs have no temperature (l2s calibrate), and the "
                f"surer ones of them count for more: {', '.join(plain)}"
            )
    return predictor


def together(members: Sequence[Predictor]) -> Predictor:
    """Several runs as one: its logits are those of all, the classes of one run side by side.

    Tiles are read once. All networks run one compiled program, whose arguments their weights are. Where stain
    references differ, pictures have the versions of `Predictor.looks` side by side in the last axis.

    Args:
      members: two or more.

    Raises:
      UserError: they differ in what must be the same, or two hold the same network.
    """
    first = members[0]
    for number, other in enumerate(members[1:], 1):
        _require_alike(first, other)
        for before in members[:number]:
            if before.network_sha256 and before.network_sha256 == other.network_sha256:
                raise UserError(
                    f"{before.run} and {other.run} hold the same network: it would count twice. Leave one out"
                )
    digest = hashlib.sha256("\n".join(one.identity for one in members).encode())
    without = (one.without_background for one in members if one.without_background)
    whole = first._replace(
        identity=digest.hexdigest(),
        without_background=next(without, ""),
        network_sha256="",
        calibration=None,
        run="",
        members=tuple(members),
    )
    return whole._replace(forward=_side_by_side(whole))


def _side_by_side(whole: Predictor) -> Forward:
    look = {one.reference_sha256: number for number, one in enumerate(whole.looks)}
    parts = [(one.forward, look[one.reference_sha256]) for one in whole.members]

    def forward(images: np.ndarray) -> Outputs:
        said = [one(images[..., 3 * number : 3 * number + 3]) for one, number in parts]
        return Outputs(*(np.concatenate(logits, -1) for logits in zip(*said, strict=True)))

    return forward


def _require_alike(first: Predictor, other: Predictor) -> None:
    """Refuses a run whose pictures, tiles or classes are not those of the first."""
    a, b = first.classes, other.classes
    if a.names != b.names:
        raise UserError(
            f"{other.run} has the classes {', '.join(b.names)}; {first.run} has {', '.join(a.names)}. Runs "
            "are taken together where these are the same, in the same order"
        )
    if a.background != b.background:
        named = [
            "none of its classes" if one.background is None else repr(one.names[one.background])
            for one in (b, a)
        ]
        raise UserError(
            f"{other.run} takes {named[0]} for background, {first.run} {named[1]}: runs are taken together "
            "where it is the same"
        )
    if first.tiling.tile != other.tiling.tile:
        raise UserError(
            f"{other.run} learned from patches of {other.tiling.tile} pixels, {first.run} of "
            f"{first.tiling.tile}: runs are taken together where these are the same"
        )
    if first.decoder != other.decoder:
        raise UserError(
            f"{other.run} has the decoder {other.decoder}, {first.run} the decoder {first.decoder}, whose "
            "cells are of another size: runs are taken together where it is the same"
        )
    known = [one.mpp for one in (other, first)]
    one, two = known
    differ = one != two if one is None or two is None else is_another(Scale((one, one), ""), two)
    if differ:
        said = ["an unknown scale" if mpp is None else f"{mpp:.4g} um/px" for mpp in known]
        raise UserError(
            f"{other.run} was trained at {said[0]}, {first.run} at {said[1]}: runs are taken together where "
            f"these are no more than {TOLERANCE:.0%} apart"
        )
