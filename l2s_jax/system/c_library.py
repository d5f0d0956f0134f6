"""The C library that this process runs with."""

import ctypes


def c_library() -> ctypes.CDLL | None:
    """The C library of this process; None where there is no way to ask for it, as on Windows."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
