"""Whose word counts where a slide states one scale and its user another; apart, so that options are light."""

from typing import Literal

from l2s_jax.system.errors import UserError

SlideMppFrom = Literal["file", "given"]
"""A slide's own scale where it states one; or what is given, for files that are known to be wrong."""


def overrides(source: SlideMppFrom, *given: object) -> bool:
    """Whether what is given comes before what slides and their annotations state.

    Args:
      source: whose word counts.
      given: all that may give a scale; None where it does not.

    Raises:
      UserError: nothing is given that could count.
    """
    if source == "given" and all(one is None for one in given):
        raise UserError(
            "--slide-mpp-from given: no scale is given that could come before the slides' own. Name it by "
            "--slide-mpp, or in a table for each slide"
        )
    return source == "given"
