#!/usr/bin/env bash
# Guess: a JPEG has the same pixels in all libraries, at most a rounding apart: they share libjpeg-turbo.
# What happens: where the colours are stored at half the resolution (4:2:0, what cameras and most exports write),
#   Pillow, OpenCV and imagecodecs agree to the bit. libvips and slideio do not: for purple nuclei on pink, 2.6 and 1.2
#   of 255 on average and up to 18 and 9, beside 3.1 that the compression itself costs. Where they are stored in full
#   (4:4:4) libvips agrees to the bit, and slideio within 3.
# Why it matters here: patches that one library cut for training and another reads for prediction differ at the rims of
#   nuclei, and a comparison of pictures "to the last bit" fails for no fault of the pictures.
# Seen: 2026-12-01, Pillow 12.3.0, OpenCV 4.13.0, imagecodecs 2026.3.6, pyvips-binary 8.18.7, slideio 2.10.0, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'pillow==12.3.0' 'opencv-python-headless==4.13.0.92' 'imagecodecs==2026.3.6' 'pyvips==3.2.0' \
    'pyvips-binary==8.18.7' 'slideio==2.10.0' 'numpy==2.4.6'
seen <<'TEXT'
4:4:4, Pillow 2.0 from the picture on average; most and mean from Pillow:
  OpenCV 0 and 0.0, imagecodecs 0 and 0.0, libvips 0 and 0.0, slideio 3 and 0.3
4:2:0, Pillow 3.1 from the picture on average; most and mean from Pillow:
  OpenCV 0 and 0.0, imagecodecs 0 and 0.0, libvips 18 and 2.6, slideio 9 and 1.2
TEXT
observe <<'PYTHON'
import cv2
import imagecodecs
import numpy as np
import pyvips
import slideio
from PIL import Image

# Purple nuclei on pink, with smooth rims.
rows, cols = np.indices((256, 256)) % 32
inside = np.clip((9.0 - np.hypot(rows - 15.5, cols - 15.5)) / 2 + 0.5, 0, 1)[..., None]
pixels = np.round(inside * (90, 50, 140) + (1 - inside) * (240, 180, 210)).astype(np.uint8)
for name, subsampling in (("4:4:4", 0), ("4:2:0", 2)):
    Image.fromarray(pixels).save("patch.jpg", quality=90, subsampling=subsampling)
    content = np.fromfile("patch.jpg", np.uint8)
    pillow = np.asarray(Image.open("patch.jpg")).astype(int)
    read = {
        "OpenCV": cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1],
        "imagecodecs": imagecodecs.jpeg8_decode(content.tobytes()),
        "libvips": pyvips.Image.new_from_file("patch.jpg").numpy(),
        "slideio": slideio.open_slide("patch.jpg").get_scene(0).read_block(),
    }
    print(f"{name}, Pillow {np.abs(pillow - pixels).mean():.1f} from the picture on average; most and mean from Pillow:")
    off = {reader: np.abs(found.astype(int) - pillow) for reader, found in read.items()}
    print("  " + ", ".join(f"{reader} {one.max()} and {one.mean():.1f}" for reader, one in off.items()))
PYTHON
