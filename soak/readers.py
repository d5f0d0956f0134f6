"""Every reader of files that a user can bring, each with a small valid file to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Reader(NamedTuple):
    """A reader and a valid input of it."""

    name: str
    make: Callable[[Path], Path]  # into a folder; the file that is damaged
    read: Callable[[Path], Any]
    value: Callable[[Any], bytes] = lambda result: b""
    checksummed: bool = False  # the format tells damage: any other value is damage read as data


CLASSES = b"""background = "none"
ignore_value = 255
[[class]]
name = "none"
colour = [230, 200, 220]
pixel_value = 0
[[class]]
name = "tumour"
colour = [200, 30, 60]
pixel_value = 1
"""
PATCHES = b"""image,mask,label,group,split,mpp,source
images/a.png,masks/a.png,tumour,p1,train,0.5,biopsy
images/b.png,,none,p1,train,0.5,biopsy
images/c.png,masks/c.png,,p2,val,0.5,biopsy
"""
GEOJSON = b"""{"type": "FeatureCollection", "features": [
{"type": "Feature", "id": "a", "geometry": {"type": "Polygon", "coordinates":
 [[[10, 10], [90.5, 10], [90, 80], [10, 80], [10, 10]], [[20, 20], [30, 20], [30, 30], [20, 20]]]},
 "properties": {"objectType": "annotation", "classification": {"name": "tumour", "colorRGB": -3670016}}},
{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[[[1, 1], [5, 1], [5, 5], [1, 1]]]]},
 "properties": {"classification": {"names": ["none"], "color": [1, 2, 3]}}}]}
"""
IMAGESCOPE = b"""<?xml version="1.0" encoding="UTF-8"?>
<Annotations MicronsPerPixel="0.5"><Annotation Id="1"><Attributes/><Regions><RegionAttributeHeaders/>
<Region Id="1" Text="tumour" NegativeROA="0"><Attributes><Attribute Name="0" Value="tumour"/></Attributes>
<Vertices><Vertex X="10" Y="10.5" Z="0"/><Vertex X="90" Y="10"/><Vertex X="90" Y="80"/></Vertices></Region>
</Regions></Annotation></Annotations>
"""
ASAP = b"""<?xml version="1.0"?>
<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="tumour" Color="#F4FA58">
<Coordinates><Coordinate Order="0" X="10" Y="10"/><Coordinate Order="1" X="90" Y="10"/>
<Coordinate Order="2" X="90" Y="80"/></Coordinates></Annotation></Annotations>
<AnnotationGroups><Group Name="tumour" PartOfGroup="None" Color="#ff0000"/></AnnotationGroups>
</ASAP_Annotations>
"""
MPP_TABLE = b"slide,mpp\nA01.svs,0.467\nA02.svs,0.5\n"
CONFIG = b"""preset = "labelset"
setting = "S+C"
percent = 2.5
learning_rate = 1e-3
steps = 400
weights = "random"
"""


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def _classes() -> Any:
    from l2s_jax.data.classes import parse_classes

    return parse_classes(CLASSES, Path("classes.toml"))


def _picture(name: str, mask: bool = False, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from PIL import Image

        rng = np.random.default_rng(0)
        array = rng.integers(0, 2, (24, 32)) if mask else rng.integers(0, 256, (24, 32, 3))
        Image.fromarray(array.astype(np.uint8)).save(folder / name, **options)
        return folder / name

    return make


def _image(path: Path) -> Any:
    from l2s_jax.data.pictures import read_image

    return read_image(path)


def _mask(path: Path) -> Any:
    from l2s_jax.data.pictures import read_mask

    return read_mask(path, _classes())


def _manifest(path: Path) -> Any:
    from l2s_jax.data.manifest import read_manifest

    if path.name != "classes.toml":
        (path.parent / "classes.toml").write_bytes(CLASSES)
    else:
        (path.parent / "patches.csv").write_bytes(PATCHES)
    return read_manifest(path.parent)


def _annotations(path: Path) -> Any:
    from l2s_jax.slides.annotations.class_names import class_table
    from l2s_jax.slides.annotations.reading import read_annotations

    return read_annotations(path, class_table(_classes()), size_level0=(120, 100))


def _slide(path: Path) -> Any:
    from l2s_jax.slides.reading import read_region
    from l2s_jax.slides.slide import open_slide

    slide = open_slide(path, mpp=0.5)
    return read_region(slide, (0, 0), (48, 64), 1.0)


def _tiled(folder: Path) -> Path:
    import tifffile

    rng = np.random.default_rng(0)
    path = folder / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        for size in (128, 64):
            picture = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)
            writer.write(picture, tile=(32, 32), photometric="rgb", subfiletype=int(size == 64))
    return path


def _mpp_table(path: Path) -> Any:
    from l2s_jax.slides.mpp import read_mpp_table

    return read_mpp_table(path)


def _config(path: Path) -> Any:
    from l2s_jax.config import PRESETS
    from l2s_jax.runs.config_file import read_config

    return read_config(path, PRESETS["paper"])


def _sweep_file(folder: Path) -> Path:
    from soak.workspace import SWEEP

    return _file("sweep.toml", SWEEP.encode())(folder)


def _sweep(path: Path) -> Any:
    from l2s_jax.sweeps.sweep_file import read_sweep

    return read_sweep(path)


def _results(path: Path) -> Any:
    from l2s_jax.reports.reading import read_results

    return read_results(path)


def _results_file(folder: Path) -> Path:
    rows = ["run,setting,percent,draw,macro_f1,micro_f1"]
    rows += [f"r{i},{s},{p},{d},0.{i}1,0.{i}2" for i, (s, p, d) in
             enumerate((s, p, d) for s in ("S", "S+C") for p in (5, 100) for d in (0, 1))]  # fmt: skip
    return _file("results.csv", ("\n".join(rows) + "\n").encode())(folder)


def _safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    path = folder / "weights.safetensors"
    save_file({"conv1.weight": np.ones((4, 3, 3, 3), np.float32), "bn1.bias": np.zeros(4, np.float32)}, path)
    return path


def _weights(path: Path) -> Any:
    from l2s_jax.runs.weights_file import read_weights

    return read_weights(path)


def _stain_file(folder: Path) -> Path:
    from l2s_jax.stain.fit import StainFit
    from l2s_jax.stain.reference_file import save_reference

    matrix = np.array([[0.6, 0.2], [0.7, 0.9], [0.3, 0.1]], np.float32)
    matrix /= np.linalg.norm(matrix, axis=0)
    fit = StainFit(matrix, np.array([1.5, 1.0], np.float32), np.array(True))
    path = folder / "stain.json"
    save_reference(path, fit, "reference.png", "0" * 64)
    return path


def _stain(path: Path) -> Any:
    from l2s_jax.stain.reference_file import load_reference

    return load_reference(path)


def _run_file(name: str) -> Callable[[Path], Path]:
    """One of a run folder's own small files, out of a run that was trained once for all readers."""

    def make(folder: Path) -> Path:
        shutil.copytree(_trained(), folder / "run", dirs_exist_ok=True)
        return folder / "run" / name

    return make


