"""The classes, and what stands for each in the masks: values, or colours."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.data.classes import Classes, parse_classes, read_classes
from l2s_jax.data.pictures import codes_of_values, read_mask_colours, read_mask_values
from l2s_jax.prepare.patches.black_and_white import read_drawn
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.prepare.patches.unnamed import shown_value, unnamed_text
from l2s_jax.prepare.slides.found_classes import OF_BACKGROUND, PALETTE
from l2s_jax.slides.annotations.class_names import as_written
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed, one_letter_apart
from l2s_jax.types import IGNORE_PIXEL

_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
_UNKNOWN = 254


@dataclass(frozen=True)
class MaskClasses:
    """The classes of the manifest, and how masks are read."""

    classes: Classes  # of the masks as they are
    colours: Mapping[int, int] | None = None  # 0xRRGGBB: code or IGNORE_PIXEL
    threshold: int | None = None  # of masks in black and white
    foreground: int | None = None  # code of what is brighter where a picture has no label

    def read(self, one: Picture) -> np.ndarray:
        """Class codes u8[H,W] of a picture's mask. Raises `UserError`, also for what is of no class."""
        assert one.mask is not None
        if self.threshold is not None:
            return self._drawn(one, one.mask, self.threshold)
        values = read_mask_values(one.mask) if self.colours is None else read_mask_colours(one.mask)
        if self.colours is None:
            codes = codes_of_values(values, self.classes)
        else:
            codes = np.full(values.shape, _UNKNOWN, np.uint8)
            for colour, code in self.colours.items():
                codes[values == colour] = code
        strange = codes == _UNKNOWN
        if strange.any():
            found, counts = np.unique(values[strange], return_counts=True)
            order = np.argsort(-counts)
            of = self.classes
            known = [*of.pixel_values, *([] if of.ignore_value is None else [of.ignore_value])]
            known = known if self.colours is None else [*self.colours]
            raise UserError(
                f"{one.mask}: what is of no class in the mask: "
                + listed(
                    (f"{shown_value(found[n], self.colours is not None)} ({counts[n]} px)" for n in order), 5
                )
                + f"; expected {listed(shown_value(value, self.colours is not None) for value in known)}"
            )
        return codes

    def _drawn(self, one: Picture, mask: Path, threshold: int) -> np.ndarray:
        """As `read`, of a mask in black and white."""
        drawn, background = read_drawn(mask, threshold), self.classes.background
        assert background is not None
        code = self.classes.names.index(one.label) if one.label else self.foreground
        if drawn.any() and (code is None or code == background):
            raise UserError(
                f"{mask}: of which class is what is drawn? "
                + (
                    f"The picture's label is {one.label!r}, the background"
                    if one.label
                    else "It has no label"
                )
                + "; say it with a label, or for pictures without one with --foreground NAME"
            )
        return np.where(drawn, background if code is None else code, background).astype(np.uint8)

    @property
    def written(self) -> Classes:
        """The classes of masks that hold codes."""
        codes = tuple(range(len(self.classes)))
        return replace(self.classes, pixel_values=codes, ignore_value=IGNORE_PIXEL)


def classes_of(pictures: Sequence[Picture], options: OwnPatchesOptions) -> tuple[MaskClasses, list[str]]:
    """The classes of `options`, or of labels where there is no mask, and warnings.

    Raises:
      UserError: masks whose values nobody has named, with what they hold; labels that are none of the
        classes.
    """
    masks = [one.mask for one in pictures if one.mask is not None]
    labels = dict.fromkeys(as_written(one.label) for one in pictures if one.label)
    if options.mask_threshold is None and options.foreground is not None:
        raise UserError(
            "--foreground needs --mask-threshold: it is the class of what is brighter in the masks"
        )
    if options.mask_threshold is not None:
        made = _black_and_white(labels, options, options.mask_threshold)
    elif options.classes is not None:
        others = [options.class_values, options.background, options.ignore_value]
        if any(others):
            raise UserError(
                "--classes names values, background and ignore_value: leave out --class-values, --background "
                "and --ignore-value"
            )
        made = MaskClasses(read_classes(options.classes))
    elif options.class_values:
        made = _of_values(options)
    elif masks:
        raise UserError(unnamed_text(masks, labels))
    else:
        values = {name: str(code) for code, name in enumerate(sorted(labels, key=str.casefold))}
        made = _of_values(replace(options, class_values=values))
    names = made.classes.names
    wrong = [name for name in labels if name not in names]
    if wrong:
        near = [f"{name!r} may be {like!r}" for name in wrong for like in names if _near(name, like)]
        raise UserError(
            f"label(s) that are none of the classes: {listed(map(repr, wrong))}; expected "
            f"{listed(map(repr, names))}" + (f". {listed(near)}" if near else "")
        )
    warnings = []
    if not masks:
        warnings.append(
            "warning: no picture has a mask, so that no segmentation can be learned or scored. Name the "
            "folder of the masks with --masks"
        )
    return made, warnings


