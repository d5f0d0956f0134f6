"""Where unlabelled pictures come from: the training patches of manifests, pictures, folders of those, slides.

What a manifest keeps for validation and test is not taken, also where it is named as a picture or slide: an
encoder that has seen it would make figures on it optimistic.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import PATCHES, Manifest, PatchRow, read_manifest, straddling_groups
from l2s_jax.data.origins import groups_of, rows_of_slides
from l2s_jax.data.pictures import picture_size, read_image
from l2s_jax.prediction.scales import Scale, is_another, scale_of_row, stated_scale
from l2s_jax.prediction.slides.areas import tissue_area
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.windows import Place, places_on_tissue
from l2s_jax.prepare.layouts import PICTURE_SUFFIXES
from l2s_jax.runs.folder import CONFIG
from l2s_jax.runs.leaks import HELD_OUT, LISTED, held_out_groups
from l2s_jax.slides.area_names import unfound_warnings
from l2s_jax.slides.dicom import holds_dicom
from l2s_jax.slides.marked import part_of, read_marked, require_marked
from l2s_jax.slides.named_rows import read_scales
from l2s_jax.slides.one_slide import each_once
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.reading import UnreadableRegion, read_window
from l2s_jax.slides.slide import Slide, is_slide, open_slide, size_at, windows
from l2s_jax.system.errors import UserError
from l2s_jax.types import PATCH_MULTIPLE, fits_network

Say = Callable[[str], None]

USUAL_WINDOW = 128
"""Pixels a side of a window where no manifest has patches of a size to go by: the paper's."""


class Source(NamedTuple):
    """A picture or slide, and the squares of it that are learned from."""

    kind: Literal["patch", "picture", "slide"]  # a manifest's patch, or what was named
    path: Path
    group: str  # patient or slide
    places: tuple[Place, ...]  # upper left corners, (row, col) in pixels
    read: Callable[[Sequence[Place]], Iterator[np.ndarray | None]]  # u8[side,side,3]; None where damaged


@dataclass(frozen=True)
class Gathered:
    """What is learned from, and what must not be."""

    sources: tuple[Source, ...]
    held_out: tuple[Source, ...]  # pictures of the manifests' validation and test splits
    side: int  # of a window, pixels
    mpp: float | None  # of a window, um/px; None where nothing says


def gather(
    pictures: Sequence[str | Path],
    held_out: Sequence[str | Path] = (),
    *,
    window: int | None = None,
    per_slide: int = 500,
    seed: int = 0,
    any_scale: bool = False,
    allow_outside: bool = False,
    slides: SlideOptions | None = None,
    say: Say = print,
) -> Gathered:
    """Finds the windows of all that is named.

    Args:
      pictures: folders of manifests, whose split train is taken; pictures; slides; folders with pictures and
        slides anywhere in them.
      held_out: other manifests whose validation and test splits are not to be learned from.
      window: side of a window in pixels, a multiple of 16; by default that of the patches of the manifests,
        those of `held_out` among them, else `USUAL_WINDOW`. Larger pictures are cut into whole windows.
      per_slide: windows of a slide at most, chosen by chance among those on tissue.
      seed: of that choice.
      any_scale: take pictures that state another scale than `slides.mpp`, or the manifests', as they are.
      allow_outside: accept paths in the manifests that lead out of their folders.
      slides: how slides are read; the scale is `mpp`, or the manifests'.
      say: receives messages.

    Raises:
      UserError: something cannot be read, is of another scale, or is held out.
    """
    slides = slides or SlideOptions()
    if per_slide < 1:
        raise UserError(f"--per-slide {per_slide} must be at least 1")
    named, manifests = list[Path](), list[Path]()
    for path in map(Path, pictures):
        (manifests if _is_manifest(path) else named).append(path)
    contents = [_manifest(path, allow_outside) for path in manifests]
    others = [_manifest(Path(path), allow_outside) for path in held_out]
    files = each_once([file for path in named for file in _files_in(path)], say)
    whole = [path for path in files if slides.slide or is_slide(path)]
    plain = [path for path in files if path not in whole]
    if not whole and slides.given() not in ([], ["--mpp"]):
        raise UserError(f"{' and '.join(slides.given())}: no slide is named")
    rows = [row for one in contents for row in one.of_split("train")]
    like = rows or [row for one in others for row in one.patches]
    mpp = slides.mpp or _stated_mpp(like)
    side = _side(window, like)
    if mpp is not None:
        _compare_scales(rows, plain, mpp, any_scale, say)
    known = [*contents, *others]
    _refuse_held_out_elsewhere(contents, known)
    groups = _groups([*plain, *whole], known, say)
    sources = [of_picture(row.image, row.group, side) for row in rows]
    sources += [of_picture(path, groups[path], side, "picture") for path in plain]
    if whole:
        sources += _slides(whole, groups, side, mpp, per_slide, seed, slides, say)
    _refuse_small(sources, side, window is None and bool(like))
    kept = [row for one in known for split in HELD_OUT for row in one.of_split(split)]
    if not named and len(known) == 1:  # the patches of one manifest are told apart by `check`
        kept = []
    held = tuple(of_picture(row.image, row.group, side) for row in kept)
    return Gathered(tuple(sources), held, side, mpp)


