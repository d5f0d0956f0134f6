"""By what predicted objects are known again after somebody has had them in QuPath."""

import uuid
from collections.abc import Sequence
from typing import Any

from l2s_jax.system.files import json_text

PREDICTED_AREA = "Predicted area um^2"
"""A measurement that `predict` gives to each object, and nothing else does."""


def object_id(key: str, name: str, rings: Sequence[Any]) -> str:
    """A UUID that is the same for the same outline of the same class under the same key."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json_text([key, name, rings])))


def is_object_id(text: str) -> bool:
    """Whether an id may be one of `object_id`: those that QuPath gives are random (version 4)."""
    try:
        return uuid.UUID(text).version == 5
    except ValueError:
        return False
