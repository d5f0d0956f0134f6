"""Arrays held against the shapes and types that a named tuple's fields promise."""

from typing import get_type_hints

import jaxtyping
from jaxtyping import jaxtyped


def wrong_fields(value):
    """Names of the fields of a named tuple, and of those in it, that are not as annotated.

    One letter means one size throughout.
    """

    @jaxtyped(typechecker=None)
    def look():
        return list(_wrong(value, ""))

    return look()


def _wrong(value, prefix):
    for name, hint in get_type_hints(type(value), localns=vars(jaxtyping)).items():
        field = getattr(value, name)
        if hasattr(field, "_fields"):
            yield from _wrong(field, f"{prefix}{name}.")
        elif hasattr(hint, "dim_str") and not isinstance(field, hint):
            yield f"{prefix}{name}"
