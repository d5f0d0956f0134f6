"""Several devices, of one process or of many: a mesh with the axes `seed` and `data`.

Seeds are dealt out over `seed`, the rows of each batch over `data`; weights are copied along `data`. It is
the same step, partitioned by XLA: batch statistics and gradients are those of the whole batch. Every process
runs the same program on the same batches, which are functions of the step number, and feeds its own devices.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l2s_jax.system.errors import UserError
from l2s_jax.train_step.seeds import Apart, ManyStep, Seeds, Stacked, Strategy, apart, many_step, stacked
from l2s_jax.train_step.step import StepFunction
from l2s_jax.types import of_one_size

SEED, DATA = "seed", "data"


def make_mesh(n: int, devices: int | Literal["all"]) -> Mesh | None:
    """A mesh for n seeds, None where one device is enough.

    As many devices as divide both n and their number are laid along `seed`, the rest along `data`.

    Raises:
      UserError: there are fewer devices, or other processes would be left without.
    """
    visible = jax.devices()
    wanted = len(visible) if devices == "all" else devices
    if not 1 <= wanted <= len(visible):
        raise UserError(
            f"{wanted} devices are asked for, and JAX sees {len(visible)} ({visible[0].platform}): "
            "`l2s doctor` lists them"
        )
    if jax.process_count() > 1 and wanted < len(visible):
        raise UserError("several processes train on all of their devices: devices = 'all'")
    if wanted == 1:
        return None
    seeds = math.gcd(n, wanted)
    return Mesh(np.array(visible[:wanted]).reshape(seeds, wanted // seeds), (SEED, DATA))


def jit_mesh_step(step: StepFunction, n: int, strategy: Strategy, mesh: Mesh) -> ManyStep:
    """`seeds.jit_many_step` on a mesh; equal to it but for rounding.

    Args:
      step: from `make_train_step`.
      n: number of seeds, a multiple of the mesh's axis `seed`.
      strategy: how the seeds of one coordinate along `seed` share its devices.
      mesh: from `make_mesh`.

    Returns:
      A function that takes states and batches in any form, in NumPy or on the devices, and gives states
      stacked and laid out on the mesh, and metrics that every device has. Batches are filled up with padding
      rows to a multiple of the axis `data`.
    """
    of_coordinate = n // mesh.shape[SEED]

    def local(states: Stacked, batches: Stacked) -> tuple[Seeds, Seeds]:
        if strategy != "unroll":
            return many_step(step, strategy)(states, batches)
        after, metrics = many_step(step, strategy)(
            apart(states, of_coordinate), apart(batches, of_coordinate)
        )
        return stacked(after), stacked(metrics)

    by_seed = PartitionSpec(SEED)
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=by_seed, out_specs=by_seed, axis_names={SEED}, check_vma=False
    )
    of_states, of_rows = _on(mesh, SEED), _on(mesh, SEED, DATA)
    program = jax.jit(
        mapped, in_shardings=(of_states, of_rows), out_shardings=(of_states, _on(mesh)), donate_argnums=0
    )

    def run(states: Seeds, batches: Seeds) -> tuple[Seeds, Seeds]:
        if isinstance(states, Apart):
            states = _laid_out(stacked(states), of_states)
        rows = Apart(tuple(of_one_size(apart(batches, n).trees, multiple=mesh.shape[DATA])))
        return program(states, _laid_out(stacked(rows), of_rows))

    return run


def state_on_mesh(states: Stacked, i: int, mesh: Mesh) -> Any:
    """One seed's state out of those on a mesh, copied to all devices; a meeting point of all processes."""
    return jax.jit(_take, out_shardings=_on(mesh))(states, i)


def _take(states: Stacked, i: jax.Array) -> Any:
    return states.of(i)


def _on(mesh: Mesh, *axes: str) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))


def _laid_out(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process has, on the mesh; each device is given its own part."""

    def put(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, tree)


def describe_mesh(mesh: Mesh) -> str:
    """One line that says what trains where."""
    devices: Sequence[Any] = list(mesh.devices.flat)
    return (
        f"{len(devices)} devices ({devices[0].device_kind}) of {jax.process_count()} process(es): "
        f"{mesh.shape[SEED]} along seed, {mesh.shape[DATA]} along data"
    )
