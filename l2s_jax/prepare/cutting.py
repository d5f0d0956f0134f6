"""One source of a slide data set into pictures on disk and a record of them.

Training sources become patches (and patches with a label only). Those of val and test stay whole, image and
mask: they are predicted by overlapping tiles and scored on every pixel, not on chosen patches (unless
`Preparation.held_out` asks for those).

The record, `parts/NAME.json`, is written last: a source that has one of the same key is finished.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.data.pictures import MAX_PIXELS, write_png
from l2s_jax.prepare.centred_extraction import extract_centred
from l2s_jax.prepare.extraction import Patches, overlapping_pairs
from l2s_jax.prepare.slides.cutting import cut_slide
from l2s_jax.prepare.slides.labelled import LabelledPicture, as_sheet, write_labelled
from l2s_jax.prepare.sources import Preparation, Source, stains_for
from l2s_jax.prepare.tile_extraction import extract_tiles
from l2s_jax.slides.annotated_slide import AnnotatedSlide
from l2s_jax.slides.sheets import Sheet
from l2s_jax.stain.fit import STATUS_NAMES
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text, parse_json, write_text

Record = dict[str, Any]


def cut_source(source: Source, job: Preparation) -> Record:
    """Reads a source, cuts and normalises it, and writes its pictures; what is finished is not done again.

    Returns:
      The record: rows of the manifest (paths relative to its folder) and counts.

    Raises:
      UserError: the source cannot be read or yields nothing, or the folder cannot be written.
    """
    key = source_key(source, job)
    path = record_path(source, job.out)
    done = finished(path, key)
    if done is not None:
        return done
    path.unlink(missing_ok=True)  # of another time: its pictures are about to go
    sheet = source.read()
    require_usable(source, sheet)
    tissue: np.ndarray | None
    mpp: float | None
    if isinstance(sheet, LabelledPicture):
        images, stain = _normalised(sheet.images, None, as_sheet(sheet), job)
        record, tissue, mpp = write_labelled(source, job, sheet, images), None, sheet.mpp
        record |= {"stain": stain}
    elif isinstance(sheet, AnnotatedSlide):
        record, tissue, mpp = cut_slide(source, job, sheet), sheet.overview.tissue, sheet.mpp
    else:
        cut = _cut if source.split == "train" or job.held_out == "patches" else _keep_whole
        record, tissue, mpp = cut(source, job, sheet), sheet.tissue, sheet.mpp
    notes = [*getattr(sheet, "notes", ()), *([f"no patch: {record['empty']}"] if "empty" in record else [])]
    record |= {"key": key, "name": source.name, "mpp": mpp, "notes": notes}
    if tissue is not None:
        record["tissue"] = float(tissue.mean())
    write_text(path, json_text(record, indent=1))
    return record


def require_usable(source: Source, sheet: Sheet | AnnotatedSlide | LabelledPicture) -> None:
    """Raises `UserError` for a picture without tissue, or too large to be one picture."""
    if isinstance(sheet, LabelledPicture):
        return
    tissue = sheet.overview.tissue if isinstance(sheet, AnnotatedSlide) else sheet.tissue
    if tissue is not None and not tissue.any():
        raise UserError(
            f"{source.files[0]}: no tissue was found (nothing has 10% saturation). Is it blank, or in grey? "
            "Leave it out"
        )
    if isinstance(sheet, AnnotatedSlide):
        return
    if sheet.image.shape[0] * sheet.image.shape[1] > MAX_PIXELS:
        raise UserError(
            f"{source.files[0]} has {sheet.image.shape[0]} x {sheet.image.shape[1]} pixels at the scale of "
            f"the patches; at most {MAX_PIXELS:,} are possible. Choose a coarser scale"
        )


def extract(sheet: Sheet, job: Preparation) -> Patches:
    """The patches of a sheet with a mask, kept or not."""
    if sheet.mask is None:
        raise ValueError("a sheet without a mask is one patch")
    cut = extract_centred if job.manner == "centred" else extract_tiles
    return cut(sheet.mask, sheet.tissue, job.classes.background, job.extraction)


def crops(array: np.ndarray, origins: np.ndarray, size: int) -> np.ndarray:
    """[N,size,size,...]: the patches of [H,W,...] at int64[N,2] origins."""
    cut = [array[row : row + size, col : col + size] for row, col in origins]
    return np.stack(cut) if cut else np.zeros((0, size, size, *array.shape[2:]), array.dtype)


def record_path(source: Source, out: Path) -> Path:
    """Where a source's record lies."""
    return out / "parts" / f"{source.name}.json"


