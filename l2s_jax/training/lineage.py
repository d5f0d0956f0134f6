"""What a run takes from earlier runs: initial weights, and pseudo-masks from a teacher."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from l2s_jax.config import OWN_TEACHER, TrainConfig
from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.origins import slide_name
from l2s_jax.models.forward import Network
from l2s_jax.prediction.scales import scale_warning
from l2s_jax.runs.folder import (
    EarlierRun,
    learned_from,
    read_run_classes,
    unfinished,
    write_earlier_runs,
)
from l2s_jax.runs.leaks import (
    HELD_OUT,
    Leak,
    held_out_groups,
    held_out_slides,
    near_groups,
    require_unseen,
    warn_of_near,
)
from l2s_jax.runs.network import load_network
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.runs.pretraining_note import read_pretraining
from l2s_jax.runs.published import SOURCES
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import expanded
from l2s_jax.training.initial_weights import RANDOM, InitialWeights, require_encoder
from l2s_jax.training.phases import phase_folder
from l2s_jax.training.plan import RunPlan, patches_to_teach
from l2s_jax.training.pseudo_masks import (
    PseudoMasks,
    make_pseudo_masks,
    read_pseudo_masks,
    write_pseudo_masks,
)
from l2s_jax.types import DecoderName

Say = Callable[[str], None]


class Lineage(NamedTuple):
    """What a run takes from earlier runs; most runs take nothing."""

    weights: InitialWeights = RANDOM
    pseudo_masks: PseudoMasks | None = None
    runs: tuple[EarlierRun, ...] = ()  # those that both are from


class Teacher(NamedTuple):
    """The network that makes pseudo-masks, and the run that it comes from."""

    network: Network
    run: EarlierRun


def lineage_reader(manifest: Manifest, say: Say) -> Callable[[Path, TrainConfig, RunPlan], Lineage]:
    """A function that reads what a new run takes, each earlier network once however many runs take from it.

    It reads and computes, and writes nothing: a missing file must not leave a half-begun run behind.

    Args:
      manifest: what the new runs are going to learn from.
      say: receives progress messages.

    Returns:
      A function of a run's folder, its options and its plan without pseudo-masks. It raises `UserError` where
      weights or a run cannot be read, or do not fit the network or the manifest.
    """
    weights_of = cache(lambda named, head, decoder: read_weights(named, head, decoder, manifest, say))
    teacher_of = cache(lambda named: read_teacher(named, manifest, say))

    def read(folder: Path, config: TrainConfig, plan: RunPlan) -> Lineage:
        weights, run = weights_of(config.weights, config.head, config.decoder)
        runs = (run,) if run is not None else ()
        own = config.teacher == OWN_TEACHER
        if not config.teacher or (own and not patches_to_teach(config, plan)[0].any()):
            return Lineage(weights, None, runs)
        teacher = teacher_of(str(phase_folder(folder, "teacher")) if own else config.teacher)
        masks = make_pseudo_masks(teacher.network, teacher.run.folder, plan, manifest.classes, config, say)
        return Lineage(weights, masks, (*runs, teacher.run))

    return read


def read_weights(
    named: str, head: str, decoder: DecoderName, manifest: Manifest, say: Say
) -> tuple[InitialWeights, EarlierRun | None]:
    """Reads what the option `weights` names, and says which run it is from, if any.

    A folder is taken for a run: its best network as a whole where its classes, head and decoder are the new
    run's, else the encoder alone.

    Args:
      named: `auto`, `histology`, `random`, a file or a run's folder.
      head: the new run's.
      decoder: the new run's.
      manifest: what the new run is going to learn from.
      say: receives progress messages.

    Raises:
      UserError: there are no such weights.
      Leak: that run, or a pretrained encoder, has learned from patients or slides of this manifest's
        validation or test split.
    """
    folder = expanded(named)
    published = named in ("random", *SOURCES)
    if published or not folder.is_dir():
        encoder = encoder_weights(named, say=say)
        if encoder is not None:
            require_encoder(encoder, named)
        return InitialWeights(encoder=encoder), None if published else _pretrained(folder, manifest, say)
    network, facts = load_network(folder)
    classes = read_run_classes(folder).names
    theirs = (classes, facts.head, facts.decoder)
    whole = theirs == (manifest.classes.names, head, decoder)
    part = "the whole network" if whole else "the encoder"
    of_it = f"{', '.join(classes)}; {facts.head}; {facts.decoder}"
    why = "" if whole else f", since its classes, head or decoder are others ({of_it})"
    say(f"starting from {part} of the run {folder}{why}")
    if unfinished(folder):
        say(f"warning: {unfinished(folder)}")
    variables = {
        kind: dict(tree) if whole else {"encoder": tree["encoder"]}
        for kind, tree in network.variables.items()
    }
    return InitialWeights(variables=variables), _earlier_run("weights", folder, part, manifest, say)


def _pretrained(file: Path, manifest: Manifest, say: Say) -> EarlierRun | None:
    """What is remembered of an encoder that `pretrain` made; None for other files, which don't say."""
    note = read_pretraining(file)
    if note is None:
        return None
    # Not before it is needed: what reads slides takes a second to import.
    from l2s_jax.training.pretraining.seen import seen_groups

    seen = seen_groups(note, manifest)
    if seen:
        raise Leak(file, sorted(seen), HELD_OUT, "weights")
    warn_of_near(near_pairs(note.groups, held_out_groups(manifest)), file, say)
    warning = scale_warning(manifest.of_split("train"), note.mpp)
    if warning:
        say(f"warning: weights = {str(file)!r}: {warning}")
    slides = tuple(sorted(set(map(slide_name, note.slides))))
    return EarlierRun("weights", str(file), "the encoder", note.groups, slides)


