"""`predict`: a trained run on pictures and slides."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from l2s_jax.data.manifest import Classes
from l2s_jax.data.pictures import read_image, write_png
from l2s_jax.figures.drawing import overlay
from l2s_jax.prediction.predictor import Predictor, Stain, load_predictor
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import predict_slides
from l2s_jax.prediction.stains import in_stains_of_run
from l2s_jax.prediction.tiles import Weighting, predict_picture
from l2s_jax.slides.slide import is_slide
from l2s_jax.system.csv_rows import replace_row
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.system.progress import track

Say = Callable[[str], None]

FRACTIONS = "fractions.csv"

DEFAULT_SLIDES = SlideOptions()


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    stain: Stain = "run",
    slides: SlideOptions = DEFAULT_SLIDES,
    say: Say = print,
) -> Path:
    """Segments pictures and whole slides.

    For a picture: NAME.png (the classes' pixel values as palette indices), NAME_overlay.png and a row of
    class fractions in fractions.csv. For a slide: see `slides.predict.predict_slide`.

    Args:
      run: run folder.
      images: pictures of any size, at the scale of the training patches; a side shorter than a patch is
        reflected. Slides (what OpenSlide opens), which are read at `slides.mpp`. Their names must differ,
        since outputs are named after them.
      out: output folder.
      stride: pixels between tiles; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: tiles a batch; does not change the result.
      stain: "run" gives pictures and slides the stains that the run was trained on, where it has a reference;
        "off" leaves them as they are, for pictures that `prepare` has normalised already.
      slides: how slides are read and what is written.
      say: receives what a person should read.

    Returns:
      The output folder.

    Raises:
      UserError: two files of one name; or, after all others are done, the files that failed and why.
    """
    run, out = Path(run), Path(out)
    paths = [Path(image) for image in images]
    require_distinct(paths)
    predictor = load_predictor(run, stride, weighting, batch_size, stain)
    whole = [path for path in paths if slides.slide or is_slide(path)]
    pictures = [path for path in paths if path not in whole]
    failures = predict_slides(whole, out, predictor, slides, say)[1] if whole else []
    failures += _predict_pictures(pictures, out, predictor, say) if pictures else []
    say(f"{len(paths) - len(failures)} of {len(paths)} pictures segmented into {out}")
    if failures:
        raise UserError("\n".join([f"{len(failures)} picture(s) failed:", *failures]), exit_code=1)
    return out


def require_distinct(paths: Sequence[Path]) -> None:
    """Refuses two files of one name: outputs are named after them."""
    stems = [path.stem for path in paths]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise UserError(
            f"two pictures are named {doubled[0]!r}, and outputs are named after them: rename one"
        )


def _predict_pictures(paths: Sequence[Path], out: Path, predictor: Predictor, say: Say) -> list[str]:
    """Segments pictures; a message for each that failed."""
    failures = []
    counts: Counter[str] = Counter()
    for path in track(paths, "predicting", unit="pictures"):
        try:
            image = read_image(path)
        except UserError as error:
            failures.append(str(error))
            continue
        seen, stain = in_stains_of_run(predictor, image)
        counts[stain] += 1
        logits, class_logits = predict_picture(predictor.forward, seen, predictor.tiling)
        codes, classes = logits.argmax(-1).astype(np.uint8), predictor.classes
        write_class_png(out / f"{path.stem}.png", codes, classes)
        write_png(out / f"{path.stem}_overlay.png", overlay(image, codes, classes))
        append_fractions(out / FRACTIONS, path.name, codes, int(class_logits.argmax()), stain, classes)
    say("stains: " + "; ".join(f"{count} pictures {stain}" for stain, count in counts.items()))
    return failures


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


def append_fractions(
    path: Path, name: str, codes: np.ndarray, label: int, stain: str, classes: Classes
) -> None:
    """Adds a picture's row to fractions.csv: how its stains were treated, the classifier's class, shares.

    Those are of its pixels by class, 0..1. A row of the same picture from an earlier call is replaced.
    """
    counts = np.bincount(codes.reshape(-1), minlength=len(classes))
    row = {"image": name, "pixels": codes.size, "stain": stain, "classifier": classes.names[label]}
    row |= {f"fraction {name}": count / codes.size for name, count in zip(classes.names, counts, strict=True)}
    replace_row(path, row, "image")
