"""Folders of labelled pictures as training sources."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from l2s_jax.prepare.slides.class_table import OwnClasses, label_code
from l2s_jax.prepare.slides.labelled import (
    Label,
    find_labelled,
    label_of_part,
    labelled_names,
    picture_group,
    read_labelled,
)
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.sources import Source
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import Split


def labelled_pictures(options: SlidesOptions) -> dict[str, list[Path]]:
    """Labelled pictures by class. Raises `UserError` where their scale is not stated, or without them is."""
    if options.labelled is None:
        if options.labelled_mpp is not None or options.labelled_fit:
            raise UserError("--labelled-mpp and --labelled-fit need --labelled, the folder of the pictures")
        return {}
    if (options.labelled_mpp is None) is not options.labelled_fit:
        raise UserError(
            "--labelled: at what scale are the pictures? Give their micrometres a pixel with "
            "--labelled-mpp, or "
            "make each one patch, whatever it shows, with --labelled-fit (one of the two)"
        )
    return find_labelled(options.labelled)


def picture_sources(
    pictures: Mapping[str, list[Path]],
    groups: Mapping[str, str],
    own: OwnClasses,
    mpp: float,
    options: SlidesOptions,
    splits: Mapping[str, Split],
) -> list[Source]:
    """Labelled pictures as training sources. Raises `UserError` for one of a patient of val or test."""
    sources, leaks = [], []
    names = labelled_names(pictures)
    for word, paths in pictures.items():
        code = label_code(own, word)
        background = own.classes.background
        of_part = None if background is None else label_of_part(code, background)
        for path in paths:
            group = picture_group(path, f"picture {names[path]}", groups)
            if splits.get(group, "train") != "train":
                leaks.append(f"{word}/{path.name} ({group}, {splits[group]})")
            read = partial(
                read_labelled,
                path,
                Label(code, ()),
                of_part,
                options.patch_size,
                options.labelled_mpp,
                mpp,
                options.resample,
            )
            reading = repr((code, of_part, options.labelled_mpp))
            sources.append(Source(f"labelled-{names[path]}", group, "train", (path,), read, reading))
    if leaks:
        raise UserError(
            f"labelled pictures of patients that are in val or test: {listed(leaks)}. Training on them "
            "would leak into the score: leave them out, or put the patients into train (column split of a "
            "CSV file)"
        )
    return sources