def _near(name: str, other: str) -> bool:
    return name.casefold() == other.casefold() or one_letter_apart(name, other)


def _black_and_white(labels: Iterable[str], options: OwnPatchesOptions, threshold: int) -> MaskClasses:
    """The classes of `--classes`, or the background, the labels and the foreground."""
    if options.class_values or options.ignore_value is not None:
        raise UserError(
            "--mask-threshold takes masks for black and white: leave out --class-values, --ignore-value"
        )
    if options.classes is not None:
        classes = read_classes(options.classes)
    else:
        if options.background is None:
            raise UserError(
                "--mask-threshold needs --background NAME, the class of what is black in the masks"
            )
        others = [*sorted(labels, key=str.casefold), *([options.foreground] if options.foreground else [])]
        names = dict.fromkeys(map(as_written, (options.background, *others)))
        values = {name: str(code) for code, name in enumerate(names)}
        classes = _of_values(replace(options, class_values=values)).classes
    if classes.background is None:
        raise UserError(f"--mask-threshold needs a background: {options.classes} names none")
    if options.foreground is not None and as_written(options.foreground) not in classes.names:
        raise UserError(
            f"--foreground {options.foreground!r} is none of the classes ({listed(classes.names)})"
        )
    foreground = classes.names.index(as_written(options.foreground)) if options.foreground else None
    return MaskClasses(classes, threshold=threshold, foreground=foreground)


def _of_values(options: OwnPatchesOptions) -> MaskClasses:
    """The classes of `--class-values`, checked by the rules of classes.toml."""
    names = [as_written(name) for name in options.class_values]
    given = [
        *options.class_values.values(),
        *([] if options.ignore_value is None else [options.ignore_value]),
    ]
    as_colours = [text.strip().startswith("#") for text in given]
    if any(as_colours) and not all(as_colours):
        raise UserError(f"--class-values: expected numbers or colours, not both; found {listed(given)}")
    parsed = [_parsed(text) for text in given]
    if len({*parsed}) < len(parsed):
        what = "--class-values" if options.ignore_value is None else "--class-values and --ignore-value"
        raise UserError(f"{what}: one value stands for two things ({listed(given)})")
    ignored = parsed[-1] if options.ignore_value is not None else None
    by_colour = any(as_colours)
    values = list(range(len(names))) if by_colour else parsed[: len(names)]
    background = None if options.background is None else as_written(options.background)
    free = itertools.cycle(PALETTE)
    colours = [
        [value >> 16, value >> 8 & 255, value & 255]
        if by_colour
        else list(OF_BACKGROUND if name == background else next(free))
        for name, value in zip(names, parsed, strict=False)  # the last value may be what is ignored
    ]
    import tomli_w

    table = {
        "class": [
            {"name": name, "colour": colour, "pixel_value": value}
            for name, colour, value in zip(names, colours, values, strict=True)
        ]
    }
    more: dict[str, Any] = {"background": options.background} if options.background is not None else {}
    if ignored is not None:
        more["ignore_value"] = IGNORE_PIXEL if by_colour else ignored
    classes = parse_classes(tomli_w.dumps(more | table).encode(), Path("--class-values"))
    if not by_colour:
        return MaskClasses(classes)
    codes = {value: code for code, value in enumerate(parsed[: len(names)])}
    return MaskClasses(classes, codes | ({} if ignored is None else {ignored: IGNORE_PIXEL}))


def _parsed(text: str) -> int:
    if match := _COLOUR.fullmatch(text.strip()):
        return int(match[1], 16)
    if text.strip().isdecimal() and int(text) <= 65535:
        return int(text)
    raise UserError(f"--class-values: {text!r} is neither a value 0 to 65535 nor a colour #RRGGBB")
