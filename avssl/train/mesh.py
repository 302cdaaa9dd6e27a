"""Devices: starting several processes, the mesh, and where each array lives on it.

The batch is split over both axes, `data` and `fsdp`. A large array of the state is split over `fsdp` on its
largest axis that divides; everything else is whole on every device.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from avssl.errors import AvsslError, UsageError
from avssl.train.peers import (
    RESTART,
    coordinator_address,
    explain_abort,
    name_by_scheduler,
    own_name,
    when,
)
from avssl.train.preemption import held

BATCH_AXES = ("data", "fsdp")
# Arrays below this many elements are cheaper to copy than to gather.
MIN_SHARDED_ELEMENTS = 2**12


def start_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_seconds: int = 120,
) -> None:
    """Joins the other processes of this run, if there are any.

    Order: flags, then AVSSL_COORDINATOR, AVSSL_NUM_PROCESSES and AVSSL_PROCESS_ID (`launch/local.sh`), then
    what JAX finds in the scheduler's environment where AVSSL_DISTRIBUTED=1 asks for it (SLURM, TPU pods).
    """
    given = (coordinator is not None, num_processes is not None, process_id is not None)
    if any(given) and not all(given):
        raise UsageError(
            "--coordinator, --num-processes and --process-id go together: give all three"
        )
    environment = os.environ
    coordinator = coordinator or environment.get("AVSSL_COORDINATOR", "")
    if num_processes is None:
        num_processes = number_in("AVSSL_NUM_PROCESSES", 1)
    if process_id is None:
        process_id = number_in("AVSSL_PROCESS_ID", 0)
    if cpu_devices := number_in("AVSSL_CPU_DEVICES", 0):
        # XLA's CPU collectives block threads of one pool: with too few of them they wait for each other.
        environment.setdefault("NPROC", str(8 * cpu_devices))
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    automatic = environment.get("AVSSL_DISTRIBUTED") == "1"
    if not coordinator and not automatic:
        return
    arguments: dict[str, Any] = {}
    name = name_by_scheduler()
    if coordinator:
        check_place(coordinator, num_processes, process_id)
        name = f"process {process_id} of {num_processes}"
        arguments = {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
    joining = True

    def why_ended() -> str:
        where = coordinator_address()
        if joining:
            return (
                f"{name} could not meet the others at {where} within {timeout_seconds} s; check the "
                "address and that all of them started"
            )
        return (
            f"{own_name()}: process 0 at {where} is lost {when()}, or cannot be reached; {RESTART}"
        )

    explain_abort(why_ended)
    try:
        with held():
            jax.distributed.initialize(
                initialization_timeout=timeout_seconds, heartbeat_timeout_seconds=40, **arguments
            )
    except Exception as error:
        raise not_joined(name, error) from error
    joining = False


def not_joined(name: str, error: Exception) -> AvsslError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    where = coordinator_address()
    if where is None:
        return UsageError(
            f"AVSSL_DISTRIBUTED=1, but {name} found no scheduler that says where process 0 is ({reason}): "
            "start it by `srun` or on a TPU slice, or give --coordinator, --num-processes and --process-id"
        )
    return AvsslError(
        f"{name} could not meet the others at {where} ({reason}); check the address and that all of them "
        "started"
    )


def check_place(coordinator: str, num_processes: int, process_id: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise UsageError(
            f"--coordinator (AVSSL_COORDINATOR) is '{coordinator}': give it as HOST:PORT, as localhost:1234"
        )
    if not 0 <= process_id < num_processes:
        raise UsageError(
            f"there is no process {process_id} of {num_processes}: --process-id (AVSSL_PROCESS_ID) goes from 0 "
            "to one less than --num-processes (AVSSL_NUM_PROCESSES)"
        )


def number_in(variable: str, default: int) -> int:
    """A number of the environment; an empty one is the default."""
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise UsageError(
            f"{variable} is '{text}': give it a number, such as {default}, or unset it"
        )
    return int(text or default)


def make_mesh(
    fsdp: int = 1, devices: Sequence[Any] | None = None, *, by_process: bool = False
) -> Mesh:
    """All devices, or the given ones, as `data` x `fsdp`.

    by_process: those of a process side by side, as pmap demands, and not in the order of their links.
    """
    devices = jax.devices() if devices is None else list(devices)
    num_devices = len(devices)
    if num_devices % fsdp:
        ways = [ways for ways in range(1, num_devices + 1) if num_devices % ways == 0]
        raise UsageError(
            f"parallel.fsdp={fsdp} does not divide the {num_devices} devices: take one of "
            f"{', '.join(map(str, ways))}"
        )
    if by_process:
        ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
        return Mesh(np.array(ordered).reshape(-1, fsdp), BATCH_AXES)
    # Linen code indexes sharded axes, which the explicit axis types of JAX 0.10 refuse.
    return jax.make_mesh(
        (num_devices // fsdp, fsdp),
        BATCH_AXES,
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def local_mesh() -> Mesh:
    """The devices of this process alone: what looks at rows one by one needs no other."""
    return Mesh(np.asarray(jax.local_devices()).reshape(-1, 1), BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def rows_of_process(mesh: Mesh, batch_size: int, process: int | None = None) -> np.ndarray:
    """The rows of the global batch that the devices of a process hold (of this one by default), ascending.

    They need not be neighbours: `jax.make_mesh` puts devices in the order of the links between them, and so
    those of a process lie apart along the batch, on v5e:4x4 as 0 0 1 1 1 1 0 2 3 3 3 3 2 2 2 0. That order is
    kept, for gradients are summed along it in every step. Reading follows it, which costs nothing.
    """
    process = jax.process_index() if process is None else process
    blocks = batch_sharding(mesh).devices_indices_map((batch_size,))
    rows = [
        np.arange(batch_size)[block]
        for device, (block,) in blocks.items()
        if device.process_index == process
    ]
    return np.sort(np.concatenate(rows))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def path_name(path: Sequence[Any]) -> str:
    """A pytree path as `a/b/c`."""
    return "/".join(str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path)


def state_shardings(state: Any, mesh: Mesh, rules: Sequence[tuple[str, int | None]] = ()) -> Any:
    """The sharding of each array of an (abstract) state.

    rules: (regular expression on the path, axis to split or None for whole); the first match wins.
    """
    fsdp = mesh.shape["fsdp"]

    def shard(path: Sequence[Any], leaf: Any) -> NamedSharding:
        name = path_name(path)
        for pattern, axis in rules:
            if re.search(pattern, name):
                if axis is None:
                    return replicated(mesh)
                if axis >= len(leaf.shape) or leaf.shape[axis] % fsdp:
                    raise UsageError(
                        f"parallel.rules: axis {axis} of '{name}' {leaf.shape} does not split {fsdp} ways"
                    )
                return on_axis(axis)
        candidates = [axis for axis, size in enumerate(leaf.shape) if size % fsdp == 0]
        if fsdp == 1 or not candidates or np.prod(leaf.shape) < MIN_SHARDED_ELEMENTS:
            return replicated(mesh)
        return on_axis(max(candidates, key=lambda axis: leaf.shape[axis]))

    def on_axis(axis: int) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))

    return jax.tree_util.tree_map_with_path(shard, state)


def place_on_mesh(mesh: Mesh) -> Callable[[Any], Any]:
    """Numpy batches of the `rows_of_process`, in their order, to global arrays."""
    sharding = batch_sharding(mesh)

    def place(batch: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), batch
        )

    return place


def place_for_pmap(mesh: Mesh) -> Callable[[Any], Any]:
    """The same with a leading axis of all devices."""
    num_local = len(mesh.local_devices)
    on_mesh = place_on_mesh(mesh)

    def place(batch: Any) -> Any:
        return on_mesh(
            jax.tree.map(
                lambda leaf: leaf.reshape(num_local, leaf.shape[0] // num_local, *leaf.shape[1:]),
                batch,
            )
        )

    return place


def check_batch_divides(batch_size: int, accumulate: int, num_devices: int) -> None:
    if batch_size % (num_devices * accumulate):
        raise UsageError(
            f"batch_size {batch_size} does not divide over {num_devices} devices x {accumulate} "
            f"micro-batches: use a multiple of {num_devices * accumulate}"
        )


def local_value(array: jax.Array) -> np.ndarray:
    """The value of a replicated array, without gathering it."""
    return np.asarray(array.addressable_shards[0].data)


def float_type(precision: str) -> Any:
    """The type of parameters, losses and optimiser state."""
    return jnp.float64 if precision == "float64" else jnp.float32


def compute_type(precision: str) -> Any:
    """The type of the encoders' arithmetic."""
    return {"float32": jnp.float32, "bf16": jnp.bfloat16, "float64": jnp.float64}[precision]
