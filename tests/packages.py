"""Holds a wheel and an sdist against what should be in them: tests/wheel.sh runs it on their folder."""

import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

SUFFIXES = {
    "", ".cff", ".csv", ".ipynb", ".js", ".json", ".jsonl", ".md", ".png", ".py", ".pyi", ".sh", ".svg",
    ".toml", ".txt", ".typed",
}  # fmt: skip
"""Of files that belong in an sdist: no slide, no weights, nothing packed."""

LARGEST_FILE, LARGEST_SDIST = 400_000, 2_500_000
"""Bytes."""

PRIVATE = re.compile(rb"/(?:home|root|Users)/\w+|-----BEGIN [A-Z ]*PRIVATE KEY")


def faults_of_sdist(path):
    """What should not be there, in words; and its files, with their names in the repository."""
    faults = []
    if path.stat().st_size > LARGEST_SDIST:
        faults.append(f"{path.name} has {path.stat().st_size:,} bytes")
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        for member in files:
            content = archive.extractfile(member).read()
            if Path(member.name).suffix not in SUFFIXES:
                faults.append(f"{member.name}: of no kind that belongs there")
            if member.size > LARGEST_FILE:
                faults.append(f"{member.name} has {member.size:,} bytes")
            if Path(member.name).name != "packages.py" and (found := PRIVATE.search(content)):
                faults.append(f"{member.name} holds {found[0].decode()}")
        names = {member.name.split("/", 1)[1] for member in files}
    wanted = {"LICENSE", "README.md", "PKG-INFO"}
    faults += [f"no {name} in {path.name}" for name in wanted - names]
    print(f"{path.name}: {len(files)} files, {path.stat().st_size:,} bytes")
    return faults, names


def faults_of_wheel(path, source):
    """What should not be there, what of the sdist's package is missing, what an index would show wrongly."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        facts = Parser().parsestr(archive.read(metadata).decode())
    inside = {name for name in names if not name.startswith(metadata.split("/")[0])}
    wanted = {name for name in source if name.startswith("l2s_jax/")}
    faults = [f"{name} in {path.name}" for name in inside - wanted]
    faults += [f"no {name} in {path.name}" for name in wanted - inside]
    faults += [f"no {name} in METADATA" for name in ("License-Expression", "License-File") if not facts[name]]
    readme = facts.get_payload()
    faults += [f"readme links to {link}" for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", readme)]
    print(f"{path.name}: {len(names)} files, {path.stat().st_size:,} bytes; {facts['License-Expression']}; "
          f"extras {', '.join(facts.get_all('Provides-Extra'))}")  # fmt: skip
    return faults


def main(folder):
    """Prints what is there; ends with 1 where something is wrong."""
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    faults, source = faults_of_sdist(sdist)
    faults += faults_of_wheel(wheel, source)
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
