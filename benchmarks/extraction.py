"""Painting annotations and cutting patches: a slide of 60,000 x 60,000 pixels with 200 annotated regions.

    python benchmarks/extraction.py [--short] [--mpp 0.5 7.5] [--profile] [--json FILE]

The slide is generated (0.25 um/px, pyramidal TIFF) and annotated in ImageScope's XML with 200 outlines of 400
vertices each. A repetition does what `l2s prepare` does to a training slide at BACH's scale, 7.5 um/px: open,
parse, read, paint, find tissue, extract, write patches and masks as PNG. Painting is also measured at other
scales, in bands, up to the slide's full resolution: 3.6 billion pixels. All on the host; no device is used.
"""

import cProfile
import pstats
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import turns

SIDE, MPP, REGIONS, VERTICES = 60_000, 0.25, 200, 400
BAND = 2048
"""Rows that are painted at once: 120 MB at full resolution."""


def write_slide(path: Path) -> None:
    """Two ellipses of tissue over most of the slide."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from helpers.slide_generator import ellipses
    from l2s_jax.phantom.slide_writing import write_pyramidal_slide

    pink, purple, glass = (220, 120, 170), (110, 60, 150), (243, 240, 244)
    parts = [(0.5 * SIDE, x * SIDE, 0.45 * SIDE, 0.22 * SIDE, c) for x, c in ((0.25, pink), (0.75, purple))]
    write_pyramidal_slide(
        path, ellipses(parts, glass), size=(SIDE, SIDE), mpp=MPP, compression="deflate",
        downsamples=(1, 4, 16, 64),
    )  # fmt: skip


def write_regions(path: Path) -> None:
    """Star-shaped outlines of 200 to 2,000 pixels' radius, three classes in turn, in ImageScope's XML."""
    from l2s_jax.slides.annotations.class_names import BACH_CLASSES

    rng = np.random.default_rng(0)
    names = BACH_CLASSES.names[1:]
    lines = [f'<Annotations MicronsPerPixel="{MPP}"><Annotation Id="1"><Regions>']
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    for number in range(REGIONS):
        radius = rng.uniform(200, 2000) * (1 + 0.2 * np.sin(angles * rng.integers(3, 20)))
        x, y = rng.uniform(0.08, 0.92, 2) * SIDE
        lines.append(f'<Region Id="{number + 1}" Text="{names[number % len(names)]}"><Vertices>')
        points = zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True)
        lines += [f'<Vertex X="{a:.1f}" Y="{b:.1f}" Z="0"/>' for a, b in points]
        lines.append("</Vertices></Region>")
    path.write_text("\n".join([*lines, "</Regions></Annotation></Annotations>"]))


def cut(slide: Path, xml: Path, out: Path, mpp: float) -> int:
    """What `l2s prepare` does to a training slide; how many patches came out."""
    from functools import partial

    from l2s_jax.prepare.cutting import cut_source
    from l2s_jax.prepare.options import ExtractionOptions
    from l2s_jax.prepare.sources import Preparation, Source
    from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table
    from l2s_jax.slides.sheets import read_slide_sheet

    options = ExtractionOptions()
    shutil.rmtree(out, ignore_errors=True)
    read = partial(read_slide_sheet, slide, xml, bach_table(), mpp, options.morphology)
    source = Source("A01", "A01", "train", (slide, xml), read)
    record = cut_source(source, Preparation(out, BACH_CLASSES, options, "centred"))
    return len(record["rows"])


def paint_all(slide: Path, xml: Path, mpp: float) -> int:
    """Paints the whole slide at a scale, band by band; how many pixels that is."""
    from l2s_jax.slides.annotations.class_names import bach_table
    from l2s_jax.slides.annotations.painting import paint
    from l2s_jax.slides.annotations.reading import read_annotations
    from l2s_jax.slides.slide import downsample_at, open_slide, size_at

    opened = open_slide(slide)
    annotations = read_annotations(xml, bach_table(), size_level0=opened.size_level0)
    (height, width), factor = size_at(opened, mpp), downsample_at(opened, mpp)
    for row in range(0, height, BAND):
        paint(annotations, (min(BAND, height - row), width), factor, origin=(row, 0))
    return height * width


def profiled(work, lines: int = 25):
    """The work's result, after printing where its time went."""
    profile = cProfile.Profile()
    result = profile.runcall(work)
    pstats.Stats(profile).sort_stats("cumulative").print_stats(lines)
    return result


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument(
        "--mpp", type=float, nargs="+", default=[7.5, 0.5, 0.25], help="painted scales, um/px"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time of each goes")
    options = parser.parse_args()
    repeat = 2 if options.short else 5
    results: turns.Results = {"extraction_load_average": turns.load()}
    rows: list[list[object]] = []

    def timed(name: str, work) -> int:
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            found = work()
            seconds.append(time.perf_counter() - start)
        if options.profile:
            profiled(work)
        results.update(turns.spread(name, seconds, 2))
        rows.append([name, *(results[f"{name}{end}"] for end in ("", "_min", "_max")), f"{found:,}"])
        return found

    with tempfile.TemporaryDirectory() as folder:
        slide, xml = Path(folder) / "A01.svs", Path(folder) / "A01.xml"
        write_slide(slide)
        write_regions(xml)
        found = timed("extraction_s", lambda: cut(slide, xml, Path(folder) / "out", 7.5))
        results["extraction_patches"] = found
        for mpp in options.mpp:
            timed(f"painting_{mpp:g}_s", lambda mpp=mpp: paint_all(slide, xml, mpp))
    results |= turns.machine(
        ("numpy", "scipy", "scikit-learn", "shapely", "openslide-python"), options.device
    )
    turns.report(results, ("what", "median", "min", "max", "patches or pixels"), rows, options.json)


if __name__ == "__main__":
    main()
