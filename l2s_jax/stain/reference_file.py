"""The reference's stain fit as a JSON file, kept with the manifest and with the trained model.

A model is to see new slides in the colours that it was trained on, so training and prediction read the same
file, and the picture that the stains came from is known by its SHA-256.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.stain.fit import ALPHA, BETA, CONCENTRATION_PERCENTILE, INTENSITY, MIN_ANGLE, StainFit
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import parse_json, write_json

METHOD = {
    "method": "macenko",
    "intensity": INTENSITY,
    "beta": BETA,
    "alpha": ALPHA,
    "concentration_percentile": CONCENTRATION_PERCENTILE,
}


def save_reference(path: str | Path, fit: StainFit, picture: str, sha256: str) -> None:
    """Writes the stain fit of a reference picture.

    Args:
      path: the JSON file to write.
      fit: the picture's stains, without batch axis.
      picture: the picture's name, for people.
      sha256: of the picture's file, hexadecimal.

    Raises:
      UserError: no stains were found in the picture, or the file cannot be written.
    """
    if not bool(fit.usable):
        raise UserError(
            f"{picture} cannot be the stain reference: haematoxylin and eosin could not be told apart in it. "
            "Choose a training picture that is mostly tissue and shows both stains."
        )
    content = METHOD | {
        "reference": picture,
        "reference_sha256": sha256,
        "stain_matrix": np.asarray(fit.stain_matrix, np.float32).tolist(),
        "max_concentration": np.asarray(fit.max_concentration, np.float32).tolist(),
    }
    write_json(Path(path), content)


def load_reference(path: str | Path) -> tuple[StainFit, str]:
    """Reads what `save_reference` wrote.

    Returns:
      The fit (f32 NumPy arrays, without batch axis) and the SHA-256 of the reference picture.

    Raises:
      UserError: there is no such file, it is not a stain reference, or it was made with other constants.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the stain reference {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is not a stain reference: it is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a stain reference: expected a JSON object")
    for key, value in METHOD.items():
        if content.get(key) != value:
            raise UserError(
                f"{path}: {key} is {content.get(key)!r}, expected {value!r}. Make the stain reference again "
                "from its picture."
            )
    sha256 = content.get("reference_sha256")
    if not isinstance(sha256, str):
        raise UserError(f"{path}: reference_sha256 is missing, so its picture cannot be known")
    matrix = _numbers(content, "stain_matrix", (3, 2), path)
    largest = _numbers(content, "max_concentration", (2,), path)
    lengths = np.linalg.norm(matrix, axis=0)
    if not (np.abs(lengths - 1) < 1e-3).all() or matrix[:, 0] @ matrix[:, 1] > math.cos(MIN_ANGLE):
        raise UserError(f"{path}: stain_matrix must hold two different columns of length 1, found {matrix}")
    if not (largest > 0).all():
        raise UserError(f"{path}: max_concentration must be positive, found {largest}")
    return StainFit(matrix, largest, np.bool_(True)), sha256


def _numbers(content: dict[str, Any], key: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """f32 array of the given shape. Raises `UserError` where the file holds anything else there."""
    try:
        numbers = np.array(content.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.full((), np.nan)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise UserError(f"{path}: {key} must be {' x '.join(map(str, shape))} finite numbers")
    return numbers.astype(np.float32)
