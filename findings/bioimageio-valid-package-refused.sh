#!/usr/bin/env bash
# Guess: bioimageio.spec asks for pydantic 2, so that any pydantic 2 will do.
# What happens: with pydantic 2.14 it calls each valid description of a package invalid that names a file, for
#   a fault of its own (an argument in the wrong place where files are written out). With 2.13 it is valid. Nothing
#   raises: the description that comes back is an `InvalidDescr`, whose summary blames the package.
# Why it matters here: who tests an exported package with today's releases is told that the export is broken.
# Seen: 2026-11-29, bioimageio.spec 0.5.12.0 (which bioimageio.core 0.11.0 asks for), pydantic 2.13.4 and 2.14.4.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'bioimageio.spec==0.5.12.0' 'pydantic==2.13.4'
mkdir -p "$temporary/work"
echo "$venv/bin/python" >"$temporary/work/other"
packages 'bioimageio.spec==0.5.12.0' 'pydantic==2.14.4'
seen <<'TEXT'
pydantic 2.13: GenericDescr, valid-format
pydantic 2.14: InvalidDescr, failed
    TypeError: 'index_key' is expected to be an integer or a string
TEXT
observe <<'PYTHON'
import subprocess
import sys
from pathlib import Path

CHECK = """
import re
from pathlib import Path
import pydantic
from bioimageio.spec import ValidationContext, build_description
with ValidationContext(root=Path.cwd(), perform_io_checks=False):
    found = build_description({
        "type": "generic", "format_version": "0.3.0", "name": "a thing", "description": "nothing but a text",
        "authors": [{"name": "A. Nonymous"}], "cite": [{"text": "none", "url": "https://example.com"}],
        "license": "CC0-1.0", "documentation": "README.md",
        "attachments": [{"source": "README.md"}],
    })
print(f"pydantic {pydantic.VERSION[:4]}: {type(found).__name__}, {found.validation_summary.status}")
for detail in found.validation_summary.details:
    for fault in detail.errors:
        print("   ", *re.findall("TypeError: [^,]*", fault.msg))
"""
Path("README.md").write_text("# Nothing\n")
for python in (Path("other").read_text().strip(), sys.executable):
    run = [python, "-I", "-W", "ignore", "-c", CHECK]
    print(subprocess.run(run, capture_output=True, text=True, check=True).stdout, end="")
PYTHON
