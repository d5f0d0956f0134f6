"""The windows that an encoder is pretrained on: each read once, none twice, in memory where they fit."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grain
import numpy as np

from l2s_jax.data.fingerprint import DIGITS
from l2s_jax.runs.leaks import LISTED
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.resources import available_memory
from l2s_jax.training.pretraining.sources import Gathered, Source

THREADS = 4


@dataclass(frozen=True)
class Windows:
    """N squares of one size, no two alike."""

    side: int  # pixels
    mpp: float | None  # um/px
    groups: tuple[str, ...]  # patient or slide of each
    slides: tuple[str, ...]  # names of the slides' files
    pictures: tuple[str, ...]  # digests of the windows of pictures that no manifest names
    content: str  # SHA-256 of all pixels, in their order
    in_memory: bool
    fetch: Callable[[np.ndarray], np.ndarray]  # indices [K] to u8[K,side,side,3]

    def __len__(self) -> int:
        return len(self.groups)


def read_windows(found: Gathered, memory_gib: float, say: Callable[[str], None] = print) -> Windows:
    """Reads all windows once, and keeps them where they fit.

    What cannot be read of a slide is left out, and what is there twice is taken once; both are said.

    Args:
      found: from `sources.gather`.
      memory_gib: keep them up to this many GiB; beyond, they are read again at each use.
      say: receives messages.

    Raises:
      UserError: a picture cannot be read, has the pixels of one of a validation or test split, or there are
        fewer than two windows.
    """
    sources, side = found.sources, found.side
    total = sum(len(source.places) for source in sources)
    fits = total * side * side * 3 <= min(memory_gib * 2**30, available_memory() / 2)
    images = np.empty((total, side, side, 3), np.uint8) if fits else None
    starts = np.cumsum([0, *(len(source.places) for source in sources)])

    def read(number: int) -> list[bytes | None]:
        digests: list[bytes | None] = []
        for place, image in enumerate(sources[number].read(sources[number].places), starts[number]):
            digests.append(None if image is None else digest_of(image))
            if images is not None and image is not None:
                images[place] = image
        return digests

    with ThreadPoolExecutor(THREADS) as pool:
        numbers = range(len(sources))
        parts = track(pool.map(read, numbers), "reading", len(numbers), "pictures")
        digests = [digest for part in parts for digest in part]
        _refuse_held_out(found, digests, starts, pool)
    kept, seen = [], set[bytes]()
    for index, digest in enumerate(digests):
        if digest is not None and digest not in seen:
            seen.add(digest)
            kept.append(index)
    damaged = digests.count(None)
    if damaged:
        say(f"warning: {damaged} windows cannot be read, the slides are damaged there: they are left out")
    if len(kept) + damaged < total:
        say(f"{total - damaged - len(kept)} windows are there more than once: each is taken once")
    if len(kept) < 2:
        raise UserError(f"{len(kept)} window(s) of {side} pixels: at least 2 are needed to be told apart")
    order = np.array(kept)
    owners = np.searchsorted(starts, order, "right") - 1

    def fetch(indices: np.ndarray) -> np.ndarray:
        if images is not None:
            return images[order[indices]]
        return np.stack([_again(sources[owners[k]], order[k] - starts[owners[k]]) for k in indices])

    content = hashlib.sha256(b"".join(digest for index in kept if (digest := digests[index]))).hexdigest()
    own = [sources[owner] for owner in owners]
    groups = tuple(source.group for source in own)
    slides = tuple(sorted({source.path.name for source in own if source.kind == "slide"}))
    ours = [index for index, source in zip(kept, own, strict=True) if source.kind == "picture"]
    pictures = tuple(short(digest) for index in ours if (digest := digests[index]))
    return Windows(side, found.mpp, groups, slides, pictures, content, fits, fetch)


def digest_of(image: np.ndarray) -> bytes:
    """SHA-256 of a window's pixels."""
    return hashlib.sha256(image.tobytes()).digest()


def short(digest: bytes) -> str:
    """So many digits of a digest that chance does not hit them."""
    return digest.hex()[:DIGITS]


def _again(source: Source, number: int) -> np.ndarray:
    """One window of a source, which could be read before."""
    image = next(source.read((source.places[number],)))
    if image is None:
        raise UserError(f"{source.path}: a part of it that could be read before cannot be read now")
    return image


def _refuse_held_out(
    found: Gathered, digests: Sequence[bytes | None], starts: np.ndarray, pool: ThreadPoolExecutor
) -> None:
    """Refuses windows with the very pixels of a picture that no network may learn from."""

    def read(source: Source) -> list[tuple[bytes, str]]:
        images = (image for image in source.read(source.places) if image is not None)
        return [(digest_of(image), str(source.path)) for image in images]

    held = {digest: name for part in pool.map(read, found.held_out) for digest, name in part}
    same = {
        str(found.sources[np.searchsorted(starts, index, "right") - 1].path): held[digest]
        for index, digest in enumerate(digests)
        if digest in held
    }
    if same:
        listed = "; ".join(f"{name} is {other}" for name, other in list(same.items())[:LISTED])
        more = f"; and {len(same) - LISTED} more" if len(same) > LISTED else ""
        raise UserError(
            f"{len(same)} picture(s) are, pixel by pixel, of a validation or test split, which no network "
            f"may learn from: {listed}{more}. Leave them out"
        )


def rows_of_step(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which of `n` windows are in a step's batch: a function of seed and step, none twice; all, if fewer."""
    return np.random.default_rng((seed, step)).permutation(n)[:batch_size]


def batches(
    windows: Windows, batch_size: int, seed: int, first: int, steps: int, threads: int
) -> "grain.DatasetIterator[np.ndarray]":
    """Batches u8[B,S,S,3] of the steps from `first` on, by Grain; any number of threads gives the same."""
    dataset = grain.MapDataset.range(first, steps).map(
        lambda step: windows.fetch(rows_of_step(len(windows), batch_size, seed, int(step)))
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * threads, 4))
    return iter(dataset.to_iter_dataset(options))