def _trained() -> Path:
    """A small finished run, kept beside the other inputs of the soak."""
    import os

    return Path(os.environ["SOAK_RUN"])


def _run_folder(path: Path) -> Any:
    """All that is read of a run folder's small files."""
    from l2s_jax.runs import folder
    from l2s_jax.runs.sittings import read_sittings

    run = path.parent
    return (
        folder.read_run_config(run),
        folder.read_run_classes(run),
        folder.read_network_facts(run),
        folder.read_run_manifest(run),
        folder.read_fingerprint(run),
        folder.read_subset(run),
        sorted(folder.learned_from(run).groups),
        folder.read_finished(run),
        read_sittings(run),
        folder.read_metrics(run),
    )


def _bytes(array: Any) -> bytes:
    return repr(array.shape).encode() + array.tobytes()


SUMMED = (
    "config.toml",
    "classes.toml",
    "network.json",
    "subset.csv",
    "manifest.json",
    "pictures.csv",
    "finished.json",
)
"""Files of a run folder that have checksums."""

READERS = (
    Reader("patches.csv", _file("patches.csv", PATCHES), _manifest),
    Reader("classes.toml", _file("classes.toml", CLASSES), _manifest),
    Reader("image PNG", _picture("a.png"), _image, _bytes, checksummed=True),
    Reader("image JPEG", _picture("a.jpg"), _image),
    Reader("image TIFF", _picture("a.tif", compression="tiff_lzw"), _image),
    Reader("mask PNG", _picture("m.png", mask=True), _mask, _bytes, checksummed=True),
    Reader("mask TIFF", _picture("m.tif", mask=True), _mask),
    Reader("GeoJSON", _file("a.geojson", GEOJSON), _annotations),
    Reader("ImageScope XML", _file("a.xml", IMAGESCOPE), _annotations),
    Reader("ASAP XML", _file("a.xml", ASAP), _annotations),
    Reader("table of mpp", _file("mpp.csv", MPP_TABLE), _mpp_table),
    Reader("slide TIFF", _tiled, _slide),
    Reader("config.toml", _file("config.toml", CONFIG), _config),
    Reader("sweep TOML", _sweep_file, _sweep),
    Reader("results.csv", _results_file, _results),
    Reader("safetensors", _safetensors, _weights),
    Reader("stain.json", _stain_file, _stain),
    *(Reader(f"run's {name}", _run_file(name), _run_folder) for name in ("metrics.csv", "environment.json")),
    *(
        Reader(
            f"run's {name}", _run_file(name), _run_folder, lambda read: repr(read).encode(), checksummed=True
        )
        for name in SUMMED
    ),
)
