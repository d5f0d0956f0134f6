"""Is each file that a command left whole? Each kind of file is read by its own library, not by ours."""

import csv
import io
import json
import tomllib
from pathlib import Path

import tifffile
from PIL import Image
from safetensors import safe_open

PASSING = (".partial-", ".lock")
"""Beginnings of names that a killed command may leave."""


def half_files(folder: Path) -> list[str]:
    """Paths below a folder that cannot be read whole, each with the reason."""
    faults = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(PASSING) for part in path.relative_to(folder).parts):
            if reason := _fault(path):
                faults.append(f"{path.relative_to(folder)}: {reason}")
    return faults


def _fault(path: Path) -> str | None:
    # Checkpoints are Orbax's folders: a half one is one that the next start cannot read.
    if "checkpoints" in path.parts:
        return None
    try:
        if path.suffix in (".json", ".geojson"):
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".csv":
            return _csv_fault(path.read_text(encoding="utf-8"))
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix in (".tif", ".tiff", ".svs"):
            with tifffile.TiffFile(path) as file:
                file.pages[-1].asarray()
        elif path.suffix == ".safetensors":
            with safe_open(path, "np") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
        elif path.suffix == ".html":
            return None if path.read_text(encoding="utf-8").rstrip().endswith("</html>") else "cut off"
    except Exception as error:  # whatever a library raises, the file is not whole
        return f"{type(error).__name__}: {error}"
    return None


def _csv_fault(text: str) -> str | None:
    # A table that grows by rows may end in half a row, which the next start completes: not a half file.
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    widths = {len(row) for row in rows}
    return f"rows of {sorted(widths)} fields" if len(widths) > 1 else None
