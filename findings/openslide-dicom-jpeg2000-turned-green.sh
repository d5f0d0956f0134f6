#!/usr/bin/env bash
# Guess: a reader's update does not change the colours of slides that it could open before.
# What happens: lossy JPEG 2000 in DICOM normally carries a transform of colours, and the tag says so (YBR_ICT); a
#   decoder undoes it. OpenSlide 4.0.0 undoes it twice, without a word: purple comes out lime green. 4.0.1 is right.
#   Only frames that carry no transform (RGB) are the same in both. pydicom is right throughout.
# Why it matters here: predictions, and networks trained before, belong to the colours of the version that read them,
#   and QuPath and Python may have different ones.
# Known upstream (openslide#646). The other side of it, files whose tag contradicts their frames, is openslide#772:
#   4.0.1 shows those in false colours that 4.0.0 happened to show right.
# Seen: 2026-12-01, openslide-bin 4.0.0.14 and 4.0.1.2, pydicom 3.0.2 with pylibjpeg-openjpeg 2.5.0, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'openslide-bin==4.0.1.2' 'openslide-python==1.4.7' 'pydicom==3.0.2' 'imagecodecs==2026.3.6' \
    'pillow==12.3.0' 'pylibjpeg-openjpeg==2.5.0' 'numpy==2.4.6'
with_file dicom_slide.py
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$temporary/work/old" \
    openslide-bin==4.0.0.14 openslide-python==1.4.7 >"$temporary/log" 2>&1 ||
    could_not_run "openslide-bin 4.0.0.14 could not be installed"
seen <<'TEXT'
(200, 60, 120) as JPEG 2000 without a transform, RGB:
  OpenSlide 4.0.0 (200, 60, 120), OpenSlide 4.0.1 (200, 60, 120), pydicom (200, 60, 120)
(200, 60, 120) as JPEG 2000 with its transform, YBR_ICT:
  OpenSlide 4.0.0 (189, 229, 80), OpenSlide 4.0.1 (200, 60, 120), pydicom (200, 60, 120)
TEXT
observe <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, generate_uid

sys.path.insert(0, ".")
import dicom_slide

RGB = np.full((128, 128, 3), (200, 60, 120), np.uint8)
READ = """
import sys
sys.path[:0] = sys.argv[1:]
import openslide
pixel = openslide.OpenSlide("slide.dcm").read_region((5, 5), 0, (1, 1)).getpixel((0, 0))
print("OpenSlide", openslide.__library_version__, pixel[:3])
"""


def write(transform, photometric):
    dicom_slide.write_level("plain.dcm", RGB, 0.5, generate_uid(), generate_uid())
    slide = dcmread("plain.dcm")
    slide.file_meta.TransferSyntaxUID, slide.PhotometricInterpretation = JPEG2000, photometric
    slide.LossyImageCompression = "01"
    frame = imagecodecs.jpeg2k_encode(RGB[:64, :64], codecformat="j2k", mct=transform, reversible=False, level=60)
    slide.PixelData = encapsulate([frame] * slide.NumberOfFrames)
    slide["PixelData"].VR, slide["PixelData"].is_undefined_length = "OB", True
    slide.save_as("slide.dcm", enforce_file_format=True)
    Path("plain.dcm").unlink()


def read(*place):
    run = [sys.executable, "-I", "-c", READ, *place]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


for what, transform, photometric in (
    ("without a transform, RGB", False, "RGB"),
    ("with its transform, YBR_ICT", True, "YBR_ICT"),
):
    write(transform, photometric)
    pixel = tuple(int(value) for value in dcmread("slide.dcm").pixel_array[0, 5, 5])
    print(f"(200, 60, 120) as JPEG 2000 {what}:")
    print(f"  {read('old')}, {read()}, pydicom {pixel}")
PYTHON
