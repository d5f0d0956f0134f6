#!/usr/bin/env bash
# Guess: a Zarr array of which one file is missing raises when that part is read, and damage to one is noticed.
# What happens: a missing chunk is the fill value, 0, by the format: zarr and tensorstore return black, without a
#   word, so an interrupted copy looks like a slide with black squares or like weights of zero. What zarr writes
#   by default has no check value either: zstd with its checksum off, and no crc32c codec unless it is asked for.
# Why it matters here: OME-Zarr slides are ten thousands of small files on network drives; JAX checkpoints are
#   tensorstore arrays too.
# Seen: 2026-11-29, zarr 3.1.6, tensorstore 0.1.86.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'zarr==3.1.6' 'tensorstore==0.1.86' 'numpy==2.4.6'
seen <<'TEXT'
one of 16 chunks deleted: zarr reads 0 there, tensorstore reads 0
codecs as written by default: bytes, zstd; zstd's own checksum False
TEXT
observe <<'PYTHON'
import json
from pathlib import Path

import numpy as np
import tensorstore
import zarr

slide = np.random.default_rng(0).integers(1, 256, (512, 512), np.uint8)


array = zarr.create_array("lost.zarr", shape=slide.shape, chunks=(128, 128), dtype="uint8")
array[:] = slide
Path("lost.zarr", "c", "1", "1").unlink()
by_zarr = zarr.open("lost.zarr", mode="r")[128:256, 128:256]
store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(Path("lost.zarr").absolute())}}
by_tensorstore = tensorstore.open(store).result()[128:256, 128:256].read().result()
print(f"one of 16 chunks deleted: zarr reads {by_zarr.max()} there, tensorstore reads {by_tensorstore.max()}")
codecs = json.loads(Path("lost.zarr", "zarr.json").read_text())["codecs"]
print(
    f"codecs as written by default: {', '.join(codec['name'] for codec in codecs)}; "
    f"zstd's own checksum {codecs[-1]['configuration']['checksum']}"
)
PYTHON
