"""On what a run was trained: each start and each resume is a sitting, with its versions, cores and devices.

Bits depend on all of these: the last loss of one run was 2.581 and 2.590 across two versions of JAX, and one
and two cores differed by 1e-5. A run says which sittings it had, and a resume what is other than before.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json, write_json
from l2s_jax.system.resources import usable_cores

ENVIRONMENT = "environment.json"
PACKAGES = (
    "l2s-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "openslide-python",
)
OF_BITS = ("machine", "processor", "cores", "devices", "xla_flags")
"""What, beside the packages, can change the last digits of a run."""


def environment() -> dict[str, Any]:
    """Versions, machine and devices of this process."""
    import jax

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable_cores(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def begin_sitting(folder: Path, step: int, say: Callable[[str], None] = print) -> None:
    """Adds this process to the run's sittings, and says what is other than in the one before.

    Args:
      folder: of the run.
      step: steps that it has taken already.
      say: receives progress messages.

    Raises:
      UserError: the run's list of sittings is damaged, or cannot be written.
    """
    before, now = read_sittings(folder), {**environment(), "from_step": step}
    other = differences(before[-1], now) if before and step else []
    if other:
        say(
            f"warning: {folder.name} goes on where other things are at work than before, so its bits will be "
            f"others than those of an unbroken run: {'; '.join(other)}"
        )
    write_json(folder / ENVIRONMENT, {"sittings": [*before, now]})


def read_sittings(folder: Path) -> list[dict[str, Any]]:
    """The sittings of a run, the last one last; none where it was not begun.

    Raises:
      UserError: `environment.json` is damaged.
    """
    path = folder / ENVIRONMENT
    if not path.is_file():
        return []
    content = read_json(path)
    advice = f"{path} is damaged. Delete it to go on: the run then does not know on what it was begun"
    if not isinstance(content, dict):
        raise UserError(f"{advice} (expected a table)")
    sittings = content.get("sittings", [content])  # one table: of before sittings were counted
    if not isinstance(sittings, list) or not all(map(_is_sitting, sittings)):
        raise UserError(f"{advice} (expected sittings with packages, devices and command)")
    return sittings


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What two sittings differ in that bits depend on, in words; what one does not say is left out."""
    known = [name for name in OF_BITS if name in before and before[name] != now[name]]
    found = [f"{name} {_text(before[name])} then, {_text(now[name])} now" for name in known]
    packages = {**before["packages"], **now["packages"]}
    return found + [
        f"{name} {before['packages'].get(name) or 'none'} then, {now['packages'].get(name) or 'none'} now"
        for name in packages
        if before["packages"].get(name) != now["packages"].get(name)
    ]


def _is_sitting(one: Any) -> bool:
    texts = ("devices", "command")
    return (
        isinstance(one, dict)
        and isinstance(one.get("packages"), dict)
        and all(isinstance(version, str | None) for version in one["packages"].values())
        and all(isinstance(one.get(name), list) for name in texts)
        and all(isinstance(text, str) for name in texts for text in one[name])
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value) or "none"


def _processor() -> str:
    """The processor's name; XLA chooses instructions by it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
