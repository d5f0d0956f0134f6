"""Outlines as parsed, kept in one NumPy file: a large annotation is parsed once."""

import json
import zipfile
from pathlib import Path

import numpy as np

from l2s_jax.slides.annotations.types import Colour, Outline, Parsed
from l2s_jax.system.files import atomic_path


def save_outlines(path: Path, parsed: Parsed) -> None:
    """Writes what `load_outlines` reads. Raises `Unwritable`."""
    rings = [ring for outline in parsed.outlines for ring in outline.rings]
    heads = [{**one._asdict(), "rings": len(one.rings)} for one in parsed.outlines]
    text = json.dumps({"outlines": heads, "mpp": parsed.mpp, "skipped": parsed.skipped})
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            vertices=np.concatenate([np.zeros((0, 2)), *rings]),
            lengths=np.array([len(ring) for ring in rings], np.int64),
            heads=np.frombuffer(text.encode(), np.uint8),
        )


def load_outlines(path: Path) -> Parsed | None:
    """The outlines of a file of `save_outlines`; None where there is none, or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            vertices, lengths = arrays["vertices"], arrays["lengths"]
            table = json.loads(arrays["heads"].tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    rings = iter(np.split(vertices, np.cumsum(lengths)[:-1]) if len(lengths) else [])
    outlines = tuple(
        Outline(
            **{
                **head,
                "names": tuple(head["names"]),
                "rings": tuple(next(rings) for _ in range(head["rings"])),
                "colour": _colour(head["colour"]),
            }
        )
        for head in table["outlines"]
    )
    skipped = tuple((kind, number) for kind, number in table["skipped"])
    return Parsed(outlines, table["mpp"], skipped)


def _colour(values: list[int] | None) -> Colour | None:
    return None if values is None else (values[0], values[1], values[2])
