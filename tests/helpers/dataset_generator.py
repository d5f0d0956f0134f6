"""Writes the paper's data sets, EBHI-Seg and WSSS4LUAD as they are downloaded, small, with known truth.

Pictures are drawn at the scale of the patches with two stains of Beer-Lambert's law, so that every pixel of
what an adapter makes of them is known; slides hold each of those pixels as a block of 16 x 16 level-0 pixels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.slide_writing import write_bach_xml, write_pyramidal_slide
from l2s_jax.prepare.ebhi import FOLDERS

BACH_MPP = 7.5 / 16
"""Level 0; the published slides have 0.467, which makes level 2 7.47 um/px."""

BLOCK = 16
HEIGHT, WIDTH = 96, 128

WORDINGS = {1: "Benign", 2: "Carcinoma in situ", 3: "Invasive carcinoma"}
PHOTO_PREFIXES = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Haematoxylin and eosin: optical density of red, green, blue."""


class Drawn(NamedTuple):
    """A picture at the scale of the patches, and its truth."""

    image: np.ndarray  # u8[H,W,3]
    mask: np.ndarray  # u8[H,W]


class Box(NamedTuple):
    """An annotated rectangle in pixels at the scale of the patches."""

    code: int
    top: int
    left: int
    bottom: int
    right: int