def source_key(source: Source, job: Preparation) -> str:
    """A hash of the job, the split, how the source is read, and its files' path, size and time of change."""
    content = [job.key, source.name, source.group, source.split, source.reading]
    for path in source.files:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        content.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]


def finished_record(source: Source, out: Path) -> Record | None:
    """The record of a source that has been worked on, of whatever key."""
    try:
        record = parse_json(record_path(source, out).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def finished(path: Path, key: str) -> Record | None:
    """The record of a finished source, or None where it is missing, unreadable or of another key."""
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def _cut(source: Source, job: Preparation, sheet: Sheet) -> Record:
    """A training source: its patches, or itself where only its label is known."""
    if sheet.mask is None:
        return _write_label_only(source, job, sheet)
    found = extract(sheet, job)
    kept, size = found.kept(), job.extraction.patch_size
    if source.split != "train":
        kept = kept.where(kept.is_mask)
    if len(kept) == 0:
        return _nothing(source, job, sheet, found)
    images = crops(sheet.image, kept.origins, size)
    tissue = None if sheet.tissue is None else crops(sheet.tissue, kept.origins, size)
    images, stain = _normalised(images, tissue, sheet, job)
    rows = []
    for number, (origin, image) in enumerate(zip(kept.origins, images, strict=True)):
        name = f"{source.name}/{number:05d}.png"
        row = {"image": f"images/{name}", "mask": "", "label": int(kept.labels[number])}
        write_png(job.out / "images" / name, image)
        if kept.is_mask[number]:
            row |= {"mask": f"masks/{name}", "label": -1}
            write_png(job.out / "masks" / name, crops(sheet.mask, origin[None], size)[0])
        rows.append(row | {"source": f"{source.files[0].name} at row {origin[0]}, col {origin[1]}"})
    overlaps = overlapping_pairs(kept.origins, size, job.extraction.report_overlap)
    return {"rows": rows, "dropped": found.dropped_counts(), "overlaps": len(overlaps), "stain": stain}


def _nothing(source: Source, job: Preparation, sheet: Sheet, found: Patches) -> Record:
    """The record of a picture none of whose tiles can be used; an annotated slide must give some."""
    height, width = sheet.image.shape[:2]
    size = job.extraction.patch_size
    reasons = [f"{reason} ({count})" for reason, count in found.dropped_counts().items()]
    why = ", ".join(reasons) or "nothing is annotated on it"
    if min(height, width) < size:
        why = f"its {height} x {width} pixels at the scale of the patches are smaller than one of {size}"
    if job.manner == "centred" or min(height, width) < size:
        raise UserError(f"{source.files[0]} gives no patch: {why}")
    return {"rows": [], "dropped": found.dropped_counts(), "overlaps": 0, "stain": {}, "empty": why}


def _write_label_only(source: Source, job: Preparation, sheet: Sheet) -> Record:
    images, stain = _normalised(sheet.image[None], None, sheet, job)
    name = f"images/{source.name}.png"
    write_png(job.out / name, images[0])
    row = {"image": name, "mask": "", "label": sheet.label, "source": source.files[0].name}
    return {"rows": [row], "dropped": {}, "overlaps": 0, "stain": stain}


def _keep_whole(source: Source, job: Preparation, sheet: Sheet) -> Record:
    """A source of val or test: the whole picture and its mask."""
    image, stain = sheet.image, {}
    if (given := stains_for(job, with_mask=sheet.mask is not None)) is not None:
        stainer, reference = given
        image, status = stainer.picture(sheet, reference)
        stain = {STATUS_NAMES[status]: 1}
    name = f"{source.name}.png"
    row = {"image": f"images/{name}", "mask": "", "label": sheet.label, "source": source.files[0].name}
    write_png(job.out / "images" / name, image)
    if sheet.mask is not None:
        row["mask"] = f"masks/{name}"
        write_png(job.out / "masks" / name, sheet.mask)
    return {"rows": [row], "dropped": {}, "overlaps": 0, "stain": stain}


def _normalised(
    images: np.ndarray, tissue: np.ndarray | None, sheet: Sheet, job: Preparation
) -> tuple[np.ndarray, dict[str, int]]:
    """Patches in the reference's stains, and how many by which fit."""
    if (given := stains_for(job, with_mask=sheet.mask is not None)) is None:
        return images, {}
    stainer, reference = given
    images, status = stainer.patches(images, tissue, sheet, reference)
    counts = np.bincount(status, minlength=len(STATUS_NAMES)).tolist()
    return images, {name: count for name, count in zip(STATUS_NAMES, counts, strict=True) if count}
