#!/usr/bin/env bash
# Guess: a folder with one DICOM file a level holds one slide, and opening the file of a coarse level shows that
#   level.
# What happens: OpenSlide opens the whole series from *any* of its files, with equal levels, equal pixels and equal
#   scale, and each file passes `detect_format`. A loop over `*.dcm` sees the slide once a file.
# Why it matters here: areas are counted twice, two copies of one patient land in two splits, and a read that was
#   meant for the coarse file is done at the full size.
# Seen: 2026-11-29, openslide-bin 4.0.1.2, files by pydicom 3.0.2.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'wsidicom==0.36.1' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'pydicom==3.0.2' 'numpy==2.4.6'
with_file dicom_slide.py
seen <<'TEXT'
level-1.dcm holds 384 x 256 pixels; opened: ((384, 256), (192, 128)), mpp 0.5
level-2.dcm holds 192 x 128 pixels; opened: ((384, 256), (192, 128)), mpp 0.5
the quick hash of both is one: True
TEXT
observe <<'PYTHON'
import sys

sys.path.insert(0, ".")
import numpy as np
import openslide
import pydicom
from dicom_slide import write_slide

rows, cols = np.mgrid[:256, :384]
write_slide(".", np.stack([rows, cols // 2, rows ^ (cols & 255)], -1).astype(np.uint8))
hashes = set()
for name in ("level-1.dcm", "level-2.dcm"):
    file = pydicom.dcmread(name, stop_before_pixels=True)
    slide = openslide.OpenSlide(name)
    hashes.add(slide.properties["openslide.quickhash-1"])
    print(
        f"{name} holds {file.TotalPixelMatrixColumns} x {file.TotalPixelMatrixRows} pixels; opened: "
        f"{slide.level_dimensions}, mpp {slide.properties['openslide.mpp-x']}"
    )
print("the quick hash of both is one:", len(hashes) == 1)
PYTHON
