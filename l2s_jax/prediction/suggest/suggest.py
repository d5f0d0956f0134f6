"""`suggest`: which patches, or windows of slides, a person should draw next."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.fingerprint import relative_name
from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import Manifest
from l2s_jax.prediction.ensemble import runs_in
from l2s_jax.prediction.scales import require_run_scale
from l2s_jax.prediction.slides.frames import frame_names, write_frames
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import working_mpp
from l2s_jax.prediction.slides.windows import (
    Sheet,
    open_sheets,
    require_slides_named,
    require_tissue,
    window_side,
)
from l2s_jax.prediction.suggest.candidates import Candidates, drawn_rows, patch_candidates
from l2s_jax.prediction.suggest.choosing import RUNS_NEEDED, Asked, By, choose
from l2s_jax.prediction.suggest.listing import (
    Suggestion,
    frames_of,
    patch_of,
    patches_table,
    window_of,
    windows_table,
)
from l2s_jax.prediction.suggest.looks import load_lookers
from l2s_jax.prediction.suggest.page import PICTURES, picture_name, suggestions_page, write_picture
from l2s_jax.prediction.suggest.windows import groups_to_draw, window_candidates
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.slides.one_slide import each_once
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import publishing, require_replaceable, source_of
from l2s_jax.system.ranges import require_seed

Say = Callable[[str], None]

DEFAULT: By = "stratified"
EVIDENCE = (
    "each class alike is the default: it asks no network, and in ten draws, with S and with few-masks, no "
    "other way was better over both stages by more than chance explains (docs/suggest.md)"
)
EVIDENCE_OTHER = (
    "In ten draws this was no better, beyond chance, over both stages than each class alike (stratified), "
    "which asks no network: docs/suggest.md."
)
TABLE, PAGE = "suggested.csv", "suggested.html"

WORDS: dict[By, str] = {
    "stratified": "each class alike, by chance within a class",
    "random": "by chance alone",
    "disagreement": "by how far networks disagree about what each can hold",
    "change": "by how many pixels have a pseudo-label that is contested",
    "coverage": "by how unlike what is drawn each looks",
}


class _Found(NamedTuple):
    """What was there to choose from, and what was chosen."""

    candidates: Candidates
    listed: list[Suggestion]
    sheets: list[Sheet]  # none where patches are listed
    side: int  # of a window


def suggest(
    manifest: str | Path,
    runs: Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    by: By = DEFAULT,
    number: int | None = None,
    spread: bool = True,
    seed: int = 0,
    slides: Sequence[str | Path] = (),
    window: int | None = None,
    options: SlideOptions | None = None,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    any_scale: bool = False,
    allow_outside: bool = False,
    say: Say = print,
) -> list[Suggestion]:
    """Lists what to draw next: patches of the split train that have a label only, or windows of slides.

    Changes nothing by itself, and shows no patch or slide of the splits val and test to a network. The
    scores are those of `scores.patch_scores`, the ways of choosing those of `choice`.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      runs: run folders, or folders of `train --seeds`: two or more for "disagreement", one or more for
        "change", "coverage" and windows of slides. With the others, what they say stands beside the list.
      out: folder of `suggested.csv`, `suggested.html` with its pictures, and `NAME_suggested.geojson` of
        each slide, written whole or not at all; None: the list is only said and returned.
      by: how they are chosen.
      number: how many; by default 10, or all where there are fewer.
      spread: no patient or slide twice before each has been, and what looks alike is put off; "random"
        never is spread.
      seed: of the chances of "stratified" and "random".
      slides: slides whose windows are listed, in place of patches.
      window: side of a window in pixels of the working scale; the runs' patch size by default.
      options: how slides are read.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch; does not change the result.
      any_scale: accept patches of another scale than the runs'.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      The list, what to draw first in front.

    Raises:
      UserError: a faulty manifest, nothing that could be drawn or less than is asked for, too few runs,
        runs of different classes or scales, a slide of val or test, or files in `out` of other origin.
    """
    require_seed(seed)
    asked, folders = Asked(by, number, spread, seed), list(map(Path, runs))
    paths = each_once(list(map(Path, slides)), say)
    options = options or SlideOptions()
    if not paths:
        require_slides_named({"window": window}, options)
    _require_runs(by, folders, bool(paths))
    if number is not None and number < 1:
        raise UserError(f"--number {number} must be at least 1")
    frames = frame_names(paths, "_suggested.geojson")
    out = None if out is None else Path(out)
    sources = [] if out is None else [source_of(path, outputs=out) for path in (manifest, *folders, *paths)]
    if out is not None:
        require_replaceable(out, (TABLE, PAGE, *frames), sources)
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    contents = report.manifest
    predictor = load_lookers(folders, contents, stride, weighting, batch_size, say) if folders else None
    sheets, side = list[Sheet](), 0
    if paths:
        assert predictor is not None
        side = window_side(window, predictor.tiling.tile)
        require_tissue(options)
        mpp = working_mpp(predictor, options)
        groups, drawn = groups_to_draw(paths, contents, say), drawn_rows(contents)
        asked_of_each = [predictor] * len(paths)
        sheets = open_sheets(
            paths, groups, asked_of_each, drawn, "nothing drawn in it", options, mpp, side, say
        )
        candidates = window_candidates(sheets, predictor, side)
    else:
        candidates = patch_candidates(contents, predictor)
        if predictor is not None:
            require_run_scale(contents.of_split("train"), predictor.mpp, any_scale, say)
    found = _Found(candidates, choose(candidates, contents, predictor, asked), sheets, side)
    titles, evidence = _titles(found, contents), EVIDENCE if by == DEFAULT else EVIDENCE_OTHER
    say(f"what to draw next, {WORDS[by]}:")
    for one, title in zip(found.listed, titles, strict=True):
        say(f"{one.rank:4d}  {title}: {one.why}")
    say(evidence)
    if predictor is not None and not RUNS_NEEDED[by]:
        say(
            f"--runs did not decide the order: --by {by} asks no network. Those that do: "
            f"{', '.join(name for name, runs in RUNS_NEEDED.items() if runs)}"
        )
    if out is not None:
        with publishing(out, sources, last=(PAGE,), anew=(PICTURES,)) as stage:
            facts = [
                ("data", str(contents.folder)),
                ("runs", ", ".join(map(str, folders)) or "none"),
                ("chosen", WORDS[by]),
                ("patches with a mask", str(len(drawn_rows(contents)))),
                ("to choose from", f"{len(candidates.each):,}"),
            ]
            _write(stage, found, contents, titles, facts, evidence)
            for place, (name, sheet) in enumerate(zip(frames, sheets, strict=True)):
                write_frames(stage / name, frames_of(found.listed, sheet, place, side))
        say(f"written to {out}: open {out / PAGE}")
    return found.listed


def _require_runs(by: By, runs: Sequence[Path], of_slides: bool) -> None:
    needed = max(RUNS_NEEDED[by], int(of_slides))
    if sum(len(runs_in(run)) for run in runs) >= needed:
        return
    what = f"--by {by}" if RUNS_NEEDED[by] == needed else "--slides"
    if needed == 1:
        raise UserError(f"{what} asks a network: name a run, or several, with --runs")
    given = f", and {runs[0]} is one" if runs else ""
    raise UserError(
        f"{what} needs two runs or more{given}: name them with --runs, such as other seeds (l2s train "
        "--seeds 0 1 2)"
    )


def _titles(found: _Found, contents: Manifest) -> list[str]:
    """What each suggestion is called."""
    if not found.sheets:
        return [relative_name(patch_of(one).image, root_of(contents.folder)) for one in found.listed]
    windows = [window_of(one) for one in found.listed]
    names = [found.sheets[one.slide].slide.path.name for one in windows]
    places = [one.origin for one in windows]
    return [f"{name} at row {row}, col {col}" for name, (row, col) in zip(names, places, strict=True)]


def _write(
    stage: Path,
    found: _Found,
    contents: Manifest,
    titles: Sequence[str],
    facts: Sequence[tuple[str, str]],
    note: str,
) -> None:
    """The table, the pictures and the page."""
    names, listed = contents.classes.names, found.listed
    of_slides = bool(found.sheets)
    table = (
        windows_table(listed, found.sheets, found.side, names)
        if of_slides
        else patches_table(listed, contents)
    )
    write_text(stage / TABLE, table)
    (stage / PICTURES).mkdir()
    place = {id(one): index for index, one in enumerate(found.candidates.each)}
    rank = {place[id(one.candidate)]: one.rank for one in listed}
    drawn, looked = set[int](), False
    for index, image, look in found.candidates.look(list(rank)):
        write_picture(stage / PICTURES / picture_name(rank[index]), image, look, contents.classes)
        drawn.add(rank[index])
        looked = look is not None
    title = f"What to draw next in {contents.folder.name or contents.folder}"
    page = suggestions_page(title, listed, titles, drawn, looked, contents.classes, facts, note)
    write_text(stage / PAGE, page)
