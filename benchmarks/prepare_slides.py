"""`l2s prepare slides` beside an earlier build's `prepare bach`: 20 slides of 60,000 x 60,000 pixels.

    python benchmarks/prepare_slides.py [--short] [--earlier COMMIT] [--slides N] [--rounds N] [--json FILE]

Slides are those of extraction.py, with outlines drawn anew for each. The earlier build reads them as
ImageScope's XML, this one as GeoJSON with QuPath's classes. Both are whole commands in processes of their
own, with two workers, by turns. The earlier build is taken out of this repository's history.
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


def timed(command: list[str], root: Path, out: Path) -> float:
    """Seconds of a command of the build below `root`, which writes `out` anew."""
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--earlier", default=EARLIER, help="commit of the build to compare with")
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument(
        "--rounds", type=int, help="how often each takes its turn; 3 by default, 1 if --short"
    )
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.short else 3)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        earlier = work / "earlier"
        archive = subprocess.run(
            ["git", "archive", options.earlier], cwd=ROOT, capture_output=True, check=True
        ).stdout
        earlier.mkdir()
        subprocess.run(["tar", "-x", "-C", earlier], input=archive, check=True)
        _prepare_layouts(work, options.slides)
        run = [sys.executable, "-c", "from l2s_jax.cli import main; main()"]
        before = [*run, "prepare", "bach", str(work / "bach"), str(work / "before"), "--stain", "off",
                  "--workers", "2", "--splits-file", str(work / "splits.csv")]  # fmt: skip
        now = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "prepare", "slides",
               str(work / "own"), str(work / "now"), "--mpp", "7.5", "--stain", "off", "--workers", "2",
               "--split", "100", "0", "0", "--undrawn", "background", "--background", "normal"]  # fmt: skip
        seconds: dict[str, list[float]] = {"earlier": [], "now": []}
        for _ in range(rounds):
            seconds["earlier"].append(timed(before, earlier, work / "before"))
            seconds["now"].append(timed(now, ROOT, work / "now"))
            print({name: round(values[-1], 1) for name, values in seconds.items()}, flush=True)
    results: turns.Results = {"slides": options.slides, "earlier": options.earlier}
    rows: list[list[object]] = []
    for name, values in seconds.items():
        results.update(turns.spread(f"{name}_s", values, 1))
        rows.append([name, *(results[f"{name}_s{end}"] for end in ("", "_min", "_max"))])
    ratios = [ours / theirs for ours, theirs in zip(seconds["now"], seconds["earlier"], strict=True)]
    results.update(turns.spread("ratio", ratios, 3))
    rows.append(["ratio", *(results[f"ratio{end}"] for end in ("", "_min", "_max"))])
    results |= turns.machine(("numpy", "scipy", "scikit-learn", "shapely", "openslide-python"), "cpu")
    turns.report(results, ("what", "median", "min", "max"), rows, options.json)


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
