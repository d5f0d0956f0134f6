"""Phantom slides as somebody has them: some drawn regions and frames as QuPath exports them, many labels.

The tissue is that of `bach.phantom_section`. What is drawn is true, but not all is drawn: a frame takes in
the left part of each slide, inside which every region is; outside it is one region, and one to be ignored.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from shapely import Polygon, box, transform

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import write_png
from l2s_jax.phantom.bach import BLOCK, MPP, Section, blocks, phantom_section
from l2s_jax.phantom.patches import phantom_patch
from l2s_jax.phantom.slide_writing import write_pyramidal_slide
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.system.csv_text import rows_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import Source, publishing, require_replaceable
from l2s_jax.system.ranges import require_seed
from l2s_jax.types import IGNORE_PIXEL, PATCH_MULTIPLE, fits_network

DRAWN = Classes(
    names=("Stroma", "Gland", "Adenoma", "Carcinoma", "Region*"),
    colours=((230, 200, 220), (80, 170, 80), (240, 170, 40), (200, 30, 60), (0, 0, 0)),
    pixel_values=(0, 1, 2, 3, 4),
)
"""The classes as they stand in the annotations; nobody draws stroma. The last is QuPath's for frames."""

FRAME = 4


def draw_slides(
    out: str | Path,
    *,
    slides: int = 8,
    patch_size: int = 32,
    labelled: int = 4,
    overlap: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Draws slides/NAME.svs with NAME.geojson, labelled/CLASS/*.png, and groups.csv (two slides a patient).

    Args:
      out: folder that is made; the same arguments give the same pictures.
      slides: how many, 2 or more.
      patch_size: side of the patches that will be cut at 7.5 um/px; slides are 6 x 8 of them.
      labelled: pictures of each class, three patches a side, at the scale of the patches.
      overlap: how much the classes resemble each other, 0..2; 0 keeps them apart.
      seed: of everything that is drawn.
      overwrite: draw into a folder that holds something already; files that are not of a phantom stay.

    Raises:
      UserError: an option is out of range, or the folder holds something else or cannot be written.
    """
    require_seed(seed)
    out = Path(out)
    if patch_size < 32 or not fits_network(patch_size):
        raise UserError(f"patch_size {patch_size}: expected a multiple of {PATCH_MULTIPLE}, at least 32")
    if slides < 2 or labelled < 0 or not 0 <= overlap <= 2:
        raise UserError(
            f"slides {slides}, labelled {labelled}, overlap {overlap}: expected 2, 0 and 0 or more"
        )
    if out.exists() and not (out.is_dir() and (overwrite or not any(out.iterdir()))):
        raise UserError(f"{out} is there already. Choose an empty folder, or draw into it with --overwrite")
    sources = (Source("phantom slides"),)
    names = [f"slides/{name_of(n)}{suffix}" for n in range(slides) for suffix in (".svs", ".geojson")]
    names += [f"labelled/{DRAWN.names[code]}/{n:02d}.png" for code in range(FRAME) for n in range(labelled)]
    require_replaceable(out, [*names, "groups.csv"], sources)
    with publishing(out, sources) as stage:
        with ThreadPoolExecutor() as pool:
            draw = partial(_draw_slide, stage / "slides", patch_size, overlap, seed)
            list(pool.map(draw, range(slides)))
        for code in range(FRAME):
            for number in range(labelled):
                which = (seed, 2, code, number)
                image, _ = phantom_patch(code, 3 * patch_size, overlap, which, which)
                write_png(stage / "labelled" / DRAWN.names[code] / f"{number:02d}.png", image)
        rows = [["slide", "group"], *([name_of(n), f"patient {n // 2 + 1}"] for n in range(slides))]
        write_text(stage / "groups.csv", rows_text(rows))
    return out


def name_of(number: int) -> str:
    """A slide's name."""
    return f"case{number // 2 + 1}{'ab'[number % 2]}"


def true_regions(
    number: int, *, patch_size: int = 32, overlap: float = 0.0, seed: int = 0
) -> list[tuple[str, Polygon]]:
    """Class and outline, in level-0 pixels, of all that is on a slide but stroma, drawn by anybody or not.

    Args:
      number: of the slide, from 0.
      patch_size: as in `draw_slides`.
      overlap: as in `draw_slides`.
      seed: as in `draw_slides`.
    """
    section = _section(patch_size, overlap, seed, number)
    return [(DRAWN.names[code], _scaled(Region(polygon, code))) for code, polygon in section.regions]


def _section(patch_size: int, overlap: float, seed: int, number: int) -> Section:
    return phantom_section((6 * patch_size, 8 * patch_size), 5000 + 100 * seed + number, overlap)


def _draw_slide(folder: Path, patch_size: int, overlap: float, seed: int, number: int) -> None:
    section = _section(patch_size, overlap, seed, number)
    shape = section.mask.shape
    size = shape[0] * BLOCK, shape[1] * BLOCK
    write_pyramidal_slide(
        folder / f"{name_of(number)}.svs", partial(blocks, section.image), size=size, mpp=MPP
    )
    frame = box(patch_size, patch_size, 5 * patch_size, 5 * patch_size)
    inside = [Region(polygon, code) for code, polygon in section.regions if polygon.intersects(frame)]
    beyond = [Region(polygon, code) for code, polygon in section.regions if not polygon.intersects(frame)]
    ignored = box(6 * patch_size, 2, 7 * patch_size, patch_size // 2)
    regions = [Region(frame, FRAME), *inside, *beyond[:1], Region(ignored, IGNORE_PIXEL)]
    level0 = tuple(Region(_scaled(one), one.code) for one in regions)
    write_geojson(folder / f"{name_of(number)}.geojson", Annotations(level0), DRAWN)


def _scaled(region: Region) -> Polygon:
    """Its polygon in level-0 pixels."""
    scaled: Polygon = transform(region.polygon, lambda xy: BLOCK * xy)
    return scaled
