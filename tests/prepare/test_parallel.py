import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from helpers.dataset_generator import draw_tissue, write_gleason
from helpers.own_slides import write_own_slides
from helpers.parallel_work import die_at, platform, square
from l2s_jax.data.pictures import write_png
from l2s_jax.prepare import parallel
from l2s_jax.prepare.gleason import prepare_gleason
from l2s_jax.prepare.options import GleasonOptions, WorkOptions
from l2s_jax.prepare.parallel import run_all
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.stain.patches import MACENKO
from l2s_jax.system.errors import UserError


def check_squares(outcomes):
    assert [outcome.number for outcome in outcomes] == list(range(8))
    assert [outcome.result for outcome in outcomes] == [0, 1, 4, None, None, None, 36, 49]
    assert outcomes[3].error == "three.svs cannot be read"
    assert outcomes[4].error.startswith("unexpected ZeroDivisionError: four (")
    assert outcomes[5].error.startswith("out of memory")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_stops_nothing_else(workers):
    check_squares(run_all(square, range(8), workers=workers))


def test_a_process_that_dies_takes_only_its_own_item():
    outcomes = run_all(partial(die_at, 2), range(5), workers=2)
    assert [outcome.result for outcome in outcomes] == [0, 1, None, 3, 4]
    assert "was killed" in outcomes[2].error


def test_processes_keep_off_the_accelerator():
    assert {outcome.result for outcome in run_all(platform, range(2), workers=2)} == {"cpu"}


def test_nothing_to_do():
    assert run_all(square, []) == []


def test_workers_are_bounded_by_memory(monkeypatch):
    monkeypatch.setattr(parallel, "available_memory", lambda: 5 * 2**30)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 64)
    assert parallel.default_workers() == 2


def digests(folder):
    """Every file of a manifest's folder; parts/ holds times of change."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


OPTIONS = GleasonOptions(size=64, patch_size=32, stain="off")


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A small Gleason2019, prepared in this process; without stains, since workers compile them anew."""
    folder = tmp_path_factory.mktemp("gleason")
    write_gleason(folder, 128)
    prepare_gleason(folder, folder / "out", OPTIONS, WorkOptions(workers=1))
    return folder, digests(folder / "out")


def test_processes_make_the_same_files(serial, tmp_path):
    prepare_gleason(serial[0], tmp_path / "o", OPTIONS, WorkOptions(workers=2))
    assert digests(tmp_path / "o") == serial[1]


@pytest.mark.slow
def test_processes_normalise_stains_alike(serial, tmp_path):
    for workers in (1, 2):
        options = replace(OPTIONS, stain="macenko")
        prepare_gleason(
            serial[0], tmp_path / str(workers), options, WorkOptions(workers=workers), stainer=MACENKO
        )
    assert digests(tmp_path / "2") == digests(tmp_path / "1")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def test_a_dask_cluster_makes_the_same_files(serial, cluster, tmp_path):
    prepare_gleason(serial[0], tmp_path / "o", OPTIONS, WorkOptions(scheduler=cluster))
    assert digests(tmp_path / "o") == serial[1]


@pytest.mark.slow
def test_slides_and_labelled_pictures_are_jobs_of_a_cluster(cluster, tmp_path):
    """Each picture of --labelled is one, as each slide is: what a worker makes of it is the same."""
    write_own_slides(tmp_path / "slides", 3)
    for name, sides in {"Tumour": (64, 96), "Stroma": (40, 40), "background": (64, 64)}.items():
        for number in range(2):
            write_png(tmp_path / "labelled" / name / f"{number}.png", draw_tissue(*sides, 50 + number))
    (tmp_path / "labelled" / "Tumour" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = SlidesOptions(
        mpp=7.5, patch_size=32, stain="off", labelled=tmp_path / "labelled", labelled_mpp=7.5
    )
    made = {
        name: prepare_slides(tmp_path / "slides", tmp_path / name, options, work)
        for name, work in {"one": WorkOptions(workers=1), "many": WorkOptions(scheduler=cluster)}.items()
    }
    assert digests(tmp_path / "many") == digests(tmp_path / "one")
    assert len(made["many"].failures) == 1 and "cut.png" in made["many"].failures[0]
    of_pictures = {row.image.parent.name for row in made["many"].manifest.patches} - {"s1", "s2", "s3"}
    assert len(of_pictures) == 6 and all(name.startswith("labelled-") for name in of_pictures)


def test_failures_on_a_cluster_are_told(cluster):
    check_squares(run_all(square, list(range(8)), scheduler=cluster))


def test_no_cluster_is_told(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        run_all(square, [1], scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match="no Dask scheduler answers at 'nonsense://x'"):
        run_all(square, [1], scheduler="nonsense://x")


BUSY = """
import sys
from functools import partial
from helpers.parallel_work import toil
from l2s_jax.prepare.parallel import run_all
if __name__ == "__main__":
    try:
        run_all(partial(toil, sys.argv[1]), range(4), workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def alive(pids):
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    return [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_worker_outlives_its_parent(how, tmp_path):
    """In the midst of their work, one of them in code that never lets go of the interpreter."""
    if not hasattr(signal, how):
        pytest.skip(f"no {how} here")
    (tmp_path / "script.py").write_text(BUSY)
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path], env=here)
    workers = []
    try:
        for _ in range(1200):
            workers = [int(path.stem) for path in tmp_path.glob("*.begun")]
            if len(workers) == 2:
                break
            assert parent.poll() is None
            time.sleep(0.05)
        assert len(workers) == 2
        parent.send_signal(getattr(signal, how))
        parent.wait(timeout=60)
        for _ in range(200):
            if not alive(workers):
                break
            time.sleep(0.05)
        assert not alive(workers)
    finally:
        parent.kill()
        for pid in alive(workers):
            os.kill(pid, signal.SIGKILL)


UNGUARDED = """
from pathlib import Path
from l2s_jax.prepare.gleason import prepare_gleason
from l2s_jax.prepare.options import GleasonOptions, WorkOptions
options = GleasonOptions(size=64, patch_size=32, stain="off")
print(prepare_gleason({data!r}, {out!r}, options, WorkOptions(workers=2)))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_one_short_message(serial, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(data=str(serial[0]), out=str(tmp_path / "out")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and 'below `if __name__ == "__main__":`' in done.stderr
    # The traceback of the script that did not catch it, once: nothing of any worker.
    assert done.stderr.count("Traceback") == 1 and len(done.stderr.splitlines()) < 30, done.stderr


def test_what_a_kill_left_in_the_first_moments_is_no_other_file(serial, tmp_path):
    out = tmp_path / "o"
    (out / "images").mkdir(parents=True)
    leftovers = [out / ".partial-abc.toml", out / ".lock", out / "images" / ".partial-x.png"]
    for path in leftovers:
        path.touch()
    with pytest.raises(UserError, match="holds other files"):
        prepare_gleason(serial[0], out, OPTIONS, WorkOptions(workers=1))  # a folder of somebody's images
    leftovers[2].unlink()
    (out / "images").rmdir()
    prepare_gleason(serial[0], out, OPTIONS, WorkOptions(workers=1))
    (out / "images" / ".partial-x.png").touch()  # of a kill that came later
    prepare_gleason(serial[0], out, OPTIONS, WorkOptions(workers=1))
    assert not list(out.rglob(".partial-*")) and (out / "patches.csv").is_file()
