"""`review`: every label and mask of a manifest beside what networks say that never saw its patient.

Of slides without labels it lists where these networks disagree.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.marks import item_of
from l2s_jax.data.origins import groups_of, rows_of_slides
from l2s_jax.prediction.judging import Picture
from l2s_jax.prediction.review.judgement import Judgement, review_table
from l2s_jax.prediction.review.members import Opinion, load_members, opinions
from l2s_jax.prediction.review.page import PICTURES, picture_name, review_page
from l2s_jax.prediction.review.strips import write_strip
from l2s_jax.prediction.review.suspicion import label_doubt, mask_doubt
from l2s_jax.prediction.review.window_files import FRAMES, draw_windows, write_window_frames
from l2s_jax.prediction.review.windows import (
    SlidesAsked,
    WindowDoubt,
    open_unlabelled,
    require_slides,
    windows_in_doubt,
)
from l2s_jax.prediction.slides.frames import frame_names
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.tiles import Weighting
from l2s_jax.slides.one_slide import each_once
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import Source, publishing, read_record, require_replaceable, source_of
from l2s_jax.system.progress import track
from l2s_jax.types import IGNORE_LABEL, SPLITS, Split

Say = Callable[[str], None]

TABLE, PAGE = "review.csv", "review.html"
UNLIKELY = 0.1
"""A pixel whose class has less probability than this is contradicted."""


def review(
    manifest: str | Path,
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    splits: Sequence[Split] = SPLITS,
    unlikely: float = UNLIKELY,
    slides: Sequence[str | Path] = (),
    windows: int | None = None,
    window: int | None = None,
    options: SlideOptions | None = None,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
    any_scale: bool = False,
    allow_outside: bool = False,
    say: Say = print,
) -> list[Judgement | WindowDoubt]:
    """Sorts labels and masks by how unlikely they are, into a table and a page. Changes nothing by itself.

    Each patch is judged by those runs alone that have not learned from its patient or slide, nor has a run
    that they take from; their probabilities are averaged. `suspicion` says what is made of them. Of a slide
    the same networks are asked, two at least, and windows are listed by how far these disagree: mutual
    information as in `joint`, its mean over the window's tissue. No window meets a patch with a label or a
    mask.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`, of the same classes as the runs'.
      runs: run folders, such as one of each fold of `prepare folds`.
      out: folder of `review.csv`, `review.html` with its pictures and `NAME_disagreement.geojson` of each
        slide, written whole or not at all. Frames of slides that an earlier call was given and this one is
        not are taken away, where nobody has changed them.
      splits: which rows. The splits of the runs do not count, only what they have learned from.
      unlikely: see `suspicion.mask_doubt`.
      slides: slides of which windows are listed; then the manifest may have no label and no mask.
      windows: how many in all; by default 10, or all where there are fewer.
      window: side of one in pixels of the working scale; the runs' patch size by default.
      options: how slides are read.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch; does not change the result.
      any_scale: accept patches of another scale than the runs'.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      What was found, the most suspicious first; behind it windows, the most contested first.

    Raises:
      UserError: a faulty manifest, nothing in it that could be judged, a run that is none, of other classes
        or of another scale, patients that all runs have learned from, or files in `out` of other origin. Of
        slides: one run, a slide of which fewer than two runs have seen nothing, that cannot be read or whose
        scale is not known, two of one name, no tissue, or fewer windows than asked for.
    """
    if not 0 < unlikely < 1:
        raise UserError(f"--unlikely {unlikely} must lie between 0 and 1: it is a probability")
    out, folders = Path(out), [Path(run) for run in runs]
    splits = [split for split in SPLITS if split in splits]
    sources = (
        source_of(manifest, outputs=out),
        *(source_of(run, outputs=out) for run in folders),
        Source(f"the split {' and '.join(splits)}"),
    )
    paths = each_once(list(map(Path, slides)), say)
    asked = SlidesAsked(paths, windows, window, options or SlideOptions())
    require_slides(asked, folders)
    frames = frame_names(paths, FRAMES)
    require_replaceable(out, (TABLE, PAGE, *frames), sources)
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    contents = report.manifest
    rows = _labelled(contents, splits)
    if not rows and not paths:
        raise _nothing_to_judge(contents, splits)
    members = load_members(
        folders,
        contents,
        rows,
        groups_of(paths, rows_of_slides(paths, contents)),
        stride=stride,
        weighting=weighting,
        batch_size=batch_size,
        any_scale=any_scale,
        say=say,
    )
    looked = open_unlabelled(asked, contents, members, say) if paths else None
    found, doubts = list[Judgement](), list[WindowDoubt]()
    key = hashlib.sha256("\n".join(str(path.resolve()) for path in paths).encode()).hexdigest()
    old = [name for name in read_record(out) if name.endswith(FRAMES)]
    with publishing(
        out, sources, key=key if paths else "", last=(PAGE,), instead_of=old, anew=(PICTURES,)
    ) as stage:
        (stage / PICTURES).mkdir()
        for picture, opinion in track(opinions(members, rows, contents), "reviewing", len(rows), "patches"):
            found += _judged(picture, opinion, contents, unlikely, stage)
        found.sort(key=lambda one: (-one.doubt.suspicion, one.row.line, one.kind))
        if looked is not None:
            doubts = windows_in_doubt(looked, say)
            draw_windows(stage / PICTURES, doubts, looked, contents.classes)
            write_window_frames(stage, frames, doubts)
        write_text(stage / TABLE, review_table(found, doubts, contents.classes))
        facts = _facts(contents, folders, paths, found, unlikely)
        write_text(stage / PAGE, review_page(found, contents, facts, doubts))
    for line in (*_said(found), *_said_of_windows(doubts)):
        say(line)
    say(f"written to {out}: open {out / PAGE}")
    return [*found, *doubts]


def _labelled(contents: Manifest, splits: Sequence[Split]) -> list[PatchRow]:
    """The rows of which something is said that can be wrong."""
    rows = [row for row in contents.patches if row.split in splits]
    return [row for row in rows if row.label != IGNORE_LABEL or row.mask is not None]


def _nothing_to_judge(contents: Manifest, splits: Sequence[Split]) -> UserError:
    which = "" if len(splits) == len(SPLITS) else f" in the split {' and '.join(splits)}"
    return UserError(f"{contents.folder} has no patch with a label or a mask{which}: nothing can be judged")


def _judged(
    picture: Picture, opinion: Opinion, contents: Manifest, unlikely: float, stage: Path
) -> list[Judgement]:
    """What is to be said of a patch's label and of its mask; draws it."""
    row, classes, found = picture.row, contents.classes, []
    pixels, where = opinion.of_pixels(), None
    if row.label != IGNORE_LABEL:
        label = label_doubt(opinion.probabilities, row.label, row.allowed, classes.background)
        item = item_of(row, "label", contents)
        found.append(Judgement(row, "label", item, label, opinion.members, opinion.classifier))
    mask = None if picture.mask is None else mask_doubt(pixels, picture.mask, unlikely)
    if mask is not None:
        where = mask.where
        mask = mask._replace(where=np.zeros((0, 0), bool))  # a large picture's pixels are not kept
        found.append(Judgement(row, "mask", item_of(row, "mask", contents), mask, opinion.members))
    if found:
        path = stage / PICTURES / picture_name(row)
        write_strip(path, picture.image, picture.mask, where, pixels.argmax(-1), classes)
    return found


def _facts(
    contents: Manifest,
    runs: Sequence[Path],
    slides: Sequence[Path],
    found: Sequence[Judgement],
    unlikely: float,
) -> list[tuple[str, str]]:
    """What the page was made from."""
    facts = [("data", str(contents.folder)), ("runs", ", ".join(map(str, runs)))]
    if slides:
        facts.append(("slides", ", ".join(map(str, slides))))
    if asked := sorted({one.members for one in found}):
        ends = dict.fromkeys((asked[0], asked[-1]))
        facts.append(("networks asked of each patch", " to ".join(map(str, ends))))
    contradicted = f"where its class has a probability below {unlikely:g}"
    return [*facts, ("a pixel of a mask is contradicted", contradicted)]


def _said(found: Sequence[Judgement]) -> list[str]:
    if not found:
        return ["no patch with a label or a mask: windows of slides only"]
    groups = {one.row.group for one in found}
    labels = [one for one in found if one.kind == "label"]
    masks = [one for one in found if one.kind == "mask"]
    lines = [
        f"{len(labels)} labels and {len(masks)} masks of {len(groups)} patients or slides, each held against "
        "networks that have not learned from its own"
    ]
    if labels:
        other = sum(one.doubt.likeliest != one.row.label for one in labels)
        lines.append(f"another class is likelier than the label in {other} of {len(labels)} patches")
    if masks:
        half = sum(one.doubt.suspicion > 0.5 for one in masks)
        lines.append(f"more than half is contradicted in {half} of {len(masks)} masks")
    return lines


def _said_of_windows(doubts: Sequence[WindowDoubt]) -> list[str]:
    if not doubts:
        return []
    slides, most, least = {one.window.slide for one in doubts}, doubts[0], doubts[-1]
    return [
        f"{len(doubts)} windows of {len(slides)} slides about which networks disagree most: by "
        f"{most.disagreement:.3f} ({most.name}) to {least.disagreement:.3f} nats"
    ]
