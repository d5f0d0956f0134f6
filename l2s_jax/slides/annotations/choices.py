"""What people can say of an annotation; apart, so that a command's options need no geometry."""

from typing import Literal

Undrawn = Literal["unknown", "background"]
"""What is not drawn: of no known class, unless it lies inside a frame; or background wherever it lies."""

Untouched = Literal["unknown", "locked", "truth"]
"""What predicted outlines are that a person has left as they were: of no known class; true where they are
locked, which QuPath keeps, and unknown elsewhere; or true."""
