"""ICIAR BACH 2018: annotated slides (part B) and microscopy photos (part A) into a manifest (section 3.1).

Layout, under the given folder or up to four folders deeper:

  WSI/A01.svs with WSI/A01.xml   slides are those with an .xml of the same stem; the 20 unlabelled slides and
                                 the derived pictures beside them are not
  Photos/{Normal,Benign,InSitu,Invasive}/*.tif

The working scale is 7.5 um/px: what the paper calls 1.25x is every 16th pixel of slides of 0.467 um/px.
Photos are image-level patches: each of 2048 x 1536 pixels at 0.42 um/px is squeezed into one square patch,
about 6.7 x 5.0 um/px at 128. The challenge has photos of one patient under different names; without a patient
list they count as patients of their own, which does not matter as long as all of them are training patches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from l2s_jax.data.pictures import read_image
from l2s_jax.prepare.extraction import PAPER, ExtractionOptions
from l2s_jax.prepare.layouts import folders_named, listed, pictures_in, plain_name, read_pairs, require_folder
from l2s_jax.prepare.pipeline import Prepared, Work, prepare_sources
from l2s_jax.prepare.sources import Job, Source
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table
from l2s_jax.slides.annotations.of_slide import OutlinesFrom
from l2s_jax.slides.mpp import read_mpp_table
from l2s_jax.slides.sheets import FILTERS, Resample, Sheet, read_slide_sheet, resized
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL, SPLITS, Split

DATASET = "ICIAR BACH 2018"
WORKING_MPP = 7.5
"""um/px of the paper's 1.25x: 0.467 um/px, every 16th pixel."""

_PAPER: dict[Split, tuple[str, ...]] = {
    "train": ("A01", "A02", "A03"),
    "val": ("A08",),
    "test": ("A04", "A05", "A06", "A07", "A09", "A10"),
}
_PRINTED: dict[Split, tuple[str, ...]] = {
    "train": ("A01", "A06", "A08"),
    "val": (),
    "test": ("A02", "A03", "A04", "A05", "A07", "A09", "A10"),
}
SPLIT_TABLES = {"paper": _PAPER, "printed": _PRINTED}
"""`paper`: three slides to train on, one with all classes to validate on, six to test on, as the text says.
`printed`: the seven slides of the authors' result files, which are those of the paper's tables; none is left
to validate on."""

PHOTO_FOLDERS = ("Normal", "Benign", "InSitu", "Invasive")
"""In the order of the class codes."""

SLIDE_SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide")


def prepare_bach(
    folder: str | Path,
    out: str | Path,
    *,
    mpp: float = WORKING_MPP,
    split: Literal["paper", "printed"] = "paper",
    splits_file: str | Path | None = None,
    class_ids: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    photos: bool = True,
    patients: str | Path | None = None,
    slide_mpp: float | None = None,
    mpp_table: str | Path | None = None,
    outlines_from: OutlinesFrom | None = None,
    extraction: ExtractionOptions = PAPER,
    resample: Resample = "antialias",
    work: Work | None = None,
) -> Prepared:
    """Makes a manifest of BACH: centred patches of the training slides, photos, val and test slides whole.

    Args:
      folder: the unpacked challenge.
      out: folder that is made.
      mpp: working scale, um/px.
      split: which slides are for what, see `SPLIT_TABLES`.
      splits_file: CSV with the columns slide,split instead, for slides of other names.
      class_ids: {Annotation Id: class name}, for files with an Annotation element for each class and no
        other name for it.
      rename: {name in the annotations: class name}, beside BACH's own wordings.
      ignore: names in the annotations whose regions are of no known class: 255 in masks, not learned and not
        scored. QuPath's `Ignore*` is one of them where any is given.
      photos: use part A.
      patients: CSV with the columns photo,patient; photos of one patient become one group.
      slide_mpp: level-0 um/px of slides where neither slide, table nor XML says.
      mpp_table: CSV with the columns slide,mpp.
      outlines_from: where annotations count from on slides with bounds, see `read_slide_annotations`.
      extraction: how patches are cut; `extraction.RELEASE` is what the authors' code does.
      resample: how photos are squeezed; slides are always read with antialiasing.
      work: stains, workers, overwriting.

    Raises:
      UserError: nothing of the layout is there, slides of no split, or see `prepare_sources`.
    """
    folder, work = require_folder(folder), work or Work()
    # The paper's masks know every pixel; only who ignores something gets masks with unknown ones.
    classes = replace(BACH_CLASSES, ignore_value=IGNORE_PIXEL) if ignore else BACH_CLASSES
    table = bach_table(classes, synonyms=rename, ids=class_ids, ignored=ignore, ignore_star=bool(ignore))
    scales = read_mpp_table(mpp_table) if mpp_table is not None else None
    read = partial(
        read_slide_sheet,
        table=table,
        mpp=mpp,
        morphology=extraction.morphology,
        slide_mpp=slide_mpp,
        mpp_table=scales,
        outlines_from=outlines_from,
    )
    reading: dict[str, Any] = {
        "class_ids": dict(class_ids or {}),
        "rename": dict(rename or {}),
        "ignore": sorted(ignore),
        "slide_mpp": slide_mpp or 0.0,
        "outlines_from": outlines_from or "as assumed",
    }
    slides, found = find_slides(folder)
    assigned, missing = assign_splits(slides, split, splits_file)
    sources = [
        Source(
            name,
            name,
            assigned[name],
            (path, xml),
            partial(read, path, xml),
            repr((reading, [(scales or {}).get(key) for key in (path.name, path.stem)])),
        )
        for name, (path, xml) in slides.items()
    ]
    shown = {part: listed((one.name for one in sources if one.split == part), 20) for part in SPLITS}
    found += [f"slides for {part}: {names or 'none'}" for part, names in shown.items()] + missing
    if photos:
        photo_sources, said = find_photos(folder, extraction.size, patients, resample)
        sources, found = sources + photo_sources, found + said
    if not sources:
        raise UserError(
            f"{folder} holds no part of BACH: expected slides with an .xml of the same name (WSI/A01.svs, "
            f"WSI/A01.xml) or Photos/ with the folders {', '.join(PHOTO_FOLDERS)}"
        )
    recipe = {
        "what": "bach",
        "mpp": mpp,
        "split": split if splits_file is None else "of a file",
        "photos": photos,
        "resample": resample,
    }
    reading |= {
        "splits": {source.name: source.split for source in sources if source.name in slides},
        "patients": {one.name: one.group for one in sources if patients and one.name not in slides},
        "mpp_table": {name: list(value) for name, value in (scales or {}).items()},
    }
    job = Job(Path(out), classes, extraction, "centred")
    found.insert(
        0, f"BACH at {mpp:g} um/px ({WORKING_MPP} is the paper's 1.25x), patches of {extraction.size}"
    )
    return prepare_sources(out, sources, job, recipe, work, dataset=DATASET, reading=reading, found=found)


