"""Training masks of which only scribbles are left.

  python experiments/scribbles.py DATA OUT PERCENT

OUT is a manifest of the pictures of DATA whose training masks are scribbles, what they leave out unknown;
masks of validation and test stay whole. The rule, for each class of a mask: a stroke three pixels wide begins
at any pixel of the class, goes on a pixel at a time in a direction that turns by some 10 degrees (standard
deviation) each time, ends at the class's border or after 40 pixels, and the next one begins, until PERCENT of
the class's pixels are drawn; the last stroke ends there. So nobody draws across a border, and a class that
fills a corner has a dab. A mask has the same scribbles in each draw.
"""

import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

STROKE = 40
TURN = np.deg2rad(10)
BRUSH = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))


def scribbles(mask, share, rng):
    """What is drawn of a mask.

    Args:
      mask: u8[H,W], class codes; 255 is unknown and stays it.
      share: of the known pixels of each class, above 0 and at most 1; at least one pixel is drawn.
      rng: NumPy's generator.

    Returns:
      u8[H,W], the mask's codes where it is drawn, else 255.
    """
    drawn = np.full_like(mask, 255)
    for code in np.unique(mask[mask != 255]):
        inside = mask == code
        wanted = max(1, round(share * inside.sum()))
        starts = np.argwhere(inside)
        left = wanted
        while left:
            place, angle = starts[rng.integers(len(starts))] + 0.5, rng.uniform(0, 2 * np.pi)
            for _ in range(STROKE):
                row, column = (int(one) for one in np.floor(place))
                if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and inside[row, column]):
                    break
                left -= _dab(drawn, inside, row, column, code, left)
                angle += rng.normal(0, TURN)
                place = place + (np.sin(angle), np.cos(angle))
                if not left:
                    break
    return drawn


def _dab(drawn, inside, row, column, code, most):
    """Draws a dab of the brush, at most so many new pixels of it; how many they were."""
    new = 0
    for down, right in BRUSH:
        at = row + down, column + right
        if new < most and all(0 <= one < size for one, size in zip(at, inside.shape, strict=True)):
            if inside[at] and drawn[at] == 255:
                drawn[at] = code
                new += 1
    return new


def main(data, out, percent):
    """Writes the manifest and its masks."""
    from l2s_jax import read_manifest
    from l2s_jax.data.manifest import write_classes, write_patches
    from l2s_jax.data.pictures import read_mask, write_png

    contents, rows = read_manifest(data), []
    classes = replace(contents.classes, pixel_values=tuple(range(len(contents.classes))), ignore_value=255)
    if out.exists():
        raise SystemExit(f"{out} is there: name a new folder")
    (out / "masks").mkdir(parents=True)
    shares = []
    for row in contents.patches:
        mask = row.mask
        if mask is not None:
            codes = read_mask(mask, contents.classes)
            if row.split == "train":
                rng = np.random.default_rng(zlib.crc32(row.image.name.encode()))
                codes = scribbles(codes, percent / 100, rng)
                shares.append((codes != 255).mean())
            mask = out / "masks" / f"{row.line}.png"
            write_png(mask, codes)
        rows.append(replace(row, mask=mask))
    write_classes(out, classes)
    write_patches(out, classes, rows)
    print(f"{len(shares)} training masks, {100 * np.mean(shares):.1f}% of their pixels drawn")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
