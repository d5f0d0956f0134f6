"""Whether all patches are of one scale, as far as it is known."""

from collections.abc import Sequence

from l2s_jax.data.check_scales import SAME_SCALE
from l2s_jax.data.classes import Classes
from l2s_jax.prepare.patches.looking import Seen
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.writing import mpp_of
from l2s_jax.system.errors import UserError


def require_one_scale(seen: Sequence[Seen], classes: Classes, options: OwnPatchesOptions) -> list[str]:
    """Refuses patches of several scales, unless the classes say that they are meant.

    Returns:
      A warning of pictures whose scale is lost, since they are squeezed out of shape.

    Raises:
      UserError: the least and the greatest um/px differ by more than `check` takes for one scale.
    """
    known = [scale for one in seen if (scale := mpp_of(one, options)) is not None]
    if known and not classes.mixed_scales and max(known) > SAME_SCALE * min(known):
        why = ", since pictures of several sizes are squeezed (--fit)" if options.fit else ""
        raise UserError(
            f"patches would be of {min(known):g} to {max(known):g} um/px{why}: a network learns from one "
            "scale. Give it pictures of one, leave the scale out, or say mixed_scales = true in --classes "
            "classes.toml"
        )
    lost = sum(one.picture.mpp is not None and mpp_of(one, options) is None for one in seen)
    return (
        [f"warning: {lost} picture(s) are not square: squeezed, they have no one scale, and none is given"]
        if lost
        else []
    )
