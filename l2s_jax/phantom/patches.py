"""A phantom: drawn H&E-like tissue with known masks, for the demo and for tests without data.

Like EBHI-Seg a patch has stroma and glands of one class, so that it has both a mask and a label. The classes
differ in architecture, not in colour: stain, light, focus and noise change from slide to slide.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l2s_jax.data.manifest import Classes, Manifest, PatchRow, read_manifest, write_classes
from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.brushes import OVERSAMPLING, Concentrations, smooth_noise
from l2s_jax.phantom.glands import draw_architecture, draw_epithelium, gland_sites
from l2s_jax.phantom.stroma import draw_stroma
from l2s_jax.prepare.folders import claim_folder, finish_folder
from l2s_jax.prepare.splits import SPLIT_FRACTIONS, split_groups
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.ranges import require_seed
from l2s_jax.types import PATCH_MULTIPLE, fits_network

CLASSES = Classes(
    names=("background", "normal", "adenoma", "carcinoma"),
    colours=((255, 255, 255), (76, 153, 76), (230, 170, 40), (200, 50, 60)),
    pixel_values=(0, 1, 2, 3),
    background=0,
    ignore_value=255,
)
MIN_GLAND = 0.05
"""Least share of a patch that its glands cover, so that its label is true."""

MPP = 1.0
"""Micrometres a pixel that the drawn sizes correspond to: nuclei of 6 um, crypts of 40 um."""

# Optical density of haematoxylin and eosin in R, G, B (Ruifrok & Johnston 2001), before slides vary.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


class SlideLook(NamedTuple):
    """How one slide was stained and photographed."""

    stains: np.ndarray  # f64[2,3], optical density in RGB of one unit of haematoxylin and of eosin
    light: np.ndarray  # f64[3], intensity of empty glass, 0..1
    blur: float  # standard deviation, in pixels
    noise: float  # standard deviation, 0..1


def prepare_phantom(
    out: str | Path,
    *,
    patches: int = 400,
    patches_per_slide: int = 5,
    patch_size: int = 128,
    masks: float = 1.0,
    overlap: float = 0.15,
    seed: int = 0,
    overwrite: bool = False,
) -> Manifest:
    """Draws a phantom data set and writes its manifest, split 50/25/25 by slide.

    Beside it stands example.png, a larger picture of a slide that is in no split, with example_mask.png.

    Args:
      out: folder that is made; the same arguments give the same bytes in it.
      patches: how many in all.
      patches_per_slide: patches that share a stain and a group; most of them are of one class.
      patch_size: height and width in pixels, a multiple of 16.
      masks: share of the training patches that keep their mask, 0 to 1; the others have a label only.
      overlap: how much the classes resemble each other; 0 keeps them apart.
      seed: of everything that is drawn.
      overwrite: use a folder that holds something else.

    Raises:
      UserError: an option is out of range, or the folder holds something else or cannot be written.
    """
    require_seed(seed)
    _check_options(patches, patches_per_slide, patch_size, masks, overlap)
    recipe = {
        "what": "phantom",
        "patches": patches,
        "patches_per_slide": patches_per_slide,
        "patch_size": patch_size,
        "masks": masks,
        "overlap": overlap,
        "seed": seed,
    }
    out = claim_folder(out, recipe, overwrite=overwrite)
    rows = _planned_rows(out, patches, patches_per_slide, masks, seed)

    def draw(number: int) -> None:
        row = rows[number]
        slide = number // patches_per_slide
        image, mask = phantom_patch(row.label, patch_size, overlap, (seed, slide), (seed, slide, number))
        write_png(row.image, image)
        if row.mask is not None:
            write_png(row.mask, mask)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in track(pool.map(draw, range(patches)), "drawing", total=patches, unit="patches"):
            pass
    image, mask = phantom_slide((4 * patch_size, 5 * patch_size), seed, overlap)
    write_png(out / "example.png", image)
    write_png(out / "example_mask.png", mask)
    write_classes(out, CLASSES)
    finish_folder(out, CLASSES, rows)
    return read_manifest(out)


def _planned_rows(out: Path, patches: int, per_slide: int, masks: float, seed: int) -> list[PatchRow]:
    """What each patch will be: its class, slide, split and files."""
    slides = [number // per_slide for number in range(patches)]
    labels = _draw_labels(slides, seed)
    splits = split_groups(slides, labels, SPLIT_FRACTIONS, seed)
    bare = _without_mask(splits, labels, masks, seed)
    names = [f"slide{slide:03d}_{number % per_slide:02d}.png" for number, slide in enumerate(slides)]
    return [
        PatchRow(
            line=number + 2,
            image=out / "images" / names[number],
            mask=None if number in bare else out / "masks" / names[number],
            label=labels[number],
            group=f"slide{slide:03d}",
            split=splits[number],
            mpp=MPP,
            source="phantom",
        )
        for number, slide in enumerate(slides)
    ]


def phantom_patch(
    label: int, size: int, overlap: float, slide_seed: Sequence[int], patch_seed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one patch: stroma with glands of class `label` (1 normal, 2 adenoma, 3 carcinoma; 0 no glands).

    Returns:
      image uint8[size,size,3] and mask uint8[size,size], 0 or `label`.
    """
    look = draw_look(np.random.default_rng((0, *slide_seed)))
    rng = np.random.default_rng((1, *patch_seed))
    shape = (size * OVERSAMPLING, size * OVERSAMPLING)
    if label == 0:
        return photograph(rng, draw_stroma(rng, shape), look), np.zeros((size, size), np.uint8)
    build = draw_architecture(rng, label - 1, overlap)
    glands, _ = gland_sites(rng, shape, build)
    while glands.mean() < MIN_GLAND:
        glands, _ = gland_sites(rng, shape, build)
    tissue = _pasted(draw_stroma(rng, shape), draw_epithelium(rng, glands, build), glands)
    return photograph(rng, tissue, look), _shrunk_mask(glands.astype(np.uint8) * np.uint8(label))