def _is_manifest(path: Path) -> bool:
    return path.name == PATCHES or (path / PATCHES).is_file()


def _manifest(path: Path, allow_outside: bool) -> Manifest:
    contents = read_manifest(path, allow_outside=allow_outside)
    torn = straddling_groups(contents.patches)
    if torn:
        raise UserError(
            f"{path}: groups in more than one split: {', '.join(sorted(torn)[:LISTED])}. Run `l2s check`"
        )
    return contents


def _refuse_held_out_elsewhere(contents: Sequence[Manifest], known: Sequence[Manifest]) -> None:
    """Refuses patients that a manifest learns from and another keeps, as folds of one data set do."""
    for one in contents:
        learned = {row.group for row in one.of_split("train")}
        for other in known:
            both = sorted(learned & held_out_groups(other))
            if other is not one and both:
                more = f" and {len(both) - LISTED} more" if len(both) > LISTED else ""
                raise UserError(
                    f"{one.folder} learns from {len(both)} patient(s) or slide(s) that {other.folder} keeps "
                    f"for validation or test: {', '.join(both[:LISTED])}{more}. Pretrain for each alone"
                )


def _files_in(path: Path) -> list[Path]:
    """A picture or slide itself; all of a folder, at any depth, hidden ones left out.

    Raises:
      UserError: it holds none, or something whose pictures are not all to be learned from.
    """
    if not path.exists():
        raise UserError(f"{path} not found: expected a manifest, a picture, a slide or a folder of those")
    if not path.is_dir() or holds_dicom(path):
        return [path]
    inner = [file.parent for name in (PATCHES, CONFIG) for file in sorted(path.rglob(name))]
    if inner:
        more = f" and {len(inner) - LISTED} more" if len(inner) > LISTED else ""
        raise UserError(
            f"{path} holds manifests or runs: {', '.join(map(str, inner[:LISTED]))}{more}. Their masks and "
            "overlays are no pictures to learn from, nor are those of their splits val and test: name the "
            "manifests themselves"
        )
    found = [file for file in sorted(path.rglob("*")) if _is_taken(file, path)]
    if not found:
        raise UserError(
            f"{path} holds no manifest ({PATCHES}), picture ({', '.join(PICTURE_SUFFIXES)}) or slide"
        )
    return found


def _is_taken(file: Path, root: Path) -> bool:
    """Whether something in a folder is a picture or slide; a folder is a DICOM slide."""
    if any(part.startswith(".") for part in file.relative_to(root).parts):
        return False
    if file.is_dir() or holds_dicom(file.parent):
        return file.is_dir() and holds_dicom(file)
    return file.suffix.lower() in PICTURE_SUFFIXES or is_slide(file)


def _stated_mpp(rows: Sequence[PatchRow]) -> float | None:
    """The one scale of the manifests' patches; None where they state none, or several."""
    stated = {row.mpp for row in rows}
    return stated.pop() if len(stated) == 1 else None


def _side(window: int | None, rows: Sequence[PatchRow]) -> int:
    """Pixels a side of a window: as asked, that of the manifest's first patch, or the usual one."""
    if window is not None:
        side, what = window, f"--window {window}"
    elif rows:
        side = min(picture_size(rows[0].image))
        what = f"{rows[0].image} has {side} pixels a side, which"
    else:
        side, what = USUAL_WINDOW, ""
    if not fits_network(side):
        other = "" if window is not None else ". --window asks for windows of another size"
        raise UserError(f"{what} must be a multiple of {PATCH_MULTIPLE}, as the network takes it{other}")
    return side


def _compare_scales(
    rows: Sequence[PatchRow], plain: Sequence[Path], mpp: float, any_scale: bool, say: Say
) -> None:
    """Refuses patches and pictures that state another scale than that of the windows, unless `any_scale`."""
    stated: list[tuple[Path, Scale | None]] = [(row.image, scale_of_row(row)) for row in rows]
    stated += [(path, stated_scale(path)) for path in plain]
    wrong = [f"{path} has {scale}" for path, scale in stated if scale is not None and is_another(scale, mpp)]
    if wrong:
        more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        listed = f"{'; '.join(wrong[:LISTED])}{more}"
        text = f"{len(wrong)} picture(s) are of another scale than {mpp:.4g} um/px: {listed}"
        if not any_scale:
            raise UserError(f"{text}. Leave them out, or take them as they are with --any-scale")
        say(f"warning: {text}; taken as they are")
    silent = sum(scale is None for _, scale in stated)
    if silent:
        say(f"scale: {silent} picture(s) state none and are taken to be at {mpp:.4g} um/px")


