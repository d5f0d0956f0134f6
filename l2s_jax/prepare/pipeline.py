"""From the sources of a slide data set to a manifest: reference stain, all sources, rows, report."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.data.manifest import STAIN, Manifest, PatchRow, read_manifest, write_classes
from l2s_jax.data.pictures import read_image, write_png
from l2s_jax.prepare.cutting import Record, crops, cut_source, extract, require_usable
from l2s_jax.prepare.folders import STAIN_OF_LABELS, STAIN_PICTURE, claim_folder, finish_folder
from l2s_jax.prepare.options import PictureOptions, WorkOptions
from l2s_jax.prepare.paper_counts import compared
from l2s_jax.prepare.parallel import run_all
from l2s_jax.prepare.slides.cutting import patches_of
from l2s_jax.prepare.slides.labelled import LabelledPicture
from l2s_jax.prepare.slides.quality_page import looked_at, write_quality
from l2s_jax.prepare.sources import Preparation, Source, Stained
from l2s_jax.slides.annotated_slide import AnnotatedSlide, image_window
from l2s_jax.slides.sheets import Sheet
from l2s_jax.stain.fit import Stainer, StainFit
from l2s_jax.stain.reference_file import load_reference, save_reference
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import sha256_of_file
from l2s_jax.system.names import without_unnameable
from l2s_jax.types import IGNORE_LABEL, PATCH_MULTIPLE, SPLITS, fits_network

MOST_NOTES = 20

MOST_CANDIDATES = 256
"""Patches of a large slide among which the stain reference is chosen, evenly over all of them."""

STAINED: dict[str, Stained] = {"macenko": "all", "cls-only": "labels"}
"""Which pictures are given the reference's stains, by the option `stain`."""


@dataclass(frozen=True)
class Prepared:
    """What a `prepare_*` function returns."""

    manifest: Manifest
    report: tuple[str, ...]  # lines for people
    failures: tuple[str, ...]  # one message a source that failed


def prepare_sources(
    out: str | Path,
    sources: Sequence[Source],
    job: Preparation,
    recipe: dict[str, Any],
    options: PictureOptions,
    work: WorkOptions,
    *,
    dataset: str,
    reading: dict[str, Any] | None = None,
    found: Iterable[str] = (),
    failures: Iterable[str] = (),
) -> Prepared:
    """Works on all sources and writes the manifest.

    Args:
      out: folder that is made. Started again after an interruption or with sources added or mended, only what
        is not finished is done.
      sources: of all splits, with unique names.
      job: what to do; its `out`, stain reference and key are filled in here.
      recipe: other options that decide the content; values that TOML can hold.
      options: what is done to pictures.
      work: workers, overwriting.
      dataset: its name in Fig. 5; "" for one that the paper does not have.
      reading: options of `Source.read`, see `claim_folder`.
      found: lines on what the adapter met, for the report.
      failures: of sources that were not even begun.

    Raises:
      UserError: the patch size is no multiple of 16; the folder holds something else or cannot be written; no
        source at all could be used; no stain reference, or stains are wanted without a stainer.
    """
    if not fits_network(job.extraction.patch_size):
        raise UserError(f"patch_size {job.extraction.patch_size}: expected a multiple of {PATCH_MULTIPLE}")
    if options.stain != "off" and job.stainer is None:
        raise UserError(
            f"stain = {options.stain!r} needs what normalises: give stainer=l2s_jax.MACENKO, or stain='off'"
        )
    unnameable = [without_unnameable(source.files)[1] for source in sources]
    sources = [source for source, refused in zip(sources, unnameable, strict=True) if not refused]
    failures = [*failures, *itertools.chain(*unnameable)]
    names = Counter(source.name.casefold() for source in sources)
    if names and max(names.values()) > 1:
        raise UserError(f"two sources are named {names.most_common(1)[0][0]!r}: rename or leave out one")
    recipe = full_recipe(recipe, job, options)
    out = claim_folder(out, recipe, reading=reading, overwrite=work.overwrite)
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    job = replace(job, out=out, held_out=options.held_out, key=key)
    if options.stain == "off":
        job = replace(job, stainer=None)
    else:
        job = replace(job, stained=STAINED[options.stain])
        job = _with_reference(job, sources, options.stain_reference)
    outcomes = run_all(partial(cut_source, job=job), sources, workers=work.workers, scheduler=work.scheduler)
    failed = [*failures, *(outcome.error for outcome in outcomes if outcome.error)]
    pairs = [(sources[one.number], one.result) for one in outcomes if not one.error]
    if not pairs:
        raise UserError("\n".join([f"nothing could be prepared; {len(failed)} failure(s):", *failed]))
    write_classes(out, job.classes)
    looked = [one for source, record in pairs if (one := looked_at(source, record)) is not None]
    quality = write_quality(out, looked, job.classes, failed)
    finish_folder(out, job.classes, _rows(out, pairs))
    report = [*found, *_report(pairs, job, dataset), *quality]
    return Prepared(read_manifest(out), tuple(report), tuple(failed))