def phantom_slide(shape: tuple[int, int], seed: int, overlap: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Draws a larger picture: a piece of tissue on white glass, with regions of all three gland classes.

    Args:
      shape: (height, width) in pixels.
      seed: of everything that is drawn.
      overlap: as in `prepare_phantom`.

    Returns:
      image uint8[H,W,3] and mask uint8[H,W], codes of `CLASSES`.
    """
    if min(shape) < 32:
        raise UserError(f"phantom slide of {shape[0]} x {shape[1]} pixels; expected at least 32 x 32")
    rng = np.random.default_rng((2, seed))
    canvas = (shape[0] * OVERSAMPLING, shape[1] * OVERSAMPLING)
    piece = _tissue_outline(rng, canvas)
    regions = _regions(rng, canvas)
    tissue = draw_stroma(rng, canvas)
    mask = np.zeros(canvas, np.uint8)
    for label in (1, 2, 3):
        build = draw_architecture(rng, label - 1, overlap)
        glands, site = gland_sites(rng, canvas, build)
        chosen = glands & (_of_site(regions == label, site)) & (mask == 0) & piece
        tissue = _pasted(tissue, draw_epithelium(rng, chosen, build), chosen)
        mask[chosen] = label
    edge = ndimage.gaussian_filter(piece.astype(np.float32), 1.5)
    tissue = Concentrations(tissue.haematoxylin * edge, tissue.eosin * edge)
    look = draw_look(rng)._replace(light=rng.uniform(0.93, 0.98, 3))
    return photograph(rng, tissue, look), _shrunk_mask(mask)


def draw_look(rng: np.random.Generator) -> SlideLook:
    """Draws the stain, light and optics of one slide."""
    vectors = _STAINS * rng.lognormal(0, 0.14, (2, 3)) + rng.uniform(0, 0.12, (2, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    amount = np.array([[1.1], [0.95]]) * rng.lognormal(0, 0.22, (2, 1))
    light = rng.uniform(0.82, 1.0) * rng.uniform(0.93, 1.0, 3)
    return SlideLook(vectors * amount, light, rng.uniform(0.25, 0.8), rng.uniform(0.008, 0.03))


def photograph(rng: np.random.Generator, tissue: Concentrations, look: SlideLook) -> np.ndarray:
    """Light through the stains (Beer-Lambert), optics, sensor: canvas concentrations to uint8[H,W,3]."""
    exponents = np.float32(-np.log(10)) * look.stains.astype(np.float32)
    exponent = sum(amount[..., None] * per_unit for amount, per_unit in zip(tissue, exponents, strict=True))
    intensity = look.light.astype(np.float32) * np.exp(exponent)
    phases = [(row, col) for row in range(OVERSAMPLING) for col in range(OVERSAMPLING)]
    small = sum(intensity[row::OVERSAMPLING, col::OVERSAMPLING] for row, col in phases) / len(phases)
    sharp = ndimage.gaussian_filter(small, (look.blur, look.blur, 0))
    grain = rng.normal(0, look.noise, sharp.shape).astype(np.float32)
    return ((sharp + grain).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _pasted(under: Concentrations, over: Concentrations, where: np.ndarray) -> Concentrations:
    """`over` where `where` is set, `under` elsewhere, with a soft seam of about a canvas pixel."""
    alpha = ndimage.gaussian_filter(where.astype(np.float32), 0.7)
    return Concentrations(*(a + alpha * (b - a) for a, b in zip(under, over, strict=True)))


def _shrunk_mask(mask: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(mask[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING])


def _draw_labels(slides: Sequence[int], seed: int) -> list[int]:
    """A class for every patch: that of its slide, for one in five another. Slides take classes in turn."""
    rng = np.random.default_rng((3, seed))
    classes = len(CLASSES) - 1
    main = (np.asarray(slides) + rng.integers(classes)) % classes
    other = (main + rng.integers(1, classes, len(slides))) % classes
    return (np.where(rng.random(len(slides)) < 0.2, other, main) + 1).tolist()


def _without_mask(splits: Sequence[str], labels: Sequence[int], masks: float, seed: int) -> set[int]:
    """Training rows that lose their mask, the same share of every class as nearly as whole rows allow."""
    train = [number for number, split in enumerate(splits) if split == "train"]
    order = np.random.default_rng((4, seed)).permutation(train)
    by_class = sorted(
        order.tolist(),
        key=lambda number: (
            [n for n in order.tolist() if labels[n] == labels[number]].index(number),
            labels[number],
        ),
    )
    return set(by_class[round(masks * len(train)) :])


def _tissue_outline(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A rounded, ragged piece that leaves glass at the rim: bool[H,W]."""
    rows, cols = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    rim = 1 - np.maximum(np.abs(rows), np.abs(cols)) ** 4 - 0.35 * np.hypot(rows, cols) ** 2
    small = min(shape)
    return rim + 0.16 * smooth_noise(rng, shape, small / 9) + 0.012 * smooth_noise(rng, shape, 6) > 0.42


def _regions(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Splits a canvas into wavy regions of classes 1, 2 and 3, and 0 where there is stroma only."""
    fields = np.stack([smooth_noise(rng, shape, min(shape) / 6) for _ in range(4)])
    fields[0] -= 0.5
    return fields.argmax(axis=0)


def _of_site(wanted: np.ndarray, site: np.ndarray) -> np.ndarray:
    """Extends a choice of pixels to whole glands: those that have most of their pixels in it."""
    total = np.bincount(site.ravel())
    share = np.bincount(site.ravel(), weights=wanted.ravel()) / np.maximum(total, 1)
    return share[site] > 0.5


def _check_options(
    patches: int, patches_per_slide: int, patch_size: int, masks: float, overlap: float
) -> None:
    faults = []
    if patches_per_slide < 1:
        faults.append(f"patches_per_slide {patches_per_slide}: expected at least 1")
    elif patches < 2 * patches_per_slide + 1:
        faults.append(
            f"patches {patches}: expected more than {2 * patches_per_slide}, for three slides or more"
        )
    if not fits_network(patch_size):
        faults.append(f"patch_size {patch_size}: expected a multiple of {PATCH_MULTIPLE}")
    if not 0 <= masks <= 1:
        faults.append(f"masks {masks}: expected a share, 0 to 1")
    if not 0 <= overlap <= 2:
        faults.append(f"overlap {overlap}: expected 0 to 2")
    if faults:
        raise UserError("\n".join(faults))
