"""A slide through `l2s predict` beside TIAToolbox's semantic segmentor, with the same network.

    benchmarks/tiatoolbox.sh FOLDER        # TIAToolbox in an environment of its own: some gigabytes, once
    python benchmarks/whole_slide.py --tiatoolbox FOLDER/bin/python [--short] [--side 8000] [--turns 2]
        [--members 5] [--work FOLDER] [--only l2s theirs] [--python PYTHON] [--json FILE]

A generated slide of SIDE x SIDE pixels at 0.5 um/px, half of it tissue, whose outline both are given. Tiles
of 128x128 with half overlap, 20 a batch, the same weights. Both sides are whole processes from the
shell: time on the clock, of processors, and the greatest resident set. Ours writes class map, outlines, areas
and overlay; TIAToolbox its Zarr. `equal` is the share of tissue pixels that get the same class: ours weights
tiles by their middle, TIAToolbox takes their plain mean. With `--members` ours takes that many runs together
(mean probabilities), and TIAToolbox, which has no ensembles, is run as often with one network; `equal` is
then not told. With `--work` slide, networks and times are kept there, and a later call adds to them.
`--python` is an interpreter with another version of JAX: by it `l2s predict` runs this folder's code.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import turns
from jax_versions import version_of

HERE = Path(__file__).parent
MPP, TISSUE, MASK_SHRUNK = 0.5, 0.5, 16
SIDES = ("l2s", "theirs")


def ellipses(side: int) -> list[tuple[float, float, float, float]]:
    """Row, column and radii of the two pieces of tissue that `slide_memory.py` draws."""
    wide, high = 0.48 * side, side * TISSUE / (2 * math.pi * 0.48)
    return [(0.3 * side, 0.5 * side, high, wide), (0.7 * side, 0.5 * side, high, wide)]


def make_slide(work: Path, side: int) -> None:
    """The slide, and its tissue as GeoJSON and as a mask, where they are not there yet."""
    import numpy as np
    from PIL import Image
    from slide_memory import write_slide

    slide, areas = work / "slide.tif", work / "areas"
    if (areas / "slide.geojson").is_file():
        return
    areas.mkdir(parents=True, exist_ok=True)
    write_slide(slide, side, MPP, TISSUE)
    y, x = (np.mgrid[: side // MASK_SHRUNK, : side // MASK_SHRUNK] + 0.5) * MASK_SHRUNK
    inside, features = np.zeros(y.shape, bool), []
    for row, col, high, wide in ellipses(side):
        inside |= ((y - row) / high) ** 2 + ((x - col) / wide) ** 2 < 1
        turn = [2 * math.pi * k / 720 for k in range(720)]
        ring = [[col + wide * math.cos(t), row + high * math.sin(t)] for t in [*turn, 0.0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        properties = {"classification": {"name": "tissue"}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    Image.fromarray(inside.astype(np.uint8) * 255).save(work / "mask.png")
    (areas / "slide.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def make_networks(work: Path, members: int) -> list[Path]:
    """Short runs, for `l2s predict`, and the first one's weights for torch, where they are not there yet."""
    runs = [work / ("run" if seed == 0 else f"run{seed}") for seed in range(members)]
    drawn = ["prepare", "phantom", work / "data", "--patches", "40", "--overlap", "0", "--overwrite"]
    trained = ["train", work / "data", "--weights", "random", "--steps", "40", "--norm", "half"]
    wanted = [] if (work / "data").exists() else [drawn]
    for seed, run in enumerate(runs):
        if not (run / "finished.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            wanted.append([*trained, "--out", run, "--seed", str(seed)])
    for arguments in wanted:
        subprocess.run([*turns.L2S, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    if (work / "weights.pt").is_file():
        return runs
    import torch
    from torch_reference import from_flax

    from l2s_jax.runs.network import load_network

    variables = load_network(runs[0])[0].variables
    torch.save(from_flax(variables["params"]) | from_flax(variables["batch_stats"]), work / "weights.pt")
    return runs


def predict(side: str, work: Path, python: Path | str, runs: list[Path]) -> dict[str, float]:
    """One side's prediction in fresh processes, by its interpreter: one of ours, of theirs one a network."""
    out = work / f"out-{side}"
    shutil.rmtree(out, ignore_errors=True)
    slide = work / "slide.tif"
    if side == "l2s":
        command = [python, *turns.L2S[1:], "predict", runs[0], slide, "--out", out]
        command += ["--within", work / "areas"]
        command += ["--mpp", MPP, "--stain", "off", "--slide"]
        command += ["--more-runs", *runs[1:]] if runs[1:] else []
    else:
        script = HERE / "tiatoolbox_predict.py"
        command = [python, script, slide, work / "mask.png", work / "weights.pt", out]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parent)}
    if side == "theirs":
        environment.pop("PYTHONPATH", None)
    done = []
    for _ in range(1 if side == "l2s" else len(runs)):
        if side == "theirs":
            shutil.rmtree(out, ignore_errors=True)
        done.append(turns.run_whole(command, environment))
    totals = {what: sum(one[what] for one in done) for what in ("s", "processor_s")}
    return totals | {what: max(one[what] for one in done) for what in ("peak_mib", "others")}


def equal_share(work: Path, python: Path | None) -> float:
    """Share of tissue pixels to which both gave the same class."""
    import numpy as np
    import tifffile
    from PIL import Image

    ours = tifffile.imread(work / "out-l2s" / "slide.ome.tif", key=0)
    found = next((work / "out-theirs").glob("**/predictions"))
    code = "import sys, zarr, numpy; numpy.save(sys.argv[2], numpy.asarray(zarr.open(sys.argv[1], mode='r')))"
    subprocess.run([str(python), "-c", code, str(found), str(work / "theirs.npy")], check=True)
    theirs = np.load(work / "theirs.npy").squeeze()
    high, wide = (min(a, b) for a, b in zip(ours.shape, theirs.shape, strict=True))
    mask = np.asarray(Image.open(work / "mask.png")).repeat(MASK_SHRUNK, 0).repeat(MASK_SHRUNK, 1) > 0
    inside = mask[:high, :wide]
    return float((ours[:high, :wide] == theirs[:high, :wide])[inside].mean())


def main() -> None:
    """Measures, prints a table and JSON."""
    parser = turns.parser(__doc__)
    parser.add_argument("--tiatoolbox", type=Path, metavar="PYTHON", help="of TIAToolbox's environment")
    parser.add_argument("--side", type=int, help="of the slide, in pixels (default 8000, short 4000)")
    parser.add_argument("--members", type=int, default=1, help="networks that are taken together")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--work", type=Path, help="keeps slide, network and times for later calls")
    parser.add_argument("--only", nargs="+", choices=SIDES)
    parser.add_argument("--python", default=sys.executable, help="runs l2s predict (default: this one)")
    options = parser.parse_args()
    sides = options.only or (SIDES if options.tiatoolbox else SIDES[:1])
    if "theirs" in sides and not options.tiatoolbox:
        parser.error("--tiatoolbox says where that is: benchmarks/tiatoolbox.sh makes its environment")
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        side = options.side or (4000 if options.short else 8000)
        make_slide(work, side)
        runs = make_networks(work, options.members)
        kept = work / "times.json"
        times: dict[str, list[dict[str, float]]] = json.loads(kept.read_text()) if kept.is_file() else {}
        for _ in range(options.turns):
            for name in sides:
                python = options.python if name == "l2s" else options.tiatoolbox
                times.setdefault(name, []).append(predict(name, work, python, runs))
                kept.write_text(json.dumps(times, indent=1))
        results: turns.Results = {"whole_slide_side": side, "whole_slide_mpp": MPP}
        results["whole_slide_members"] = options.members
        if set(times) == set(SIDES) and options.tiatoolbox and options.members == 1:
            results["whole_slide_equal"] = round(equal_share(work, options.tiatoolbox), 4)
    rows = []
    for name, of_side in times.items():
        for what, digits in (("s", 1), ("processor_s", 1), ("peak_mib", 0), ("others", 3)):
            results |= turns.spread(f"whole_slide_{name}_{what}", [one[what] for one in of_side], digits)
        shown = ("s", "s_min", "s_max", "others", "peak_mib")
        rows.append([name, len(of_side), *(results[f"whole_slide_{name}_{what}"] for what in shown)])
    if set(times) == set(SIDES):
        for what, name in (("s", "vs"), ("peak_mib", "peak_vs")):
            pairs = zip(times["l2s"], times["theirs"], strict=False)
            results |= turns.spread(
                f"whole_slide_{name}_tiatoolbox", [a[what] / b[what] for a, b in pairs], 3
            )
    results |= turns.machine(("torch", "openslide-python", "numpy"), options.device)
    results |= {"version_jax": version_of(options.python)}
    if options.tiatoolbox:
        code = "import importlib.metadata as m; print(m.version('tiatoolbox'), m.version('torch'))"
        done = subprocess.run(
            [str(options.tiatoolbox), "-c", code], check=True, stdout=subprocess.PIPE, text=True
        )
        results["version_tiatoolbox"], results["version_its_torch"] = done.stdout.split()
    turns.report(results, ("side", "n", "s", "min", "max", "others", "peak MiB"), rows, options.json)


if __name__ == "__main__":
    main()
