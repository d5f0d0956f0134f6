#!/usr/bin/env bash
# Guess: `read_region(location, level, size)` means in wsidicom what it means in OpenSlide, since name, order of
#   arguments and result are the same.
# What happens: OpenSlide's location counts pixels of level 0, wsidicom's pixels of the level that is read.
#   Code moved from one to the other reads other tissue, mostly inside the slide, so nothing is raised.
# Why it matters here: patches and masks part as soon as one of them is read from a coarser level.
# Seen: 2026-11-29, wsidicom 0.36.1, openslide-bin 4.0.1.2, files by pydicom 3.0.2.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'wsidicom==0.36.1' 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'pydicom==3.0.2' 'numpy==2.4.6'
with_file dicom_slide.py
seen <<'TEXT'
read_region((20, 10), 0, (1, 1)): OpenSlide level-0 pixel (20, 10), wsidicom (20, 10)
read_region((20, 10), 1, (1, 1)): OpenSlide level-0 pixel (20, 10), wsidicom (40, 20)
TEXT
observe <<'PYTHON'
import sys

sys.path.insert(0, ".")
import numpy as np
import openslide
from dicom_slide import write_slide
from wsidicom import WsiDicom

# Each pixel says in red and green where it is.
rows, cols = np.mgrid[:256, :256]
write_slide(".", np.stack([cols, rows, rows * 0], -1).astype(np.uint8))
left = openslide.OpenSlide("level-1.dcm")
with WsiDicom.open(["level-1.dcm", "level-2.dcm"]) as right:
    for level in (0, 1):
        found = []
        for slide in (left, right):
            pixel = np.asarray(slide.read_region((20, 10), level, (1, 1)))[0, 0]
            found.append(f"({pixel[0]}, {pixel[1]})")
        print(
            f"read_region((20, 10), {level}, (1, 1)): OpenSlide level-0 pixel {found[0]}, wsidicom {found[1]}"
        )
PYTHON
