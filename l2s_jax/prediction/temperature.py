"""One temperature for a trained network (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""

import math
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np

from l2s_jax.prediction.calibration import PART, Cells
from l2s_jax.system.errors import UserError

LOWEST, HIGHEST = 0.05, 20.0
"""Between these a temperature is looked for."""

EXACT = 1e-4
"""To which its logarithm is found."""


class NoTemperature(Exception):
    """No temperature is low enough: the network is right at all pixels, or nearly."""


def fit_temperature(cells: Iterable[Cells]) -> float:
    """The temperature at which the true classes of all pixels are most likely.

    In 1/T the mean log likelihood is concave, so there is one maximum, and Brent's method finds it. Where how
    sure the network is says nothing, it lies at `HIGHEST`, where all classes are about equally likely.

    Args:
      cells: gone through some 20 times.

    Raises:
      NoTemperature: the best one lies at or below `LOWEST`.
    """
    from scipy.optimize import minimize_scalar

    bounds = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(
        lambda log: mean_surprise(cells, math.exp(log)),
        bounds=bounds,
        method="bounded",
        options={"xatol": EXACT},
    )
    if found.x < bounds[0] + 0.01:
        raise NoTemperature
    return float(math.exp(found.x))


def is_uninformed(temperature: float) -> bool:
    """Whether a fitted temperature says that probabilities say nothing."""
    return temperature > 0.99 * HIGHEST


def mean_surprise(cells: Iterable[Cells], temperature: float) -> float:
    """Mean over pixels of minus the natural log of the true class's probability; NaN without pixels."""
    total, pixels = 0.0, 0
    for logits, truth in cells:
        shifted = logits.astype(np.float64) / temperature
        shifted -= shifted.max(-1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(-1, keepdims=True))
        total += float((truth * (log_sum - shifted)).sum())
        pixels += int(truth.sum())
    return total / pixels if pixels else math.nan


class CellFile:
    """Cells kept in a temporary file, to be gone through again and again in little memory."""

    def __init__(self, classes: int) -> None:
        """Opens an empty one; it is gone when it is closed."""
        self.classes = classes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> "CellFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def append(self, cells: Cells) -> None:
        """Adds cells. Float32 holds their counts exactly: a cell has 64 pixels at most."""
        content = np.concatenate(
            [cells.logits, cells.truth], 1, dtype=np.float32, casting="same_kind"
        ).tobytes()
        try:
            self._file.write(content)
        except OSError as error:
            raise UserError(
                f"cannot write to {tempfile.gettempdir()}: {error.strerror or error}. Free some space, or "
                "name another folder for temporary files in TMPDIR"
            ) from error

    def __iter__(self) -> Iterator[Cells]:
        self._file.seek(0)
        while part := self._file.read(8 * self.classes * PART):
            rows = np.frombuffer(part, np.float32).reshape(-1, 2 * self.classes)
            yield Cells(rows[:, : self.classes], rows[:, self.classes :].astype(np.int64))
