"""One annotated slide into patches or windows on disk, and a record of them."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.data.pictures import write_png
from l2s_jax.prepare.extraction import Patches, overlapping_pairs
from l2s_jax.prepare.slides.extraction import (
    bands_of,
    class_pixels,
    extract_centred_in_bands,
    extract_tiles_in_bands,
)
from l2s_jax.prepare.slides.labelled import Label, label_fields, label_of_part, label_origins
from l2s_jax.prepare.slides.quality_record import quality_record
from l2s_jax.prepare.slides.windows import known_windows
from l2s_jax.prepare.sources import Preparation, Source, stains_for
from l2s_jax.slides.annotated_slide import AnnotatedSlide, image_window, mask_window, tissue_window
from l2s_jax.slides.sheets import Sheet
from l2s_jax.stain.fit import STATUS_NAMES
from l2s_jax.system.errors import UserError

MOST_PIXELS_AT_ONCE = 2**24
"""Pixels of patches that are held and normalised together."""


WRITERS = 4


def patches_of(sheet: AnnotatedSlide, job: Preparation) -> Patches:
    """The training patches of a slide, kept or not."""
    if job.manner == "tiles":
        return extract_tiles_in_bands(sheet, job.classes.background, job.extraction)
    return extract_centred_in_bands(sheet, job.classes.background, job.extraction, bands_of(sheet))


def cut_slide(source: Source, job: Preparation, sheet: AnnotatedSlide) -> dict[str, Any]:
    """Writes a slide's pictures; returns rows and counts as `cutting.cut_source` has them.

    Raises:
      UserError: the slide gives nothing, a part of it cannot be read, or the folder cannot be written.
    """
    for kind in ("images", "masks"):  # of an earlier annotation
        shutil.rmtree(job.out / kind / source.name, ignore_errors=True)
    if min(sheet.size) < job.extraction.patch_size:
        raise UserError(
            f"{source.files[0]} has {sheet.size[0]} x {sheet.size[1]} pixels at {sheet.mpp:g} um/px, less "
            f"than a patch of {job.extraction.patch_size}. Choose a finer scale with --mpp, or a smaller "
            "--patch-size"
        )
    is_cut = source.split == "train" or job.held_out == "patches"
    record = _write_patches(source, job, sheet) if is_cut else _write_windows(source, job, sheet)
    counts = class_pixels(sheet, bands_of(sheet))
    square = (sheet.mpp / 1e3) ** 2
    areas = {name: float(counts[code] * square) for code, name in enumerate(job.classes.names)}
    given = stains_for(job, with_mask=True)
    fit, reference = (None, None) if given is None else (given[0].sheet(_stained_by(sheet)), given[1])
    return record | {"areas": areas} | quality_record(sheet, job.classes, fit, reference)


def _write_patches(source: Source, job: Preparation, sheet: AnnotatedSlide) -> dict[str, Any]:
    found = patches_of(sheet, job)
    kept, size = found.kept(), job.extraction.patch_size
    if source.split != "train":
        kept = kept.where(kept.is_mask)
    parts = [
        (_pair(origin), Label(int(label), ()), bool(mask), "")
        for origin, label, mask in zip(kept.origins, kept.labels, kept.is_mask, strict=True)
    ]
    if source.split == "train":
        for number, region in enumerate(sheet.labelled):
            bag = source.name if len(sheet.labelled) == 1 else f"{source.name} {number + 1}"
            known = label_of_part(region.code, job.classes.background)
            origins = label_origins(sheet, region, job.extraction, job.label_patches, source.name)
            parts += [(_pair(origin), known, False, bag) for origin in origins]
    if not parts:
        reasons = [f"{reason} ({count})" for reason, count in found.dropped_counts().items()]
        why = ", ".join(reasons) or "no region of a class is on it"
        raise UserError(
            f"{source.files[0]} gives no patch: {why}. --min-foreground 0 keeps patches with little tissue"
        )
    # In the slide's order: OpenSlide keeps the tiles that it has just decoded.
    parts.sort(key=lambda part: (part[0][0] // size, part[0][1]))
    rows: list[dict[str, Any]] = []
    stain: dict[str, int] = {}
    step = max(1, MOST_PIXELS_AT_ONCE // size**2)
    for first in range(0, len(parts), step):
        some = parts[first : first + step]
        images = np.stack([image_window(sheet, origin, (size, size)) for origin, *_ in some])
        tissue = np.stack([tissue_window(sheet, origin, (size, size)) for origin, *_ in some])
        images, counts = _normalised(images, tissue, sheet, job)
        stain = {name: stain.get(name, 0) + counts.get(name, 0) for name in {**stain, **counts}}
        pictures: list[tuple[Path, np.ndarray]] = []
        for number, (origin, known, has_mask, bag) in enumerate(some):
            name = f"{source.name}/{first + number:05d}.png"
            row = {"image": f"images/{name}", "mask": "", **label_fields(known, bag)}
            pictures.append((job.out / "images" / name, images[number]))
            if has_mask:
                row |= {"mask": f"masks/{name}", "label": -1}
                pictures.append((job.out / "masks" / name, mask_window(sheet, origin, (size, size))))
            rows.append(row | {"source": _place(source, origin)})
        _write(pictures)
    pairs = overlapping_pairs(kept.origins, size, job.extraction.report_overlap)
    return {"rows": rows, "dropped": found.dropped_counts(), "overlaps": len(pairs), "stain": stain}


def _write(pictures: list[tuple[Path, np.ndarray]]) -> None:
    """Writes pictures, several at a time: most of it is waiting for the disk."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(lambda picture: write_png(*picture), pictures):
            pass


