"""Which of a machine's GPUs a process takes that Slurm or Open MPI started.

Left to itself JAX gives each process the one GPU that has the process's number on the machine: three of four
are idle where there is one process a machine, and it is the wrong number where the cluster shows each process
its own GPU only.
"""

import os
import re
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from l2s_jax.system.errors import UserError

LOCAL_DEVICE_IDS = "JAX_LOCAL_DEVICE_IDS"
"""The user's own choice, which JAX follows."""

LEAVE_SECONDS = 1.0
"""How long the first process still answers after all have said that they leave."""


def local_gpus(environment: Mapping[str, str]) -> list[int] | None:
    """What `jax.distributed.initialize` is to take as `local_device_ids`.

    Args:
      environment: the process's variables.

    Returns:
      Numbers among the GPUs that the process sees; empty for all of them; None to leave it to JAX, where
      no cluster started the process or nothing says how many it sees.
    """
    place = _place(environment)
    if place is None or environment.get(LOCAL_DEVICE_IDS):
        return None
    number, processes = place
    if processes == 1:
        return []
    shown = [part for part in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    if not shown:
        return None
    of_machine = environment.get("SLURM_GPUS_ON_NODE", "")
    if len(shown) < processes or (of_machine.isdigit() and len(shown) < int(of_machine)):
        return []  # the cluster has dealt them out already
    return list(range(len(shown)))[number::processes]


def _place(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """The process's number on its machine, and how many processes that machine has."""
    try:
        if "SLURM_LOCALID" in environment:
            tasks = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment["SLURM_TASKS_PER_NODE"]
            counts = _unfolded(tasks)
            return int(environment["SLURM_LOCALID"]), counts[int(environment.get("SLURM_NODEID", "0"))]
        if "OMPI_COMM_WORLD_LOCAL_RANK" in environment:
            local = environment["OMPI_COMM_WORLD_LOCAL_RANK"], environment["OMPI_COMM_WORLD_LOCAL_SIZE"]
            return int(local[0]), int(local[1])
    except (KeyError, ValueError, IndexError):
        pass
    return None


def _unfolded(tasks: str) -> list[int]:
    """Slurm's tasks of each machine: `2(x3),1` is 2, 2, 2, 1."""
    counts: list[int] = []
    for part in tasks.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            raise ValueError(part)
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def start_processes(coordinator: str, processes: int | None = None, process: int | None = None) -> None:
    """Joins the processes of one run, on one machine or many; call it before anything else of JAX.

    Each takes the GPUs of its machine that are its share (`local_gpus`).

    Args:
      coordinator: `auto` where Slurm, Open MPI or another cluster that JAX knows started the processes; else
        HOST:PORT of process 0, any free port, the same in all.
      processes: how many there are; not with `auto`.
      process: which one this is, from 0; not with `auto`.

    Raises:
      UserError: they could not be joined.
    """
    auto = coordinator == "auto"
    if not auto and (processes is None or process is None):
        raise UserError(
            "--coordinator HOST:PORT needs --processes and --process as well; under Slurm, --coordinator auto"
        )
    try:
        gpus = local_gpus(os.environ)
        jax.distributed.initialize(None if auto else coordinator, processes, process, gpus)
        # JAX has no public way to its service.
        if distributed.global_state.service is not None:
            distributed.global_state.service = _AnswersToTheLast(distributed.global_state.service)
    except (RuntimeError, ValueError, TypeError) as error:
        hint = " Was each started by srun or mpirun?" if auto else " Is the address right, its port open?"
        raise UserError(f"the processes could not be joined: {error}.{hint}") from error


class _AnswersToTheLast:
    """The first process's service, which ends a moment after the last call that the others may make.

    gRPC aborts the process (`server.cc`, `queue.Pop() == nullptr`) where a call comes in while it takes its
    server down, and JAX takes it down as soon as all have said that they leave: a run that is whole would
    end with signal 6. It was seen once.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    def shutdown(self) -> None:
        time.sleep(LEAVE_SECONDS)
        self._service.shutdown()


def is_first_process() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def agreed(value: Any) -> Any:
    """A number or flag of the first process, in all of them; a meeting point of all processes."""
    if jax.process_count() == 1:
        return value
    return type(value)(multihost_utils.broadcast_one_to_all(np.asarray(value)))