def _groups(paths: Sequence[Path], known: Sequence[Manifest], say: Say) -> dict[Path, str]:
    """The patient of each picture and slide: the manifests', where they know it, else its own name.

    Raises:
      UserError: some are of a validation or test split.
    """
    groups = dict(zip(paths, groups_of(paths, [None] * len(paths)), strict=True))
    new, held = set(paths), []
    for contents in known:
        rows = rows_of_slides(paths, contents)
        for path, row in zip(paths, rows, strict=True):
            if row is not None:
                groups[path] = row.group
                new.discard(path)
                if row.split in HELD_OUT:
                    held.append(f"{path} ({row.split} of {contents.folder})")
    if held:
        more = f" and {len(held) - LISTED} more" if len(held) > LISTED else ""
        raise UserError(
            f"{len(held)} picture(s) or slide(s) are of a validation or test split, which no network may "
            f"learn from: {', '.join(held[:LISTED])}{more}. Leave them out"
        )
    near = near_pairs(set().union(*map(held_out_groups, known)), {groups[path] for path in new})
    if near:
        shown = "; ".join(f"{other!r} and {group!r}" for other, group in near[:LISTED])
        say(
            "warning: patients of validation and test splits have nearly the names of pictures or slides: "
            f"{shown}. If they are the same, leave these out"
        )
    return groups


def of_picture(path: Path, group: str, side: int, kind: Literal["patch", "picture"] = "patch") -> Source:
    """A picture as whole windows of `side` pixels; a smaller one has none. Raises `UserError`: it is none."""
    whole = (place for place in windows(picture_size(path), (side, side)) if place[2:] == (side, side))
    places = tuple((row, col) for row, col, *_ in whole)
    return Source(kind, path, group, places, partial(_cut, path, side, kind == "picture"))


def _cut(path: Path, side: int, in_colour: bool, places: Sequence[Place]) -> Iterator[np.ndarray]:
    image = read_image(path)
    if in_colour and _is_grey(image):
        raise UserError(
            f"{path} has no colour. Is it a mask? Leave it out: name the folder of the pictures alone"
        )
    for row, col in places:
        yield image[row : row + side, col : col + side]


def _is_grey(image: np.ndarray) -> bool:
    """Whether u8[H,W,3] has several greys and nothing else, as masks have. One grey alone is empty glass."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return bool((red == green).all() and (green == blue).all() and red.min() < red.max())


def _slides(
    paths: Sequence[Path],
    groups: dict[Path, str],
    side: int,
    mpp: float | None,
    per_slide: int,
    seed: int,
    options: SlideOptions,
    say: Say,
) -> list[Source]:
    """Windows on the tissue of slides, which are read at `mpp`."""
    if mpp is None:
        raise UserError(
            f"{paths[0]} is a slide: --mpp says at how many micrometres a pixel slides are to be read. It is "
            "that of the patches which the network will be trained on"
        )
    if options.within == "slide":
        raise UserError("--within slide: windows are looked for on tissue. Name a folder, or leave it out")
    require_marked(options.folders, paths)
    table, of_rows = read_scales(options.mpp_table, paths)
    for line in (*of_rows, *unfound_warnings(options.folders, paths)):
        say(line)
    found = []
    for number, path in enumerate(paths):
        slide = open_slide(path, mpp=options.slide_mpp, mpp_table=table, mpp_override=options.mpp_override)
        part = part_of(slide, overview_of(slide), options.folders, read_marked(path, slide, options.folders))
        size = size_at(slide, mpp)
        places = list(places_on_tissue(size, side, tissue_area(part, size, mpp), ()))
        chosen = np.random.default_rng((seed, number)).permutation(len(places))[:per_slide]
        for line in (*slide.notes, *part.lines):
            say(f"{path.name}: {line}")
        scale = " x ".join(f"{value:.4g}" for value in dict.fromkeys(slide.mpp))
        say(
            f"{path.name}: {len(chosen)} of {len(places)} windows of {side} pixels on tissue, read at "
            f"{mpp:g} um/px; the slide has {scale} ({slide.mpp_source})"
        )
        kept = tuple(places[index] for index in sorted(chosen))
        found.append(Source("slide", path, groups[path], kept, partial(_of_slide, slide, side, mpp)))
    return found


def _of_slide(slide: Slide, side: int, mpp: float, places: Sequence[Place]) -> Iterator[np.ndarray | None]:
    for place in places:
        try:
            yield read_window(slide, place, (side, side), mpp)
        except UnreadableRegion:
            yield None


def _refuse_small(sources: Sequence[Source], side: int, by_manifest: bool) -> None:
    """Refuses what has no window: pictures that are too small, slides with too little tissue."""
    small = [str(source.path) for source in sources if not source.places]
    if small:
        more = f" and {len(small) - LISTED} more" if len(small) > LISTED else ""
        why = ", the side of the manifest's first patch" if by_manifest else ""
        raise UserError(
            f"{len(small)} of {len(sources)} have no window of {side} pixels{why}: "
            f"{', '.join(small[:LISTED])}{more}. Leave them out, or ask for smaller ones with --window"
        )
