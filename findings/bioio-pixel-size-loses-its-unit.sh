#!/usr/bin/env bash
# Guess: bioio's physical_pixel_sizes are micrometres, as OME's default is, or it says in which unit they are.
# What happens: they are the numbers of PhysicalSizeX and Y as they stand, whatever PhysicalSizeXUnit says. One slide of
#   0.5 um/px has 0.5, 500, 0.0005 or 0.0000197 by the unit that its writer chose. dimension_properties, made to tell
#   units, has none of an OME-TIFF; of an OME-Zarr it has, beside the same bare numbers. ome-types, on which the reader
#   stands, knows the unit.
# Why it matters here: all that is measured, and the level that is read, hangs on um/px. nm and mm are valid OME and
#   written by microscopes' own programs; a thousandfold scale gives no error.
# Seen: 2026-12-01, bioio 3.6.0, bioio-ome-tiff 1.4.0, bioio-ome-zarr 3.8.1, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'bioio==3.6.0' 'bioio-ome-tiff==1.4.0' 'bioio-ome-zarr==3.8.1' 'tifffile==2026.3.3'
seen <<'TEXT'
OME-TIFF, 0.5 um as 0.5 µm: physical_pixel_sizes 0.5, unit None; ome-types 0.5 µm
OME-TIFF, 0.5 um as 500 nm: physical_pixel_sizes 500, unit None; ome-types 500 nm
OME-TIFF, 0.5 um as 0.0005 mm: physical_pixel_sizes 0.0005, unit None; ome-types 0.0005 mm
OME-TIFF, 0.5 um as 1.9685e-05 in: physical_pixel_sizes 1.9685e-05, unit None; ome-types 1.9685e-05 in
OME-Zarr, 0.5 um as 0.5 micrometer: physical_pixel_sizes 0.5, unit micrometer
OME-Zarr, 0.5 um as 500 nanometer: physical_pixel_sizes 500, unit nanometer
TEXT
observe <<'PYTHON'
import bioio_ome_tiff
import bioio_ome_zarr
import numpy as np
import ome_types
import tifffile
import zarr
from bioio import BioImage


def say(kind, unit, size, image):
    own = image.dimension_properties.X.unit
    print(f"{kind}, 0.5 um as {size:.5g} {unit}: physical_pixel_sizes {image.physical_pixel_sizes.X:.5g}, unit {own}", end="")


for unit, size in (("µm", 0.5), ("nm", 500.0), ("mm", 0.0005), ("in", 0.5 / 25400)):
    sizes = {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    tifffile.imwrite("slide.ome.tif", np.zeros((64, 96, 3), np.uint8), photometric="rgb", metadata={"axes": "YXS", **sizes})
    say("OME-TIFF", unit, size, BioImage("slide.ome.tif", reader=bioio_ome_tiff.Reader))
    pixels = ome_types.from_tiff("slide.ome.tif").images[0].pixels
    print(f"; ome-types {pixels.physical_size_x:.5g} {pixels.physical_size_x_unit.value}")
for unit, size in (("micrometer", 0.5), ("nanometer", 500.0)):
    group = zarr.open_group("slide.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(1, 64, 96), dtype="u1")[:] = 1
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", "unit": unit} for name in "yx")]
    scale = [{"type": "scale", "scale": [1, size, size]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    say("OME-Zarr", unit, size, BioImage("slide.zarr", reader=bioio_ome_zarr.Reader))
    print()
PYTHON