def _write_windows(source: Source, job: Preparation, sheet: AnnotatedSlide) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    stain: dict[str, int] = {}
    given = stains_for(job, with_mask=True)
    for number, window in enumerate(known_windows(sheet, job.extraction.patch_size)):
        image = image_window(sheet, window.origin, (window.mask.shape[0], window.mask.shape[1]))
        if given is not None:
            stainer, reference = given
            image, status = stainer.window(image, _stained_by(sheet), reference)
            stain[STATUS_NAMES[status]] = stain.get(STATUS_NAMES[status], 0) + 1
        name = f"{source.name}/{number:05d}.png"
        write_png(job.out / "images" / name, image)
        write_png(job.out / "masks" / name, window.mask)
        row = {"image": f"images/{name}", "mask": f"masks/{name}", "label": -1}
        rows.append(row | {"source": _place(source, window.origin)})
    if not rows:
        raise UserError(f"{source.files[0]}: nothing is known of it at {sheet.mpp:g} um/px")
    return {"rows": rows, "dropped": {}, "overlaps": 0, "stain": stain}


def _normalised(
    images: np.ndarray, tissue: np.ndarray, sheet: AnnotatedSlide, job: Preparation
) -> tuple[np.ndarray, dict[str, int]]:
    if (given := stains_for(job, with_mask=True)) is None:
        return images, {}
    stainer, reference = given
    images, status = stainer.patches(images, tissue, _stained_by(sheet), reference)
    counts = np.bincount(status, minlength=len(STATUS_NAMES)).tolist()
    return images, {name: count for name, count in zip(STATUS_NAMES, counts, strict=True) if count}


def _stained_by(sheet: AnnotatedSlide) -> Sheet:
    """What a slide's own stains are fitted to: its overview."""
    overview = sheet.overview
    return Sheet(overview.image, np.zeros(overview.tissue.shape, np.uint8), overview.tissue)


def _pair(origin: np.ndarray) -> tuple[int, int]:
    return int(origin[0]), int(origin[1])


def _place(source: Source, origin: tuple[int, int]) -> str:
    return f"{source.files[0].name} at row {origin[0]}, col {origin[1]}"
