"""Whom a pretrained encoder has seen, of those that a run is to be judged on."""

from concurrent.futures import ThreadPoolExecutor

from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.origins import slide_name
from l2s_jax.runs.leaks import HELD_OUT, held_out_slides
from l2s_jax.runs.pretraining_note import Pretraining
from l2s_jax.training.pretraining.sources import of_picture
from l2s_jax.training.pretraining.windows import THREADS, digest_of, short


def seen_groups(note: Pretraining, manifest: Manifest) -> set[str]:
    """The groups of a manifest's validation and test splits from which an encoder has learned.

    It has where one of its patients or slides has the group's name, where a patch was cut from a slide that
    it has read, or where a picture without a manifest had the pixels of a patch.

    Raises:
      UserError: a picture cannot be read; they are only where the encoder has learned from such pictures.
    """
    rows = [row for split in HELD_OUT for row in manifest.of_split(split)]
    slides = held_out_slides(manifest)
    seen = {row.group for row in rows}.intersection(note.groups)
    seen |= {slides[name] for name in map(slide_name, note.slides) if name in slides}
    if not note.pictures:
        return seen
    pictures = set(note.pictures)

    def learned(row: PatchRow) -> bool:
        source = of_picture(row.image, row.group, note.side)
        read = (image for image in source.read(source.places) if image is not None)
        return any(short(digest_of(image)) in pictures for image in read)

    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(learned, rows)
        return seen.union(row.group for row, is_seen in zip(rows, found, strict=True) if is_seen)
