"""Where the pixels of a picture lie in another one of the same extent and another scale."""

import numpy as np


def centres(size: int, count: int, step: float) -> np.ndarray:
    """The pixels in which another picture's pixels have their centres, along one side.

    Args:
      size: pixels along the side.
      count: pixels of the other picture along it.
      step: pixels to a pixel of the other picture.

    Returns:
      i64[count], 0..size-1.
    """
    return np.minimum(((np.arange(count) + 0.5) * step).astype(np.int64), size - 1)
