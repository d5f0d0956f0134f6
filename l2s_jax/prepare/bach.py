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
from typing import Any, cast

from l2s_jax.data.pictures import read_image
from l2s_jax.prepare.layouts import folders_named, listed, pictures_in, plain_name, read_pairs, require_folder
from l2s_jax.prepare.options import WORKING_MPP, BachOptions, WorkOptions, extraction_of
from l2s_jax.prepare.pipeline import Prepared, prepare_sources
from l2s_jax.prepare.presets import BACH_PRESETS, Preset, named
from l2s_jax.prepare.sources import Preparation, Source
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, ClassTable, bach_table
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.annotations.unmatched import unmatched_ids, unmatched_names
from l2s_jax.slides.mpp_choice import overrides
from l2s_jax.slides.named_rows import SHOWN, may_mean, read_scales
from l2s_jax.slides.sheets import FILTERS, Resample, Sheet, read_slide_sheet, resized
from l2s_jax.stain.fit import Stainer
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL, SPLITS, Split

DATASET = "ICIAR BACH 2018"
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
    options: BachOptions | Preset = "paper",
    work: WorkOptions = WorkOptions(),  # noqa: B008, frozen
    *,
    stainer: Stainer | None = None,
) -> Prepared:
    """Makes a manifest of BACH: centred patches of the training slides, photos, val and test slides whole.

    Args:
      folder: the unpacked challenge.
      out: folder that is made.
      options: or the name of a preset; `replace(BACH_PRESETS["release"], patch_size=64)` is the release but
        for one option.
      work: workers, overwriting.
      stainer: `l2s_jax.MACENKO`, unless the options say `stain="off"`; preparing itself knows no JAX.

    Raises:
      UserError: nothing of the layout is there, slides of no split, patients of photos that are left out, or
        see `prepare_sources`.
    """
    folder, chosen = require_folder(folder), named(options, BACH_PRESETS)
    if chosen.patients is not None and not chosen.photos:
        raise UserError("--patients is of photos, and --no-photos leaves them out: leave out one of the two")
    extraction = extraction_of(chosen)
    # The paper's masks know every pixel; only who ignores something gets masks with unknown ones.
    classes = replace(BACH_CLASSES, ignore_value=IGNORE_PIXEL) if chosen.ignore else BACH_CLASSES
    table = bach_table(
        classes,
        synonyms=chosen.rename,
        ids=chosen.class_ids,
        ignored=chosen.ignore,
        ignore_star=bool(chosen.ignore),
    )
    slides, found = find_slides(folder)
    scales, of_rows = read_scales(chosen.mpp_table, [path for path, _ in slides.values()], every=True)
    found += [*of_rows, *_require_named(chosen, table, [xml for _, xml in slides.values()])]
    override = overrides(chosen.slide_mpp_from, chosen.slide_mpp, chosen.mpp_table)
    read = partial(
        read_slide_sheet,
        table=table,
        mpp=chosen.mpp,
        morphology=chosen.morphology,
        slide_mpp=chosen.slide_mpp,
        mpp_table=scales,
        mpp_override=override,
        outlines_from=chosen.outlines_from,
    )
    reading: dict[str, Any] = {
        "class_ids": dict(chosen.class_ids),
        "rename": dict(chosen.rename),
        "ignore": sorted(chosen.ignore),
        "slide_mpp": chosen.slide_mpp or 0.0,
        "outlines_from": chosen.outlines_from or "as assumed",
    } | ({"slide_mpp_from": chosen.slide_mpp_from} if override else {})
    assigned, missing = assign_splits(slides, chosen.split, chosen.splits_file)
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
    if chosen.photos:
        photo_sources, said = find_photos(folder, chosen.patch_size, chosen.patients, chosen.resample)
        sources, found = sources + photo_sources, found + said
    if not sources:
        raise UserError(
            f"{folder} holds no part of BACH: expected slides with an .xml of the same name (WSI/A01.svs, "
            f"WSI/A01.xml) or Photos/ with the folders {', '.join(PHOTO_FOLDERS)}"
        )
    recipe = {
        "what": "bach",
        "mpp": chosen.mpp,
        "split": chosen.split if chosen.splits_file is None else "of a file",
        "photos": chosen.photos,
    }
    reading |= {
        "splits": {source.name: source.split for source in sources if source.name in slides},
        "patients": {one.name: one.group for one in sources if chosen.patients and one.name not in slides},
        "mpp_table": {name: list(value) for name, value in (scales or {}).items()},
    }
    job = Preparation(Path(out), classes, extraction, "centred", stainer)
    found.insert(
        0,
        f"BACH at {chosen.mpp:g} um/px ({WORKING_MPP} is the paper's 1.25x), patches of {chosen.patch_size}",
    )
    return prepare_sources(
        out, sources, job, recipe, chosen, work, dataset=DATASET, reading=reading, found=found
    )


