"""`l2s prepare slides` beside an earlier build's `prepare bach`: 20 slides of 60,000 x 60,000 pixels.

    python benchmarks/prepare_slides.py [--short] [--earlier COMMIT] [--slides N] [--rounds N]
                                        [--fine] [--dicom] [--json FILE]

Slides are those of extraction.py, with outlines drawn anew for each. The earlier build reads them as
ImageScope's XML, this one as GeoJSON with QuPath's classes. Both are whole commands in processes of their
own, with two workers, by turns. The earlier build is taken out of this repository's history. Memory is the
greatest resident set of any process of a command, as the kernel counts it.

`--fine` cuts one of the slides at 0.5 um/px too. `--dicom` has two of them beside the same two as DICOM, of
which level 0 is the level that is read, 4 um/px: all 60,000 pixels a side would be 11 GB without compression.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import extraction
import numpy as np
import turns

ROOT = Path(__file__).parents[1]
EARLIER = "2419c5a"
DICOM_LEVEL = 2
"""The level that is read at 7.5 um/px."""
COLOURS = {"normal": (0, 160, 0), "benign": (0, 0, 200), "in situ": (230, 140, 0), "invasive": (200, 0, 0)}


def outlines(seed: int) -> list[tuple[str, np.ndarray]]:
    """Stars of 200 to 2,000 pixels' radius, three classes in turn: (name, f64[V,2] of x, y)."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, extraction.VERTICES, endpoint=False)
    found = []
    for number in range(extraction.REGIONS):
        radius = rng.uniform(200, 2000) * (1 + 0.2 * np.sin(angles * rng.integers(3, 20)))
        x, y = rng.uniform(0.08, 0.92, 2) * extraction.SIDE
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).round(1)
        found.append((list(COLOURS)[1 + number % 3], points))
    return found


def write_xml(path: Path, regions: list[tuple[str, np.ndarray]]) -> None:
    """As ImageScope writes them."""
    lines = [f'<Annotations MicronsPerPixel="{extraction.MPP}"><Annotation Id="1"><Regions>']
    for number, (name, points) in enumerate(regions, 1):
        lines.append(f'<Region Id="{number}" Text="{name}"><Vertices>')
        lines += [f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points]
        lines.append("</Vertices></Region>")
    path.write_text("\n".join([*lines, "</Regions></Annotation></Annotations>"]))


def write_geojson(path: Path, regions: list[tuple[str, np.ndarray]]) -> None:
    """As QuPath writes them."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*points.tolist(), points[0].tolist()]]},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": name, "color": COLOURS[name]},
            },
        }
        for name, points in regions
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_slides(folder: Path, count: int) -> None:
    """BACH's layout with both kinds of annotation; the slides differ in a number of their description."""
    folder.mkdir(parents=True)
    first = folder / "A01.svs"
    extraction.write_slide(first)
    content = first.read_bytes()
    marker = content.index(b"AppMag = 20") if b"AppMag = 20" in content else None
    if marker is None:
        raise SystemExit("the generated slide has no `AppMag = 20` to number it by")
    for number in range(1, count + 1):
        name = f"A{number:02d}"
        if number > 1:
            path = folder / f"{name}.svs"
            path.write_bytes(content[:marker] + b"AppMag =%3d" % (20 + number) + content[marker + 11 :])
        regions = outlines(number)
        write_xml(folder / f"{name}.xml", regions)
        write_geojson(folder / f"{name}.geojson", regions)


def timed(command: list[str], root: Path, out: Path) -> tuple[float, float]:
    """Seconds of a command of the build below `root`, which writes `out` anew; MiB of its largest process."""
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=root, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()}")
    return seconds, usage.ru_maxrss / 1024