def full_recipe(recipe: dict[str, Any], job: Preparation, options: PictureOptions) -> dict[str, Any]:
    """A recipe with what is done to pictures of any data set. Raises `UserError` for a faulty reference."""
    recipe = recipe | {
        "extraction": asdict(job.extraction),
        "resample": options.resample,
        "held_out": options.held_out,
        "stain": "off",
    }
    if options.stain != "off":
        recipe["stain"] = f"macenko, {STAINED[options.stain]}"
        if options.stain_reference is not None:
            read_image(options.stain_reference)  # faults are told before the folder is touched
            recipe["stain_reference"] = sha256_of_file(options.stain_reference)
    return recipe


def _with_reference(job: Preparation, sources: Sequence[Source], named: Path | None) -> Preparation:
    """The job with the reference's stains, which are written into the folder; those there are used again.

    `stain.json` means that a network trained on the manifest knows no other stains. Where only image-level
    patches are given them the file has another name, and slides are predicted as they are.
    """
    assert job.stainer is not None
    path = job.out / (STAIN if job.stained == "all" else STAIN_OF_LABELS)
    picture = job.out / STAIN_PICTURE
    if named is not None:
        write_png(picture, read_image(named))
        name = named.name
    elif not _is_of(path, picture):
        image, name = choose_reference(sources, job, job.stainer)
        write_png(picture, image)
    if named is not None or not _is_of(path, picture):
        fit = job.stainer.fit(read_image(picture)[None])
        save_reference(path, StainFit(*(np.asarray(part)[0] for part in fit)), name, sha256_of_file(picture))
    reference, _ = load_reference(path)
    return replace(job, reference=reference, key=f"{job.key} {sha256_of_file(path)}")


def _is_of(path: Path, picture: Path) -> bool:
    """Whether a stain file is there and is that of the picture beside it."""
    try:
        return load_reference(path)[1] == sha256_of_file(picture)
    except (UserError, OSError):
        return False


def choose_reference(sources: Sequence[Source], job: Preparation, stainer: Stainer) -> tuple[np.ndarray, str]:
    """Chooses the stain reference among the training patches: always the same one.

    Of the first training source that has patches with usable stains, the patch whose stain matrix and
    concentrations are nearest to their median over that source's patches.

    Returns:
      The patch, u8[H,W,3], and where it is from.

    Raises:
      UserError: no training source has one; says what was tried.
    """
    tried = []
    for source in (one for one in sources if one.split == "train"):
        try:
            sheet = source.read()
            require_usable(source, sheet)
            origins, images = _candidates(sheet, job)
        except UserError as error:  # said again where the source itself is worked on
            tried.append(str(error))
            continue
        if len(images) == 0:
            tried.append(f"{source.files[0]}: no patch")
            continue
        index = _most_typical(stainer.fit(images))
        if index is not None:
            row, col = origins[index]
            return images[index], f"{source.files[0].name} at row {row}, col {col}"
        tried.append(f"{source.files[0]}: no patch with two stains")
    raise UserError(
        "\n".join(
            [
                "no training patch can be the stain reference. Name a picture with --stain-reference, or "
                "leave stains as they are with --stain off. Tried:",
                *tried[:MOST_NOTES],
            ]
        )
    )


