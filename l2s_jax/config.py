"""What a run is told: frozen dataclasses, presets, and their TOML form."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import MOST, Range, Seed, out_of_range
from l2s_jax.types import CLASSIFICATION_SETTINGS, DecoderName, Setting, Split

Preset = Literal["paper", "release", "labelset", "few-masks"]


@dataclass(frozen=True)
class SubsetOptions:
    """Which patches of the training split a run learns from."""

    setting: Setting = "S+C*"
    """S: masks only. S+C: percent of the masks, 100-percent of the labels. S+C*: percent of the masks, all
    labels. The classification study: S2+C2, S2+C2* and S2*+C2 (section 3.3)."""
    percent: Annotated[float, Range(0, 100)] = 100.0
    """s: the share of the mask patches that is used. In the classification study c, 0 to 50: the
    share of all labels, of which the training split is taken to hold half and the test split the other."""
    draw: Annotated[int, Range(0, MOST)] = 0
    """Which random subset of the mask patches: nested over percent, the same in every setting."""
    min_per_class: Annotated[int, Range(0, 1_000_000)] = 0
    """At least this many mask patches and label patches of each class, whatever percent says (release: 1)."""
    counts: Literal["paper", "release"] = "paper"
    """How many patches of N are s percent: `paper`, floor(s N) masks and N - floor(s N) labels (Fig. 5);
    `release`, floor(s n) and floor((1-s) n) of each class. The classification study keeps to the paper."""
    stratified: bool = True
    """Keep classes even in every subset (the release: on BACH only)."""


@dataclass(frozen=True)
class NetworkOptions:
    """The network and the weights that it begins from."""

    weights: str = "auto"
    """Encoder weights: `auto` (ImageNet) or `histology` (self-supervised on histopathology, TCGA among it),
    from the cache folder or a download; `random`; or the file of a ResNet-18 (.safetensors, or .pth and .ckpt
    with the torch extra). Or the folder of a run, to start from its network; from its encoder alone where the
    classes, the head or the decoder differ."""
    head: Literal["a3", "max"] = "a3"
    """Classifier: `a3` is Table A.3; `max` is the release's spatial maximum of the low-resolution logits."""
    decoder: DecoderName = "paper"
    """Segmentation module: `paper` is Table A.2, logits of 8x8 pixels; `skip` adds the encoder's finer
    features (a feature pyramid), logits of 4x4 pixels. Not in the paper."""


@dataclass(frozen=True)
class TeacherOptions:
    """A run whose network labels the pixels of image-level patches. Not in the paper."""

    teacher: str = ""
    """Folder of a run whose network makes pseudo-masks for the image-level patches, of the classes that can
    occur in each: the new run learns from them as from masks (self-training). Or `labelset`: a phase of this
    run trains such a network first, with that preset's losses. Not in the paper."""
    masks_only_phase: bool = False
    """A phase of this run trains S on the same masks too; where that scores higher on the validation split,
    its network is the run's."""
    teacher_confidence: Annotated[float, Range(0, 1)] = 0.0
    """Pixels of pseudo-masks whose class has less than this share of the probability of the classes that can
    occur in the patch are ignored, 0 to 1."""
    teacher_background: Literal["likeliest", "share", "share-if-fair"] = "likeliest"
    """Which pixels of a pseudo-mask are background: `likeliest`, where the teacher takes it for likelier than
    the other classes that can occur; `share`, where it takes it for likeliest, in as much of the patches of a
    label as the chosen masks of that label show; `share-if-fair`, the same where those masks are a fair
    sample of their patches and show background, else `likeliest`."""
    teacher_keep: Annotated[float, Range(0, 1, open_low=True)] = 1.0
    """With `share`: how much of a pseudo-mask's background, and of the rest of it, is kept, the pixels of
    which the teacher is surest; the others are ignored. Above 0, to 1."""
    teacher_shift: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """The teacher's test-time augmentation: the mean over 25 views of a patch, shifted each way by this share
    of its side (the nearest multiple of 16 pixels, at least 16), half as much and none. What it believes of a
    pixel for where in the patch it lies then cancels. 0: the mean over the patch's eight turns and flips."""
    teacher_fill: bool = False
    """Pixels of masks of which the class is not known get the teacher's class too; what is drawn stays."""