def draw_tissue(height: int, width: int, seed: int, mask: np.ndarray | None = None) -> np.ndarray:
    """u8[height,width,3]: stained tissue with a margin of empty glass; classes are the bluer, the higher."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.3, 1.0, (height, width, 2))
    if mask is not None:
        amounts[..., 0] += 0.15 * mask
    strength = rng.uniform(0.7, 1.3, 2)  # scanners and laboratories differ
    light = 240 * np.exp(-(amounts * strength) @ STAINS)
    margin = 4
    light[:margin] = light[-margin:] = light[:, :margin] = light[:, -margin:] = 240
    return light.round().astype(np.uint8)


def paint_boxes(boxes: list[Box], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """u8[height,width]: later boxes over earlier ones."""
    mask = np.zeros((height, width), np.uint8)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = box.code
    return mask


BOXES = [Box(1, 10, 10, 22, 20), Box(2, 50, 12, 70, 36), Box(3, 12, 60, 80, 118), Box(1, 30, 90, 40, 100)]
"""Two regions that fit into a patch of 32, one that does not, and one drawn inside it."""


def write_slide(
    path: Path, drawn: Drawn, boxes: list[Box], *, mpp: float | None = BACH_MPP, **options
) -> Drawn:
    """A slide in Aperio's form with BACH's XML beside it."""
    level0 = np.repeat(np.repeat(drawn.image, BLOCK, 0), BLOCK, 1)
    write_pyramidal_slide(path, level0, mpp=mpp, quality=98, **options)
    write_boxes(path.with_suffix(".xml"), boxes, mpp=mpp)
    return drawn


def write_boxes(path: Path, boxes: list[Box], *, mpp: float | None = BACH_MPP, label_in="attribute") -> Path:
    """The boxes as polygons in level-0 pixels."""
    regions = []
    for box in boxes:
        top, left, bottom, right = (BLOCK * side for side in box[1:])
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        regions.append((WORDINGS[box.code], corners))
    return write_bach_xml(path, regions, mpp=mpp, label_in=label_in)


def write_bach(folder: Path, photos: int = 2) -> dict[str, Drawn]:
    """BACH as downloaded: slides A01 to A10, unlabelled ones, thumbnails, photos.

    Returns:
      {slide: its truth at 7.5 um/px}.
    """
    wsi = folder / "ICIAR2018_BACH_Challenge" / "WSI"
    (wsi / "gt_thumbnails").mkdir(parents=True)
    truth = {}
    for number in range(1, 11):
        name = f"A{number:02d}"
        shift = number - 1
        boxes = [Box(b.code, b.top + shift, b.left, b.bottom + shift, b.right) for b in BOXES]
        mask = paint_boxes(boxes)
        truth[name] = write_slide(
            wsi / f"{name}.svs", Drawn(draw_tissue(HEIGHT, WIDTH, number, mask), mask), boxes
        )
        Image.fromarray(np.eye(4, dtype=np.uint8)[mask][..., 1:] * 255).save(
            wsi / "gt_thumbnails" / f"{name}.png"
        )
        Image.fromarray(truth[name].image).save(wsi / f"{name}_thumb.png")
    for number in (1, 2):
        blank = np.repeat(np.repeat(draw_tissue(16, 16, 90 + number), BLOCK, 0), BLOCK, 1)
        write_pyramidal_slide(wsi / f"{number:02d}.svs", blank, mpp=BACH_MPP)
    for code, (name, prefix) in enumerate(PHOTO_PREFIXES.items()):
        place = folder / "ICIAR2018_BACH_Challenge" / "Photos" / name
        place.mkdir(parents=True)
        for number in range(photos):
            photo = draw_tissue(96, 128, 200 + 10 * code + number)
            Image.fromarray(photo).save(place / f"{prefix}{number + 1:03d}.tif")
        (place / "Thumbs.db").write_bytes(b"junk")
    return truth


GLEASON_VALUES = {0: (0,), 1: (1, 6), 2: (3,), 3: (4,), 4: (5,)}
"""Class code to the map values that mean it."""


def write_gleason(folder: Path, side: int = 256) -> dict[str, Drawn]:
    """Gleason2019 as unpacked: 8 slides with 2 cores each, and the defects that the real set is known for.

    slide001_core002 has no map by the first expert, slide009_core001 a map but no image.

    Returns:
      {core: its truth at full size} of the cores with image and first map.
    """
    images, maps = folder / "Train Imgs", folder / "Maps1_T"
    for place in (images, maps, folder / "Maps2_T", folder / "Test_imgs"):
        place.mkdir(parents=True)
    truth = {}
    for number in range(16):
        name = f"slide{number // 2 + 1:03d}_core{number % 2 + 1:03d}"
        mask = draw_core(side, number)
        image = draw_tissue(side, side, 300 + number, mask)
        Image.fromarray(image).save(images / f"{name}.jpg", quality=95)
        values = map_of(mask)
        Image.fromarray(values).save(folder / "Maps2_T" / f"{name}_classimg_nonconvex.png")
        if name != "slide001_core002":
            Image.fromarray(values).save(maps / f"{name}_classimg_nonconvex.png")
            truth[name] = Drawn(image, mask)
    Image.fromarray(values).save(maps / "slide009_core001_classimg_nonconvex.png")
    Image.fromarray(image).save(folder / "Test_imgs" / "slide010_core001.jpg")
    return truth


def draw_core(side: int, number: int) -> np.ndarray:
    """u8[side,side]: a left half of one class, and three bands of others on the right."""
    mask = np.full((side, side), 1 + number % 4, np.uint8)
    half, third = side // 2, side // 3
    mask[:third, half:] = 1 + (number + 1) % 4
    mask[third:, half:] = 0
    mask[side - side // 8 :, half:] = 1 + (number + 2) % 4
    return mask


def map_of(mask: np.ndarray) -> np.ndarray:
    """u8[H,W]: map values of class codes; every other benign row is 6 instead of 1."""
    table = np.array([values[0] for values in GLEASON_VALUES.values()], np.uint8)
    values = table[mask]
    values[::2][values[::2] == 1] = 6
    return values


def digestpath_name(slide: int, number: int, form: str = "date") -> str:
    """A name in a form that was seen (`date`), or one that tells no slide (`plain`)."""
    if form == "date":
        return f"D2017{slide:05d}_2019-05-14 15_29_{number:02d}-lv1-{1000 + number}-2000-5000-5023"
    return f"picture {slide} {number}"


def write_digestpath(folder: Path, side: int = 256) -> dict[str, Drawn]:
    """DigestPath2019 as unpacked: 6 slides with lesions (2 pictures each), 6 without (1 each).

    Returns:
      {picture: its truth at full size}.
    """
    positive = folder / "Colonoscopy_tissue_segment_dataset" / "tissue-train-pos-v1"
    negative = folder / "Colonoscopy_tissue_segment_dataset" / "tissue-train-neg"
    truth = {}
    for place in (positive, negative):
        place.mkdir(parents=True)
    for slide in range(12):
        for number in range(2 if slide < 6 else 1):
            name = digestpath_name(slide, number)
            mask = np.zeros((side, side), np.uint8)
            if slide < 6:
                rows, cols = np.mgrid[:side, :side]
                mask[(rows - side / 2) ** 2 + (cols - side / 2) ** 2 < (0.38 * side + slide) ** 2] = 1
                write_jpeg_mask(positive / f"{name}_mask.jpg", mask, colour=number == 1)
            image = draw_tissue(side, side, 400 + 20 * slide + number, mask)
            Image.fromarray(image).save((positive if slide < 6 else negative) / f"{name}.jpg", quality=95)
            truth[name] = Drawn(image, mask)
    return truth


def write_jpeg_mask(path: Path, mask: np.ndarray, *, colour: bool = False) -> None:
    """0 and 255 as JPEG, whose values ring around them; some are RGB."""
    picture = Image.fromarray(mask * np.uint8(255))
    (picture.convert("RGB") if colour else picture).save(path, quality=75)


def write_wsss4luad(folder: Path) -> None:
    """WSSS4LUAD's validation part in small: 16 pictures, tumour beside stroma beside empty slide."""
    rng = np.random.default_rng(0)
    for number in range(16):
        height, width = 130 + 17 * number, 300 - 9 * number
        mask = np.full((height, width), 3, np.uint8)
        mask[: height // 2] = 2 if number % 4 == 3 else 0
        mask[:, : width // 3] = 2 if number % 4 == 3 else 1
        blocks = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        write_png(folder / "img" / f"{number:02d}.png", blocks.repeat(10, 0).repeat(10, 1)[:height, :width])
        palette = Image.fromarray(mask)
        palette.putpalette([0, 64, 128, 64, 128, 0, 243, 152, 0, 255, 255, 255])
        (folder / "mask").mkdir(exist_ok=True)
        palette.save(folder / "mask" / f"{number:02d}.png")


def write_ebhi(folder: Path) -> None:
    """EBHI-Seg as published, in small: 8 slides a class, 2 pictures each; slide GTXC001 holds two classes."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(FOLDERS):
        for slide in range(8):
            for part in range(2):
                prefix = "GTxc001" if slide == 0 and number < 2 else f"GT{number}{slide:03d}"
                file = f"{prefix}-1-400-{number}{part:02d}.png"
                blocks = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
                write_png(folder / name / "image" / file, blocks.repeat(16, 0).repeat(16, 1))
                mask = np.zeros((224, 224), np.uint8)
                mask[:112] = (253, 255)[part]
                mask[112:116] = np.array([[127], [60], [20], [5]])  # the soft edge is background
                write_png(folder / name / "label" / file, mask)
