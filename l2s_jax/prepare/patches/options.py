"""Options of `l2s prepare patches`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from l2s_jax.system.pairs import Pairs
from l2s_jax.system.ranges import SCALES, Range, Seed, require_in_range
from l2s_jax.types import PATCH_MULTIPLE


@dataclass(frozen=True, kw_only=True)
class OwnPatchesOptions:
    """Your own patches."""

    masks: Path | None = None
    """Folder of masks named after the pictures, in the same folders of it or in none. By default they lie in
    folders called masks (or labels, annotations, gt) beside those of the pictures, or beside the pictures as
    NAME_mask.png."""
    mask_ending: str = "_mask"
    """What may follow a picture's name in that of its mask: a1_mask.png is of a1.jpg. In a folder of masks
    it may be missing."""
    classes: Path | None = None
    """classes.toml: names, colours and values in masks. Or --class-values."""
    class_values: Annotated[Mapping[str, str], Pairs("CLASS", "VALUE", "stroma=0")] = field(
        default_factory=dict
    )
    """What stands for each class in the masks, a value or a colour: stroma=0 tumour=1, or tumour=#c81e3c."""
    background: str | None = None
    """The class that is background, of --class-values or of the folders' names."""
    ignore_value: str | None = None
    """Value or colour in masks of what is not known, with --class-values: neither learned nor scored."""
    mask_threshold: Annotated[int | None, Range(0, 65_534)] = None
    """Masks are black and white, with soft edges or not: what is brighter (127 is the middle) is of the
    class of the picture's label, the rest is --background. Instead of --class-values."""
    foreground: str | None = None
    """The class of what is brighter, where no label says it."""
    label_from: str | None = None
    """A picture's label: `folder`, the name of the folder that it lies in (those called images, train and so
    on are passed over), or a regular expression, as in --group-from."""
    group_from: str | None = None
    """Whose a picture is: `folder`, the name of that folder; `picture`, each a patient of its own; or a
    regular expression that finds the patient in its name (in its path, if the expression has a /):
    "^([^_]+)_" is what stands before the first _."""
    groups: Path | None = None
    """CSV with the columns picture,group instead."""
    split_from: Literal["folder"] | None = None
    """The split is the name of a folder that the picture lies in: train, val or test (or training,
    validation and so on)."""
    split: Annotated[tuple[float, float, float], Range(0, 100)] = (50, 25, 25)
    """Otherwise shares of train, val and test in percent, by group."""
    mpp: Annotated[float | None, SCALES] = None
    """Micrometres a pixel of the pictures, where it is known and one."""
    patch_size: Annotated[int | None, Range(PATCH_MULTIPLE, 10_000)] = None
    """Cut training pictures into patches of this side, a multiple of 16; those of val and test stay whole. By
    default pictures are patches as they are."""
    fit: bool = False
    """Instead, squeeze each picture into one patch of that side."""
    seed: Seed = 0
    """Which of the many equally good splits."""
    skip_faulty: bool = False
    """Leave out pictures that cannot be used, and say which, instead of stopping."""

    def __post_init__(self) -> None:
        require_in_range(self)