@dataclass(frozen=True)
class LossOptions:
    """What the patches are asked for, and how much it counts."""

    routing: Literal["split", "all"] = "split"
    """`split`: each loss sees its own patches (section 2.2). `all`: both see every patch, image-level patches
    with a mask filled with their label (release)."""
    class_weights: Literal["inverse", "proportional", "index", "none"] = "inverse"
    """Weights of both cross entropies: inverse frequency over its largest, the paper's literal
    `proportional`, the release's `index` (0, 1, 2, ... on Gleason2019 and DigestPath2019), or none."""
    cls_weight: Annotated[float, Range(0, 1_000_000)] = 1.0
    """Weight of the classifier's cross entropy L_cls beside L_seg (section 2.2: 1)."""
    set_weight: Annotated[float, Range(0, 1_000_000)] = 0.0
    """Weight of the label-set loss on image-level patches: every pixel is of the label or of the background
    (or of the classes in the manifest's column `allowed`). Not in the paper."""
    presence_weight: Annotated[float, Range(0, 1_000_000)] = 0.0
    """Weight of the presence loss on image-level patches: the label is somewhere in the patch."""
    presence_share: Annotated[float, Range(0, 1)] = 0.1
    """Share of an image-level patch in which the presence loss looks for its label."""
    labels_from: Annotated[int, Range(0, MOST)] = 0
    """Label patches take no part before this step: masks first, labels later. Not in the paper."""


@dataclass(frozen=True)
class OptimiserOptions:
    """Batches, steps and their arithmetic."""

    step: Literal["summed", "alternate"] = "summed"
    """`summed`: one step on L_seg + L_cls (section 2.3). `alternate`: one each, masks first (section 2.2)."""
    composition: Literal["shuffled", "balanced"] = "shuffled"
    """Batches: `shuffled` draws from the union (the paper); `balanced` keeps mask_share of each batch for
    mask patches."""
    mask_share: Annotated[float, Range(0, 1)] = 0.5
    """Share of mask patches in a `balanced` batch."""
    batch_size: Annotated[int, Range(1, 1_000_000)] = 20
    """Patches a step (section 2.3)."""
    learning_rate: Annotated[float, Range(0, 10, open_low=True, open_high=True)] = 1e-4
    """Adam's step size (section 2.3)."""
    epochs: Annotated[int, Range(1, 10_000_000)] = 100
    """Passes over the chosen patches (section 2.3)."""
    steps: Annotated[int | None, Range(1, MOST)] = None
    """Train for this many steps instead of `epochs`: runs with few and many patches then cost the same."""
    least_steps: Annotated[int, Range(0, MOST)] = 0
    """At least so many steps, where few patches make short epochs; no matter where `steps` is given."""
    precision: Literal["default", "float32", "tf32", "bfloat16"] = "default"
    """Arithmetic of the training step. `default` is JAX's: float32 on CPUs, TensorFloat-32 in the products on
    GPUs that have it. `float32` and `tf32` ask for one of them; `bfloat16` has the activations of encoder and
    decoder in bfloat16. Weights, batch statistics, losses and Adam are float32 always, validation too."""
    seed: Seed = 0
    """Initialisation, order of the patches and augmentation."""