def read_teacher(named: str, manifest: Manifest, say: Say = print) -> Teacher:
    """Reads the network of the run that the option `teacher` names.

    Args:
      named: its folder.
      manifest: what the new run is going to learn from.
      say: receives warnings.

    Raises:
      UserError: there is no such run, or it has other classes.
      Leak: it has learned from patients or slides of this manifest's validation or test split.
    """
    folder = expanded(named)
    network, facts = load_network(folder)
    if unfinished(folder):
        say(f"warning: {unfinished(folder)}")
    names = read_run_classes(folder).names
    if names != manifest.classes.names:
        raise UserError(
            f"teacher = {str(folder)!r}: that run knows the classes {', '.join(names)}; this manifest has "
            f"{', '.join(manifest.classes.names)}"
        )
    warning = scale_warning(manifest.of_split("train"), facts.mpp)
    if warning:
        say(f"warning: teacher = {str(folder)!r}: {warning}")
    return Teacher(network, _earlier_run("teacher", folder, "the whole network", manifest, say))


def _earlier_run(role: str, folder: Path, part: str, manifest: Manifest, say: Say) -> EarlierRun:
    """What is remembered of a run that another takes from, which has seen nothing that is held out."""
    held_out = held_out_groups(manifest)
    require_unseen(folder, held_out, HELD_OUT, role)
    warn_of_near(near_groups(folder, held_out, held_out_slides(manifest)), folder, say)
    learned = learned_from(folder)
    return EarlierRun(role, str(folder), part, tuple(sorted(learned.groups)), tuple(sorted(learned.slides)))


def write_lineage(folder: Path, lineage: Lineage) -> None:
    """Writes what a run takes from earlier ones into its folder, so that it is resumed without them."""
    if lineage.runs:
        write_earlier_runs(folder, lineage.runs)
    if lineage.pseudo_masks is not None:
        write_pseudo_masks(folder, lineage.pseudo_masks)


def lineage_of_begun(folder: Path, config: TrainConfig, plan: RunPlan) -> Lineage:
    """What a run that is resumed still needs of earlier ones: its weights are in its checkpoint.

    Raises:
      UserError: its pseudo-masks are gone or damaged.
    """
    without = not config.teacher or (
        config.teacher == OWN_TEACHER and not patches_to_teach(config, plan)[0].any()
    )
    return Lineage(pseudo_masks=None if without else read_pseudo_masks(folder))
