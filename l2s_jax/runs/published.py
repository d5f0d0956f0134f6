"""Weights on the web: which there are, the folder that keeps them, the download. No JAX."""

import hashlib
import http.client
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from l2s_jax.runs.weights_file import TORCH_EXTRA, has_torch
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import PARTIAL, atomic_path, cache_folder, sha256_of_file
from l2s_jax.system.progress import track

TIMEOUT_S = 30.0
CHUNK_BYTES = 2**20


class Published(NamedTuple):
    """A file on the web that holds the weights of a ResNet-18."""

    name: str  # of the file in the cache folder
    url: str
    sha256: str
    noted_only: bool = False  # the hash is what others noted: another one is said, not refused

    @property
    def needs_torch(self) -> bool:
        """Whether only torch can read it."""
        return not self.name.endswith(".safetensors")


PUBLISHED = (
    Published(
        "resnet18-f37072fd.pth",
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    Published(
        "resnet18.tv_in1k.safetensors",
        "https://huggingface.co/timm/resnet18.tv_in1k/resolve/bbd144b3e5565108aad885f145491d11bc6ce807/"
        "model.safetensors",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    Published(
        "resnet18-5c106cde.pth",
        "https://download.pytorch.org/models/resnet18-5c106cde.pth",
        "5c106cde386e87d4033832f2996f5493238eda96ccf559d1d62760c4de0613f8",
    ),
)
"""torchvision's IMAGENET1K_V1, in the order they are tried. The second is timm's copy, in a format that needs
no torch; the third is the older file of the same weights, which the released code used."""

HISTOLOGY = (
    Published(
        "pytorchnative_tenpercent_resnet18.ckpt",
        "https://github.com/ozanciga/self-supervised-histopathology/releases/download/nativetenpercent/"
        "pytorchnative_tenpercent_resnet18.ckpt",
        "ae652d1a586c1be11b8ed7f4033094a98ac9c620e43a28998c6c86d248e750ab",
        noted_only=True,
    ),
)
"""Ciga, Xu and Martel (2022), trained by contrast on 57 data sets of histopathology, TCGA among them; MIT. It
was never seen here: the hash is another project's note, of a file of 46,104,139 bytes."""

HISTOLOGY_PREFIX, HISTOLOGY_HEAD = "model.resnet.", ("fc.1.", "fc.3.")
"""Its form: torchvision's names after the one, and the head of the contrast, which is not used."""


class Source(NamedTuple):
    """What a word in the place of a file stands for."""

    title: str
    files: tuple[Published, ...]  # in the order in which they are tried


SOURCES = {"auto": Source("ImageNet", PUBLISHED), "histology": Source("histology", HISTOLOGY)}


class Unavailable(UserError):
    """A published file could not be had from the web."""


def weights_folder() -> Path:
    """Folder in which `auto` looks for weights and to which it downloads them."""
    return cache_folder() / "weights"


def find_cached(folder: Path, published: Sequence[Published] = PUBLISHED) -> Path | None:
    """The first published file in a folder that can be read here: converted ones first, .pth with torch.

    Raises:
      UserError: the file there is not the published one.
    """
    for file in published:
        converted = (folder / file.name).with_suffix(".safetensors")
        if file.needs_torch and converted.is_file():
            return converted
        path = folder / file.name
        if path.is_file() and (has_torch() or not file.needs_torch):
            digest = file.sha256 if file.noted_only else sha256_of_file(path)
            if digest != file.sha256:
                raise UserError(
                    f"{path} is damaged or another file: SHA-256 {digest}, expected {file.sha256}. Delete it "
                    "and try again, or name the file that you want with --weights"
                )
            return path
    return None


def what_is_cached(folder: Path) -> list[tuple[Path, str]]:
    """Each file in the folder of weights, and what it is in words."""
    if not folder.is_dir():
        return []
    return [(path, _what_is(path)) for path in sorted(folder.iterdir()) if path.is_file()]


def _what_is(path: Path) -> str:
    size = f"{path.stat().st_size:,} bytes"
    if path.name.startswith(PARTIAL):
        return f"{size}, left by a download that was ended; it may be deleted"
    for word, source in SOURCES.items():
        for file in source.files:
            asked = f"{source.title} weights, for --weights {word}"
            if path.name == file.name:
                same = sha256_of_file(path) == file.sha256
                if file.noted_only:
                    return (
                        f"{size}, {asked}{', as others noted them' if same else ', not as others noted them'}"
                    )
                return (
                    f"{size}, {asked}, as published" if same else f"{size}, NOT the {asked}: another content"
                )
            if file.needs_torch and path.name == Path(file.name).with_suffix(".safetensors").name:
                return f"{size}, {asked}, converted from {file.name}"
    return f"{size}, not looked for: name it with --weights {path}"


def download(file: Published, folder: Path, timeout_s: float = TIMEOUT_S) -> Path:
    """Downloads a published file into a folder; it appears there only whole, and with the right hash.

    Where the hash is only noted by others, another one is let through.

    Args:
      file: what to download.
      folder: made where it is missing.
      timeout_s: seconds without an answer after which to give up.

    Raises:
      Unavailable: no connection, cut off, or another content than was published.
      UserError: the folder cannot be written.
    """
    target, digest = folder / file.name, hashlib.sha256()
    with atomic_path(target) as temporary:
        with temporary.open("wb") as out:
            for chunk in _fetch(file.url, timeout_s):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.sha256 and not file.noted_only:
            raise Unavailable(
                f"{file.url} sent another file than was published: SHA-256 {digest.hexdigest()}, "
                f"expected {file.sha256}"
            )
    return target


def how_to_provide(folder: Path, published: Sequence[Published] = PUBLISHED) -> str:
    """What to do where nothing can be downloaded: files, their addresses and hashes, and the folder."""
    files = [
        f"  {file.name}{' (needs the torch extra)' if file.needs_torch else ''}\n"
        f"    {file.url}\n    SHA-256 {file.sha256}{' (as others noted it)' if file.noted_only else ''}"
        for file in published
    ]
    return "\n".join(
        [
            f"Put one of these files into {folder} (the folder can be moved with L2S_CACHE):",
            *files,
            "or name any ResNet-18 with --weights PATH, or start from --weights random.",
        ]
    )


def download_first(
    folder: Path, published: Sequence[Published], title: str, say: Callable[[str], None]
) -> Path:
    """Downloads the first file that can be had and read here. Raises `UserError` saying why none can."""
    reasons = []
    for file in published:
        if file.needs_torch and not has_torch():
            there = (
                f"{folder / file.name} is there, but reading" if (folder / file.name).exists() else "reading"
            )
            reasons.append(f"{file.name}: {there} it needs the torch extra, once ({TORCH_EXTRA})")
            continue
        say(f"downloading {file.url} to {folder}")
        try:
            return download(file, folder)
        except Unavailable as error:
            reasons.append(f"{file.name}: {error}")
    listed = "\n".join(f"  {reason}" for reason in reasons)
    raise UserError(f"no {title} weights for the encoder:\n{listed}\n{how_to_provide(folder, published)}")


def _fetch(url: str, timeout_s: float) -> Iterator[bytes]:
    """The body of an answer in chunks. Raises `Unavailable` for all that the network does."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            chunks = iter(lambda: answer.read(CHUNK_BYTES), b"")
            total = -(-size // CHUNK_BYTES) or None
            received = 0
            for chunk in track(chunks, "downloading weights", total=total, unit="MiB"):
                received += len(chunk)
                yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"cannot download {url}: {error}") from error
    if size and received != size:
        raise Unavailable(f"{url} was cut off after {received} of {size} bytes")