@dataclass(frozen=True)
class AugmentationOptions:
    """What happens to pictures on their way into the network."""

    augment: Literal["none", "rotate", "dihedral"] = "dihedral"
    """Image and mask together: quarter turns (`rotate`, the release), flips too (`dihedral`), or none."""
    augment_shift: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Image and mask together are shifted by up to this share of the patch's side each way, mirrored at the
    edge. Not in the paper: few masks would teach the network in which part of a patch things lie."""
    colour_jitter: bool = True
    """Brightness 0.25, contrast 0.75, saturation 0.25, hue 0.04, the release's values."""
    norm: Literal["weights", "imagenet", "half", "dataset"] = "weights"
    """Channel mean and standard deviation: those that the initial weights were trained with (ImageNet's, but
    for `histology` and runs that began there), ImageNet's, 0.5 for both, or those of the chosen mask
    patches."""
    norm_eval: Literal["same", "imagenet"] = "same"
    """At validation and prediction. `imagenet` with norm=dataset is the release's mismatch on BACH."""


@dataclass(frozen=True)
class ValidationOptions:
    """When a run is judged, and which of its epochs is kept."""

    validate_every: Annotated[int, Range(1, 10_000_000)] = 1
    """Epochs between two validations; each also writes a checkpoint."""
    validate_steps: Annotated[int, Range(0, 10_000_000)] = 0
    """At least about this many steps between two validations, where few patches make short epochs."""
    select: Literal["validation", "test-maximum"] = "validation"
    """Which epoch is kept: the best on the validation split, or, as in the release and with its preset only,
    the best on the test split itself, whose figures are then optimistic."""


@dataclass(frozen=True)
class ResourceOptions:
    """Memory, threads, checkpoints, tracker: they do not change what is learned."""

    checkpoint_minutes: Annotated[float, Range(0, 1_000_000)] = 10.0
    """Within an epoch that takes longer than this, a checkpoint every so many minutes."""
    loader_threads: Annotated[int, Range(1, 256)] = 2
    """Threads that decode and gather batches; the batches do not depend on it."""
    memory_gib: Annotated[float, Range(0, 1_000_000)] = 2.0
    """Pictures are decoded once into memory when they fit this many GiB, else at every epoch."""
    tracker: Literal["tensorboard", "mlflow"] = "tensorboard"
    """`mlflow`: a run of MLflow beside TensorBoard's events, at MLFLOW_TRACKING_URI, else in mlflow.db in the
    working folder (needs the extra mlflow). With --resume it may be another than before."""


# A dataclass takes the fields of its last base first.
@dataclass(frozen=True)
class TrainConfig(
    ResourceOptions,
    ValidationOptions,
    AugmentationOptions,
    OptimiserOptions,
    LossOptions,
    TeacherOptions,
    NetworkOptions,
    SubsetOptions,
):
    """Options of a training run. The defaults are the preset `paper`."""


PRESETS: dict[Preset, TrainConfig] = {
    "paper": TrainConfig(),
    "release": TrainConfig(
        head="max",
        routing="all",
        augment="rotate",
        norm="dataset",
        norm_eval="imagenet",
        min_per_class=1,
        counts="release",
    ),
    "labelset": TrainConfig(
        cls_weight=0.5, set_weight=0.5, presence_weight=0.5, composition="balanced", mask_share=0.5
    ),
    "few-masks": TrainConfig(
        teacher="labelset",
        masks_only_phase=True,
        teacher_background="share-if-fair",
        decoder="skip",
        cls_weight=0.0,
        learning_rate=3e-4,
        epochs=20,
        least_steps=1000,
        validate_steps=50,
    ),
}

OWN_TEACHER: Preset = "labelset"
"""The value of `teacher` that asks for one of the run's own, and the preset of that one's losses."""
OF_OWN_TEACHER = ("cls_weight", "set_weight", "presence_weight", "composition")
"""The options in which it follows that preset; the others are the run's."""


Scaling = Literal["imagenet", "half", "dataset"]


def scaling(config: TrainConfig) -> Scaling:
    """What the option `norm` comes to, where the weights are no run's."""
    if config.norm != "weights":
        return config.norm
    return "half" if config.weights == "histology" else "imagenet"


