"""A table of pictures, as people and spreadsheets write it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from l2s_jax.prepare.patches.picture import SPLIT_NAMES, Picture
from l2s_jax.prepare.slides.table import number_of, table_records
from l2s_jax.slides.mpp import IMPOSSIBLE, possible
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import shown
from l2s_jax.types import SPLITS

COLUMNS = ("image", "mask", "label", "group", "split", "mpp")


def read_picture_table(path: Path) -> list[Picture]:
    """Reads the column `image` and any of `COLUMNS`; paths count from the table's folder.

    Raises:
      UserError: names every faulty line.
    """
    faults, rows = [], list[Picture]()
    seen: dict[Path, int] = {}
    for line, record in table_records(path, ("image",), COLUMNS):
        row, wrong = _row(record, path.parent)
        first = seen.setdefault(row.image.resolve(), line)
        if first != line:
            wrong.append(f"{row.name} stands in line {first} already")
        faults += [f"{path.name} line {line}: {fault}" for fault in wrong]
        rows.append(row)
    if faults:
        raise UserError("\n".join([f"{len(faults)} problem(s) in {path}:", *faults]))
    if not rows:
        raise UserError(f"{path} has a header but no rows: expected one a picture")
    top = os.path.commonpath([os.path.abspath(row.image.parent) for row in rows])
    return [replace(row, name=Path(os.path.relpath(row.image, top)).as_posix()) for row in rows]


def _row(record: Mapping[str, str], folder: Path) -> tuple[Picture, list[str]]:
    faults = []
    image = folder / record["image"]
    mask = folder / record["mask"] if record.get("mask") else None
    if not record["image"]:
        faults.append("no image")
    for file in (image, mask):
        if file is not None and record["image"] and not file.is_file():
            faults.append(f"{file} not found (paths count from the folder of the table)")
    split = SPLIT_NAMES.get(record.get("split", "").casefold())
    if record.get("split") and split is None:
        faults.append(f"split {shown(record['split'])} is none of {', '.join(SPLITS)}")
    mpp = number_of(record.get("mpp", ""))
    if record.get("mpp") and (mpp is None or not possible(mpp)):
        faults.append(f"mpp {shown(record['mpp'])} is {IMPOSSIBLE}")
    return Picture(
        record["image"], image, mask, record.get("label", ""), record.get("group", ""), split, mpp
    ), faults
