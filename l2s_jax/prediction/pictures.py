"""A trained network on plain pictures: class maps, overlays, shares of the classes."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from l2s_jax.data.manifest import Classes
from l2s_jax.data.pictures import read_image_told, write_png
from l2s_jax.figures.overlays import overlay
from l2s_jax.prediction.joint import Joint, in_bytes, mean_label, picture_joint
from l2s_jax.prediction.own_shares import keep_own_shares, own_shares, table_columns
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.scales import require_picture_scale
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outputs import map_paths, write_disagreement, write_probabilities
from l2s_jax.prediction.stains import in_stains_of_run
from l2s_jax.prediction.tiles import predict_picture
from l2s_jax.slides.row_file import RowFile, scratch_picture, write_block
from l2s_jax.system.csv_rows import keys_in, replace_row
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path, sha256_of_file
from l2s_jax.system.outputs import (
    Made,
    Record,
    begin_table,
    publishing,
    read_record,
    remove_dead_stages,
    require_replaceable,
    source_of,
)
from l2s_jax.system.progress import track

Say = Callable[[str], None]

FRACTIONS_FILE = "fractions.csv"
FRACTIONS_OF_RUNS = "fractions_of_runs.csv"
OF_RUNS_COLUMNS = table_columns("image", "fraction")


def picture_outputs(path: Path, out: Path, maps: SlideOptions) -> list[Path]:
    """The files of one picture, beside its rows in the tables."""
    plain = [out / f"{path.stem}.png", out / f"{path.stem}_overlay.png"]
    return plain + list(map_paths(out, path.stem, maps).values())


def predict_pictures_into(
    paths: Sequence[Path], out: Path, predictor: Predictor, any_scale: bool, maps: SlideOptions, say: Say
) -> list[str]:
    """Segments pictures that are not finished; a message for each that failed."""
    remove_dead_stages(out)
    failures, record, key = [], read_record(out), settings_key(predictor)
    stains: Counter[str] = Counter()
    scales: Counter[str] = Counter()
    told: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    listed = keys_in(out / FRACTIONS_FILE, "image")
    classifier = not predictor.without_classifier
    for path in track(paths, "predicting", unit="pictures"):
        try:
            before = state_of(path, out, key, record, maps)
            if before == FINISHED and path.name not in listed:
                before = LOST
            if before in (FINISHED, CORRECTED):
                told[before] += 1
                continue
            scales[require_picture_scale(path, predictor.mpp, any_scale)] += 1
            told[before] += 1
            stain, conversions = predict_one(path, out, predictor, key, maps, classifier)
            stains[stain] += 1
            converted.update(conversions)
        except UserError as error:
            failures.append(str(error))
    for state in (FINISHED, CORRECTED, LOST, OTHERWISE):
        if told[state]:
            say(f"{told[state]} pictures {state}")
    if scales:
        of_run = "" if predictor.mpp is None else f" ({predictor.mpp:.4g} um/px)"
        say(f"scale of the run{of_run}: " + "; ".join(f"{n} pictures {text}" for text, n in scales.items()))
    if stains:
        say("stains: " + "; ".join(f"{count} pictures {stain}" for stain, count in stains.items()))
    for how, count in converted.items():
        say(f"{count} pictures {how}. The network has learned from colours, so look at what it makes of them")
    return failures


def predict_one(
    path: Path, out: Path, predictor: Predictor, key: str, maps: SlideOptions, classifier: bool
) -> tuple[str, tuple[str, ...]]:
    """Segments a picture; how its stains were treated and what was done to its colours, in words.

    The class that the classifier names is kept where `classifier` says that it has learned something.

    Raises:
      UserError: it cannot be read, an output was changed since it was made, or the folder cannot be written.
    """
    (image, conversions), sources = read_image_told(path), (source_of(path, digest=True),)
    names = [file.name for file in picture_outputs(path, out, maps)]
    require_replaceable(out, names, sources)
    seen, stain = in_stains_of_run(predictor, image)
    logits, class_logits = predict_picture(predictor.forward, seen, predictor.tiling)
    said = picture_joint(logits, predictor.temperatures) if predictor.members or maps.probabilities else None
    if predictor.members and said is not None:
        codes, label = said.codes, mean_label(class_logits, len(predictor.members))
    else:
        codes, label = logits.argmax(-1).astype(np.uint8), class_logits
    classes = predictor.classes
    every = SlideOptions(probabilities=True, disagreement=True)
    others = [file.name for file in picture_outputs(path, out, every)]
    with publishing(out, sources, key=key, instead_of=others) as stage:
        write_class_png(stage / names[0], codes, classes)
        write_png(stage / names[1], overlay(image, codes, classes))
        if said is not None:
            _write_maps(map_paths(stage, path.stem, maps), said, path.stem, predictor)
        said_class = classes.names[int(label.argmax())] if classifier else ""
        append_fractions(out / FRACTIONS_FILE, path.name, codes, said_class, stain, classes)
        own = fractions_of_runs(said, classes) if predictor.members and said is not None else None
        keep_own_shares(out / FRACTIONS_OF_RUNS, "image", path.name, "fraction", own)
    return stain, conversions


def _write_maps(paths: dict[str, Path], said: Joint, name: str, predictor: Predictor) -> None:
    """Writes what was asked for of a picture's probabilities and of the runs' disagreement."""
    classes, (height, width) = predictor.classes, said.codes.shape
    with contextlib.ExitStack() as stack:

        def on_disk(values: np.ndarray) -> RowFile:
            picture = stack.enter_context(scratch_picture(next(iter(paths.values())).parent, (height, width)))
            write_block(picture, 0, 0, values)
            return picture

        if "probabilities" in paths:
            shares = (said.probabilities * 255 + 0.5).astype(np.uint8)
            pictures = [on_disk(one) for one in shares]
            write_probabilities(paths["probabilities"], pictures, predictor.mpp, name, classes)
        if "disagreement" in paths:
            both = said.mutual_information, said.entropy
            doubt = [on_disk(in_bytes(one, len(classes))) for one in both]
            path, runs = paths["disagreement"], len(predictor.members)
            write_disagreement(path, doubt, predictor.mpp, name, classes, runs)


NEW = "are new"
FINISHED = "were finished before"
CORRECTED = "were finished before and changed since; they are left as they are"
LOST = f"were finished before, without a row in {FRACTIONS_FILE} now; predicted anew"
OTHERWISE = "were predicted before with other options or by another run; predicted anew"


def state_of(path: Path, out: Path, key: str, record: Record, maps: SlideOptions) -> str:
    """What there is of a picture's outputs: one of the words above."""
    files = picture_outputs(path, out, maps)
    if not all(file.is_file() for file in files):
        return NEW
    digest, states = source_of(path, digest=True).digest, set()
    for file in files:
        entries = record.get(file.name, ())
        same = {made.sha256 for made in entries if made.key == key and digest in _digests(made)}
        found = sha256_of_file(file)
        known = found in {made.sha256 for made in entries}
        states.add(FINISHED if found in same else OTHERWISE if known or not same else CORRECTED)
    return next(state for state in (OTHERWISE, CORRECTED, FINISHED) if state in states)