def selection_split(config: TrainConfig) -> Split:
    """The split on which epochs are judged."""
    return "test" if config.select == "test-maximum" else "val"


def validate(config: TrainConfig) -> None:
    """Raises `UserError` naming every option whose value makes no sense."""
    faults = out_of_range(config)
    if config.routing == "all" and config.set_weight + config.presence_weight > 0:
        faults.append(
            "set_weight and presence_weight need routing = 'split': with 'all' every patch has a mask"
        )
    if config.routing == "all" and config.teacher:
        faults.append("teacher needs routing = 'split': with 'all' every patch has a mask")
    if asks_for_phases(config) and config.setting in CLASSIFICATION_SETTINGS:
        faults.append(
            f"teacher = {OWN_TEACHER!r} and masks_only_phase are for S, S+C and S+C*; setting = "
            f"{config.setting!r} is of the classification study"
        )
    if config.teacher_keep < 1 and config.teacher_background == "likeliest":
        faults.append("teacher_keep needs teacher_background = 'share', which ranks the places")
    if config.select == "test-maximum":
        faults += _no_release(config)
    if config.composition == "balanced" and config.batch_size < 2:
        faults.append(f"composition = 'balanced' needs room for both kinds: batch_size = {config.batch_size}")
    if faults:
        raise UserError("\n".join(["options that make no sense:", *faults]))


def asks_for_phases(config: TrainConfig) -> bool:
    """Whether a run is to have several phases, where its patches allow it."""
    return config.masks_only_phase or config.teacher == OWN_TEACHER


def shift_pixels(share: float, side: int, multiple: int = 1) -> int:
    """A shift in pixels: 0 for 0, else the multiple that is nearest to a share of the side, at least one."""
    return max(round(share * side / multiple), 1) * multiple if share else 0


TEACHING = tuple(
    field.name
    for field in dataclasses.fields(TeacherOptions)
    if field.name not in ("teacher", "masks_only_phase")
)
"""Options that say how a teacher makes pseudo-masks."""


def require_teacher(config: TrainConfig, where: str = "") -> None:
    """Refuses options of a teacher where there is none: they would change nothing.

    Args:
      config: of a run, whole.
      where: what the message is to begin with.

    Raises:
      UserError: naming the options.
    """
    idle = [name for name in TEACHING if getattr(config, name) != getattr(TrainConfig, name)]
    if idle and not config.teacher:
        raise UserError(
            f"{where}{' and '.join(idle)}: how a teacher makes pseudo-masks, and no teacher is named. Name "
            "its run by `teacher` (in a sweep by the variant's `teacher`), or leave this out"
        )


def _no_release(config: TrainConfig) -> list[str]:
    """Says in what a config departs from the release, where it asks for what the release alone does."""
    paper, release = to_dict(PRESETS["paper"]), to_dict(PRESETS["release"])
    own = to_dict(config)
    other = [f"{key} = {own[key]!r}, not {release[key]!r}" for key in release
             if release[key] != paper[key] and own[key] != release[key]]  # fmt: skip
    if not other:
        return []
    return [
        "select = 'test-maximum' keeps the epoch that looks best on the test split, so its figures are "
        f"optimistic: it is for the preset release only, and this is another ({'; '.join(other)})"
    ]


OUTSIDE = ("tracker",)
"""Options that are told to others and no part of what is run: a run goes on with other ones."""


def to_dict(config: Any) -> dict[str, Any]:
    """A config as a plain dict without the options that are None, which TOML cannot hold."""
    return {key: value for key, value in dataclasses.asdict(config).items() if value is not None}


def config_hash(config: Any) -> str:
    """Twelve hexadecimal digits that change when any option does, but for those `OUTSIDE`."""
    text = repr(sorted((key, value) for key, value in to_dict(config).items() if key not in OUTSIDE))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
