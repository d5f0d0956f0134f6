"""A trained network on whole slides: class maps, outlines for QuPath, overlays, areas."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.prediction.own_shares import too_few_text
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.scales import Scale, is_another
from l2s_jax.prediction.slides.areas import predicted_area, tissue_area
from l2s_jax.prediction.slides.bands import predict_bands
from l2s_jax.prediction.slides.job import Area, SlideJob
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.outlines import traced_grid, write_outlines
from l2s_jax.prediction.slides.outputs import (
    all_names,
    output_paths,
    record_path,
    write_class_map,
    write_disagreement,
    write_entropy,
    write_grey_map,
    write_overlay,
    write_probabilities,
)
from l2s_jax.prediction.slides.quality import COLUMNS, QUALITY, append_quality
from l2s_jax.prediction.slides.record import (
    AREAS,
    AREAS_OF_RUNS,
    OF_RUNS_COLUMNS,
    Counts,
    Record,
    append_areas,
    append_areas_of_runs,
    area_columns,
    describe_counts,
    finished,
    missing,
    outside_text,
    record_text,
    says_the_same,
    settings_of,
    warnings,
)
from l2s_jax.prediction.slides.replacing import (
    require_free,
    require_other_slide,
    slide_outputs,
    sources_of_slide,
)
from l2s_jax.prediction.stains import slide_in_stains_of_run
from l2s_jax.slides.area_names import unfound_warnings
from l2s_jax.slides.marked import Marked, part_of, read_marked, require_marked
from l2s_jax.slides.named_rows import read_scales
from l2s_jax.slides.overview import MAX_UNREADABLE, overview_of, too_damaged
from l2s_jax.slides.reading import UnreadableRegion, read_window
from l2s_jax.slides.row_file import RowFile, scratch_picture, write_block
from l2s_jax.slides.sheets import slide_notes
from l2s_jax.slides.slide import Slide, open_slide, size_at
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.slide_quality import quality_of
from l2s_jax.system.csv_rows import keys_in
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_json
from l2s_jax.system.outputs import (
    publishing,
    remove_dead_stages,
    require_own_table,
    require_replaceable,
)
from l2s_jax.system.progress import track
from l2s_jax.types import IGNORE_PIXEL

Say = Callable[[str], None]


def predict_slides(
    slides: Sequence[Path], out: Path, predictor: Predictor, options: SlideOptions, say: Say = print
) -> tuple[dict[Path, Record], list[str]]:
    """Predicts slides one after the other; those that are finished are not done again.

    Returns:
      The record of each slide that came out, and a message for each that failed.

    Raises:
      UserError: the working scale is not known, the table of scales cannot be read, a folder of areas has
        none of the slides, or an output would be written over a file of other origin.
    """
    remove_dead_stages(out)
    mpp = working_mpp(predictor, options)
    require_marked(options.folders, slides)
    require_free(slides, out, options)
    require_own_table(out / AREAS, area_columns(predictor.classes))
    require_own_table(out / QUALITY, COLUMNS)
    if predictor.members:
        require_own_table(out / AREAS_OF_RUNS, OF_RUNS_COLUMNS)
        if too_few_text(len(predictor.members)):
            say(f"{AREAS_OF_RUNS}: {too_few_text(len(predictor.members))}")
    warn_of_scale(predictor, mpp, say)
    table, of_rows = read_scales(options.mpp_table, slides)
    for line in (*of_rows, *unfound_warnings(options.folders, slides)):
        say(line)
    records, failures = {}, []
    for number, path in enumerate(slides, 1):
        title = f"{path.name} ({number} of {len(slides)})"
        try:
            records[path] = predict_slide(path, out, predictor, options, mpp, table, title, say)
        except UserError as error:
            failures.append(str(error))
            say(f"{title} failed: {error}")
    return records, failures


def working_mpp(predictor: Predictor, options: SlideOptions) -> float:
    """The scale at which slides are predicted. Raises `UserError` where neither run nor options say."""
    mpp = options.mpp or predictor.mpp
    if mpp is None:
        raise UserError(
            "the run's manifest does not say the scale of its patches (column mpp), so slides cannot be read "
            "at it. Give it with --mpp: the micrometres a pixel of the training patches"
        )
    return mpp


def warn_of_scale(predictor: Predictor, mpp: float, say: Say) -> None:
    """Says where slides are read at another scale than that of the training patches."""
    if predictor.mpp is not None and is_another(Scale((mpp, mpp), "--mpp"), predictor.mpp):
        say(f"warning: slides are read at {mpp:g} um/px as asked; the run was trained at {predictor.mpp:g}")


def predict_slide(
    path: Path,
    out: Path,
    predictor: Predictor,
    options: SlideOptions,
    mpp: float,
    table: Mapping[str, tuple[float, float]] | None,
    title: str,
    say: Say,
) -> Record:
    """Predicts one slide into NAME.ome.tif, NAME.geojson, NAME_overlay.png, a row of areas.csv and NAME.json.

    The record NAME.json comes last: a slide that has one of the same settings is finished.

    Raises:
      UserError: the slide cannot be read, its scale is not known, an output was changed since it was made, or
        the folder cannot be written.
    """
    slide = open_slide(path, mpp=options.slide_mpp, mpp_table=table, mpp_override=options.mpp_override)
    marked = read_marked(slide.path, slide, options.folders)
    settings = settings_of(
        slide, predictor.identity, predictor.classes, predictor.tiling, mpp, options, marked.settings()
    )
    name, about = path.stem, record_path(out, path.stem)
    done = finished(about, settings["key"], output_paths(out, name, options))
    if done is not None:
        put_back = rows_put_back(out, done)
        say(
            f"{title}: finished before"
            + (f"; its row was put back into {', '.join(put_back)}" if put_back else "")
        )
        return done
    for note in slide_notes(slide):
        say(f"{title}: {note}")
    sources = sources_of_slide(path)
    require_other_slide(path, out, sources)
    names = [one.name for one in slide_outputs(path, out, options)]
    require_replaceable(out, names, sources)
    if any((out / one).exists() for one in names):
        gone = missing(about, settings["key"], output_paths(out, name, options))
        why = (
            f"{', '.join(gone)} is gone" if gone else "predicted before with other options or by another run"
        )
        say(f"{title}: {why}; predicted anew")
    start = time.monotonic()
    others = [] if says_the_same(about, settings) else all_names(name)
    key = settings["key"]
    with publishing(out, sources, key=key, last=[about.name], instead_of=others) as stage:
        outputs = output_paths(stage, name, options)
        result = _predict(slide, outputs, predictor, options, mpp, marked, key, title, say)
        if predictor.unfinished:
            result["unfinished"] = predictor.unfinished
        result |= told_of(predictor)
        record: Record = {"name": name} | settings | result | {"seconds": round(time.monotonic() - start, 1)}
        write_json(stage / about.name, record)
        append_areas(out / AREAS, record)
        append_quality(out / QUALITY, name, record["quality"])
        append_areas_of_runs(out / AREAS_OF_RUNS, record)
    say(f"{title}: {record_text(record)}")
    for line in warnings(record):
        say(f"{title}: {line}")
    return record


def rows_put_back(out: Path, record: Record) -> list[str]:
    """Puts a finished slide's rows back into tables that have lost them, by its record; the tables' names."""
    name, back = record["name"], []
    if name not in keys_in(out / AREAS, "slide"):
        append_areas(out / AREAS, record)
        back.append(AREAS)
    if "quality" in record and name not in keys_in(out / QUALITY, "slide"):
        append_quality(out / QUALITY, name, record["quality"])
        back.append(QUALITY)
    if "areas_of_runs_mm2" in record and name not in keys_in(out / AREAS_OF_RUNS, "slide"):
        append_areas_of_runs(out / AREAS_OF_RUNS, record)
        back.append(AREAS_OF_RUNS)
    return back


def told_of(predictor: Predictor) -> Record:
    """What a record says of the runs: views, folders, temperatures; nothing of what is as it always is."""
    fitted = any(one.calibration is not None for one in predictor.each)
    told: Record = {} if predictor.views == "one" else {"views": predictor.views}
    if not predictor.members:
        return told | ({"temperature": predictor.temperatures[0]} if fitted else {})
    told["runs"] = [one.run for one in predictor.members]
    return told | ({"temperatures": list(predictor.temperatures)} if fitted else {})


class Scratch(NamedTuple):
    """Pictures on disk while a slide is predicted; None where nobody asked for one."""

    codes: RowFile
    sampled: RowFile  # channels of a pixel side by side, see `job.Sample`
    entropy: RowFile | None
    mutual_information: RowFile | None
    probabilities: list[RowFile]  # of each class


@contextlib.contextmanager
def scratch(folder: Path, job: SlideJob, options: SlideOptions) -> Iterator[Scratch]:
    """Scratch pictures for a job, gone when the block ends."""
    assert job.sampled is not None
    rows, columns = map(len, job.sampled)
    channels = job.classes + (job.networks > 1)
    with contextlib.ExitStack() as stack:

        def picture(asked: bool = True) -> RowFile | None:
            return stack.enter_context(scratch_picture(folder, job.size)) if asked else None

        codes = picture()
        assert codes is not None
        probabilities = (picture(options.probabilities) for _ in range(job.classes))
        yield Scratch(
            codes,
            stack.enter_context(scratch_picture(folder, (rows, columns * channels))),
            picture(job.entropy),
            picture(options.disagreement),
            [one for one in probabilities if one is not None],
        )


def _predict(
    slide: Slide,
    outputs: dict[str, Path],
    predictor: Predictor,
    options: SlideOptions,
    mpp: float,
    marked: Marked,
    key: str,
    title: str,
    say: Say,
) -> Record:
    """Predicts a slide and writes its pictures and outlines; the result goes into the record."""
    part = part_of(slide, overview_of(slide), options.folders, marked)
    for line in part.lines:
        say(f"{title}: {line}")
    size = size_at(slide, mpp)
    area = tissue_area(part, size, mpp)
    job, stain, fit = make_job(slide, size, mpp, area, predictor, options)
    grid = traced_grid(size)
    job = job._replace(area=predicted_area(part, options, area), sampled=(grid.rows, grid.columns))
    classes, name, folder = predictor.classes, slide.path.stem, outputs["class map"].parent
    with scratch(folder, job, options) as made:
        counts = fill(made, job, title)
        _require_readable(slide, counts)
        write_class_map(outputs["class map"], made.codes, mpp, name, classes)
        if options.grey_map:
            write_grey_map(outputs["grey map"], made.codes, mpp, name, classes)
        _write_maps(outputs, made, mpp, name, predictor)
        written = write_outlines(
            outputs["outlines"], made.codes, made.sampled, grid, slide, mpp, classes, options.simplify, key,
            disagreement=job.networks > 1,
        )  # fmt: skip
        write_overlay(outputs["overlay"], made.codes, slide, mpp, classes)
    return describe_counts(counts, classes, mpp, part) | {
        "size": list(size),
        "outside": outside_text(options, classes, part.tissue),
        "stain": stain,
        "outlines": written.objects,
        "outlines_mpp": written.mpp,
        "outlines_simplified_um": written.simplified,
        "quality": quality_of(slide, part, fit, predictor.reference),
    }


def _write_maps(outputs: dict[str, Path], made: Scratch, mpp: float, name: str, predictor: Predictor) -> None:
    """Writes the maps of doubt that were asked for."""
    classes = predictor.classes
    if "entropy" in outputs and made.entropy is not None:
        write_entropy(outputs["entropy"], made.entropy, mpp, name, classes)
    if made.probabilities:
        write_probabilities(outputs["probabilities"], made.probabilities, mpp, name, classes)
    if made.mutual_information is not None and made.entropy is not None:
        of_runs = made.mutual_information, made.entropy
        write_disagreement(outputs["disagreement"], of_runs, mpp, name, classes, len(predictor.members))


def make_job(
    slide: Slide,
    size: tuple[int, int],
    mpp: float,
    area: Area,
    predictor: Predictor,
    options: SlideOptions,
) -> tuple[SlideJob, str, StainFit | None]:
    """What `predict_bands` is to do with a slide's tissue, how its stains are treated, and what they are."""
    background = predictor.classes.background
    job = SlideJob(
        predictor.forward,
        partial(_read, slide, mpp),
        size,
        predictor.tiling,
        len(predictor.classes),
        area,
        IGNORE_PIXEL if background is None else background,
        options.entropy or options.disagreement,
        options.readers,
        options.enlargement,
        temperatures=predictor.temperatures,
        probabilities=options.probabilities,
    )
    return slide_in_stains_of_run(predictor, job)