def as_dicom(slide: Path, geojson: Path, folder: Path) -> None:
    """A slide's level of 4 um/px as level 0 of a DICOM slide, in a folder, with its outlines."""
    from openslide import OpenSlide

    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.dicom_writer import write_dicom_level

    with OpenSlide(slide) as opened:
        image = np.array(opened.read_region((0, 0), DICOM_LEVEL, opened.level_dimensions[DICOM_LEVEL]))[
            ..., :3
        ]
        down = round(opened.level_downsamples[DICOM_LEVEL])
    tile = 256
    image = np.pad(image, [(0, -side % tile) for side in image.shape[:2]] + [(0, 0)], mode="edge")
    target = folder / slide.stem
    target.mkdir(parents=True)
    uid = f"1.2.826.{slide.stem[1:].lstrip('0')}"
    mpp = extraction.MPP * down
    write_dicom_level(target / "level0.dcm", image, series=uid, instance=f"{uid}.1", mpp=mpp, tile=tile)
    table = json.loads(geojson.read_text())
    for feature in table["features"]:
        rings = feature["geometry"]["coordinates"]
        feature["geometry"]["coordinates"] = (np.array(rings) / down).round(2).tolist()
    (folder / f"{slide.stem}.geojson").write_text(json.dumps(table))


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--earlier", default=EARLIER, help="commit of the build to compare with")
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--fine", action="store_true", help="one slide at 0.5 um/px too")
    parser.add_argument("--dicom", action="store_true", help="two slides as DICOM beside")
    parser.add_argument(
        "--rounds", type=int, help="how often each takes its turn; 3 by default, 1 if --short"
    )
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.short else 3)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        earlier = turns.earlier_build(options.earlier, work / "earlier")
        _prepare_layouts(work, options.slides)
        run = [sys.executable, "-c", "from l2s_jax.cli import main; main()"]
        before = [*run, "prepare", "bach", str(work / "bach"), str(work / "before"), "--stain", "off",
                  "--workers", "2", "--splits-file", str(work / "splits.csv")]  # fmt: skip

        def now(slides: Path, out: Path, mpp: float = 7.5) -> tuple[float, float]:
            command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "prepare", "slides",
                       str(slides), str(out), "--mpp", str(mpp), "--stain", "off", "--workers", "2",
                       "--split", "100", "0", "0", "--undrawn", "background",
                       "--background", "normal"]  # fmt: skip
            return timed(command, ROOT, out)

        seconds: dict[str, list[float]] = {"earlier": [], "now": []}
        peaks: dict[str, list[float]] = {"earlier": [], "now": []}
        for _ in range(rounds):
            for name, measured in (
                ("earlier", lambda: timed(before, earlier, work / "before")),
                ("now", lambda: now(work / "own", work / "now")),
            ):
                took, peak = measured()
                seconds[name].append(took)
                peaks[name].append(peak)
            print({name: round(values[-1], 1) for name, values in seconds.items()}, flush=True)
        more: turns.Results = {}
        if options.fine:
            _link(work / "own", work / "one", 1)
            more["fine_s"], more["fine_peak_mib"] = (
                round(n, 1) for n in now(work / "one", work / "out", 0.5)
            )
        if options.dicom:
            _link(work / "own", work / "two", 2)
            for slide in sorted((work / "two").glob("*.svs")):
                as_dicom(slide, slide.with_suffix(".geojson"), work / "dicom")
            for name in ("two", "dicom"):
                of_rounds = sorted(now(work / name, work / "out")[0] for _ in range(rounds))
                more[f"{name}_s"] = round(of_rounds[len(of_rounds) // 2], 1)
    results: turns.Results = {"slides": options.slides, "earlier": options.earlier, **more}
    results |= {f"{name}_peak_mib": round(max(values)) for name, values in peaks.items()}
    rows: list[list[object]] = []
    for name, values in seconds.items():
        results.update(turns.spread(f"{name}_s", values, 1))
        rows.append([name, *(results[f"{name}_s{end}"] for end in ("", "_min", "_max"))])
    ratios = [ours / theirs for ours, theirs in zip(seconds["now"], seconds["earlier"], strict=True)]
    results.update(turns.spread("ratio", ratios, 3))
    rows.append(["ratio", *(results[f"ratio{end}"] for end in ("", "_min", "_max"))])
    results |= turns.machine(("numpy", "scipy", "scikit-learn", "shapely", "openslide-python"), "cpu")
    turns.report(results, ("what", "median", "min", "max"), rows, options.json)


def _link(source: Path, target: Path, count: int) -> None:
    """The first slides of a folder with their outlines."""
    target.mkdir()
    for number in range(1, count + 1):
        for path in source.glob(f"A{number:02d}.*"):
            (target / path.name).hardlink_to(path)


def _prepare_layouts(work: Path, count: int) -> None:
    """The same slides for both: `bach` with XML and a table of splits, `own` with GeoJSON."""
    write_slides(work / "slides", count)
    for name, suffix in (("bach", ".xml"), ("own", ".geojson")):
        folder = work / name if name == "own" else work / name / "WSI"
        folder.mkdir(parents=True)
        for path in sorted((work / "slides").iterdir()):
            if path.suffix in (".svs", suffix):
                (folder / path.name).hardlink_to(path)
    names = [path.stem for path in sorted((work / "slides").glob("*.svs"))]
    (work / "splits.csv").write_text("\n".join(["slide,split", *(f"{name},train" for name in names)]) + "\n")


if __name__ == "__main__":
    main()
