"""One of two processes of a run that is asked to stop; started by test_preemption.py.

Arguments: coordinator address, process id, checkpoint folder. Prints what it restored and where
it stopped.
"""

import sys
import time

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)

from avssl.train.checkpoint import Checkpoints  # noqa: E402 - after the devices are chosen
from avssl.train.checkpoint_reader import CheckpointReader  # noqa: E402
from avssl.train.preemption import Preemption  # noqa: E402


def main(coordinator: str, process_id: str, folder: str) -> None:
    jax.distributed.initialize(coordinator, 2, int(process_id))
    mesh = jax.make_mesh((4,), ("fsdp",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("fsdp"))
    whole = NamedSharding(mesh, PartitionSpec())
    abstract = {
        "params": {"w": jax.ShapeDtypeStruct((8, 50), np.float32, sharding=split)},
        "counters": {"n": jax.ShapeDtypeStruct((), np.int32, sharding=whole)},
    }
    abstract_here = {"w": jax.ShapeDtypeStruct((8, 50), np.float32)}
    update = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    total = jax.jit(lambda tree: tree["params"]["w"].sum(), out_shardings=whole)
    with Preemption() as preemption, Checkpoints(folder) as checkpoints:
        start = checkpoints.latest()
        assert start is not None
        state = checkpoints.restore(start, abstract)
        print("restored", start, int(state["counters"]["n"]), flush=True)
        for step in range(start, start + 2000):
            if preemption.requested():
                checkpoints.save(step, state, {"step": step})
                checkpoints.wait()
                if process_id == "0":  # reading waits for nobody
                    reader = CheckpointReader(folder)
                    found = reader.restore(reader.latest(), {"params": abstract_here})
                    assert (found["params"]["w"] == step - start).all()
                print("stopped", step, flush=True)
                break
            state = update(state)
            jax.block_until_ready(total(state))
            if step == start + 20:
                print("running", flush=True)
            time.sleep(0.005)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