def _digests(made: Made) -> set[str]:
    return {source.digest for source in made.sources}


def settings_key(predictor: Predictor) -> str:
    """Of all that decides a picture's outputs, beside the picture."""
    classes, tiling = predictor.classes, predictor.tiling
    settings = {
        "network": predictor.identity,
        "stain": predictor.reference_sha256,
        "classes": [list(classes.names), list(classes.colours), list(classes.pixel_values)],
        "tile": tiling.tile,
        "stride": tiling.stride,
        "weighting": tiling.weighting,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def write_class_png(path: Path, codes: np.ndarray, classes: Classes) -> None:
    """Writes class codes u8[H,W] as a palette PNG: pixel values as in the masks, shown in class colours.

    Where a class's pixel value exceeds 255, the codes 0..C-1 are written instead.
    """
    fits = max(classes.pixel_values) <= 255
    values = np.array(classes.pixel_values if fits else range(len(classes)), np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[values] = classes.colours
    picture = Image.fromarray(values[codes])
    picture.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def fraction_columns(classes: Classes) -> list[str]:
    """Columns of fractions.csv."""
    return ["image", "pixels", "stain", "classifier", *(f"fraction {name}" for name in classes.names)]


def append_fractions(
    path: Path, name: str, codes: np.ndarray, classifier: str, stain: str, classes: Classes
) -> None:
    """Adds a picture's row to fractions.csv: how its stains were treated, the classifier's class, shares.

    The class is "" of a classifier that has learned nothing. Shares are of its pixels by class, 0..1. A row
    of the same picture from an earlier call is replaced.
    """
    counts = np.bincount(codes.reshape(-1), minlength=len(classes))
    row = {"image": name, "pixels": codes.size, "stain": stain, "classifier": classifier}
    row |= {f"fraction {name}": count / codes.size for name, count in zip(classes.names, counts, strict=True)}
    begin_table(path)
    replace_row(path, row, "image")


def fractions_of_runs(said: Joint, classes: Classes) -> dict[str, dict[str, Any]]:
    """The share of a picture that each of several runs finds alone, by class; see `own_shares`."""
    return {
        name: own_shares(
            (said.own_codes == code).mean((1, 2)).tolist(), float((said.codes == code).mean()), 1.0
        )
        for code, name in enumerate(classes.names)
    }