def _read(slide: Slide, mpp: float, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray | None:
    try:
        return read_window(slide, origin, size, mpp)
    except UnreadableRegion:
        return None


def fill(made: Scratch, job: SlideJob, title: str) -> Counts:
    """Predicts into scratch pictures. Raises `UserError` where the disk is full."""
    pixels, unread, tiles_unread = np.zeros(job.classes, np.int64), 0, 0
    own_pixels = np.zeros((job.networks if job.networks > 1 else 0, job.classes), np.int64)
    for band in predict_bands(job, lambda tiles, total: track(tiles, title, total, "tiles")):
        blocks = [(made.codes, band.codes), (made.entropy, band.entropy)]
        blocks += [(made.mutual_information, band.mutual_information)]
        of_classes = () if band.probabilities is None else band.probabilities
        blocks += zip(made.probabilities, of_classes, strict=True)
        for picture, block in blocks:
            if picture is not None and block is not None:
                write_block(picture, band.row, band.column, block)
        if band.sample is not None and band.sample.probabilities.size:
            shares = band.sample.probabilities
            place = band.sample.row, band.sample.column * shares.shape[-1]
            write_block(made.sampled, *place, shares.reshape(len(shares), -1))
        pixels += band.counts
        if band.own_counts is not None:
            own_pixels += band.own_counts
        unread += band.unread
        tiles_unread += band.tiles_unread
    return Counts(pixels, own_pixels, unread, tiles_unread)


def _require_readable(slide: Slide, counts: Counts) -> None:
    """A slide of which more than a little could not be read is cut off, and its map would mislead."""
    wanted = int(counts.pixels.sum()) + counts.unread
    if counts.unread > MAX_UNREADABLE * wanted:
        raise too_damaged(
            slide,
            f"{counts.tiles_unread} tiles over tissue are damaged: copy or download the file again",
        )
