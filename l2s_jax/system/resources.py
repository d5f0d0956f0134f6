"""What this process may use of the machine: cores and memory, within the limits of its container."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> int:
    """Bytes that can still be allocated: the system's figure, or what is left of a container's limit.

    A limit of a group holds for all groups in it, so that of every group from this process's up to the
    mounted root counts, in cgroup v2 and v1. What a group holds of cached files is free for the asking.

    Args:
      root: where cgroups are mounted.
      own: the file that names this process's groups.
    """
    import psutil

    left = [_left(*files) for files in _limits(root, own)]
    return max(0, min([psutil.virtual_memory().available, *left]))


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _limits(root: Path, own: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Groups whose memory may be limited, and what their files are called."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    paths = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2]
    v2 = next((path for controllers, path in paths if not controllers), "/")
    v1 = next((path for controllers, path in paths if "memory" in controllers.split(",")), "/")
    for base, path, names in ((root, v2, _V2), (root / "memory", v1, _V1)):
        # A container may see its own group as the root, under the name that it has outside.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:count]), names


def _left(group: Path, names: tuple[str, str, str]) -> int | float:
    """Bytes left of a group's limit; infinity without one."""
    try:
        limit, used = (int((group / name).read_text()) for name in names[:2])
    except (OSError, ValueError):  # no such group, or "max": no limit
        return float("inf")
    try:
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = int(fields.get(names[2], 0))
    except (OSError, ValueError):
        cached = 0
    return max(limit - used + min(cached, used), 0)