def _require_named(options: BachOptions, table: ClassTable, annotations: Sequence[Path]) -> list[str]:
    """Refuses names of options that no annotation has.

    Returns:
      Warnings: such names where an annotation cannot be read, which may have them; Ids that none has.

    Raises:
      UserError: a name that is in none, though all could be read.
    """
    if not (options.rename or options.ignore or options.class_ids) or not annotations:
        return []
    names: dict[str, None] = {}
    idents: dict[str, None] = {}
    unread = False
    for path in annotations:
        try:
            outlines = read_outlines(path).outlines
        except UserError:  # said when its slide is cut
            unread = True
            continue
        names |= dict.fromkeys(name for one in outlines for name in one.names if name.strip())
        idents |= dict.fromkeys(one.ident for one in outlines)
    asked = {"--rename": options.rename, "--ignore": options.ignore}
    lines = unmatched_names(asked, names, table)
    if lines and not unread:
        raise UserError("\n".join([*lines, "Mend such a name, or leave it out"]))
    return [f"warning: {line}" for line in (*lines, *unmatched_ids(options.class_ids, idents))]


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
      UserError: a patient list that names none of the photos, or gives one of them two patients.
    """
    rows = read_pairs(patients, "photo", "patient") if patients is not None else {}
    groups = _by_stem(rows, patients)
    sources, counts, alone = [], [], list[str]()
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
            if patient is None:
                alone.append(path.name)
            group = f"photo {path.stem}" if patient is None else f"patient {patient}"
            read = partial(read_photo, path, code, patch_size, resample)
            sources.append(Source(f"photo-{plain_name(path.stem)}", group, "train", (path,), read))
    said = [f"photos: {', '.join(counts)}"]
    if patients is None:
        return sources, said
    if len(alone) == len(sources):
        raise UserError(f"{patients} names none of the {len(sources)} photos; expected names such as n001")
    said.append(f"patients known of {len(sources) - len(alone)} of {len(sources)} photos")
    stems = {source.files[0].stem.casefold() for source in sources}
    if left := [name for name in rows if Path(name).stem.casefold() not in stems]:
        hints = may_mean(((name, (name,)) for name in alone), left)
        number = f"{len(left)} name(s) in --patients {patients} are of no photo that is here"
        said.append(f"warning: {number}: {listed(left, SHOWN)}{hints}")
    if alone:
        said.append(
            f"warning: {patients} gives no patient for {listed(alone, SHOWN)}: each counts as a patient of "
            "its own, so that a cross-validation may learn from one photo of a patient and test on another"
        )
    return sources, said


def _by_stem(rows: Mapping[str, str], table: str | Path | None) -> dict[str, str]:
    """Patients by the photo's name without suffix, in small letters.

    Raises:
      UserError: two rows are of one photo and give different patients.
    """
    groups: dict[str, str] = {}
    for name, patient in rows.items():
        stem = Path(name).stem.casefold()
        if groups.setdefault(stem, patient) != patient:
            raise UserError(f"{table}: photo {stem} is of patient {groups[stem]} and of patient {patient}")
    return groups


def read_photo(path: Path, code: int, size: int, resample: Resample) -> Sheet:
    """A photo squeezed into one square patch; its class is known for all of it."""
    image = resized(read_image(path), (size, size), FILTERS[resample])
    return Sheet(image, None, label=code)


def _class_folders(place: Path) -> list[Path]:
    wanted = {name.casefold() for name in PHOTO_FOLDERS}
    return [path for path in sorted(place.iterdir()) if path.is_dir() and path.name.casefold() in wanted]
