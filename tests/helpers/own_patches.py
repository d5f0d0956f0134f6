"""Pictures as people have them: in folders a class, with masks for some, of patients that the names tell."""

import numpy as np
from PIL import Image

CLASSES = ("stroma", "tumour")


def picture(seed, side=32, width=None):
    """u8[H,W,3] that no other seed has."""
    rng = np.random.default_rng(seed)
    return rng.integers(60, 250, (side, width or side, 3), np.uint8)


def half(side=32, width=None, values=(0, 1)):
    """A mask u8[H,W] whose left half is the first value."""
    mask = np.full((side, width or side), values[1], np.uint8)
    mask[:, : mask.shape[1] // 2] = values[0]
    return mask


def coloured(mask, colours):
    """The mask as RGB."""
    return np.array(colours, np.uint8)[mask]


def save(path, array, **options):
    """Saves in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
