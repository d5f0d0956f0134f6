"""Where the encoder's ImageNet weights come from: a file, the cache folder, or a download. No JAX.

Only .safetensors is read without torch. A .pth file is read by torch with `weights_only=True` (no code in it
is run) and converted once to .safetensors in the cache folder.
"""

import contextlib
import hashlib
import http.client
import importlib.util
import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path, cache_folder, expanded, sha256_of_file
from l2s_jax.system.progress import track
from l2s_jax.system.values import clipped

StateDict = dict[str, np.ndarray]

KINDS = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""Types of tensors that are read, as .safetensors calls them; bfloat16 becomes float32."""

TORCH_EXTRA = "pip install 'l2s-jax[torch]'"
TIMEOUT_S = 30.0
CHUNK_BYTES = 2**20
HEADER_SIZE = 8
"""Bytes of a .safetensors file that say how long its header is."""


class Published(NamedTuple):
    """A file on the web that holds torchvision's ImageNet weights of ResNet-18."""

    name: str  # of the file in the cache folder
    url: str
    sha256: str

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


class Unavailable(UserError):
    """A published file could not be had from the web."""


def encoder_weights(
    source: str = "auto",
    *,
    folder: Path | None = None,
    published: Sequence[Published] = PUBLISHED,
    say: Callable[[str], None] = print,
) -> StateDict | None:
    """Reads the weights that `models.state_dict.load_encoder` takes.

    Args:
      source: `random` for none; a path to a torchvision ResNet-18 (.safetensors, or .pth with the torch
        extra); `auto` for ImageNet weights from the cache folder or, where it has none, a download into it.
      folder: the cache folder; `weights_folder()` by default.
      published: files that `auto` looks for, in this order.
      say: receives progress messages.

    Returns:
      Arrays by torchvision's names, every value finite; None for `random`.

    Raises:
      UserError: no weights can be had (the message says which file to put where), or a file is damaged, of
        another format, or holds values that are not finite.
    """
    if source == "random":
        return None
    if source != "auto":
        return read_weights(expanded(source))
    folder = folder or weights_folder()
    path = find_cached(folder, published) or _download_first(folder, published, say)
    state_dict = read_weights(path)
    if path.suffix != ".safetensors":
        with contextlib.suppress(UserError):  # without the converted file the next start needs torch again
            write_safetensors(path.with_suffix(".safetensors"), state_dict)
    return state_dict


def weights_folder() -> Path:
    """Folder in which `auto` looks for weights and to which it downloads them."""
    return cache_folder() / "weights"


def has_torch() -> bool:
    """Whether the torch extra is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


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
            digest = sha256_of_file(path)
            if digest != file.sha256:
                raise UserError(
                    f"{path} is damaged or another file: SHA-256 {digest}, expected {file.sha256}. Delete it "
                    "and try again, or name the file that you want with --weights"
                )
            return path
    return None


def read_weights(path: Path) -> StateDict:
    """Reads a state dict from .safetensors, or from .pth/.pt with the torch extra.

    Raises:
      UserError: no such file, another format, torch missing, damaged, or values that are not finite.
    """
    if not path.is_file():
        raise UserError(f"--weights: no such file: {path}. Use a path, `auto` (ImageNet) or `random`")
    if path.suffix == ".safetensors":
        state_dict = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        state_dict = _read_torch(path)
    else:
        raise UserError(f"--weights: {path} is neither .safetensors nor .pth")
    faulty = [name for name, value in state_dict.items() if not np.isfinite(value).all()]
    if faulty:
        raise UserError(f"{path} holds NaN or infinite values in: {', '.join(faulty)}")
    return state_dict


def write_safetensors(path: Path, state_dict: StateDict, metadata: dict[str, str] | None = None) -> None:
    """Writes a state dict, whole or not at all: the same bytes each time.

    Raises:
      UserError: the folder cannot be written.
    """
    from safetensors.numpy import save

    content = _in_order(save(state_dict, {"format": "pt", **(metadata or {})}))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _in_order(content: bytes) -> bytes:
    """A .safetensors file with its metadata sorted; the library writes them in another order each time."""
    size = int.from_bytes(content[:HEADER_SIZE], "little")
    header = json.loads(content[HEADER_SIZE : HEADER_SIZE + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % HEADER_SIZE)  # tensors begin at a multiple of eight
    return len(text).to_bytes(HEADER_SIZE, "little") + text + content[HEADER_SIZE + size :]


def download(file: Published, folder: Path, timeout_s: float = TIMEOUT_S) -> Path:
    """Downloads a published file into a folder; it appears there only whole and with the right hash.

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
        if digest.hexdigest() != file.sha256:
            raise Unavailable(
                f"{file.url} sent another file than was published: SHA-256 {digest.hexdigest()}, "
                f"expected {file.sha256}"
            )
    return target


def how_to_provide(folder: Path, published: Sequence[Published] = PUBLISHED) -> str:
    """What to do where nothing can be downloaded: files, their addresses and hashes, and the folder."""
    files = [
        f"  {file.name}{' (needs the torch extra)' if file.needs_torch else ''}\n"
        f"    {file.url}\n    SHA-256 {file.sha256}"
        for file in published
    ]
    return "\n".join(
        [
            f"Put one of these files into {folder} (the folder can be moved with L2S_CACHE):",
            *files,
            "or name any torchvision ResNet-18 with --weights PATH, or start from --weights random.",
        ]
    )


def _download_first(folder: Path, published: Sequence[Published], say: Callable[[str], None]) -> Path:
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
    raise UserError(f"no ImageNet weights for the encoder:\n{listed}\n{how_to_provide(folder, published)}")


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


def _read_safetensors(path: Path) -> StateDict:
    import ml_dtypes  # noqa: F401  # comes with JAX; with it NumPy knows bfloat16 and the floats of 8 bits
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            _require_known(path, kinds)
            tensors = {name: file.get_tensor(name) for name in kinds}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no readable .safetensors file: {clipped(error)}") from error
    return {
        name: value.astype(np.float32) if kinds[name] == "BF16" else value for name, value in tensors.items()
    }


def _require_known(path: Path, kinds: dict[str, str]) -> None:
    """Refuses tensors of types in which nobody keeps weights to go on from, or that NumPy does not have."""
    other = sorted({kind for kind in kinds.values() if kind not in KINDS})
    if other:
        raise UserError(
            f"{path} holds tensors of the type {', '.join(other)}; known are {', '.join(KINDS)}. Numbers "
            "of 8 bits and fewer are for running a network: take the file with its full weights, or convert "
            "it to float32"
        )


def _read_torch(path: Path) -> StateDict:
    if not has_torch():
        raise UserError(
            f"reading {path} needs the torch extra ({TORCH_EXTRA}). Or convert it once where torch is: "
            "safetensors.torch.save_file(torch.load(PATH, weights_only=True), 'resnet18.safetensors')"
        )
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers meet in a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as a torch state dict ({reason}). "
            "Save `model.state_dict()`, not the model"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UserError(
            f"{path} holds no state dict: expected tensors by name, as `model.state_dict()` gives"
        )
    return {str(name): _to_numpy(value) for name, value in loaded.items()}


def _to_numpy(tensor: Any) -> np.ndarray:
    dense = tensor.detach()
    return (dense.float() if dense.is_floating_point() else dense).numpy()
