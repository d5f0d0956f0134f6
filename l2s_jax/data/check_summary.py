"""Counts of a manifest by split, kind and class, for people."""

from collections import Counter
from collections.abc import Sequence

from l2s_jax.data.check_rows import Seen, size_text
from l2s_jax.data.manifest import Manifest
from l2s_jax.types import IGNORE_LABEL, SPLITS


def summary(manifest: Manifest, seen: Sequence[Seen]) -> list[str]:
    """Counts by split, kind and class."""
    names = manifest.classes.names
    width = min(max(len("class"), *map(len, names)), 40)
    sizes = Counter(one.size for one in seen if one.size is not None)
    shown = ", ".join(f"{n} of {size_text(size)}" for size, n in sizes.most_common(4))
    lines = [f"{manifest.folder}: {len(manifest.patches)} patches ({shown or 'none readable'})"]
    for split in SPLITS:
        rows = manifest.of_split(split)
        both = sum(row.mask is not None and row.label != IGNORE_LABEL for row in rows)
        masks = sum(row.mask is not None for row in rows)
        lines.append(
            f"  {split:5s} {len(rows):6d} patches, {len({row.group for row in rows}):4d} groups: "
            f"{both} mask and label, {masks - both} mask only, {len(rows) - masks} label only"
        )
    lines += ["", f"  {'class':{width}s}  labels: train    val   test   mask pixels: train    val   test"]
    for code, name in enumerate(names):
        labels = [sum(row.label == code for row in manifest.of_split(split)) for split in SPLITS]
        shares = [_share(code, split, seen) for split in SPLITS]
        lines.append(
            f"  {_cut(name, width):{width}s}  {labels[0]:13d} {labels[1]:6d} {labels[2]:6d}  "
            f"{shares[0]:>18s} {shares[1]:>6s} {shares[2]:>6s}"
        )
    return lines


def _share(code: int, split: str, seen: Sequence[Seen]) -> str:
    """Percentage of a split's mask pixels that a class has."""
    counts = [one.pixels for one in seen if one.row.split == split and one.pixels is not None]
    total = sum(int(pixels.sum()) for pixels in counts)
    return f"{100 * sum(int(pixels[code]) for pixels in counts) / total:.1f}%" if total else "-"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 3]}..."
