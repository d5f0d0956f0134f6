#!/usr/bin/env bash
# Guess: an OME-TIFF that tifffile writes holds the picture and what one tells it, and the same call on the same
#   picture gives the same file.
# What happens: unless it is told a UUID, tifffile makes one of version 1. That is the time of writing and the address
#   of the machine's network card, in the clear; so each file differs from the last, and all of them name the machine.
# Why it matters here: slides and masks are shared after personal details were removed, and nobody looks for a
#   machine's name in the header of a mask. Checksums of results that are computed again never agree.
# Seen: 2026-11-29, tifffile 2026.3.3.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tifffile==2026.3.3' 'numpy==2.4.6'
seen <<'TEXT'
written twice: the same bytes: False
the identifier is of version 1; it holds this machine's address: True
told a UUID: the same bytes: True
TEXT
observe <<'PYTHON'
import re
import tempfile
import uuid
from pathlib import Path

import numpy as np
import tifffile

mask = np.zeros((16, 16), np.uint8)
folder = Path(tempfile.mkdtemp())


def written(name, **metadata):
    path = folder / name
    tifffile.imwrite(path, mask, ome=True, metadata={"axes": "YX", **metadata})
    return path.read_bytes()


first, second = written("a.ome.tif"), written("b.ome.tif")
print("written twice: the same bytes:", first == second)
found = uuid.UUID(re.search(rb'UUID="urn:uuid:([^"]+)"', first)[1].decode())
print(f"the identifier is of version {found.version}; it holds this machine's address: {found.node == uuid.getnode()}")
told = str(uuid.uuid5(uuid.NAMESPACE_OID, "a mask"))
print("told a UUID: the same bytes:", written("c.ome.tif", UUID=told) == written("d.ome.tif", UUID=told))
PYTHON