def find_slides(folder: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Slides that have an XML file of the same stem, {name: (slide, xml)}, and lines on what was met.

    Raises:
      UserError: two slides of one name.
    """
    slides: dict[str, tuple[Path, Path]] = {}
    alone, without = [], 0
    for place in folders_named(folder, ("WSI",)) or [folder]:
        files = sorted(path for path in place.iterdir() if path.is_file() and path.name[0] != ".")
        pictures = {path.stem.casefold(): path for path in files if path.suffix.lower() in SLIDE_SUFFIXES}
        annotations = {path.stem.casefold(): path for path in files if path.suffix.lower() == ".xml"}
        without += len(pictures.keys() - annotations)
        alone += [annotations[stem] for stem in sorted(annotations.keys() - pictures)]
        for stem in sorted(pictures.keys() & annotations):
            name = plain_name(pictures[stem].stem)
            if name in slides:
                raise UserError(f"two slides are named {name}: {slides[name][0]} and {pictures[stem]}")
            slides[name] = pictures[stem], annotations[stem]
    found = [f"{len(slides)} annotated slides; {without} without annotation are not used"]
    if alone:
        found.append(f"{len(alone)} annotations without a slide: {listed(path.name for path in alone)}")
    return slides, found


def assign_splits(
    slides: Mapping[str, object], split: str, splits_file: str | Path | None
) -> tuple[dict[str, Split], list[str]]:
    """The split of each slide, and a line that names slides of the split that are not there.

    Raises:
      UserError: a slide that the split does not name, or a split that is none.
    """
    if splits_file is not None:
        table = {plain_name(name): value for name, value in read_pairs(splits_file, "slide", "split").items()}
        wrong = sorted({value for value in table.values() if value not in SPLITS})
        if wrong:
            raise UserError(f"{splits_file}: split {listed(wrong)}; expected {', '.join(SPLITS)}")
    else:
        table = {name: part for part, names in SPLIT_TABLES[split].items() for name in names}
    unknown = [name for name in slides if name not in table]
    if unknown:
        raise UserError(
            f"slide(s) {listed(unknown)} stand in no split. Name them in a CSV file with the columns "
            "slide,split and give it with --splits-file"
        )
    missing = [name for name in table if name not in slides]
    said = [f"not found: {listed(missing)}"] if missing and slides else []
    return {name: cast(Split, table[name]) for name in slides}, said


def find_photos(
    folder: Path, patch_size: int, patients: str | Path | None = None, resample: Resample = "antialias"
) -> tuple[list[Source], list[str]]:
    """The photos of part A as training sources, and lines on what was met.

    Raises:
      UserError: a patient list that names none of the photos.
    """
    groups = read_pairs(patients, "photo", "patient") if patients is not None else {}
    groups = {Path(name).stem.casefold(): patient for name, patient in groups.items()}
    sources, counts, listed_photos = [], [], 0
    places = [place for place in folders_named(folder, ("Photos",)) if _class_folders(place)]
    for code, name in enumerate(PHOTO_FOLDERS):
        photos = [
            path
            for place in places
            for inner in _class_folders(place)
            if inner.name.casefold() == name.casefold()
            for path in pictures_in(inner)
        ]
        counts.append(f"{len(photos)} {name}")
        for path in photos:
            patient = groups.get(path.stem.casefold())
            listed_photos += patient is not None
            group = f"photo {path.stem}" if patient is None else f"patient {patient}"
            read = partial(read_photo, path, code, patch_size, resample)
            sources.append(Source(f"photo-{plain_name(path.stem)}", group, "train", (path,), read))
    if patients is not None and not listed_photos:
        raise UserError(f"{patients} names none of the {len(sources)} photos; expected names such as n001")
    said = [f"photos: {', '.join(counts)}"]
    if patients is not None:
        said.append(f"patients known of {listed_photos} of {len(sources)} photos")
    return sources, said


def read_photo(path: Path, code: int, size: int, resample: Resample) -> Sheet:
    """A photo squeezed into one square patch; its class is known for all of it."""
    image = resized(read_image(path), (size, size), FILTERS[resample])
    return Sheet(image, None, label=code)


def _class_folders(place: Path) -> list[Path]:
    wanted = {name.casefold() for name in PHOTO_FOLDERS}
    return [path for path in sorted(place.iterdir()) if path.is_dir() and path.name.casefold() in wanted]
