"""The encoder's first weights: a file's, those in the cache folder, or downloaded ones. No JAX."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from l2s_jax.runs.published import (
    HISTOLOGY_HEAD,
    HISTOLOGY_PREFIX,
    SOURCES,
    Published,
    download_first,
    find_cached,
    weights_folder,
)
from l2s_jax.runs.weight_names import ENCODER_NAMES, describe, resnet_of
from l2s_jax.runs.weights_file import StateDict, read_weights, write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import expanded, sha256_of_file


def encoder_weights(
    source: str = "auto",
    *,
    folder: Path | None = None,
    published: Sequence[Published] | None = None,
    say: Callable[[str], None] = print,
) -> StateDict | None:
    """Reads the weights that `models.state_dict.load_encoder` takes.

    Args:
      source: `random` for none; a path to a ResNet-18 (.safetensors, or .pth and .ckpt with the torch extra);
        a word of `SOURCES` for weights from the cache folder or, where it has none, a download into it.
      folder: the cache folder; `weights_folder()` by default.
      published: files that such a word looks for, in this order, in the place of its own.
      say: receives progress messages.

    Returns:
      Arrays by torchvision's names, every value finite; None for `random`.

    Raises:
      UserError: no weights can be had (the message says which file to put where), or a file is damaged, of
        another format, or holds several networks, or values that are not finite.
    """
    if source == "random":
        return None
    if source not in SOURCES:
        return _of_file(expanded(source), say)
    title = SOURCES[source].title
    folder, files = folder or weights_folder(), SOURCES[source].files if published is None else published
    path = find_cached(folder, files) or download_first(folder, files, title, say)
    state_dict = read_weights(path)
    if source == "histology":
        state_dict = _of_histology(path, state_dict, files, say)
    if path.suffix != ".safetensors":
        with contextlib.suppress(UserError):  # without the converted file the next start needs torch again
            write_safetensors(path.with_suffix(".safetensors"), state_dict)
    return state_dict


def _of_file(path: Path, say: Callable[[str], None]) -> StateDict:
    """The ResNet-18 in a file that the user named."""
    named = resnet_of(read_weights(path), str(path))
    say(f"{path}: {describe(named)}")
    if named.prefix == HISTOLOGY_PREFIX:
        say(
            "warning: names of this form are those of --weights histology, whose pictures are scaled by mean "
            "and deviation 0.5: if these are such weights, ask for --norm half too"
        )
    return named.state_dict


def _of_histology(
    path: Path, state_dict: StateDict, files: Sequence[Published], say: Callable[[str], None]
) -> StateDict:
    """The ResNet-18 in the published file, which must have its form, or in what was made of it."""
    named = resnet_of(state_dict, str(path))
    faults = [f"missing: {key}" for key in ENCODER_NAMES if key not in named.state_dict]
    wrapper = named.prefix.removesuffix(HISTOLOGY_PREFIX)  # "state_dict." where a .safetensors has it so
    head = tuple(wrapper + name for name in HISTOLOGY_HEAD)
    faults += [f"unexpected: {key}" for key in named.others if not key.startswith(head)]
    if faults:  # said before it is converted: what is converted is taken from then on
        raise UserError(
            "\n  ".join(
                [f"{path} is not, or not as a whole, the file of --weights histology. Delete it:", *faults]
            )
        )
    say(f"histology weights: {path}: {describe(named)}{_provenance(path, files)}")
    return named.state_dict


def _provenance(path: Path, files: Sequence[Published]) -> str:
    """Size and hash of a file whose hash is only noted."""
    noted = {file.name: file.sha256 for file in files if file.noted_only}
    if path.name not in noted:
        return ""
    digest = sha256_of_file(path)
    as_noted = "as others noted it" if digest == noted[path.name] else "another than others noted"
    return f"; {path.stat().st_size:,} bytes, SHA-256 {digest}, {as_noted}"
