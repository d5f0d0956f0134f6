#!/usr/bin/env bash
# Guess: SimpleITK reads a grey TIFF the same whether it is stored in strips or in tiles.
# What happens: tiles are read as a picture of red, green, blue and alpha in 8 bits. Codes of 8 bits come back as four
#   channels. Of 16 bits only the upper half is kept: 1 to 255 become 0, 300 and 400 both 1. Asking for one channel of
#   16 bits (`sitkUInt16`) gives an array of the right shape and type with those wrong codes. Nothing is raised; the
#   library writes a line on "data loss" to the standard error, which a notebook or a batch job may not show.
# Why it matters here: masks of slides and maps of numbered nuclei are usually TIFFs in tiles, for viewers and pyramids.
# Seen: 2026-12-01, SimpleITK 2.5.7, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'SimpleITK==2.5.7' 'tifffile==2026.3.3' 'numpy==2.4.6'
seen <<'TEXT'
uint8, codes [0, 1, 7]:
  strips: uint8 (128, 256), [0, 1, 7]; sitkUInt16: (128, 256), [0, 1, 7]
  tiles: uint8 (128, 256, 4), [0, 1, 7, 255]; sitkUInt16: (128, 256), [0, 1, 7]
uint16, codes [0, 1, 7, 255, 300, 400]:
  strips: uint16 (128, 256), [0, 1, 7, 255, 300, 400]; sitkUInt16: (128, 256), [0, 1, 7, 255, 300, 400]
  tiles: uint8 (128, 256, 4), [0, 1, 255]; sitkUInt16: (128, 256), [0, 1]
TEXT
observe <<'PYTHON'
import numpy as np
import SimpleITK as sitk
import tifffile

for kind, codes in (("uint8", (1, 7)), ("uint16", (1, 7, 255, 300, 400))):
    mask = np.zeros((128, 256), kind)
    for place, code in enumerate(codes):
        mask[20:60, 10 + 40 * place : 40 + 40 * place] = code
    print(f"{kind}, codes {np.unique(mask).tolist()}:")
    for name, tile in (("strips", None), ("tiles", (64, 64))):
        tifffile.imwrite("mask.tif", mask, tile=tile, photometric="minisblack", metadata=None)
        read = sitk.GetArrayFromImage(sitk.ReadImage("mask.tif"))
        asked = sitk.GetArrayFromImage(sitk.ReadImage("mask.tif", sitk.sitkUInt16))
        print(f"  {name}: {read.dtype} {read.shape}, {np.unique(read).tolist()};", end=" ")
        print(f"sitkUInt16: {asked.shape}, {np.unique(asked).tolist()}")
PYTHON