def _candidates(
    sheet: Sheet | AnnotatedSlide | LabelledPicture, job: Preparation
) -> tuple[np.ndarray, np.ndarray]:
    """Patches that the reference may be chosen of: their (row, col), and u8[N,S,S,3]."""
    size = job.extraction.patch_size
    if isinstance(sheet, LabelledPicture):
        return np.zeros((len(sheet.images), 2), int), sheet.images
    if isinstance(sheet, AnnotatedSlide):
        origins = patches_of(sheet, job).kept().origins
        origins = origins[np.linspace(0, len(origins) - 1, min(len(origins), MOST_CANDIDATES)).astype(int)]
        images = [image_window(sheet, (row, col), (size, size)) for row, col in origins.tolist()]
        return origins, np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    if sheet.mask is None:
        return np.zeros((1, 2), int), sheet.image[None]
    origins = extract(sheet, job).kept().origins
    return origins, crops(sheet.image, origins, size)


def _most_typical(fit: StainFit) -> int | None:
    """Index of the usable fit nearest to the median, concentrations in shares of it; None without one."""
    usable = np.flatnonzero(np.asarray(fit.usable))
    if len(usable) == 0:
        return None
    matrix = np.asarray(fit.stain_matrix)[usable].reshape(len(usable), -1)
    largest = np.asarray(fit.max_concentration)[usable]
    described = np.concatenate([matrix, largest / np.median(largest, axis=0)], axis=1)
    distance = np.linalg.norm(described - np.median(described, axis=0), axis=1)
    return int(usable[distance.argmin()])


def _rows(out: Path, pairs: Sequence[tuple[Source, Record]]) -> list[PatchRow]:
    rows: list[PatchRow] = []
    for source, record in pairs:
        for row in record["rows"]:
            rows.append(
                PatchRow(
                    line=len(rows) + 2,
                    image=out / row["image"],
                    mask=out / row["mask"] if row["mask"] else None,
                    label=row["label"],
                    group=source.group,
                    split=source.split,
                    mpp=record["mpp"],
                    source=row["source"],
                    allowed=tuple(row.get("allowed", ())),
                    bag=row.get("bag", ""),
                    bag_label=row.get("bag_label", IGNORE_LABEL),
                )
            )
    return rows


def _report(pairs: Sequence[tuple[Source, Record]], job: Preparation, dataset: str) -> list[str]:
    """What was made: by split, against Fig. 5, what was left out, stains, and notes on sources."""
    lines = []
    for split in SPLITS:
        of_split = [(source, record) for source, record in pairs if source.split == split]
        whole = split != "train" and job.held_out == "whole"
        kind = "kept whole, with masks where there are any" if whole else "cut into patches"
        if whole and any("quality" in record for _, record in of_split):
            kind = "as windows that cover what is known"
        groups = len({source.group for source, _ in of_split})
        lines.append(f"{split}: {len(of_split)} pictures of {groups} groups, {kind}")
    train = [row for source, record in pairs if source.split == "train" for row in record["rows"]]
    masks = sum(bool(row["mask"]) for row in train)
    counts = f"{masks} training patches with a mask, {len(train) - masks} image-level"
    lines += compared(dataset, masks, len(train) - masks) if dataset else [counts]
    dropped: Counter[str] = Counter()
    stain: Counter[str] = Counter()
    for _, record in pairs:
        dropped.update(record["dropped"])
        stain.update(record["stain"])
    lines += [f"left out: {count} patches, {reason}" for reason, count in dropped.most_common()]
    overlaps = sum(record["overlaps"] for _, record in pairs)
    if overlaps:
        share = f"{job.extraction.report_overlap:.0%}"
        lines.append(f"{overlaps} pairs of patches share more than {share} of their area: near-duplicates")
    if job.reference is not None:
        how = ", ".join(f"{count} {name}" for name, count in stain.most_common())
        of = "" if job.stained == "all" else " of image-level patches only"
        lines.append(f"stains{of} normalised (Macenko) to {STAIN_PICTURE}: {how}")
    notes = [f"{source.name}: {note}" for source, record in pairs for note in record["notes"]]
    shown = notes if len(notes) <= MOST_NOTES else notes[:MOST_NOTES]
    lines += shown + ([f"... and {len(notes) - MOST_NOTES} more notes"] if len(notes) > MOST_NOTES else [])
    return lines
