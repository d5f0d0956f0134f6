"""Several runs of a sweep at a time: order, cores, ends of every kind, and the same figures."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pandas as pd
import psutil
import pytest

from helpers.sweep_work import PASSING, Toy, toil
from l2s_jax.cli.advice import advice
from l2s_jax.cli.app import run
from l2s_jax.sweeps.jobs import ProcessKilled, at_a_time, core_shares, in_turn, ready
from l2s_jax.system.csv_rows import complete_rows
from l2s_jax.system.stopping import Stopped

FILE = """
name = "jobs"
draws = 1
percents = [60]
[options]
weights = "random"
batch_size = 8
steps = {steps}
validate_steps = 10
learning_rate = 1e-3
[[variant]]
name = "paper"
settings = ["S", "S+C"]
"""

cores_are_known = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system does not tell a process's cores"
)


def silent(toy):
    pass


def work_in(folder, toys, jobs=2, begin=silent):
    return at_a_time(partial(toil, str(folder)), toys, jobs, begin)


def wait_for_file(path, seconds=60):
    for _ in range(seconds * 20):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written in time")


def test_a_run_is_ready_when_those_that_it_takes_from_have_ended():
    a, b, c = Toy("a"), Toy("b", waits_for=("a",)), Toy("c", waits_for=("gone",))
    assert ready([a, b, c], []) == [a, c]
    assert ready([b], [a]) == [] and ready([b], []) == [b]


@cores_are_known
def test_each_process_has_as_many_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {2, 3, 5, 7, 11})
    assert core_shares(1) == [{2, 3, 5, 7, 11}]
    assert core_shares(2) == [{2, 3}, {5, 7}]
    assert core_shares(5) == [{2}, {3}, {5}, {7}, {11}]
    assert core_shares(7) == [{2}, {3}, {5}, {7}, {11}, {2}, {3}]


def test_two_at_a_time_in_their_order_and_a_failure_is_one_run_alone(tmp_path):
    toys = [
        Toy("teacher", "meets other"),  # a process may take longer to start than a run
        Toy("pupil", waits_for=("teacher",)),
        Toy("other", "meets teacher"),
        Toy("unlucky", "fails"),
        Toy("last"),
    ]
    begun = []
    outcomes = {each.run.run: each for each in work_in(tmp_path, toys, begin=begun.append)}
    assert [toy.run for toy in begun][:2] == ["teacher", "other"] and len(begun) == len(outcomes) == 5
    assert str(outcomes["unlucky"].error) == "no luck today" and outcomes["unlucky"].result is None
    times = {name: each.result[:2] for name, each in outcomes.items() if each.result}
    assert times["pupil"][0] > times["teacher"][1]
    assert times["teacher"][0] < times["other"][1] and times["other"][0] < times["teacher"][1]
    moments = sorted(
        [(began, 1) for began, _ in times.values()] + [(ended, -1) for _, ended in times.values()]
    )
    at_once = [sum(change for _, change in moments[: i + 1]) for i in range(len(moments))]
    assert max(at_once) == 2
    if hasattr(os, "sched_getaffinity"):
        shares = core_shares(2)
        assert all(each.result[2] in shares for each in outcomes.values() if each.result)
        assert os.sched_getaffinity(0) == set.union(*core_shares(1))


def test_one_after_the_other_says_the_same_of_a_failure(tmp_path):
    outcomes = [*in_turn(partial(toil, str(tmp_path)), [Toy("a", "fails"), Toy("b")], silent)]
    assert str(outcomes[0].error) == "no luck today" and outcomes[1].result and not outcomes[1].error


def test_a_process_that_is_killed_ends_it_with_a_word(tmp_path):
    with pytest.raises(ProcessKilled, match="out of memory") as caught:
        list(work_in(tmp_path, [Toy("a", "dies"), Toy("b"), Toy("c"), Toy("d")]))
    assert caught.value.exit_code == 1 and caught.value.jobs == 2
    assert "fewer --jobs" in advice(caught.value, "sweep")


def test_asked_to_stop_it_lets_each_run_save_itself(tmp_path):
    toys = [Toy("a", "waits"), Toy("b", "waits"), Toy("c")]

    def ask():
        for name in "ab":
            wait_for_file(tmp_path / f"{name}.begun")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Stopped) as caught:
        list(work_in(tmp_path, toys))
    asking.join()
    assert caught.value.exit_code == 130 and signal.getsignal(signal.SIGTERM) == before
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["a.saved", "b.saved"]
    assert not (tmp_path / "c.begun").exists()


def test_left_early_it_lets_the_others_save_themselves(tmp_path):
    outcomes = work_in(tmp_path, [Toy("a"), Toy("b", "waits")])
    assert next(outcomes).run.run == "a"
    wait_for_file(tmp_path / "b.begun")
    outcomes.close()
    assert (tmp_path / "b.saved").exists()
    assert not psutil.Process().children() or not any(
        "spawn_main" in " ".join(child.cmdline()) for child in psutil.Process().children()
    )


def test_processes_end_with_their_parent(tmp_path):
    code = (
        "from functools import partial; from helpers.sweep_work import Toy, toil\n"
        "from l2s_jax.sweeps.jobs import at_a_time\n"
        f"toys = [Toy('a', 'waits'), Toy('b', 'waits')]\n"
        f"list(at_a_time(partial(toil, {str(tmp_path)!r}), toys, 2, print))"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=here, stdout=subprocess.DEVNULL)
    workers = [int(wait_for_file(tmp_path / f"{name}.begun")) for name in "ab"]
    assert all(psutil.pid_exists(worker) for worker in workers)
    parent.kill()
    parent.wait()
    for _ in range(200):
        left = [pid for pid in workers if psutil.pid_exists(pid)]
        alive = [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not alive:
            break
        time.sleep(0.05)
    assert not alive and not list(tmp_path.glob("*.saved"))


def start(file, manifest, out, jobs, cores=None):
    settle = f"import os; os.sched_setaffinity(0, {cores}); " if cores else ""
    command = [sys.executable, "-c", settle + "from l2s_jax.cli.app import main; main()", "sweep", str(file)]
    command += ["--manifest", str(manifest), "--out", str(out), "--jobs", str(jobs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def table(folder):
    return pd.read_csv(folder / "results.csv").drop(columns=PASSING).sort_values("run", ignore_index=True)


@pytest.mark.slow
@cores_are_known
def test_a_sweep_comes_out_the_same_though_it_is_stopped(phantom, tmp_path):
    file = tmp_path / "jobs.toml"
    file.write_text(FILE.format(steps=40))
    alone = start(file, phantom, tmp_path / "alone", 1, core_shares(2)[0])
    said, _ = alone.communicate()
    assert alone.returncode == 0, said

    out = tmp_path / "together"
    stopped = start(file, phantom, out, 2)
    while not list(out.glob("runs/*/metrics.csv")):  # in the midst of the first runs
        assert stopped.poll() is None, stopped.stdout.read()
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate()[0]
    assert stopped.returncode == 130 and "l2s: stopped; start the same sweep again to go on" in said
    assert len(complete_rows(out / "results.csv")[0]) < 2
    saved = [path.parent.name for path in out.glob("runs/*/checkpoints")]
    last = start(file, phantom, out, 2)
    said, _ = last.communicate()
    assert last.returncode == 0 and saved, said
    pd.testing.assert_frame_equal(table(out), table(tmp_path / "alone"), check_exact=True)
    assert not len(complete_rows(out / "failures.csv")[0])
    groups = pd.read_csv(out / "per_group.csv")
    assert set(groups["run"]) == set(table(out)["run"]) and not groups.duplicated(["run", "group"]).any()


@pytest.mark.slow
def test_what_cannot_be(phantom, tmp_path, capsys):
    file = tmp_path / "jobs.toml"
    file.write_text(FILE.format(steps=6))
    command = ["sweep", str(file), "--manifest", str(phantom), "--out", str(tmp_path / "out")]
    assert run([*command, "--jobs", "0"]) == 2
    assert "jobs = 0 must be 1 to" in capsys.readouterr().err
    assert run([*command, "--jobs", "3", "--dry-run"]) == 0
    assert "with 2 at a time, if each is as quick as those" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_asked_to_stop_while_a_job_starts_it_is_not_begun(tmp_path, monkeypatch):
    """SIGTERM reaches processes that import yet: they are not killed by it, and do not forget it."""
    import l2s_jax.sweeps.jobs as module

    submit, asked = module.ProcessPoolExecutor.submit, []

    def at_once(self, *arguments):
        future = submit(self, *arguments)
        if len(asked) < 2:
            asked.append(future)
            if len(asked) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        return future

    monkeypatch.setattr(module.ProcessPoolExecutor, "submit", at_once)
    began = time.monotonic()
    with pytest.raises(Stopped):
        list(work_in(tmp_path, [Toy("a", "waits"), Toy("b", "waits"), Toy("c")]))
    assert time.monotonic() - began < 60  # else each would have waited for two minutes
    assert not (tmp_path / "c.begun").exists()
