"""Cores and memory within the limits of a container: cgroup v2 and v1, nested."""

import os

import psutil
import pytest

from l2s_jax.system.resources import available_memory, usable_cores

GIB = 2**30


def group(folder, limit, used, cached=0, names=("memory.max", "memory.current", "inactive_file")):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names[:2], (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\n")


@pytest.fixture(autouse=True)
def plenty(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 100 * GIB}))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own"
    path.write_text("0::/a/b\n")
    return path


def test_the_nearest_limit_of_nested_groups_counts(tmp_path, own):
    root = tmp_path / "cgroup"
    group(root / "a", 8 * GIB, 3 * GIB)
    group(root / "a" / "b", "max", 1 * GIB)
    assert available_memory(root, own) == 5 * GIB
    group(root / "a" / "b", 4 * GIB, 3 * GIB)
    assert available_memory(root, own) == 1 * GIB
    group(root, 2 * GIB, 2 * GIB - 100)  # a container's own group, mounted as the root
    assert available_memory(root, own) == 100


def test_cached_files_are_free_for_the_asking(tmp_path, own):
    root = tmp_path / "cgroup"
    group(root / "a" / "b", 4 * GIB, 4 * GIB, cached=3 * GIB)
    assert available_memory(root, own) == 3 * GIB


def test_version_1(tmp_path, own):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    own.write_text("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    root = tmp_path / "cgroup"
    group(root / "memory" / "docker", 9223372036854771712, GIB, names=names)
    group(root / "memory" / "docker" / "abc", 3 * GIB, 1 * GIB, names=names)
    assert available_memory(root, own) == 2 * GIB
    own.write_text("4:memory:/seen/from/outside\n")
    group(root / "memory", GIB, 0, names=names)
    assert available_memory(root, own) == 1 * GIB


@pytest.mark.parametrize("text", ["", "nonsense", "0::/../../../etc\n", "\0\xff:::\n"])
def test_no_groups_and_nonsense_leave_the_systems_figure(text, tmp_path, own):
    own.write_text(text)
    assert available_memory(tmp_path / "none", own) == 100 * GIB
    group(tmp_path / "cgroup", "many", "some")
    assert available_memory(tmp_path / "cgroup", own) == 100 * GIB
    assert available_memory(tmp_path / "none", tmp_path / "no file") == 100 * GIB


def test_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5}, raising=False)
    assert usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
