"""All that a run folder says about its network, ready to be used on pictures and slides."""

from pathlib import Path
from typing import Literal, NamedTuple

from l2s_jax.data.classes import Classes
from l2s_jax.data.manifest import STAIN
from l2s_jax.models.forward import Forward, make_forward
from l2s_jax.prediction.tiles import Tiling, Weighting, default_tiling
from l2s_jax.prediction.views import with_views
from l2s_jax.runs.calibration import Calibration, read_calibration
from l2s_jax.runs.folder import read_run_classes, unfinished, without_classifier
from l2s_jax.runs.network import load_network, network_digest
from l2s_jax.runs.records import has_kept
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.reference_file import load_reference
from l2s_jax.system.errors import UserError
from l2s_jax.types import DecoderName, Views


class Predictor(NamedTuple):
    """A trained network and how it is used; or several, see `ensemble.together`."""

    forward: Forward
    classes: Classes
    tiling: Tiling
    mpp: float | None  # um/px of the patches that it was trained on
    reference: StainFit | None  # the stains that it was trained on; None: pictures are left as they are
    reference_sha256: str  # of the picture that they are from; "" without one
    identity: str  # changes with the weights, the reference, the temperature and the views
    unfinished: str = ""  # that the run is not finished, in words; see `runs.folder.unfinished`
    without_background: str = ""  # that it has not learned what background is, in words
    network_sha256: str = ""  # of the weights and their scaling alone
    calibration: Calibration | None = None  # None: none was fitted, or there are several networks
    run: str = ""  # its folder
    views: Views = "one"  # how each network looks at a tile
    decoder: DecoderName = "paper"
    members: "tuple[Predictor, ...]" = ()  # of several, whose logits stand side by side in the last axis

    @property
    def each(self) -> "tuple[Predictor, ...]":
        """The networks, one by one."""
        return self.members or (self,)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Of each network: its mask logits are divided by it before they become probabilities; 1 unfitted."""
        found = (one.calibration for one in self.each)
        return tuple(1.0 if one is None else one.temperature for one in found)

    @property
    def without_classifier(self) -> str:
        """Why the classifier's word is worth nothing, of one network at least, in words; "" where it is."""
        return next(filter(None, (without_classifier(Path(one.run)) for one in self.each)), "")

    @property
    def looks(self) -> "tuple[Predictor, ...]":
        """A network for each stain reference that occurs; most often all have the same."""
        found: dict[str, Predictor] = {}
        for one in self.each:
            found.setdefault(one.reference_sha256, one)
        return tuple(found.values())


Stain = Literal["run", "off"]
"""Pictures and slides are given the stains that the run was trained on, or are left as they are."""


def load_predictor(
    run: Path,
    stride: int | None,
    weighting: Weighting,
    batch_size: int,
    stain: Stain = "run",
    *,
    calibrated: bool = True,
    views: Views = "one",
) -> Predictor:
    """Reads a run folder.

    Args:
      run: the folder.
      stride: pixels between tiles; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: tiles a batch; does not change the result.
      stain: "off" leaves out the run's stain reference.
      calibrated: read the run's temperature, where one was fitted.
      views: how the network looks at each tile.

    Raises:
      UserError: the folder is no run, its network, stain reference or calibration is damaged, or the options
        cannot be.
    """
    network, facts = load_network(run)
    tiling = default_tiling(facts.patch_size, stride=stride, weighting=weighting, batch_size=batch_size)
    if not 1 <= tiling.stride <= tiling.tile:
        raise UserError(f"--stride {tiling.stride} must lie between 1 and the patch size, {tiling.tile}")
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size} must be at least 1")
    digest = network_digest(network)
    of_network = digest.hexdigest()
    found = read_calibration(run, of_network) if calibrated else None
    reference, of_picture = None, ""
    if stain == "run" and has_kept(run, STAIN):
        reference, of_picture = load_reference(run / STAIN)
        digest.update(of_picture.encode())
    if found is not None:
        digest.update(f"temperature {found.temperature!r}".encode())
    if views != "one":
        digest.update(f"views {views}".encode())
    classes, forward = read_run_classes(run), make_forward(network, batch_size)
    forward = with_views(forward, views, 1.0 if found is None else found.temperature, tiling.tile)
    identity = digest.hexdigest()
    return Predictor(
        forward,
        classes,
        tiling,
        facts.mpp,
        reference,
        of_picture,
        identity,
        unfinished(run),
        without_background(classes, facts.background_seen),
        of_network,
        found,
        str(run),
        views,
        facts.decoder,
    )


def without_background(classes: Classes, seen: bool | None) -> str:
    """That a run has not learned what background is, and what follows; "" where it has.

    Args:
      classes: the run's.
      seen: whether there was background in what it learned from, where that is known.
    """
    if classes.background is not None and seen is not False:
        return ""
    others = [name for code, name in enumerate(classes.names) if code != classes.background]
    what = "none of the run's classes is background"
    if classes.background is not None:
        name = classes.names[classes.background]
        what = f"the run has learned from nothing that is {name!r}, its background"
    return (
        f"{what}: all that is predicted is called {' or '.join(others)}, tissue of no interest too. Train "
        "with background or frames that are drawn; on slides, --within FOLDER says where to look"
    )
