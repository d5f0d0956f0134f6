"""Which GPUs a process of a cluster job takes, by the variables that Slurm and Open MPI set."""

from types import SimpleNamespace

import jax
import pytest

from l2s_jax.system import processes
from l2s_jax.system.processes import local_gpus

ALL, JAX_DECIDES = [], None


def slurm(number, tasks, node=0, **more):
    """Variables of task `number` of its machine; `tasks` as Slurm writes how many each machine has."""
    named = {"SLURM_LOCALID": number, "SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_NODEID": node}
    return {name: str(value) for name, value in (named | more).items()}


def ompi(number, tasks, **more):
    named = {"OMPI_COMM_WORLD_LOCAL_RANK": str(number), "OMPI_COMM_WORLD_LOCAL_SIZE": str(tasks)}
    return named | more


FOUR = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_ON_NODE": 4}

CASES = {
    "no cluster": ({"CUDA_VISIBLE_DEVICES": "0,1"}, JAX_DECIDES),
    "one task a machine takes all": (slurm(0, "1(x2)", node=1, **FOUR), ALL),
    "without GPUs too": (slurm(0, "1"), ALL),
    "the last of unequal machines": (slurm(0, "2(x3),1", node=3, **FOUR), ALL),
    "a task for each that all see": (slurm(3, "4(x2)", node=1, **FOUR), [3]),
    "two tasks share four": (slurm(1, "2", **FOUR), [1, 3]),
    "each task shown its own": (
        slurm(3, "4", CUDA_VISIBLE_DEVICES="3", SLURM_GPUS_ON_NODE=4), ALL,
    ),
    "each task shown its own two": (
        slurm(1, "2", CUDA_VISIBLE_DEVICES="2,3", SLURM_GPUS_ON_NODE=4), ALL,
    ),
    "one GPU, one of four tasks": (slurm(2, "4", CUDA_VISIBLE_DEVICES="GPU-5a2c"), ALL),
    "nothing says how many": (slurm(2, "4"), JAX_DECIDES),
    "the user's own choice": (slurm(0, "1", JAX_LOCAL_DEVICE_IDS="2", **FOUR), JAX_DECIDES),
    "words that nobody knows": (slurm(0, "one(x2)", **FOUR), JAX_DECIDES),
    "a machine that is not listed": (slurm(0, "1", node=5, **FOUR), JAX_DECIDES),
    "a batch script's variables": (
        {"SLURM_LOCALID": "0", "SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_NODEID": "1"}, ALL,
    ),
    "Open MPI, one a machine": (ompi(0, 1), ALL),
    "Open MPI, two that see two": (ompi(1, 2, CUDA_VISIBLE_DEVICES="0,1"), [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_share_of_a_process(name):
    environment, expected = CASES[name]
    assert local_gpus(environment) == expected


def test_a_run_is_started_with_it(monkeypatch):
    """JAX's own choice would be GPU 0 alone."""
    given = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *words: given.append(words))
    for name, value in slurm(0, "1(x2)", **FOUR).items():
        monkeypatch.setenv(name, value)
    processes.start_processes("auto")
    processes.start_processes("10.0.0.1:1", 2, 1)
    assert given == [(None, None, None, ALL), ("10.0.0.1:1", 2, 1, ALL)]


def test_the_first_process_answers_until_the_others_have_left(monkeypatch):
    """Its service is taken down by JAX's own leave-taking, after a pause; the others have none."""
    order = []
    service = SimpleNamespace(shutdown=lambda: order.append("down"))
    state = SimpleNamespace(service=service)
    monkeypatch.setattr(processes.distributed, "global_state", state)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *words: None)
    monkeypatch.setattr(processes.time, "sleep", order.append)
    processes.start_processes("10.0.0.1:1", 2, 0)
    state.service.shutdown()
    assert order == [processes.LEAVE_SECONDS, "down"]
    state.service = None
    processes.start_processes("10.0.0.1:1", 2, 1)
    assert state.service is None
